"""Blocks as GitHub Markdown, to be pasted into an issue or a pull request.

Text of models and files is hostile here too: nothing of it may become markup, a mention
or a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from logdrift.core.numbers import UNKNOWN
from logdrift.core.report.document import (
    Block,
    CodeSpan,
    ContextCell,
    FactCell,
    FoldedBlock,
    Gap,
    HeadingBlock,
    Inline,
    InlinePart,
    LineBlock,
    ListBlock,
    MutedSpan,
    NameCell,
    NumberCell,
    PairCell,
    ParagraphBlock,
    SentenceBlock,
    SeriesBlock,
    Span,
    SplitBlock,
    TableBlock,
    TableCell,
    TagCell,
    Tone,
)
from logdrift.core.session.visible import visible

LIMIT = 60_000
"""Characters: GitHub refuses a comment of more than 65,536."""
_LONGEST = 200
_LONGEST_ANSWER = 1000
"""Characters of a cell, and of the sentence that all else is about."""
_MARKUP = re.compile(r"[&<>|`*\[\]\\#@~$!^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What may be markup: an underscore within a word is not."""


def paint_markdown(blocks: Iterable[Block], *, limit: int = LIMIT) -> str:
    """Blocks as Markdown. Where the text would pass ``limit`` characters, folded blocks
    are left out, and the last line says how many.
    """
    parts: list[str] = []
    size = 0
    left_out = 0
    for block in blocks:
        part = _block(block)
        is_too_long = size + len(part) > limit
        if is_too_long and isinstance(block, FoldedBlock):
            left_out += 1
        elif part and _continues(parts, block, part):
            parts[-1] += f"\n{part}"
            size += len(part) + 1
        elif part:
            parts.append(part)
            size += len(part) + 2
    if left_out:
        parts.append(
            f"{left_out} folded parts were left out so that this fits a comment: --html"
            " and --json have everything."
        )
    return "\n\n".join(parts) + "\n"


def _continues(parts: list[str], block: Block, part: str) -> bool:
    """Whether a sentence is the next item of the list that stands last."""
    if not isinstance(block, SentenceBlock) or not part.startswith("- "):
        return False
    return bool(parts) and parts[-1].startswith("- ")


def _block(block: Block) -> str:
    match block:
        case HeadingBlock():
            return f"{'#' * block.level} {_inline(block.parts)}"
        case ParagraphBlock():
            return _inline(block.parts)
        case ListBlock():
            return "\n".join(_items(block))
        case TableBlock():
            return _table(block)
        case FoldedBlock():
            inner = filter(None, map(_block, block.blocks))
            body = "\n\n".join(inner)
            summary = _inline(block.summary)
            if body:
                return _folded(summary, body)
            return ""
    return _line_block(block)


def _line_block(block: Block) -> str:
    """A block of a terminal's text."""
    match block:
        case Gap():
            return ""
        case LineBlock():
            return _toned(block.text.strip(), block.tone)
        case SentenceBlock():
            return _sentence(block)
        case SplitBlock():
            right = _toned(block.right, "bold")
            return f"{_toned(block.left, block.tone)}: {right}"
        case SeriesBlock():
            first, *rest = block.rows
            rows = [list(map(text, row)) for row in rest]
            return table(first, rows, range(len(first)))
    raise TypeError(f"Markdown has no {type(block).__name__}")


def _toned(value: str, tone: Tone) -> str:
    """What stands out in another medium is bold here."""
    safe = text(value, _LONGEST_ANSWER)
    if tone in ("", "dim") or not safe:
        return safe
    return f"**{safe}**"


def _sentence(block: SentenceBlock) -> str:
    """What is indented is an item, its mark in bold."""
    words = _toned(block.text, block.tone)
    mark = block.mark.strip()
    if mark:
        words = f"{_toned(mark, 'bold')} {words}"
    if block.indent:
        return f"- {words}"
    return words


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _items(block: ListBlock) -> Iterable[str]:
    for place, item in enumerate(block.items, 1):
        mark = "-"
        if block.numbered:
            mark = f"{place}."
        yield f"{mark} {_inline(item)}"


def _inline(parts: Inline) -> str:
    return "".join(map(_part, parts))


def _part(part: InlinePart) -> str:
    match part:
        case CodeSpan():
            return code(part.text)
        case NumberCell():
            return _number(part)
        case MutedSpan():
            return f"{text(part.before)}{_number(part.number)}"
        case Span(tone="bold"):
            return f"**{text(part.text, _LONGEST_ANSWER)}**"
    return text(part.text)


def text(value: str, longest: int = _LONGEST) -> str:
    """Text of any origin that no Markdown renderer takes for markup, a mention, a link
    or a line's end.
    """
    # GitHub looks for mentions and issues in the rendered text, where an entity is the
    # character again: the empty comment parts it from what follows.
    return (
        _entities(value, longest)
        .replace("&#64;", "&#64;<!-- -->")
        .replace("&#35;", "&#35;<!-- -->")
    )


def code(value: str) -> str:
    """Text of any origin in a fixed-width font. A code span cannot hold a pipe or a
    backtick safely, this can.
    """
    if value:
        return f"<code>{_entities(value)}</code>"
    return ""


def _entities(value: str, longest: int = _LONGEST) -> str:
    whole = visible(value)
    cut = whole
    if len(whole) > longest:
        cut = whole[: longest - 1] + "…"
    safe = _MARKUP.sub(_entity, cut)
    safe = safe.replace("://", "&#58;//")
    safe = safe.replace("www.", "www&#46;")
    return safe.replace("WWW.", "WWW&#46;")


def _entity(markup: re.Match[str]) -> str:
    return f"&#{ord(markup[0])};"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> str:
    """A table of cells that are Markdown already; columns in ``right`` are numbers. ""
    without rows.
    """
    if not rows:
        return ""
    places = range(len(head))
    rule = ["---:" if place in right else "---" for place in places]
    titles = list(map(text, head))
    lines = [" | ".join(cells) for cells in (titles, rule, *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _table(block: TableBlock) -> str:
    columns = block.columns
    head = [column.title for column in columns]
    right = [at for at, column in enumerate(columns) if column.right]
    rows = [list(map(_cell, row.cells)) for row in block.rows]
    return table(head, rows, right)


def _cell(cell: TableCell) -> str:
    match cell:
        case str():
            return text(cell)
        case Span() | TagCell():
            return text(cell.text)
        case NumberCell():
            return _number(cell)
        case NameCell():
            return _name(cell)
        case FactCell():
            if cell.text is None:
                known = "unknown"
            else:
                known = text(cell.text)
            if cell.before:
                return f"{text(cell.before)} {known}"
            return known
        case PairCell():
            return f"{code(cell.a or 'unknown')} → {code(cell.b or 'unknown')}"
        case ContextCell():
            piece = f"<b>»{_entities(cell.piece)}«</b>"
            before = _entities(cell.before)
            after = _entities(cell.after)
            return f"<code>{before}{piece}{after}</code>"
    raise TypeError(f"Markdown has no {type(cell).__name__}")


def _number(cell: NumberCell) -> str:
    number = cell.text
    if cell.void and number != UNKNOWN:
        # A number of a pair that may not be compared is struck out.
        number = f"~~{number}~~"
    return number + cell.unit


def _name(cell: NameCell) -> str:
    if cell.code:
        return code(cell.text)
    parts = filter(None, (cell.text, *cell.notes))
    words = map(text, parts)
    return " ".join(words) or UNKNOWN
