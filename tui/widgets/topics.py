"""The two panes of the why screen: the ranked causes with what else is to be known, and
what is told of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip

from logdrift.core.diagnose.causes import NOISE
from logdrift.core.session.visible import visible
from logdrift.core.words import CERTAINTIES
from logdrift.tui.glyphs import fit
from logdrift.tui.models.why import Line, Topic
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import wrap
from logdrift.tui.widgets.rows import Rows

_BAR = 6
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def score_bar(score: float, cells: int = _BAR) -> str:
    """A share from 0 to 1 as a bar in ``cells`` cells; what is not nothing is seen."""
    eighths = max(1 if score > 0 else 0, round(score * cells * 8))
    full, rest = divmod(eighths, 8)
    return fit("█" * full + (_EIGHTHS[rest] if rest else ""), cells)


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
        before = self.topics[self.selected].name if self.topics else ""
        self.topics = topics
        self.selected = next(
            (i for i, topic in enumerate(topics) if topic.name == before), 0
        )
        self.rows_changed()

    @property
    def here(self) -> Topic | None:
        return self.topics[self.selected] if self.topics else None

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Causes", width, self.aside)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        topic, p = self.topics[index], self.palette
        if topic.score is None:
            return [(fit(f"    {visible(topic.title)}", width), p.muted)]
        style = (
            p.good
            if topic.name == NOISE
            else p.text
            if topic.sureness == "possible"
            else p.strong
        )
        style = p.muted if topic.sureness == "refuted" else style
        sure = f" {CERTAINTIES.get(topic.sureness, ' ')} {topic.sureness:<8} {topic.score:.2f}  "
        room = width - cell_len(sure) - _BAR - 4
        return [
            (f" {index + 1:>2} ", p.muted),
            (score_bar(topic.score), p.accent),
            (sure, p.text),
            (fit(visible(topic.title), room), style),
        ]


class TopicDetail(Rows):
    """Lines wrapped to the width, one row selected; rows of tokens can be taken."""

    fixed = 1

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.title_text = ""
        self.lines: Sequence[Line] = ()
        self._rows: list[tuple[list[Run], Line]] = []

    @property
    def line_count(self) -> int:
        return len(self._rows)

    def put(self, title: str, lines: Sequence[Line], *, keep: bool = False) -> None:
        """Show lines from the top on; ``keep``: from where one was."""
        self.title_text, self.lines = title, lines
        if not keep:
            self.selected = self.top = 0
        self._lay_out()
        self.rows_changed()

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()
        self.rows_changed()

    def _lay_out(self) -> None:
        self._rows = [
            (runs, line) for line in self.lines for runs in self._wrapped(line)
        ]

    def _wrapped(self, line: Line) -> list[list[Run]]:
        p = self.palette
        styles: dict[str, Style] = {
            "title": p.strong,
            "text": p.text,
            "muted": p.muted,
            "token": p.text,
            "mend": p.text,
        }
        style = styles[line.kind]
        blank = " " * (line.indent + 1)
        if line.kind == "token":
            return [
                [(blank, p.text), (line.first, p.accent), (visible(line.text), style)]
            ]
        width = max(16, self.inner_width - line.indent - 2)
        parts = wrap(
            visible(line.first) + visible(line.text), width - (2 if line.first else 0)
        )
        rows: list[list[Run]] = []
        for number, part in enumerate(parts):
            head = (
                visible(line.first)
                if not number and part.startswith(visible(line.first))
                else ""
            )
            hang = blank + ("  " if line.first and number else "")
            rows.append([(hang, p.text), (head, p.accent), (part[len(head) :], style)])
        return rows

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
        return self._rows[self.selected][1].position if self._rows else None

    def to_token(self) -> bool:
        """Select the first row of a token; False where there is none."""
        found = next(
            (i for i, (_, line) in enumerate(self._rows) if line.position is not None),
            None,
        )
        if found is None:
            return False
        self.select(found)
        self.reveal(found, 2)
        return True
