"""`logdrift check SESSION`: limits on the numbers of a session, as a gate for CI."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from logdrift.cli import flags
from logdrift.core.words import VERDICTS

if TYPE_CHECKING:
    from logdrift.core.report.check import MeasuredSession, Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Exit code 0 where every limit holds, 1 where one is broken or cannot be"
        " checked, 2 for bad input. A pair that is not comparable fails, and so"
        " does a session that is not finished. docs/metrics.md has the names of all"
        " metrics, docs/diff-and-check.md examples."
    )
    flags.add_session(parser, optional=False)
    parser.add_argument(
        "--max",
        metavar="METRIC=VALUE",
        action="append",
        default=[],
        dest="highest",
        help=(
            "the metric may be at most this, e.g. mae=0.03, k3=0.001,"
            " ci95.mae.high=0.03; may be given again"
        ),
    )
    parser.add_argument(
        "--min",
        metavar="METRIC=VALUE",
        action="append",
        default=[],
        dest="lowest",
        help=(
            "the metric must be at least this, e.g. same_top1=0.98; may be given again"
        ),
    )
    parser.add_argument(
        "--verdict",
        choices=tuple(VERDICTS),
        default="caution",
        help="the worst verdict of the gate that passes (default: caution)",
    )
    parser.add_argument(
        "--published",
        metavar="NAME",
        action="append",
        default=[],
        help=(
            "check the published limits of a framework (verl, nemo-rl, ...; all: of"
            " every one; exact: for bitwise equal setups; mine: those of the config"
            " file); may be given again"
        ),
    )
    flags.add_pairs(parser, "compare", default="trainer against rollout")
    flags.add_scope(parser)
    parser.add_argument(
        "--partial",
        action="store_true",
        help="accept a session that is not finished or has a failed capture",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="JSON instead of text; broken limits then go to stderr too",
    )


def run(args: argparse.Namespace) -> int:
    """Check and print the results; 0 if every limit holds, else 1.

    Bad input raises InputError before anything is computed.
    """
    # Imported here: `logdrift --help` and the other commands do without.
    from logdrift.cli.open import find_session
    from logdrift.core.compare.pair import default_pair, parse_pair
    from logdrift.core.config import load_config, sessions_folder
    from logdrift.core.report.check import (
        check_session,
        measure_session,
        parse_limits,
        published_limits,
    )
    from logdrift.core.session.reader import open_session

    limits = (
        *parse_limits(args.highest, args.lowest),
        *published_limits(args.published, load_config().thresholds),
    )
    session = open_session(find_session(args.session, sessions_folder(args.sessions)))
    pairs = [parse_pair(session, text) for text in args.pair]
    default = default_pair(session)
    if not pairs and default is not None:
        pairs = [default]
    different_pairs = list(dict.fromkeys(pairs))
    measured = measure_session(session, different_pairs, args.scope)
    results = check_session(measured, limits, args.verdict, args.partial)
    _write(measured, results, as_json=args.json)
    passed = all(result.ok for result in results)
    return 0 if passed else 1


def _write(
    session: MeasuredSession, results: Sequence[Result], *, as_json: bool
) -> None:
    """As text, or as JSON with a line on stderr for every broken limit."""
    from logdrift.core.report.check import broken_line, to_json
    from logdrift.core.report.check_document import check_document
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.strict_json import dump
    from logdrift.core.session.visible import visible

    if as_json:
        sys.stdout.write(dump(to_json(session, results)))
        for result in results:
            if not result.ok:
                print(f"logdrift: {visible(broken_line(result))}", file=sys.stderr)
    else:
        document = check_document(session, results)
        sys.stdout.write(paint_text(document, canvas_of(sys.stdout)))
    sys.stdout.flush()
