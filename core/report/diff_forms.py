"""A diff in each of its forms: text, Markdown, HTML or JSON, all from one document."""

from __future__ import annotations

from logdrift.core.report.diff import DiffReport
from logdrift.core.report.layout import Canvas


def rendered_diff(form: str, diff: DiffReport, canvas: Canvas) -> str:
    """The diff as text on ``canvas``, or as md, html or json. The modules of a form are
    imported when it is asked for.
    """
    if form == "json":
        from logdrift.core.report.strict_json import dump

        return dump(diff.to_json())
    from logdrift.core.report import diff_document

    if form == "md":
        from logdrift.core.report.paint.markdown import paint_markdown

        return paint_markdown(diff_document.diff_comment(diff))
    if form == "html":
        from logdrift.core.report.paint.html import paint_html

        title = diff_document.diff_title(diff)
        return paint_html(diff_document.diff_page(diff), title)
    from logdrift.core.report.paint.text import paint_text

    return paint_text(diff_document.diff_document(diff), canvas)
