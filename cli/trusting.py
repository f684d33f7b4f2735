"""Asking once whether a session from elsewhere may start what its plan names: on a
terminal, or by a flag.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.errors import InputError
from logdrift.core.session.layout import Manifest
from logdrift.core.session.visible import visible


def add_flag(parser: Any) -> None:
    """The flag that confirms a session."""
    parser.add_argument(
        trust.FLAG,
        action="store_true",
        help=(
            "confirm, once, that a session from elsewhere may start the interpreters,"
            " options and models of its plan"
        ),
    )


def confirmed(folder: Path, manifest: Manifest, *, flag: bool) -> None:
    """Go on with a session that is this user's own, or that the flag or an answer on
    the terminal makes so.

    Raises InputError where it is not: `trust.Stranger` off a terminal.
    """
    try:
        trust.require(folder, manifest)
    except trust.Stranger as stranger:
        if not flag and not _asked(stranger):
            raise
        trust.remember(manifest)


def _asked(stranger: trust.Stranger) -> bool:
    """The answer on the terminal; False where there is none to ask on. Raises
    InputError for a no.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    lines = [
        f"{stranger.folder} was not captured or confirmed here ({trust.OLDER}). This"
        " would start:"
    ]
    lines += [f"  {line}" for line in stranger.starts]
    for line in lines:
        print(visible(line), file=sys.stderr)
    print(
        "Start this, now and from now on? [y/N] ", end="", file=sys.stderr, flush=True
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError(
            f"session {stranger.folder}: not confirmed, so nothing was started"
        )
    return True
