"""The list of sessions as a widget: columns by width, sorted and filtered, repainted
row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip

from logdrift.core.numbers import duration, number
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.glyphs import fit
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.widgets.lines import Run, strip_of
from logdrift.tui.widgets.rows import Rows

_WORST = {"comparable": 0, "caution": 1, "not_comparable": 2}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its place is that in `COLUMNS`; ``rank`` says how early it is given
    room, ``down`` that the largest comes first when one sorts by it.
    """

    title: str
    cells: int
    rank: int
    key: Callable[[SessionRow], Any]
    right: bool = False
    down: bool = False


COLUMNS: dict[str, Column] = {
    "name": Column("session", 14, 0, lambda row: row.name.casefold()),
    "model": Column("model", 16, 7, lambda row: row.model.casefold() or None),
    "backends": Column("backends", 24, 5, lambda row: row.backends.casefold() or None),
    "tokens": Column(
        "tokens",
        10,
        4,
        lambda row: None if row.problem else row.tokens,
        right=True,
        down=True,
    ),
    "mae": Column("MAE", 8, 3, lambda row: row.mae, right=True, down=True),
    "verdict": Column(
        "verdict", 14, 2, lambda row: _WORST.get(row.verdict or ""), down=True
    ),
    "state": Column("state", 12, 1, lambda row: row.state or None),
    "date": Column("date", 16, 6, lambda row: row.created or None, down=True),
}
_STATE_CELLS = 17
"""Of a running session with its time left, where there is room."""
_ROOMY = 72
_NAME_CELLS = 44


def layout(width: int) -> list[tuple[str, int]]:
    """The columns that a width holds with their cells, the most important first served;
    what is left is the name's.
    """
    sizes = {name: column.cells for name, column in COLUMNS.items()}
    if width >= _ROOMY:
        sizes["state"] = _STATE_CELLS
    kept: list[str] = []
    used = 1
    for name in sorted(COLUMNS, key=lambda name: COLUMNS[name].rank):
        if used + sizes[name] + 1 > width and kept:
            break
        kept.append(name)
        used += sizes[name] + 1
    sizes["name"] = min(
        sizes["name"] + max(0, width - used), max(_NAME_CELLS, width // 4)
    )
    return [(name, sizes[name]) for name in COLUMNS if name in kept]


def sorted_rows(
    rows: Sequence[SessionRow], column: str, down: bool
) -> tuple[SessionRow, ...]:
    """Rows by a column; those without a value come last either way, equal ones stay as
    they were.
    """
    key = COLUMNS[column].key
    known = [row for row in rows if key(row) is not None]
    return (
        *sorted(known, key=key, reverse=down),
        *(row for row in rows if key(row) is None),
    )


def matches(row: SessionRow, wanted: str) -> bool:
    """Whether every word of a filter stands somewhere in the row."""
    verdict = VERDICTS.get(row.verdict or "", "")
    text = " ".join(
        (row.name, row.title, row.model, row.backends, verdict, row.state, row.created)
    ).casefold()
    return all(word in text for word in wanted.casefold().split())


class SessionList(Rows):
    """One session a row."""

    fixed = 2

    @dataclass
    class HeadClicked(Message):
        """The head of a column was clicked."""

        column: str

    def __init__(self, folder: Path, *, id: str) -> None:
        super().__init__(id=id)
        self._folder = folder
        self.rows: tuple[SessionRow, ...] = ()
        self.sessions: tuple[SessionRow, ...] = ()
        """Those that are shown, in this order."""
        self.sort, self.down = "date", True
        self.filter = ""
        self.marked: Path | None = None
        self.read = False

    @property
    def line_count(self) -> int:
        return len(self.sessions)

    @property
    def here(self) -> SessionRow | None:
        """The selected session."""
        return self.sessions[self.selected] if self.sessions else None

    @property
    def note(self) -> str:
        if not self.read:
            return "reading"
        total = len(self.rows)
        words = f"{total} session{'' if total == 1 else 's'}"
        return (
            f"{len(self.sessions)} of {words} · filter: {visible(self.filter)}"
            if self.filter
            else words
        )

    def show(
        self, rows: Sequence[SessionRow] | None = None, *, select: Path | None = None
    ) -> None:
        """List other rows, or the same ones after another order or filter was set; the
        selection stays on its session.

        Only lines that differ are painted again.
        """
        here, note = self.here, self.note
        wanted = select or (here.folder if here is not None else None)
        if rows is not None:
            self.rows, self.read = tuple(rows), True
        before = self.sessions
        chosen = [row for row in self.rows if matches(row, self.filter)]
        self.sessions = sorted_rows(chosen, self.sort, self.down)
        last = max(0, len(self.sessions) - 1)
        selected = next(
            (i for i, row in enumerate(self.sessions) if row.folder == wanted),
            min(self.selected, last),
        )
        if [row.folder for row in before] != [row.folder for row in self.sessions]:
            self.selected = selected
            self.rows_changed()
            return
        if note != self.note:
            self.refresh_fixed()
        for index, (old, new) in enumerate(zip(before, self.sessions, strict=True)):
            if old != new:
                self.refresh_line(index)
        if self.sessions:
            self.select(selected)

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            path, room = (
                visible(str(self._folder)),
                max(8, width - cell_len(self.note) - 15),
            )
            # Of a long path the end says more than the start.
            path = path if cell_len(path) <= room else "…" + path[1 - room :]
            return self.title_line(f"logdrift · {path}", width, self.note)
        runs: list[Run] = [("", self.palette.text)]
        for name, cells in layout(self.inner_width):
            mark = ("▾" if self.down else "▴") if name == self.sort else ""
            style = self.palette.text if mark else self.palette.muted
            runs.append(
                (
                    " "
                    + fit(COLUMNS[name].title + mark, cells, right=COLUMNS[name].right),
                    style,
                )
            )
        return strip_of(runs, width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        row, p = self.sessions[index], self.palette
        head = ("•" if row.folder == self.marked else " ", p.accent)
        if row.problem:
            return [
                head,
                (fit(row.name, 20) + " ", p.text),
                (fit(row.problem, width - 22), p.bad),
            ]
        out: list[Run] = [head]
        for name, cells in layout(width):
            if name == "name":
                out += self._name_runs(row, cells)
                continue
            text, style = self._cell(row, name, cells)
            out.append((" " + fit(text, cells, right=COLUMNS[name].right), style))
        return out

    def _name_runs(self, row: SessionRow, cells: int) -> list[Run]:
        """The name, and as much of the title as there is room for."""
        room = cells - cell_len(row.name) - 2
        if not row.title or room < 6:
            return [(fit(row.name, cells), self.palette.text)]
        return [
            (f"{row.name}  ", self.palette.text),
            (fit(row.title, room), self.palette.muted),
        ]

    def _cell(self, row: SessionRow, name: str, cells: int) -> tuple[str, Style]:
        p = self.palette
        if name == "verdict":
            if row.damage:
                return "damaged", p.bad
            return VERDICTS.get(row.verdict or "", ""), p.verdict(row.verdict)
        if name == "state":
            style = {"failed": p.bad, "partial": p.warn, "running": p.accent}.get(
                row.state, p.good
            )
            return state_words(row, cells), style
        texts = {
            "model": row.model,
            "backends": row.backends,
            "tokens": f"{row.tokens:,}",
            "mae": number(row.mae),
        }
        return texts.get(name, row.created), p.text

    def on_click(self, event: events.Click) -> None:
        if event.y == 1:
            event.stop()
            at = 0
            for name, cells in layout(self.inner_width):
                at += cells + 1
                if event.x < at:
                    self.post_message(self.HeadClicked(name))
                    return


def state_words(row: SessionRow, cells: int) -> str:
    """State with progress and time left, in few words where there are few cells."""
    if row.state != "running":
        return row.state
    word = "running" if cells >= _STATE_CELLS else "run"
    share = "" if row.progress is None else f" {row.progress:.0%}"
    return word + share + ("" if row.left is None else f" {duration(row.left)}")
