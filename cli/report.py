"""`logdrift report SESSION`: the numbers of a session, for people and for programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from logdrift.cli import flags
from logdrift.cli.streams import write_document
from logdrift.core.compare.pair import Scope, default_pair, parse_pair
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.config import load_config, sessions_folder
from logdrift.core.errors import InputError
from logdrift.core.report.build import report_on
from logdrift.core.report.forms import rendered
from logdrift.core.report.layout import Canvas, canvas_of
from logdrift.core.report.marks import NotedToken
from logdrift.core.report.output import check_output, write_output
from logdrift.core.report.records import SessionReport
from logdrift.core.session.reader import Session, open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Every number of each pair of captures with its interval, noise floor and"
        " the limits of the frameworks, whether the pair may be compared, and the"
        " worst tokens. docs/report.md says what each number means. Exit code 0, or"
        " 2 for bad input."
    )
    flags.add_session(parser)
    flags.add_pairs(parser, "compare", default="every useful pair")
    flags.add_scope(parser)
    flags.add_forms(
        parser,
        json="JSON, schema 1: everything",
        md="Markdown, to paste into an issue",
    )
    parser.add_argument(
        "--why",
        action="store_true",
        help=(
            "with --json: the causes of each pair's gap too (diagnosis), as logdrift"
            " why finds them; takes longer"
        ),
    )
    parser.add_argument(
        "--marks",
        action="store_true",
        help=(
            "with --md or --html: the tokens that you marked in the explorer, with your"
            " notes"
        ),
    )
    flags.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Print or write the report."""
    from logdrift.cli.open import find_session

    folder = sessions_folder(args.sessions)
    if args.why and args.form != "json":
        raise InputError(
            "report --why goes with --json: logdrift why prints the causes as text"
        )
    if args.marks and args.form not in ("md", "html"):
        raise InputError(
            "report --marks goes with --md or --html: the explorer lists marks (B)"
        )
    if args.session is None:
        raise InputError(
            f"report needs a session: logdrift report SESSION{_names(folder)}"
        )
    session = find_session(args.session, folder)
    return print_report(
        session,
        pairs=args.pair,
        scope=args.scope,
        form=args.form,
        output=args.output,
        why=args.why,
        marks=args.marks,
    )


def print_report(
    folder: Path,
    pairs: Sequence[str] = (),
    scope: Scope | None = None,
    form: str = "text",
    output: Path | None = None,
    why: bool = False,
    marks: bool = False,
) -> int:
    """Report on the session in ``folder`` as ``form`` (text, md, html, json) to stdout,
    or to the file ``output``; returns 0. ``marks``: with those of the reader.

    Raises InputError for a bad session, pair, scope or file. BrokenPipeError is left to
    the caller.
    """
    session = open_session(folder)
    if output is not None:
        check_output(output, folder)
    chosen = [parse_pair(session, text) for text in pairs]
    limits = (*PUBLISHED, *load_config().thresholds)
    report = report_on(session, chosen, scope, limits, why=why)
    in_full = _pair_in_full(report, default_pair(session))
    if chosen:
        in_full = chosen[0]
    canvas = Canvas()
    if output is None:
        canvas = canvas_of(sys.stdout)
    noted = _marks(session) if marks else ()
    text = rendered(form, report, session, in_full, canvas, noted)
    if output is not None:
        write_output(output, text)
    elif form in ("md", "html"):
        write_document(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def _marks(session: Session) -> tuple[NotedToken, ...]:
    """The marks that this reader made in the explorer."""
    # Imported here: only this flag needs what the screens keep.
    from logdrift.tui.models.state import load_state

    state, problem = load_state(session.manifest.id)
    if problem is not None:
        raise InputError("--marks: what the explorer keeps of this session is damaged")
    return tuple(NotedToken(mark.position, mark.note) for mark in state.marks)


def _pair_in_full(
    report: SessionReport, usual: tuple[str, str] | None
) -> tuple[str, str] | None:
    """The pair to show in full: the usual one, or the first that has a token in the
    scope where that has none.
    """
    filled = [pair.labels for pair in report.pairs if pair.metrics.tokens]
    if usual in filled or not filled:
        return usual
    return filled[0]


def _names(folder: Path) -> str:
    """The sessions of the default folder, to choose from."""
    try:
        names = sorted(path.parent.name for path in folder.glob("*/session.json"))
    except OSError:
        names = []
    if not names:
        return ""
    if len(names) > 8:
        more = " ..."
    else:
        more = ""
    return f" ({folder} has {', '.join(names[:8])}{more})"
