"""A long text: wrapped to the width, scrolled by key, searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual.events import Resize
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.models.flow import Fragment, fragments_of
from logdrift.tui.widgets.lines import Row as Row
from logdrift.tui.widgets.lines import Run, Runs, Styles, Text, strip_of

Line = str | Row
"""Text, which is wrapped, or runs, which are cut at the width."""


class Hanging(Runs):
    """Runs of which the last one is wrapped, and indented where it goes on."""


class Reading(Text):
    """Shows lines below a title, and marks the text that was searched for.

    ``at_end``: the end of the text is shown first.
    """

    fixed = 1
    margin = " "
    """Stands before every line: the text begins below the first letter of the title."""

    def __init__(
        self, title: str, source: Sequence[Line], at_end: bool = False, *, id: str
    ) -> None:
        super().__init__(id=id)
        self._title = title
        self._source = list(source)
        self._at_end = at_end
        self._rows: list[Row] = []
        self._first: list[int] = []
        """The first row of each line."""
        self._query = ""
        self._matches: list[int] = []
        """The lines that contain the query."""
        self._match = -1
        """The index of the current match."""

    @property
    def text_width(self) -> int:
        """Cells of a line of text."""
        room = self.inner_width - cell_len(self.margin)
        return max(1, room)

    @property
    def plain(self) -> str:
        """The whole text, for copying."""
        lines = map(plain, self._source)
        return "\n".join(lines)

    def put(self, title: str, source: Sequence[Line], *, at_end: bool = False) -> None:
        """Show another text, and search for the same words in it."""
        self._title = title
        self._source = list(source)
        self._at_end = at_end
        self.top = 0
        self._lay_out()
        if self._query:
            self.search(self._query)
        self.refresh()

    def fixed_line(self, y: int, width: int) -> Strip:
        place = ""
        count = len(self._matches)
        if count:
            match = self._match + 1
            place = f"{match} of {count} found"
        return self.title_line(self._title, width, place)

    def on_resize(self, event: Resize) -> None:
        self._lay_out()
        self._reveal_match()

    def recolour(self, styles: Styles) -> None:
        source = self._source
        self._source = [_recoloured(line, styles) for line in source]
        self._lay_out()
        self.refresh()

    def _lay_out(self) -> None:
        rows: list[Row] = []
        self._first = []
        for line in self._source:
            first = len(rows)
            self._first.append(first)
            rows += self._rows_of(line)
        self._rows = rows
        self._draw()
        if self._at_end:
            end = len(rows)
            self.scroll_top(end)
            self._at_end = False

    def _rows_of(self, line: Line) -> Iterator[Row]:
        """The rows of a line, each behind the margin."""
        margin = (self.margin, self.palette.text)
        for row in self._wrapped(line):
            yield [margin, *row]

    def _wrapped(self, line: Line) -> Sequence[Row]:
        width = self.text_width
        if isinstance(line, Hanging):
            return hanging(line, width)
        if not isinstance(line, str):
            return [line]
        style = self.palette.text
        text = visible(line)
        rows = wrap(text, width)
        return [[(part, style)] for part in rows]

    def _draw(self) -> None:
        width = self.inner_width
        matched = self._matched_rows()
        strips: list[Strip] = []
        for index, row in enumerate(self._rows):
            if index in matched:
                runs = self._marked(row)
                row = list(runs)
            strip = strip_of(row, width)
            strips.append(strip)
        self.set_lines(strips)

    def _matched_rows(self) -> set[int]:
        """The rows of all lines that contain the query."""
        first = self._first
        end = len(self._rows)
        stop = [*first[1:], end]
        matched: set[int] = set()
        for line in self._matches:
            first_row = first[line]
            rows = range(first_row, stop[line])
            matched.update(rows)
        return matched

    def _marked(self, row: Row) -> Iterator[Run]:
        """A row with the query marked."""
        found = self.palette.found
        length = len(self._query)
        for text, style in row:
            rest = 0
            for start in self._places_in(text):
                stop = start + length
                yield text[rest:start], style
                yield text[start:stop], found
                rest = stop
            yield text[rest:], style

    def _places_in(self, text: str) -> Iterator[int]:
        """Where the query begins in a text, in lower or upper case."""
        query = self._query
        lower = text.lower()
        if len(lower) != len(text):
            return  # the lower case of a character is longer: places would be shifted
        start = lower.find(query)
        while start >= 0:
            yield start
            stop = start + len(query)
            start = lower.find(query, stop)

    def search(self, text: str) -> int:
        """Mark ``text`` in all lines, in any case, and show the next line with it.

        Returns how many lines contain it; "" ends the search.
        """
        self._query = text.lower()
        self._matches = []
        if text:
            lines = self._lines_with_query()
            self._matches = list(lines)
        self._match = self._match_from_here()
        self._show_match()
        return len(self._matches)

    def search_again(self) -> None:
        """The lines are others: look for the same text in them."""
        matches = self._lines_with_query() if self._query else ()
        self._matches = list(matches)
        self._match = min(self._match, len(self._matches) - 1)

    def _lines_with_query(self) -> Iterator[int]:
        query = self._query
        for index, line in enumerate(self._source):
            text = visible(plain(line))
            if query in text.lower():
                yield index

    def _match_from_here(self) -> int:
        """The first match that is seen or below; else the first; -1 without one."""
        if not self._matches:
            return -1
        for match, line in enumerate(self._matches):
            row = self._first[line]
            if row >= self.top:
                return match
        return 0

    def step(self, step: int) -> bool:
        """Go to the next match (``step`` -1: the one before), around the ends.

        False where nothing was found.
        """
        count = len(self._matches)
        if not count:
            return False
        match = self._match + step
        self._match = match % count
        self._show_match()
        return True

    def _show_match(self) -> None:
        self._draw()
        self._reveal_match()
        self.refresh_fixed()

    def _reveal_match(self) -> None:
        if self._matches:
            line = self._matches[self._match]
            row = self._first[line]
            # In the middle, as far as there are lines on both sides.
            self.reveal(row, margin=self.page)


def _recoloured(line: Line, styles: Styles) -> Line:
    if isinstance(line, str):
        return line
    runs: Runs = []
    for text, style in line:
        new_style = styles.get(style, style)
        runs.append((text, new_style))
    if isinstance(line, Hanging):
        return Hanging(runs)
    return runs


def plain(line: Line) -> str:
    """The text of a line."""
    if isinstance(line, str):
        return line
    texts = [text for text, _ in line]
    return "".join(texts)


def hanging(row: Row, width: int) -> list[Row]:
    """The rows of runs whose last one is wrapped beside the others.

    The wrapped text has at least 8 cells.
    """
    *head, (text, style) = row
    widths = [cell_len(part) for part, _ in head]
    most = max(0, width - 8)
    head_cells = sum(widths)
    indent = min(most, head_cells)
    room = width - indent
    first, *rest = wrap(text, room)
    first_row = [*head, (first, style)]
    rows: list[Row] = [first_row]
    margin = (" " * indent, style)
    for part in rest:
        run = (part, style)
        rows.append([margin, run])
    return rows


def wrap(line: str, width: int) -> list[str]:
    """A line in rows of at most ``width`` cells, broken between words.

    A word longer than `logdrift.tui.models.flow.MAX_FRAGMENT` cells is cut.
    """
    rows = []
    row = ""
    room = width
    for fragment in line_fragments(line):
        text = fragment.text
        cells = fragment.cells
        if cells > room:
            rows.append(row)
            row = ""
            room = width
            if text.startswith(" ") and cells > 1:
                # A row does not begin with the blank at which the line is broken.
                text = text[1:]
                cells -= 1
        row += text
        room -= cells
    rows.append(row)
    return rows


def line_fragments(line: str) -> Iterator[Fragment]:
    """The pieces that stay on one row: words with the blank before."""
    marked = line.replace(" ", "\0 ")
    for word in marked.split("\0"):
        if word:
            yield from fragments_of(word)


def wrap_at_most(line: str, width: int, most: int) -> list[str]:
    """As `wrap`, in at most ``most`` rows; an ellipsis ends the last one if it is
    cut.
    """
    rows = wrap(line, width)
    if len(rows) <= most:
        return rows
    last = most - 1
    cut_rows = rows[last:]
    rest = " ".join(cut_rows)
    cut = fit(rest, width)
    return [*rows[:last], cut]
