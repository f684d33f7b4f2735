"""The report in each of its forms: text, Markdown, HTML or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.report.build import with_answer
from logdrift.core.report.document import TableBlock
from logdrift.core.report.layout import Canvas
from logdrift.core.report.records import SessionReport
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    from logdrift.core.report.marks import NotedToken
    from logdrift.core.report.paint.text import StyledLine
    from logdrift.core.report.why import ExplainedPair

FORMS = {".txt": "text", ".md": "md", ".html": "html", ".json": "json"}
"""The form that the ending of a file's name asks for."""


def rendered(
    form: str,
    report: SessionReport,
    session: Session,
    main: PairLabels | None,
    canvas: Canvas,
    marks: Sequence[NotedToken] = (),
) -> str:
    """The report as text on ``canvas``, or as md, html or json. Not for the event loop.

    ``main`` is the pair shown in full (None: the first), ``marks`` are those of the
    reader, which md and html have. The modules of a form are imported when it is
    asked for.
    """
    if form == "json":
        from logdrift.core.report.strict_json import dump

        return dump(report.to_json())
    if form == "html":
        return _explained_page(report, session, main, marks)
    answered = with_answer(report, session, main)
    if form == "md":
        return markdown_of(answered, main, _marked(answered, session, main, marks))
    return text_of(answered, canvas, main)


def _marked(
    report: SessionReport,
    session: Session,
    main: PairLabels | None,
    marks: Sequence[NotedToken],
) -> TableBlock | None:
    """The marked tokens with their numbers in the main pair; None without any."""
    shown = report.main_pair(main)
    if shown is None or not marks:
        return None
    from logdrift.core.report.marks import marks_table

    pair = make_pair(session, *shown.labels)
    return marks_table(pair, marks, void=shown.void)


def _explained_page(
    report: SessionReport,
    session: Session,
    main: PairLabels | None,
    marks: Sequence[NotedToken],
) -> str:
    """The page with the causes of its main pair."""
    from logdrift.core.report.why import explain_session

    shown = report.main_pair(main)
    if shown is None:
        return html_of(report, session, main)
    explained = explain_session(session, [shown.labels]).pairs[0]
    answered = replace(shown, answer=explained.diagnosis.answer)
    return html_of(
        report.with_pair(answered),
        session,
        main,
        [explained.pair],
        why=explained,
        marks=marks,
    )


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


def markdown_of(
    report: SessionReport,
    main: PairLabels | None = None,
    marked: TableBlock | None = None,
) -> str:
    """The report for an issue or a pull request; ``marked`` are the reader's marks."""
    from logdrift.core.report.comment import comment
    from logdrift.core.report.paint.markdown import paint_markdown

    blocks = comment(report, main, marked)
    return paint_markdown(blocks)


def html_of(
    report: SessionReport,
    session: Session,
    main: PairLabels | None = None,
    pairs: Sequence[Pair] = (),
    *,
    sequences: int | None = None,
    tokens: int | None = None,
    why: ExplainedPair | None = None,
    marks: Sequence[NotedToken] = (),
) -> str:
    """The report as a page. ``pairs`` are pairs already made from ``session``, so that
    their arrays are not computed again; ``why`` are the causes of the main pair, and
    ``marks`` the tokens that the reader marked.

    Of the worst ``sequences`` of the main pair at most ``tokens`` tokens are drawn;
    None is what `logdrift.core.report.page` draws.
    """
    from logdrift.core.report.page import SEQUENCES, TOKENS, page
    from logdrift.core.report.page_head import PageSource
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
    source = PageSource(
        report=report,
        session=session,
        made=made,
        why=why,
        marks=tuple(marks),
    )
    blocks = page(source, main, sequences=sequences, tokens=tokens)
    title = report.title or report.session or "report"
    return paint_html(blocks, title)
