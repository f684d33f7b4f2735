"""`logdrift trend DIR`: the sessions of a training over its steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from logdrift.cli import flags
from logdrift.core.errors import InputError

_MANIFEST = "session.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "The sessions of a folder in the order of the training, one row a step:"
        " verdict, MAE with its interval, k3, ESS, share beyond 0.1, entropy, length"
        " and version lag; the first step from which on the MAE is not as before, and"
        " what is likely the cause. A session that was recorded over several steps has"
        " a row for each. docs/trend.md says how. Exit code 0, or 2 for bad input."
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="folder of sessions, or a session (default: the folder of sessions)",
    )
    parser.add_argument(
        "--pair",
        metavar="A:B",
        help="captures to compare in each session (default: trainer against rollout)",
    )
    flags.add_scope(parser)
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go on with each step that is added, until Ctrl-C",
    )
    parser.add_argument(
        "--screen",
        action="store_true",
        help="open the screen with charts instead, which follows the folder as well",
    )
    flags.add_forms(
        parser,
        json="JSON, schema 1: everything",
        md="Markdown, to paste into an issue",
    )
    flags.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Print, write or follow the trend."""
    folder = _folder(args)
    _check(args, folder)
    if args.screen:
        return _screen(folder, args)
    return _print(folder, args)


def _print(folder: Path, args: argparse.Namespace) -> int:
    from logdrift.cli.trend_output import measured, write
    from logdrift.core.trend.answered import TrendReport
    from logdrift.core.trend.reader import TrendReader
    from logdrift.core.trend.wish import TrendWish

    wanted = TrendWish(args.pair, args.scope)
    reader = TrendReader(folder, wanted)
    look = measured(reader)
    if args.follow:
        from logdrift.cli.trend_follow import follow

        return follow(reader, look, args.form, args.output)
    report = TrendReport.of(look.trend)
    write(report, args.form, args.output)
    return 0


def _folder(args: argparse.Namespace) -> Path:
    """The folder that is meant. Raises InputError where there is none."""
    from logdrift.cli.open import named_folder
    from logdrift.core.config import sessions_folder

    sessions = sessions_folder(args.sessions)
    if args.folder is None:
        folder = sessions
    else:
        folder = named_folder(args.folder, sessions)
    if folder.is_dir():
        return folder
    reason = "no such folder"
    if folder.exists():
        reason = "is a file: give a folder of sessions"
    raise InputError(reason, file=folder)


def _check(args: argparse.Namespace, folder: Path) -> None:
    """Raise InputError for what cannot be done, before anything is measured."""
    from logdrift.core.report.output import check_output

    if args.output is not None:
        inside = _session_around(args.output) or folder / _MANIFEST
        check_output(args.output, inside)
    elif args.follow and args.form in ("md", "html"):
        raise InputError(
            f"--follow writes --{args.form} again and again, which needs a file: give"
            " one with -o"
        )
    if args.screen and (args.follow or args.output or args.form != "text"):
        raise InputError(
            "--screen shows the trend and writes nothing: leave the other forms out"
        )


def _session_around(path: Path) -> Path | None:
    """The session folder that a file would lie in; None where it lies in none."""
    for parent in path.absolute().parents:
        if (parent / _MANIFEST).exists():
            return parent
    return None


def _screen(folder: Path, args: argparse.Namespace) -> int:
    from logdrift.tui.door import need_terminal
    from logdrift.tui.door import run as run_app

    need_terminal("the trend", f"logdrift trend {folder}")
    wanted = (args.pair, args.scope)
    return run_app(None, folder, mouse=not args.no_mouse, trend=wanted)
