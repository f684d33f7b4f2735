"""The report in each of its forms: text, Markdown, HTML or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.report.build import with_answer
from logdrift.core.report.layout import Canvas
from logdrift.core.report.records import SessionReport
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    from logdrift.core.report.paint.text import StyledLine

FORMS = {".txt": "text", ".md": "md", ".html": "html", ".json": "json"}
"""The form that the ending of a file's name asks for."""


def rendered(
    form: str,
    report: SessionReport,
    session: Session,
    main: PairLabels | None,
    canvas: Canvas,
) -> str:
    """The report as text on ``canvas``, or as md, html or json. Not for the event loop.

    ``main`` is the pair shown in full (None: the first). The modules of a form are
    imported when it is asked for.
    """
    if form == "json":
        from logdrift.core.report.strict_json import dump

        return dump(report.to_json())
    answered = with_answer(report, session, main)
    if form == "md":
        return markdown_of(answered, main)
    if form == "html":
        return html_of(answered, session, main)
    return text_of(answered, canvas, main)


def text_of(
    report: SessionReport, canvas: Canvas, main: PairLabels | None = None
) -> str:
    """The report for a terminal."""
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.session_text import session_text

    blocks = session_text(report, main)
    return paint_text(blocks, canvas)


def styled_text(
    report: SessionReport, session: Session, main: PairLabels | None, canvas: Canvas
) -> list[StyledLine]:
    """The report as lines of runs, each in its tone. Not for the event loop."""
    from logdrift.core.report.paint.text import styled_lines
    from logdrift.core.report.session_text import session_text

    answered = with_answer(report, session, main)
    blocks = session_text(answered, main)
    return list(styled_lines(blocks, canvas))


def markdown_of(report: SessionReport, main: PairLabels | None = None) -> str:
    """The report for an issue or a pull request."""
    from logdrift.core.report.comment import comment
    from logdrift.core.report.paint.markdown import paint_markdown

    blocks = comment(report, main)
    return paint_markdown(blocks)


def html_of(
    report: SessionReport,
    session: Session,
    main: PairLabels | None = None,
    pairs: Sequence[Pair] = (),
    *,
    sequences: int | None = None,
    tokens: int | None = None,
) -> str:
    """The report as a page. ``pairs`` are pairs already made from ``session``, so that
    their arrays are not computed again.

    Of the worst ``sequences`` of the main pair at most ``tokens`` tokens are drawn;
    None is what `logdrift.core.report.page` draws.
    """
    from logdrift.core.report.page import SEQUENCES, TOKENS, PageSource, page
    from logdrift.core.report.paint.html import paint_html

    if sequences is None:
        sequences = SEQUENCES
    if tokens is None:
        tokens = TOKENS
    made = {}
    for pair in pairs:
        label_a = pair.a.info.label
        label_b = pair.b.info.label
        made[label_a, label_b] = pair
    source = PageSource(report, session, made)
    blocks = page(source, main, sequences=sequences, tokens=tokens)
    title = report.title or report.session or "report"
    return paint_html(blocks, title)
