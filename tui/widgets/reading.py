"""A long text: wrapped to the width, scrolled by key, searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.flow import fragments_of
from logdrift.tui.widgets.lines import Run, Text, strip_of

Row = Sequence[Run]
Line = str | Row
"""A text that is wrapped, or runs that are cut."""


class Hanging(list[Run]):
    """Runs of which the last is wrapped, each further row below where it begins."""


class Reading(Text):
    """Shows lines below a title. Lines that were searched for have the text marked.

    ``at_end``: the end is what is seen first.
    """

    fixed = 1

    def __init__(
        self, title: str, source: Sequence[Line], at_end: bool = False, *, id: str
    ) -> None:
        super().__init__(id=id)
        self._title, self._source, self._at_end = title, list(source), at_end
        self._rows: list[Row] = []
        self._first: list[int] = []
        """The first row of each line."""
        self._query = ""
        self._matches: list[int] = []
        """The lines that have the query."""
        self._match = -1
        """Which of the matches is looked at."""

    @property
    def plain(self) -> str:
        """All of it, as it is copied."""
        return "\n".join(_plain(line) for line in self._source)

    def put(self, title: str, source: Sequence[Line], *, at_end: bool = False) -> None:
        """Another text; what was searched for is searched in it too."""
        self._title, self._source, self._at_end = title, list(source), at_end
        self.top = 0
        self._lay_out()
        if self._query:
            self.search(self._query)
        self.refresh()

    def fixed_line(self, y: int, width: int) -> Strip:
        place = ""
        if self._matches:
            place = f"{self._match + 1} of {len(self._matches)} found"
        return self.title_line(self._title, width, place)

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()
        self._reveal_match()

    def recolour(self, styles: Mapping[Style, Style]) -> None:
        self._source = [_recoloured(line, styles) for line in self._source]
        self._lay_out()
        self.refresh()

    def _lay_out(self) -> None:
        self._rows = []
        self._first = []
        for line in self._source:
            self._first.append(len(self._rows))
            self._rows += self._rows_of(line)
        self._draw()
        if self._at_end:
            self.scroll_top(len(self._rows))
            self._at_end = False

    def _rows_of(self, line: Line) -> Sequence[Row]:
        if isinstance(line, str):
            style = self.palette.text
            return [[(part, style)] for part in wrap(visible(line), self.inner_width)]
        if isinstance(line, Hanging):
            return hanging(line, self.inner_width)
        return [line]

    def _draw(self) -> None:
        ends = [*self._first[1:], len(self._rows)]
        matched: set[int] = set()
        for line in self._matches:
            matched.update(range(self._first[line], ends[line]))
        rows = (
            [*self._marked(row)] if index in matched else row
            for index, row in enumerate(self._rows)
        )
        self.set_lines([strip_of(row, self.inner_width) for row in rows])

    def _marked(self, row: Row) -> Iterator[Run]:
        """A row with the query marked."""
        size = len(self._query)
        for text, style in row:
            low = text.lower()
            start = 0
            # A character whose small form is longer would shift what is marked.
            if len(low) == len(text):
                at = low.find(self._query)
            else:
                at = -1
            while at >= 0:
                yield text[start:at], style
                yield text[at : at + size], self.palette.found
                start = at + size
                at = low.find(self._query, start)
            yield text[start:], style

    def search(self, text: str) -> int:
        """Mark all lines with ``text`` in them, in any case, and show the first from
        here on; how many there are.
        """
        self._query = text.lower()
        self._matches = [
            index
            for index, line in enumerate(self._source if text else ())
            if self._query in visible(_plain(line)).lower()
        ]
        below = (
            match
            for match, line in enumerate(self._matches)
            if self._first[line] >= self.top
        )
        if self._matches:
            self._match = next(below, 0)
        else:
            self._match = -1
        self._show_match()
        return len(self._matches)

    def step(self, step: int) -> bool:
        """Go to the next or previous line found, around the ends; False where nothing
        was found.
        """
        if not self._matches:
            return False
        self._match = (self._match + step) % len(self._matches)
        self._show_match()
        return True

    def _show_match(self) -> None:
        self._draw()
        self._reveal_match()
        self.refresh_fixed()

    def _reveal_match(self) -> None:
        if self._matches:
            self.reveal(self._first[self._matches[self._match]], 2)


def _recoloured(line: Line, styles: Mapping[Style, Style]) -> Line:
    if isinstance(line, str):
        return line
    runs = [(text, styles.get(style, style)) for text, style in line]
    if isinstance(line, Hanging):
        return Hanging(runs)
    return runs


def _plain(line: Line) -> str:
    if isinstance(line, str):
        return line
    return "".join(text for text, _ in line)


def hanging(row: Row, width: int) -> list[Row]:
    """The rows of runs whose last one is wrapped into the cells behind the others, at
    least 8.
    """
    *head, (text, style) = row
    indent = min(sum(cell_len(part) for part, _ in head), max(0, width - 8))
    first, *rest = wrap(text, width - indent)
    return [
        [*head, (first, style)],
        *([(" " * indent, style), (part, style)] for part in rest),
    ]


def wrap(line: str, width: int) -> list[str]:
    """A line cut into rows of at most ``width`` cells, between words where that is
    near.
    """
    rows = []
    row = ""
    room = width
    for text, cells in _fragments(line):
        if cells > room:
            rows.append(row)
            row = ""
            room = width
            if text.startswith(" ") and cells > 1:
                # The blank at which a line is broken is not seen.
                text = text[1:]
                cells = cells - 1
        row += text
        room -= cells
    return [*rows, row]


def _fragments(line: str) -> Iterator[tuple[str, int]]:
    """What stays on one row, with its cells: words with the blank before them."""
    for word in line.replace(" ", "\0 ").split("\0"):
        if word:
            for fragment in fragments_of(word):
                yield fragment.text, fragment.cells


def wrap_at_most(line: str, width: int, most: int) -> list[str]:
    """As `wrap`, in at most ``most`` rows: an ellipsis ends the last one where there is
    more.
    """
    rows = wrap(line, width)
    if len(rows) <= most:
        return rows
    return [*rows[: most - 1], fit(" ".join(rows[most - 1 :]), width)]
