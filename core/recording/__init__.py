"""`logdrift.record`: what a trainer sees, as a session, from inside the training loop
(docs/python.md).

Nothing here imports torch. What the training step waits for is a copy of its arrays
(`recorder`); a thread sorts, samples and writes (`stream`).
"""
