"""The two panes of the why screen: the ranked causes, and the evidence for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual.events import Resize
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


class TopicList(Rows):
    """Causes with bar, sureness and score; below them gate, what was not checked, and
    the like.
    """

    fixed = 1

    topics: Sequence[Topic] = ()
    aside = ""

    @property
    def line_count(self) -> int:
        return len(self.topics)

    def put(self, topics: Sequence[Topic]) -> None:
        """Show topics; the one that was selected stays so by its name."""
        selected_before = self.here
        self.topics = topics
        self.selected = 0
        if selected_before is not None:
            self.selected = _index_of(topics, selected_before.name)
        self.rows_changed()

    @property
    def here(self) -> Topic | None:
        """The selected topic."""
        if self.topics:
            return self.topics[self.selected]
        return None

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Causes", width, self.aside)

    def runs(self, index: int, width: int) -> Row:
        topic = self.topics[index]
        palette = self.palette
        title = visible(topic.title)
        score = topic.score
        if score is None:
            text = fit(f"    {title}", width)
            return [(text, palette.muted)]
        place = f" {index + 1:>2} "
        mark = CERTAINTIES.get(topic.sureness, " ")
        sureness = f" {mark} {topic.sureness:<8} {score:.2f}  "
        room = width - cell_len(sureness) - _BAR - 4
        style = self._title_style(topic)
        return [
            (place, palette.muted),
            (score_bar(score), palette.accent),
            (sureness, palette.text),
            (fit(title, room), style),
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

    def _lay_out(self) -> None:
        rows: list[_DetailRow] = []
        for line in self.lines:
            for runs in self._wrapped(line):
                row = _DetailRow(runs, line)
                rows.append(row)
        self._rows = rows

    def _wrapped(self, line: TopicLine) -> list[Runs]:
        """A line in as many rows as it takes; the rest hangs below the first word."""
        palette = self.palette
        style = self._style(line)
        blank = " " * (line.indent + 1)
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
        width = self.inner_width - line.indent - 2
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
        if line.kind == "muted":
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
