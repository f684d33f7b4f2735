"""Blocks of a terminal's text as HTML: lines, sentences, series of numbers."""

from __future__ import annotations

from html import escape

from logdrift.core.report.document import (
    LineBlock,
    SentenceBlock,
    SeriesBlock,
    SplitBlock,
    Tone,
)
from logdrift.core.session.visible import visible

TONES: dict[Tone, str] = {
    "": "",
    "bold": "strong",
    "dim": "muted",
    "good": "comparable",
    "warn": "caution",
    "bad": "not_comparable",
}
"""The class of each tone: a verdict's colours are those of good, warn and bad."""


def esc(text: str) -> str:
    """Text of any origin as HTML: what could steer a terminal or a browser is shown,
    not done.
    """
    return escape(visible(text))


def toned(text: str, tone: Tone) -> str:
    """Text of any origin in a tone."""
    if tone:
        return f'<span class="{TONES[tone]}">{esc(text)}</span>'
    return esc(text)


def line(block: LineBlock) -> str:
    """A bold line is the title of what follows."""
    text = block.text.strip()
    if block.tone == "bold":
        return f"<h3>{esc(text)}</h3>"
    return f"<p>{toned(text, block.tone)}</p>"


def sentence(block: SentenceBlock) -> str:
    """The mark stands before the text, which is indented as far as on a terminal."""
    text = toned(block.text, block.tone)
    mark = block.mark.strip()
    if not mark:
        return f'<p style="margin-left:{block.indent}ch">{text}</p>'
    left = block.mark.index(mark)
    width = block.indent - left
    before = toned(mark, block.mark_tone or block.tone or "bold")
    head = f'<span style="min-width:{width}ch">{before}</span>'
    style = f"margin-left:{left}ch"
    return f'<p class="marked" style="{style}">{head}<span>{text}</span></p>'


def split(block: SplitBlock) -> str:
    """Both texts side by side; a bold one is a title."""
    left = toned(block.left, block.tone)
    right = toned(block.right, block.right_tone or block.tone)
    name = "marked title" if block.tone == "bold" else "marked"
    style = f"margin-left:{block.indent}ch"
    return f'<p class="{name}" style="{style}"><span>{left}</span> {right}</p>'


def series(block: SeriesBlock) -> str:
    """A table without titles."""
    rows = ""
    for row in block.rows:
        cells = "".join(f'<td class="n">{toned(cell, block.tone)}</td>' for cell in row)
        rows += f"<tr>{cells}</tr>"
    return f'<div class="scroll"><table>{rows}</table></div>'
