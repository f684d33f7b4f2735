"""What every output is made of: a list of blocks, painted by
`logdrift.core.report.paint`.

Builders turn typed results into blocks and know no medium. Painters turn blocks into
lines of a terminal or of the screen, into Markdown, or into HTML, and know no result.
A block holds text as it was captured: the painters make it safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "bold", "dim", "good", "warn", "bad"]
"""How a text stands out; each painter has its own style for it."""


@dataclass(frozen=True, slots=True)
class Span:
    """Text in one tone."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """An empty line."""


@dataclass(frozen=True, slots=True)
class LineBlock:
    """A heading, or another text of one line: cut where it is too long."""

    text: str
    tone: Tone = "bold"


@dataclass(frozen=True, slots=True)
class SentenceBlock:
    """Running text, broken into lines with ``indent`` blanks before each.

    ``mark`` stands inside the indent of the first line, in ``mark_tone``, or in the
    tone of the text where that is empty.
    """

    text: str
    tone: Tone = ""
    indent: int = 0
    mark: str = ""
    mark_tone: Tone = ""


@dataclass(frozen=True, slots=True)
class SplitBlock:
    """One line with a text at its beginning, cut where it must be, and one at its end.

    ``room`` are the cells of the text at the end (None: as many as it has), ``gap`` the
    blanks that part the two.
    """

    left: str
    right: str
    tone: Tone = ""
    right_tone: Tone = ""
    indent: int = 0
    room: int | None = None
    gap: int = 1


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of ``width`` cells (None: as wide as its widest cell), ``gap`` blanks
    before it.

    ``right`` aligns numbers; ``wraps`` breaks the last column into lines instead of
    running over the edge. Of a column of a fixed width, ``most`` are the cells after
    which a text is cut. A ``word`` is never broken, a ``context`` takes what room there
    is, a ``place`` (sequence, position) holds even where the numbers mean nothing, and
    is not struck through with them.
    """

    title: str
    width: int | None = None
    right: bool = False
    gap: int = 0
    wraps: bool = False
    most: int | None = None
    kind: Literal["", "word", "context", "place"] = ""


@dataclass(frozen=True, slots=True)
class ContextCell:
    """A token between the text before and after it; as much of it as fits."""

    before: str
    piece: str
    after: str
    tone: Tone = "bold"
    token_id: int | None = None


@dataclass(frozen=True, slots=True)
class CodeSpan:
    """A name of the session, in a fixed-width font where the medium has one."""

    text: str


@dataclass(frozen=True, slots=True)
class NumberCell:
    """A number as it is written, ``-`` where it is unknown.

    ``unit`` follows it, ``notes`` stand below it in small letters. ``void``: it means
    nothing. ``anchor`` leads to another place of the document.
    """

    text: str
    unit: str = ""
    notes: tuple[str, ...] = ()
    void: bool = False
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class NameCell:
    """A name, ``owner`` in bold before it, ``notes`` in small letters below it.
    ``code``: a label or an identifier. ``long``: it may be broken anywhere.
    """

    text: str
    owner: str = ""
    notes: tuple[str, ...] = ()
    code: bool = False
    long: bool = False


@dataclass(frozen=True, slots=True)
class FactCell:
    """What was observed, None where it was not; ``before`` stands before it."""

    text: str | None
    before: str = ""


@dataclass(frozen=True, slots=True)
class PairCell:
    """A pair of captures; ``anchor`` leads to it, empty for the one that is shown."""

    a: str
    b: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class TagCell:
    """A word in the colour of ``kind``."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class MutedSpan:
    """A number that says less than what it follows: ``before`` in words, then it."""

    before: str
    number: NumberCell


InlinePart = Span | CodeSpan | NumberCell | TagCell | MutedSpan
Inline = tuple[InlinePart, ...]


@dataclass(frozen=True, slots=True)
class SourceCell:
    """Where something was read: a link where it is exactly one."""

    text: str


@dataclass(frozen=True, slots=True)
class ChartCell:
    """A small picture within a line: the ``name`` of its painter and what it draws."""

    name: str
    data: object


TableCell = (
    str
    | Span
    | ContextCell
    | NumberCell
    | NameCell
    | FactCell
    | PairCell
    | TagCell
    | SourceCell
    | ChartCell
)


Cells = Iterator[TableCell]
TableCells = tuple[TableCell, ...]
"""The cells of one row, as they are made and as they are kept."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """``tone`` is that of the cells that have none."""

    cells: TableCells
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class TableBlock:
    """Rows under the titles of their columns; no titles where all of them are empty.

    Columns without a width share the line: those in ``shrink`` are cut in this order
    until the table fits. ``cut`` cuts rows at the edge, and
    leaves out blanks at their end. ``mixed``: void numbers stand beside others.
    """

    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    title_tone: Tone = "dim"
    shrink: tuple[int, ...] = ()
    cut: bool = False
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class SeriesBlock:
    """Values side by side, each of ``rows`` below the one before; as many columns of
    ``width`` cells in a line as fit, the others below.
    """

    rows: tuple[tuple[str, ...], ...]
    width: int = 9
    indent: int = 2
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class ChartBlock:
    """A picture: the ``name`` of the chart in its registry, and the ``data`` it draws.

    ``text`` says how to read it. ``table`` has the same numbers, None where the picture
    has too many for a table.
    """

    name: str
    title: str
    text: str
    data: object
    table: TableBlock | None = None


@dataclass(frozen=True, slots=True)
class HeadingBlock:
    """The title of a part, and the anchor under which it is found."""

    level: int
    parts: Inline
    anchor: str = ""


ParagraphKind = Literal["", "muted", "answer", "void"]


@dataclass(frozen=True, slots=True)
class ParagraphBlock:
    """Running text with names and numbers that stand out."""

    parts: Inline
    kind: ParagraphKind = ""


@dataclass(frozen=True, slots=True)
class ListBlock:
    """Items, each on its line, numbered from 1 or not."""

    items: tuple[Inline, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class FoldedBlock:
    """Blocks that are opened on demand, and left out where there is no room.

    ``pair``: they are the whole part of one pair, which is ``void`` or not.
    """

    summary: Inline
    blocks: tuple[Block, ...]
    pair: bool = False
    void: bool = False
    anchor: str = ""


# What only a page has.


@dataclass(frozen=True, slots=True)
class HeadBlock:
    """The top of a page: what it is about, and ``links`` (anchor, word) to its parts.

    ``warning`` says what to know first, in the colour of ``kind``.
    """

    brand: str
    title: str
    facts: tuple[str, ...]
    warning: str
    kind: str
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FailureBlock:
    """A capture that failed, with the lines of its log."""

    label: str
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReasonsBlock:
    """(severity, text) of each reason of the gate."""

    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class VerdictBlock:
    """The verdict on a pair, with the blocks that explain it."""

    pair: PairCell
    verdict: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class CardBlock:
    """A number that stands out, with what it means and what is to be known of it."""

    title: str
    number: NumberCell
    meaning: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupBlock:
    """Blocks that belong together: ``kind`` says how they are arranged."""

    kind: Literal["panel", "grid", "columns", "cards", "pair", "part", "dim"]
    blocks: tuple[Block, ...]
    void: bool = False
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class LegendBlock:
    """The colours of tokens: ``steps`` in nats, for either sign."""

    steps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TokensBlock:
    """Tokens of a sequence, each on a background by its delta; ``tokens`` is what the
    painter of the medium takes.
    """

    tokens: object


Block = (
    Gap
    | LineBlock
    | SentenceBlock
    | SplitBlock
    | TableBlock
    | SeriesBlock
    | ChartBlock
    | HeadingBlock
    | ParagraphBlock
    | ListBlock
    | FoldedBlock
    | HeadBlock
    | FailureBlock
    | ReasonsBlock
    | VerdictBlock
    | CardBlock
    | GroupBlock
    | LegendBlock
    | TokensBlock
)
Blocks = Iterator[Block]
"""What a part of a document yields."""
