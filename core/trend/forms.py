"""A trend in each of its forms: text, Markdown, HTML or JSON, all from one document."""

from __future__ import annotations

from logdrift.core.report.layout import Canvas
from logdrift.core.trend.answered import TrendReport


def rendered_trend(form: str, report: TrendReport, canvas: Canvas) -> str:
    """The trend as text on ``canvas``, or as md, html or json. The modules of a form
    are imported when it is asked for.
    """
    if form == "json":
        from logdrift.core.report.strict_json import dump

        return dump(report.to_json())
    from logdrift.core.trend import document

    if form == "md":
        from logdrift.core.report.paint.markdown import paint_markdown

        return paint_markdown(document.trend_comment(report))
    if form == "html":
        from logdrift.core.report.paint.html import paint_html

        return paint_html(document.trend_page(report), report.title)
    from logdrift.core.report.paint.text import paint_text

    blocks = document.trend_document(report, canvas.width)
    return paint_text(blocks, canvas)
