"""Python's collector of reference cycles, which rests while an import runs.

It looks through all objects of a line again and again while they are parsed, and JSON
has no cycles: without it, an import of lists of alternatives takes two thirds of the
time (benchmarks/importing.py).
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Inside, the collector does not run; outside it is as it was."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
