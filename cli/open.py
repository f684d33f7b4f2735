"""`logdrift open SESSION`: the explorer, or the list of a folder of sessions."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.paths import samples_folder

_MANIFEST = "session.json"
"""As `logdrift.core.session.layout` names it, which imports NumPy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Opens the explorer. Of a folder with several sessions the list opens. The"
        " shipped samples need no engine and no model: logdrift open --sample."
    )
    parser.add_argument(
        "session",
        type=Path,
        nargs="?",
        help="session folder, its name in the sessions folder, or a folder of sessions",
    )
    parser.add_argument(
        "--sample",
        action="store_true",
        help="open the list of the shipped samples, or the one named",
    )
    parser.add_argument(
        "--pair", metavar="A:B", help="captures to compare, e.g. trainer:vllm/decode"
    )


def run(args: argparse.Namespace) -> int:
    """Open the explorer. Raises InputError before the screen is taken over."""
    from logdrift.core.config import sessions_folder
    from logdrift.tui.door import on_terminal
    from logdrift.tui.door import run as run_app

    mouse = not args.no_mouse
    if args.sample:
        return _open_samples(args.session, mouse=mouse)
    if args.session is None:
        raise InputError(
            "open needs a session: logdrift open SESSION, or logdrift open --sample"
        )
    sessions = sessions_folder(args.sessions)
    # The explorer reads the session itself: twice would be 2 ms of a start.
    folder = named_folder(args.session, sessions)
    if _holds_sessions(folder):
        return _open_list(folder, mouse=mouse)
    if not on_terminal():
        _refuse_off_a_terminal(args.session, sessions)
    return run_app(folder, sessions, mouse=mouse, pair=args.pair)


def _refuse_off_a_terminal(named: Path, sessions: Path) -> None:
    """Raise InputError; what is wrong with the folder is worth saying first."""
    from logdrift.tui.door import need_terminal

    folder = find_session(named, sessions)
    need_terminal("the explorer", f"logdrift report {folder}")


def _open_samples(named: Path | None, *, mouse: bool) -> int:
    """The list of the samples, or one of them by its name."""
    folder = samples_folder()
    if named is None:
        return _open_list(folder, mouse=mouse)
    _refuse_off_a_terminal(named, folder)
    from logdrift.tui.door import run

    return run(folder / named, folder, mouse=mouse)


def _open_list(folder: Path, *, mouse: bool) -> int:
    from logdrift.tui.door import need_terminal, run

    need_terminal("the list of sessions", f"logdrift report {folder}/NAME")
    return run(None, folder, mouse=mouse)


def _holds_sessions(folder: Path) -> bool:
    """Whether it is no session, but a folder with one in it."""
    if os.path.exists(folder / _MANIFEST):
        return False
    return any(folder.glob(f"*/{_MANIFEST}"))


def find_session(given: Path, sessions: Path) -> Path:
    """A session by its folder, or by its name in the folder of sessions.

    Raises InputError where the folder is not a session.
    """
    # It imports NumPy, which the screen imports in its own way (`prepare`).
    from logdrift.core.session.layout import read_manifest

    folder = named_folder(given, sessions)
    read_manifest(folder)
    return folder


def named_folder(given: Path, sessions: Path) -> Path:
    """The folder that a path, or a name in the folder of sessions, stands for; it may
    hold no session.
    """
    is_name = len(given.parts) == 1
    # os.path.exists answers False where a name is too long, or cannot be one.
    if is_name and not os.path.exists(given) and os.path.exists(sessions / given):
        return sessions / given
    return given
