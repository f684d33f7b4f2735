"""`logdrift check SESSION`: limits on the numbers of a session, as a gate for CI."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.cli import flags
from logdrift.core.words import VERDICTS

if TYPE_CHECKING:
    from logdrift.core.compare.pairs import PairLabels
    from logdrift.core.report.check import MeasuredSession, Result
    from logdrift.core.session.reader import Session


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
            " ci95.mae.high=0.03, or by a framework's name for it:"
            " rollout_probs_diff_mean=0.005; may be given again"
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
        "--baseline",
        metavar="SESSION",
        type=Path,
        help=(
            "an earlier session: MAE and k3 may not be worse than there, beyond noise"
        ),
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help=(
            "every token must have the same bits on both sides, and in a third capture"
            " of it where there is one"
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
        "--junit", metavar="FILE", type=Path, help="write JUnit XML too"
    )
    parser.add_argument(
        "--sarif", metavar="FILE", type=Path, help="write SARIF 2.1.0 too"
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
    from logdrift.core.config import load_config, sessions_folder
    from logdrift.core.report.asked_limits import parse_limits, published_limits
    from logdrift.core.report.check import check_session, measure_session
    from logdrift.core.session.reader import open_session

    limits = (
        *parse_limits(args.highest, args.lowest),
        *published_limits(args.published, load_config().thresholds),
    )
    sessions = sessions_folder(args.sessions)
    session = open_session(find_session(args.session, sessions))
    baseline = None
    if args.baseline is not None:
        baseline = open_session(find_session(args.baseline, sessions))
    files = {"junit": args.junit, "sarif": args.sarif}
    _check_files(files, session)
    pairs = _pairs(session, args.pair)
    measured = measure_session(session, pairs, args.scope)
    results = check_session(measured, limits, args.verdict, args.partial)
    if args.exact:
        from logdrift.core.report.check_exact import exact_results

        results += exact_results(session, pairs, args.scope)
    if baseline is not None:
        from logdrift.core.report.check_baseline import baseline_results

        results += baseline_results(session, baseline, measured.pairs)
    _write(measured, results, as_json=args.json)
    _write_files(files, measured, results, session.folder)
    passed = all(result.ok for result in results)
    return 0 if passed else 1


def _pairs(session: Session, texts: Sequence[str]) -> list[PairLabels]:
    """The pairs that are asked for, each once; else the usual one."""
    from logdrift.core.compare.pair import default_pair, parse_pair

    pairs = [parse_pair(session, text) for text in texts]
    default = default_pair(session)
    if not pairs and default is not None:
        pairs = [default]
    return list(dict.fromkeys(pairs))


def _check_files(files: Mapping[str, Path | None], session: Session) -> None:
    """Refuse (InputError) files that cannot be written, before anything is computed."""
    from logdrift.core.report.output import check_output

    for file in files.values():
        if file is not None:
            check_output(file, session.folder)


def _write_files(
    files: Mapping[str, Path | None],
    session: MeasuredSession,
    results: Sequence[Result],
    folder: Path,
) -> None:
    from logdrift.core.report.output import write_output

    junit = files["junit"]
    if junit is not None:
        from logdrift.core.report.junit import junit_xml

        write_output(junit, junit_xml(session, results))
    sarif = files["sarif"]
    if sarif is not None:
        from logdrift.core.report.sarif import sarif_log
        from logdrift.core.report.strict_json import dump

        write_output(sarif, dump(sarif_log(session, results, folder)))


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
