"""logdrift without a screen: capture, session, compare, diagnose, report.

Nothing here imports an inference engine except the modules of `logdrift.core.engines`,
which only the capture worker loads, in that engine's own interpreter.
"""
