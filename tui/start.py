"""Starting the screen quickly: what must happen before Textual and NumPy are
imported.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any, cast

from logdrift.core.errors import InputError

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def run(
    session: Path | None,
    sessions_dir: Path,
    mouse: bool = True,
    pair: str | None = None,
) -> int:
    """Run the explorer (or the list of sessions) on the terminal; the exit code.

    Raises InputError before the screen is touched where the session does not open or
    has no such pair.
    """
    try:
        prepare()
        from logdrift.tui.app import run as run_app

        return run_app(session, sessions_dir, mouse=mouse, pair=pair)
    finally:
        gc.enable()


def on_terminal() -> bool:
    """Whether there is a screen to draw on: a terminal, or another driver's (a browser,
    for textual serve).
    """
    return bool(os.environ.get("TEXTUAL_DRIVER")) or (
        sys.stdin.isatty() and sys.stdout.isatty()
    )


def need_terminal(what: str, instead: str) -> None:
    """Raise InputError off a terminal, where an application would wait for keys that
    never come.
    """
    if not on_terminal():
        raise InputError(f"{what} needs a terminal: without one use {instead}")


def prepare() -> None:
    """Import what the screen stands on, each in its quickest way; without effect on
    what is imported already.
    """
    # Half of a start is imports, which make much and drop nothing: collecting meanwhile
    # costs a tenth of it. The application collects once and switches it on again when
    # its first screen stands.
    gc.disable()
    _import_numpy()
    _import_asyncio()


def _import_asyncio() -> None:
    """Import asyncio, which Textual runs on, without OpenSSL: no connection is ever
    made here, and loading it is 4 to 10 ms of a start. asyncio does without where there
    is none; who imports ``ssl`` later gets it.
    """
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = cast(Any, None)
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]


def _import_numpy() -> None:
    """Import NumPy without a thread per core, which OpenBLAS would start for matrix
    products that there are none of.

    The variable is taken back, so that engines started from here do not inherit it.
    """
    if _BLAS_THREADS in os.environ:
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[_BLAS_THREADS]
