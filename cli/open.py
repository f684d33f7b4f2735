"""`logdrift open SESSION`: the explorer."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("session", type=Path, help="session folder")
    parser.add_argument(
        "--pair", metavar="A:B", help="captures to compare, e.g. trainer:vllm/decode"
    )


def run(args: argparse.Namespace) -> int:
    """Open the explorer. Raises InputError before the screen is taken over."""
    from logdrift.core.config import sessions_folder
    from logdrift.tui.door import need_terminal, on_terminal
    from logdrift.tui.door import run as run_app

    sessions = sessions_folder(args.sessions)
    if not on_terminal():
        # What is wrong with the folder is worth saying first.
        folder = find_session(args.session, sessions)
        need_terminal("the explorer", f"logdrift report {folder}")
    # The explorer reads the session itself: twice would be 2 ms of a start.
    folder = named_folder(args.session, sessions)
    return run_app(folder, sessions, mouse=not args.no_mouse, pair=args.pair)


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
