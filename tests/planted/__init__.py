"""Faults with a known cause, planted in plain Transformers, and what
`logdrift.core.diagnose` must say of them.
"""
