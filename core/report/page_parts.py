"""Small parts that stand all over a page."""

from __future__ import annotations

from logdrift.core.report.document import (
    Blocks,
    HeadingBlock,
    ParagraphBlock,
    ParagraphKind,
    Span,
    Tone,
)
from logdrift.core.words import MEANINGLESS


def heading(text: str, anchor: str = "", level: int = 2) -> HeadingBlock:
    """A heading of plain text, found under ``anchor``."""
    words = Span(text)
    return HeadingBlock(level, (words,), anchor)


def paragraph(
    text: str, kind: ParagraphKind = "", *, tone: Tone = ""
) -> ParagraphBlock:
    """A paragraph of one run of text."""
    words = Span(text, tone)
    return ParagraphBlock((words,), kind)


def voided(void: bool) -> Blocks:
    """What stands before numbers that mean nothing."""
    if void:
        yield paragraph(MEANINGLESS, "void")
