"""Running servers that are asked for log-probabilities, and never started or changed:
what the servers of all engines have in common.

It runs in a worker, in logdrift's own interpreter. The protocol of an engine is in
``core/engines/NAME/server.py``.
"""
