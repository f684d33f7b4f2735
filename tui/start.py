"""Everything that is done for a quick start, and nothing else: each trick with what it
saves.

Measured as CPU time of importing the application and the explorer (25 runs of each, in
turns, on 2 cores: 305 ms without any of these). What saved less than 10 ms is not here:
asyncio without OpenSSL (1 to 9 ms) among others. docs/decisions.md has the list.
"""

from __future__ import annotations

import gc
import os

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def prepare() -> None:
    """Set the process up before Textual and NumPy are imported; harmless afterwards."""
    _import_without_collecting()
    _import_numpy_without_threads()


def settle() -> None:
    """Once the first screen is ready: leave what is loaded out of garbage collection.

    Collecting it again and again made the longest pauses of all key presses: 120 to 160
    ms at a million tokens.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def _import_without_collecting() -> None:
    """19 ms: half of a start is imports, which make many objects and drop none.
    `settle` switches the collector on again.
    """
    gc.disable()


def _import_numpy_without_threads() -> None:
    """20 ms: OpenBLAS starts a thread for each core, for matrix products that are never
    made here.

    The variable is taken back, so that engines started from here do not inherit it.
    """
    if _BLAS_THREADS in os.environ:
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[_BLAS_THREADS]
