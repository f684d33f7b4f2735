"""Faults with a known cause, planted in plain Transformers, and what `core.diagnose` must say of them."""
