"""A long text: wrapped to the width, scrolled by key, searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.flow import fragments_of
from logdrift.tui.glyphs import fit
from logdrift.tui.widgets.lines import Run, Text, strip_of

Row = Sequence[Run]
Line = str | Row
"""A text that is wrapped, or runs that are cut."""


class Hanging(list[Run]):
    """Runs of which the last is wrapped, each further row below where it begins."""


class Reading(Text):
    """Shows lines below a title. Found lines have what was searched for marked."""

    fixed = 1

    def __init__(
        self, title: str, source: Sequence[Line], at_end: bool = False, *, id: str
    ) -> None:
        super().__init__(id=id)
        self._title, self._source, self._at_end = title, list(source), at_end
        self._rows: list[Row] = []
        self._first: list[int] = []
        self._wanted, self._found, self._at = "", list[int](), -1

    @property
    def plain(self) -> str:
        """All of it, as it is copied."""
        return "\n".join(_plain(line) for line in self._source)

    def put(self, title: str, source: Sequence[Line], *, at_end: bool = False) -> None:
        """Another text; what was searched for is searched in it too."""
        self._title, self._source, self._at_end = title, list(source), at_end
        self.top = 0
        self._lay_out()
        if self._wanted:
            self.search(self._wanted)
        self.refresh()

    def fixed_line(self, y: int, width: int) -> Strip:
        place = f"{self._at + 1} of {len(self._found)} found" if self._found else ""
        return self.title_line(self._title, width, place)

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()
        if self._found:
            self.reveal(self._first[self._found[self._at]], 2)

    def recolour(self, styles: Mapping[Style, Style]) -> None:
        def changed(row: Row) -> Row:
            return type(row)([(text, styles.get(style, style)) for text, style in row])  # type: ignore[call-arg]

        self._source = [
            line if isinstance(line, str) else changed(line) for line in self._source
        ]
        self._lay_out()
        self.refresh()

    def _lay_out(self) -> None:
        width, style = self.inner_width, self.palette.text
        self._rows, self._first = [], []
        for line in self._source:
            self._first.append(len(self._rows))
            if isinstance(line, str):
                self._rows += [[(part, style)] for part in wrap(visible(line), width)]
            else:
                self._rows += (
                    hanging(line, width) if isinstance(line, Hanging) else [line]
                )
        self._draw()
        if self._at_end:
            self.scroll_top(len(self._rows))
            self._at_end = False

    def _draw(self) -> None:
        width = self.inner_width
        ends = [*self._first[1:], len(self._rows)]
        marked = {
            row for line in self._found for row in range(self._first[line], ends[line])
        }
        rows = (
            [*self._marked(row)] if i in marked else row
            for i, row in enumerate(self._rows)
        )
        self.set_lines([strip_of(row, width) for row in rows])

    def _marked(self, row: Row) -> Iterator[Run]:
        size = len(self._wanted)
        for text, style in row:
            low, at = text.lower(), 0
            # A character whose small form is longer would shift what is marked.
            found = low.find(self._wanted) if len(low) == len(text) else -1
            while found >= 0:
                yield text[at:found], style
                yield text[found : found + size], self.palette.found
                at, found = found + size, low.find(self._wanted, found + size)
            yield text[at:], style

    def search(self, text: str) -> int:
        """Mark all lines with ``text`` in them, in any case, and show the first from
        here on; how many there are.
        """
        self._wanted = text.lower()
        lines = enumerate(self._source) if text else ()
        self._found = [
            i for i, line in lines if self._wanted in visible(_plain(line)).lower()
        ]
        here = next(
            (n for n, i in enumerate(self._found) if self._first[i] >= self.top), 0
        )
        self._at = here if self._found else -1
        self._show_found()
        return len(self._found)

    def step(self, step: int) -> bool:
        """Go to the next or previous line found, around the ends; False where nothing
        was found.
        """
        if not self._found:
            return False
        self._at = (self._at + step) % len(self._found)
        self._show_found()
        return True

    def _show_found(self) -> None:
        self._draw()
        if self._found:
            self.reveal(self._first[self._found[self._at]], 2)
        self.refresh_fixed()


def _plain(line: Line) -> str:
    return line if isinstance(line, str) else "".join(text for text, _ in line)


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
    rows, row, room = [], "", width
    for word in line.replace(" ", "\0 ").split("\0"):
        for fragment in fragments_of(word) if word else ():
            text, cells = fragment.text, fragment.cells
            if cells > room:
                rows.append(row)
                row, room = "", width
                if text.startswith(" ") and cells > 1:
                    text, cells = (
                        text[1:],
                        cells - 1,
                    )  # the blank at which a line is broken is not seen
            row += text
            room -= cells
    return [*rows, row]


def wrap_at_most(line: str, width: int, most: int) -> list[str]:
    """As `wrap`, in at most ``most`` rows: an ellipsis ends the last one where there is
    more.
    """
    rows = wrap(line, width)
    return (
        rows
        if len(rows) <= most
        else [*rows[: most - 1], fit(" ".join(rows[most - 1 :]), width)]
    )
