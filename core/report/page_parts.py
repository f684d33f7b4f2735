"""Small parts that stand all over a page."""

from __future__ import annotations

from collections.abc import Iterator

from logdrift.core.report.document import (
    Block,
    HeadingBlock,
    ParagraphBlock,
    Span,
)
from logdrift.core.words import MEANINGLESS


def heading(text: str, anchor: str = "", level: int = 2) -> HeadingBlock:
    """A heading of plain text, found under ``anchor``."""
    return HeadingBlock(level, (Span(text),), anchor)


def voided(void: bool) -> Iterator[Block]:
    """What stands before numbers that mean nothing."""
    if void:
        yield ParagraphBlock((Span(MEANINGLESS),), "void")
