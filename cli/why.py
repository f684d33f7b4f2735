"""`logdrift why SESSION`: why the captures of a pair differ, from the data alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from logdrift.cli import trusting, why_identity, why_layers, why_run
from logdrift.cli.why_print import print_why
from logdrift.core.compare.pair import default_pair, parse_pair
from logdrift.core.config import sessions_folder
from logdrift.core.errors import InputError
from logdrift.core.session.reader import open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Names the causes of the gap between two captures, most likely first, with"
        " the numbers and tokens that show each, what could not be checked, and the"
        " next experiment. Without a flag nothing is run. docs/why.md says how it"
        " is found out. Exit code 0, 1 where a backend failed, or 2 for bad input."
    )
    parser.add_argument(
        "session",
        type=Path,
        nargs="?",
        help="session folder, or its name in the sessions folder",
    )
    parser.add_argument(
        "--pair",
        metavar="A:B",
        action="append",
        default=[],
        help=(
            "captures to explain, e.g. trainer:vllm/decode; may be given again"
            " (default: the session's main pair)"
        ),
    )
    parser.add_argument(
        "--json", action="store_true", help="JSON, schema 1: everything"
    )
    parser.add_argument(
        "--causes", action="store_true", help="print the table of causes and exit"
    )
    why_identity.add_arguments(parser)
    why_run.add_arguments(parser)
    why_layers.add_arguments(parser)
    trusting.add_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Print the diagnosis."""
    from logdrift.cli.open import find_session
    from logdrift.core.report.causes import causes_document, causes_json
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.strict_json import dump

    canvas = canvas_of(sys.stdout)
    if args.causes:
        sys.stdout.write(
            dump({"schema": 1, "causes": causes_json()})
            if args.json
            else paint_text(causes_document(), canvas)
        )
        return 0
    folder = sessions_folder(args.sessions)
    if args.session is None:
        raise InputError(
            "why needs a session: logdrift why SESSION (or logdrift why --causes)"
        )
    session = open_session(find_session(args.session, folder))
    asked = {
        "--layers": args.layers is not None,
        "--identity": args.identity,
        "--run": args.run or args.dry_run,
    }
    modes = [flag for flag, given in asked.items() if given]
    if len(modes) > 1:
        raise InputError(
            f"{' and '.join(modes)} are questions of their own: give one at a time"
        )
    if args.layers is not None:
        return why_layers.run(args, session)
    if args.debuggers:
        raise InputError(
            "--debuggers is for one sequence: add --layers SEQUENCE[:POSITION]"
        )
    if args.identity:
        return why_identity.run(args, session)
    if args.backend:
        raise InputError(
            "--backend names a backend for --identity: add --identity, or choose"
            " captures with --pair"
        )
    chosen = [parse_pair(session, text) for text in args.pair]
    if not chosen:
        main = default_pair(session)
        if main is None:
            raise InputError(
                f"session {session.name}: it does not have two captures to compare yet: wait"
                " for it, or go on with --resume"
            )
        chosen = [main]
    if why_run.wanted(args):
        return why_run.run(args, session, chosen)
    print_why(session, chosen, as_json=args.json)
    return 0
