"""The one door from the command line to the screens: what is imported from here on may
need Textual.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.tui.start import prepare


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
        from logdrift.tui.app import run as run_app  # after `prepare`

        return run_app(session, sessions_dir, mouse=mouse, pair=pair)
    finally:
        gc.enable()


def on_terminal() -> bool:
    """Whether there is a screen to draw on: a terminal, or the driver of a browser (for
    `textual serve`).
    """
    if os.environ.get("TEXTUAL_DRIVER"):
        return True
    return sys.stdin.isatty() and sys.stdout.isatty()


def need_terminal(what: str, instead: str) -> None:
    """Raise InputError off a terminal, where an application would wait for keys that
    never come.
    """
    if not on_terminal():
        raise InputError(f"{what} needs a terminal: without one use {instead}")
