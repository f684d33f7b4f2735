"""The two panes of the why screen: the ranked causes, and the evidence for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual.events import Click, Resize
from textual.strip import Strip

from logdrift.core.diagnose.causes import NOISE
from logdrift.core.session.visible import visible
from logdrift.core.words import CERTAINTIES
from logdrift.tui.glyphs import fit
from logdrift.tui.models.topics import Topic, TopicLine
from logdrift.tui.widgets.lines import Row, Runs
from logdrift.tui.widgets.reading import wrap
from logdrift.tui.widgets.rows import Rows

_BAR = 6
_MARGIN_CELLS = 4
_HEAD_CELLS = 28
"""Before a title: of a topic without a score, and of a cause with place, bar, sureness
and score.
"""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def score_bar(score: float, cells: int = _BAR) -> str:
    """A share from 0 to 1 as a bar in ``cells`` cells; more than 0 is always
    visible.
    """
    filled = score * cells
    eighths = round(filled * 8)
    if score > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    bar = "█" * full
    if rest:
        bar += _EIGHTHS[rest]
    return fit(bar, cells)


@dataclass(frozen=True, slots=True)
class _TopicRow:
    """A row as it is drawn, and the place of its topic in the list."""

    runs: Runs
    topic: int


class TopicList(Rows):
    """Causes with bar, sureness and score; below them gate, what was not checked, and
    the like. A title that is too long for a row goes on below; the rows of a topic are
    selected together.
    """

    fixed = 1

    topics: Sequence[Topic] = ()
    aside = ""
    _rows: Sequence[_TopicRow] = ()

    @property
    def line_count(self) -> int:
        return len(self._rows)

    @property
    def cells_needed(self) -> int:
        """The width in which every title stands in one row, the scroll bar included."""
        widest = 0
        for topic in self.topics:
            cells = _MARGIN_CELLS
            if topic.score is not None:
                cells = _HEAD_CELLS
            title = visible(topic.title)
            cells += cell_len(title)
            widest = max(widest, cells)
        return widest + 2

    def put(self, topics: Sequence[Topic]) -> None:
        """Show topics; the one that was selected stays so by its name."""
        selected_before = self.here
        self.topics = topics
        index = 0
        if selected_before is not None:
            index = _index_of(topics, selected_before.name)
        self._lay_out(index)

    def _lay_out(self, index: int) -> None:
        """Wrap the titles to the width; ``index`` is the selected topic."""
        rows = []
        width = self.inner_width
        for place, topic in enumerate(self.topics):
            for runs in self._wrapped(topic, place, width):
                row = _TopicRow(runs, place)
                rows.append(row)
        self._rows = rows
        self.selected = self._first_row(index)
        self.rows_changed()

    def on_resize(self, event: Resize) -> None:
        self._lay_out(self._index)

    def recoloured(self) -> None:
        """Other colours."""
        self._lay_out(self._index)

    @property
    def _index(self) -> int:
        """The place of the selected topic."""
        if not self._rows:
            return 0
        row = self._row_within(self.selected)
        return self._rows[row].topic

    @property
    def here(self) -> Topic | None:
        """The selected topic."""
        if self.topics and self._rows:
            return self.topics[self._index]
        return None

    def _rows_of(self, index: int) -> list[int]:
        """The rows of a topic."""
        rows = enumerate(self._rows)
        return [place for place, row in rows if row.topic == index]

    def _first_row(self, index: int) -> int:
        rows = self._rows_of(index)
        return rows[0] if rows else 0

    def select(self, index: int, *, tell: bool = False) -> None:
        """Select the topic of a row, the next one from a row that goes on."""
        row = self._row_within(index)
        if not self._rows:
            return
        topic = self._rows[row].topic
        before = self._index
        goes_on = topic == before and row > self.selected
        last = len(self.topics) - 1
        if goes_on and topic < last:
            topic += 1
        if topic == before:
            return
        rows = self._rows_of(topic)
        self.reveal(rows[-1])
        super().select(rows[0], tell=tell)
        rows += self._rows_of(before)
        for changed in rows:
            self.refresh_line(changed)

    def on_click(self, event: Click) -> None:
        row = self.line_at(event.y)
        if row is None:
            return
        topic = self._rows[row].topic
        was_selected = topic == self._index
        if was_selected or event.chain > 1:
            self.action_choose()
        else:
            first_row = self._first_row(topic)
            self._move(first_row)

    def is_selected(self, index: int) -> bool:
        """Whether a row is one of the selected topic."""
        row = self._rows[index]
        return row.topic == self._index

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Causes", width, self.aside)

    def runs(self, index: int, width: int) -> Row:
        return self._rows[index].runs

    def _wrapped(self, topic: Topic, place: int, width: int) -> list[Runs]:
        """A topic in as many rows as its title takes."""
        palette = self.palette
        title = visible(topic.title)
        margin = " " * _MARGIN_CELLS
        runs: Runs = [(margin, palette.muted)]
        style = palette.muted
        if topic.score is not None:
            runs = self._head(topic, topic.score, place)
            style = self._title_style(topic)
        texts = [text for text, _ in runs]
        head = "".join(texts)
        cells = cell_len(head)
        room = max(8, width - cells)
        first, *rest = wrap(title, room)
        runs.append((first, style))
        rows = [runs]
        hanging = (" " * cells, palette.text)
        for part in rest:
            run = (part, style)
            rows.append([hanging, run])
        return rows

    def _head(self, topic: Topic, score: float, place: int) -> Runs:
        """What stands before the name of a cause."""
        palette = self.palette
        rank = place + 1
        bar = score_bar(score)
        sureness = topic.sureness
        mark = CERTAINTIES.get(sureness, " ")
        return [
            (f" {rank:>2} ", palette.muted),
            (bar, palette.accent),
            (f" {mark} {sureness:<8} {score:.2f}  ", palette.text),
        ]

    def _title_style(self, topic: Topic) -> Style:
        palette = self.palette
        if topic.sureness == "refuted":
            return palette.muted
        if topic.name == NOISE:
            return palette.good
        if topic.sureness == "possible":
            return palette.text
        return palette.strong


def _index_of(topics: Sequence[Topic], name: str) -> int:
    """The topic of a name, or the first one."""
    for index, topic in enumerate(topics):
        if topic.name == name:
            return index
    return 0


@dataclass(frozen=True, slots=True)
class _DetailRow:
    """A row as it is drawn, and the line that it is a part of."""

    runs: Runs
    line: TopicLine


class TopicDetail(Rows):
    """Lines wrapped to the width, one row selected; rows of tokens can be taken."""

    fixed = 1

    title_text = ""
    lines: Sequence[TopicLine] = ()
    with_numbers = False
    """Whether the numbers behind the sentences are shown."""
    _rows: Sequence[_DetailRow] = ()

    @property
    def line_count(self) -> int:
        return len(self._rows)

    def put(
        self, title: str, lines: Sequence[TopicLine], *, keep: bool = False
    ) -> None:
        """Show lines from the top on; ``keep``: from where one was."""
        self.title_text = title
        self.lines = lines
        if not keep:
            self.selected = 0
            self.top = 0
        self._lay_out()
        self.rows_changed()

    def on_resize(self, event: Resize) -> None:
        self._lay_out()
        self.rows_changed()

    def show_numbers(self, shown: bool) -> None:
        """Show the numbers behind each sentence, or the sentences alone."""
        self.with_numbers = shown
        self._lay_out()
        self.rows_changed()

    def _lay_out(self) -> None:
        rows: list[_DetailRow] = []
        for line in self.lines:
            if line.kind == "numbers" and not self.with_numbers:
                continue
            for runs in self._wrapped(line):
                row = _DetailRow(runs, line)
                rows.append(row)
        self._rows = rows

    def _wrapped(self, line: TopicLine) -> list[Runs]:
        """A line in as many rows as it takes; the rest hangs below the first word."""
        palette = self.palette
        style = self._style(line)
        indent = line.indent + 1
        blank = " " * indent
        margin = (blank, palette.text)
        first = visible(line.first)
        text = visible(line.text)
        if line.kind == "token":
            head = (line.first, palette.accent)
            run = (text, style)
            return [[margin, head, run]]
        hanging = ""
        if line.first:
            hanging = "  "
        width = self.inner_width - indent - 1
        width = max(16, width)
        width -= len(hanging)
        whole = first + text
        first_row, *rest = wrap(whole, width)
        if not first_row.startswith(first):
            first = ""
        head = (first, palette.accent)
        first_text = first_row.removeprefix(first)
        first_run = (first_text, style)
        rows: list[Runs] = [[margin, head, first_run]]
        no_head = ("", palette.accent)
        margin = (blank + hanging, palette.text)
        for part in rest:
            run = (part, style)
            rows.append([margin, no_head, run])
        return rows

    def _style(self, line: TopicLine) -> Style:
        palette = self.palette
        if line.kind == "title":
            return palette.strong
        if line.kind in ("muted", "numbers"):
            return palette.muted
        return palette.text

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line(self.title_text, width)

    def runs(self, index: int, width: int) -> Row:
        row = self._rows[index]
        return row.runs

    def recoloured(self) -> None:
        """Other colours."""
        self._lay_out()
        self.refresh()

    @property
    def position(self) -> int | None:
        """The token of the selected row."""
        if not self._rows:
            return None
        row = self._rows[self.selected]
        return row.line.position

    def to_token(self) -> bool:
        """Select the first row of a token; False where there is none."""
        for index, row in enumerate(self._rows):
            if row.line.position is not None:
                self.select(index)
                self.reveal(index, 2)
                return True
        return False
