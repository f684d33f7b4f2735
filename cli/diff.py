"""`logdrift diff OLD NEW`: what a change made better or worse."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from logdrift.cli import flags
from logdrift.cli.streams import write_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Compare one pair of captures before and after a change, over the tokens"
        " that both sessions have in the same context: what got better, by how"
        " much, and whether it is more than noise. docs/diff-and-check.md says how."
        " Exit code 0, or 2 for bad input."
    )
    parser.add_argument(
        "old",
        type=Path,
        metavar="OLD",
        help="session before the change: folder or name",
    )
    parser.add_argument(
        "new",
        type=Path,
        metavar="NEW",
        help="session after the change; may be OLD, with --new-pair",
    )
    parser.add_argument(
        "--pair",
        metavar="A:B",
        help="captures to compare in both sessions (default: trainer against rollout)",
    )
    parser.add_argument(
        "--new-pair",
        metavar="A:B",
        help="captures to compare in NEW, where they have other names there",
    )
    flags.add_scope(parser)
    flags.add_forms(
        parser,
        json="JSON instead of text",
        md="Markdown, to paste into an issue or a pull request",
    )
    flags.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Print or write the diff."""
    from logdrift.cli.open import find_session
    from logdrift.core.config import sessions_folder
    from logdrift.core.report.diff import both_pairs, diff_sessions
    from logdrift.core.report.diff_forms import rendered_diff
    from logdrift.core.report.layout import Canvas, canvas_of
    from logdrift.core.report.output import check_output, write_output
    from logdrift.core.session.reader import open_session

    folder = sessions_folder(args.sessions)
    earlier = open_session(find_session(args.old, folder))
    later = open_session(find_session(args.new, folder))
    if args.output is not None:
        check_output(args.output, earlier.folder)
        check_output(args.output, later.folder)
    pairs = both_pairs(earlier, later, args.pair, args.new_pair)
    diff = diff_sessions(earlier, later, *pairs, args.scope)
    canvas = canvas_of(sys.stdout) if args.output is None else Canvas()
    text = rendered_diff(args.form, diff, canvas)
    if args.output is not None:
        write_output(args.output, text)
    elif args.form in ("md", "html"):
        write_document(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0
