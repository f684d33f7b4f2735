"""The two panes of the why screen: the ranked causes, and the evidence for one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual.events import Resize
from textual.strip import Strip

from logdrift.core.diagnose.causes import NOISE
from logdrift.core.session.visible import visible
from logdrift.core.words import CERTAINTIES
from logdrift.tui.glyphs import fit
from logdrift.tui.models.topics import Topic, TopicLine
from logdrift.tui.widgets.lines import Run, Runs
from logdrift.tui.widgets.reading import wrap
from logdrift.tui.widgets.rows import Rows

_BAR = 6
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def score_bar(score: float, cells: int = _BAR) -> str:
    """A share from 0 to 1 as a bar in ``cells`` cells; more than 0 is always
    visible.
    """
    eighths = round(score * cells * 8)
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

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.topics: Sequence[Topic] = ()
        self.aside = ""

    @property
    def line_count(self) -> int:
        return len(self.topics)

    def put(self, topics: Sequence[Topic]) -> None:
        """Show topics; the one that was selected stays so by its name."""
        before = self.here.name if self.here is not None else ""
        self.topics = topics
        self.selected = 0
        for index, topic in enumerate(topics):
            if topic.name == before:
                self.selected = index
                break
        self.rows_changed()

    @property
    def here(self) -> Topic | None:
        """The selected topic."""
        if self.topics:
            return self.topics[self.selected]
        return None

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Causes", width, self.aside)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        topic = self.topics[index]
        p = self.palette
        title = visible(topic.title)
        if topic.score is None:
            return [(fit(f"    {title}", width), p.muted)]
        mark = CERTAINTIES.get(topic.sureness, " ")
        sureness = f" {mark} {topic.sureness:<8} {topic.score:.2f}  "
        room = width - cell_len(sureness) - _BAR - 4
        return [
            (f" {index + 1:>2} ", p.muted),
            (score_bar(topic.score), p.accent),
            (sureness, p.text),
            (fit(title, room), self._title_style(topic)),
        ]

    def _title_style(self, topic: Topic) -> Style:
        p = self.palette
        if topic.sureness == "refuted":
            return p.muted
        if topic.name == NOISE:
            return p.good
        if topic.sureness == "possible":
            return p.text
        return p.strong


class TopicDetail(Rows):
    """Lines wrapped to the width, one row selected; rows of tokens can be taken."""

    fixed = 1

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.title_text = ""
        self.lines: Sequence[TopicLine] = ()
        self._rows: list[tuple[Runs, TopicLine]] = []

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
            self.selected = self.top = 0
        self._lay_out()
        self.rows_changed()

    def on_resize(self, event: Resize) -> None:
        self._lay_out()
        self.rows_changed()

    def _lay_out(self) -> None:
        self._rows = []
        for line in self.lines:
            for runs in self._wrapped(line):
                self._rows.append((runs, line))

    def _wrapped(self, line: TopicLine) -> list[Runs]:
        """A line in as many rows as it takes; the rest hangs below the first word."""
        palette = self.palette
        style = self._style(line)
        blank = " " * (line.indent + 1)
        first = visible(line.first)
        text = visible(line.text)
        if line.kind == "token":
            row: Runs = [(blank, palette.text), (line.first, palette.accent)]
            return [[*row, (text, style)]]
        hanging = "  " if line.first else ""
        width = max(16, self.inner_width - line.indent - 2) - len(hanging)
        head, *rest = wrap(first + text, width)
        if not head.startswith(first):
            first = ""
        rows: list[Runs] = [
            [
                (blank, palette.text),
                (first, palette.accent),
                (head.removeprefix(first), style),
            ]
        ]
        for part in rest:
            empty = ("", palette.accent)
            rows.append([(blank + hanging, palette.text), empty, (part, style)])
        return rows

    def _style(self, line: TopicLine) -> Style:
        if line.kind == "title":
            return self.palette.strong
        if line.kind == "muted":
            return self.palette.muted
        return self.palette.text

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line(self.title_text, width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        return self._rows[index][0]

    def recoloured(self) -> None:
        """Other colours."""
        self._lay_out()
        self.refresh()

    @property
    def position(self) -> int | None:
        """The token of the selected row."""
        if self._rows:
            return self._rows[self.selected][1].position
        return None

    def to_token(self) -> bool:
        """Select the first row of a token; False where there is none."""
        for index, (_, line) in enumerate(self._rows):
            if line.position is not None:
                self.select(index)
                self.reveal(index, 2)
                return True
        return False
