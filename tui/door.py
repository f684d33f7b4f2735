"""The one door from the command line to the screens: what is imported from here on may
need Textual.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.errors import InputError
from logdrift.core.interrupts import left_to_python
from logdrift.tui.start import prepare

if TYPE_CHECKING:
    from logdrift.core.compare.scopes import Scope


def run(
    session: Path | None,
    sessions_dir: Path,
    mouse: bool = True,
    pair: str | None = None,
    trend: tuple[str | None, Scope | None] | None = None,
) -> int:
    """Run the explorer, the list of sessions, or their ``trend`` (of a pair and a
    scope) on the terminal; the exit code.

    Raises InputError before the screen is touched where the session does not open or
    has no such pair.
    """
    try:
        prepare()
        from logdrift.tui.app import run as run_app  # after `prepare`

        with left_to_python():
            return run_app(session, sessions_dir, mouse=mouse, pair=pair, trend=trend)
    finally:
        gc.enable()


_DUMB = frozenset({"dumb", "unknown"})
"""Values of TERM that promise no cursor: a screen cannot be drawn there."""


def on_terminal() -> bool:
    """Whether there is a screen to draw on: a terminal that is not dumb, or the driver
    of a browser (for `textual serve`).
    """
    if os.environ.get("TEXTUAL_DRIVER"):
        return True
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return has_terminal and not _is_dumb()


def _is_dumb() -> bool:
    return os.environ.get("TERM", "") in _DUMB


def need_terminal(what: str, instead: str) -> None:
    """Raise InputError where no screen can be drawn: off a terminal an application
    would wait for keys that never come.
    """
    if on_terminal():
        return
    if _is_dumb():
        term = os.environ["TERM"]
        raise InputError(
            f"{what} cannot be drawn where TERM is {term!r}: use {instead}, or set"
            " TERM=xterm-256color if the terminal is one"
        )
    raise InputError(f"{what} needs a terminal: without one use {instead}")
