"""Faults with a known cause, planted in real models and engines, and what
`logdrift.core.diagnose` must say of them.

`faults` says what is planted; `worker` plants it, in an engine's interpreter (with
`edits`, `bench` and `scoring`); `judge` and `table` say what the diagnosis made of it;
`selftest` does all of this for ``logdrift doctor``.
"""
