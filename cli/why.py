"""`logdrift why SESSION`: why the captures of a pair differ, from the data alone."""

from __future__ import annotations

import argparse
import sys

from logdrift.cli import flags, trusting, why_identity, why_layers, why_run
from logdrift.cli.why_print import print_why
from logdrift.core.compare.pair import default_pair, parse_pair
from logdrift.core.config import sessions_folder
from logdrift.core.errors import InputError
from logdrift.core.session.reader import Session, open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Names the causes of the gap between two captures, most likely first, with"
        " the numbers and tokens that show each, what could not be checked, and the"
        " next experiment. Without a flag nothing is run. docs/why.md says how it"
        " is found out. Exit code 0, 1 where a backend failed, or 2 for bad input."
    )
    flags.add_session(parser)
    flags.add_pairs(parser, "explain", default="the session's main pair")
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

    if args.causes:
        return _print_causes(as_json=args.json)
    if args.session is None:
        raise InputError(
            "why needs a session: logdrift why SESSION (or logdrift why --causes)"
        )
    session = open_session(find_session(args.session, sessions_folder(args.sessions)))
    _refuse_two_questions(args)
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
    pairs = _pairs(args, session)
    if why_run.wanted(args):
        return why_run.run(args, session, pairs)
    print_why(session, pairs, as_json=args.json)
    return 0


def _print_causes(*, as_json: bool) -> int:
    """Print the table of causes."""
    from logdrift.core.report.causes import causes_document, causes_json
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.strict_json import dump

    if as_json:
        sys.stdout.write(dump({"schema": 1, "causes": causes_json()}))
    else:
        sys.stdout.write(paint_text(causes_document(), canvas_of(sys.stdout)))
    return 0


def _refuse_two_questions(args: argparse.Namespace) -> None:
    """Raise InputError where flags ask for two kinds of answers."""
    asked = {
        "--layers": args.layers is not None,
        "--identity": args.identity,
        "--run": args.run or args.dry_run,
    }
    questions = [flag for flag, is_asked in asked.items() if is_asked]
    if len(questions) > 1:
        raise InputError(
            f"{' and '.join(questions)} are questions of their own: give one at a time"
        )


def _pairs(args: argparse.Namespace, session: Session) -> list[tuple[str, str]]:
    """The pairs that were asked for, or the usual one."""
    if args.pair:
        return [parse_pair(session, text) for text in args.pair]
    usual = default_pair(session)
    if usual is None:
        raise InputError(
            f"session {session.name}: it does not have two captures to compare yet:"
            " wait for it, or go on with --resume"
        )
    return [usual]
