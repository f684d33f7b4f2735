"""The rows about one token: its place and bytes, and each capture's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import NOTHING, number, probability, signed
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import DOWN, UP, fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run, Runs

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import CaptureRow, Inspection

_BYTES = 16
"""How many bytes of a token are written out at most."""
_LABEL = 8
"""The fewest cells of a capture's label."""
_CAPTURE = 1 + 2 + _LABEL + 30
"""Cells of a capture's row without its last two columns: margin, side, label,
numbers.
"""
_FLOOR = 9
_RATIO = 9
"""Cells of the last two columns: Δ over its floor, and the ratio."""


class TokenDetails(NamedTuple):
    """Writes an `Inspection` as rows of runs.

    ``level`` is the level of the token's delta, as `Palette.level` takes it.
    ``greyed``: the pair cannot be compared.
    """

    view: Inspection
    level: int
    greyed: bool
    palette: Palette

    @property
    def value(self) -> Style:
        """The style of numbers."""
        if self.greyed:
            return self.palette.muted
        return self.palette.text

    # ---- the token itself

    def head(self, width: int) -> Runs:
        """Where the token is, its text and its id."""
        view = self.view
        palette = self.palette
        where = "completion"
        if view.in_prompt:
            where = "prompt"
        if view.masked:
            where += "  masked"
        position = f"[{view.index}] "
        tail = f" id {view.token_id}  {where}  seq {view.sequence}"
        room = width - len(position) - len(tail) - 3
        room = max(4, room)
        text = quoted(view.text)
        if cell_len(text) > room:
            text = fit(text, room).rstrip()
        return [
            (position, palette.muted),
            (text, palette.strong),
            (tail, palette.muted),
        ]

    def bytes(self) -> Runs:
        """The bytes of the token, and the character that they are a part of."""
        palette = self.palette
        raw = self.view.raw
        if raw is None:
            words = "bytes unknown: the session has no piece for this id"
            return [(words, palette.warn)]
        text = "none"
        if raw:
            text = raw[:_BYTES].hex(" ")
        count = len(raw)
        if count > _BYTES:
            text += f" … {count} bytes"
        return [
            ("bytes ", palette.muted),
            (text, palette.text),
            *self._part(),
        ]

    def _part(self) -> Runs:
        """The character that the token has a part of, and where the text shows it."""
        view = self.view
        if view.part is None:
            return []
        char, first, last = view.part
        where = f"at [{last}]"
        if view.index == last:
            where = "here"
        muted = self.palette.muted
        strong = self.palette.strong
        tail = f" with [{first}]-[{last}]: the text shows it {where}"
        return [
            ("  part of ", muted),
            (quoted(char), strong),
            (tail, muted),
        ]

    # ---- the pair

    def pair(self) -> Iterator[Runs]:
        """The rows that a narrow pane has in place of the last two columns."""
        palette = self.palette
        yield self.delta()
        words = self.floor_words()
        if words:
            indent = ("  ", palette.text)
            yield [indent, (words, palette.muted)]

    def delta(self) -> Runs:
        """Δ of the pair and what it means, or why there is none."""
        delta = self.view.delta
        palette = self.palette
        head: Run = ("Δ ", palette.strong)
        broken = self._broken_labels()
        if broken:
            labels = " and ".join(broken)
            words = f"NaN in {visible(labels)}"
            return [head, (words, palette.bad)]
        if delta is None or math.isnan(delta):
            words = "no score on both sides here"
            return [head, (words, palette.muted)]
        value = self._marked_delta(delta)
        words = f"  {_delta_words(delta)}"
        return [head, value, (words, palette.muted)]

    def _broken_labels(self) -> list[str]:
        """A and B as far as their score is NaN."""
        labels = []
        for row in self.view.captures:
            if row.side and row.broken:
                labels.append(row.label)
        return labels

    def _marked_delta(self, delta: float) -> Run:
        """Δ with the mark and the colour of its level."""
        value = signed(delta)
        level = self.level
        if not level:
            return value, self.value
        mark = DOWN
        if level > 0:
            mark = UP
        style = self.palette.level(level)
        return f"{mark}{value}", style

    def floor_words(self) -> str:
        """Δ of the pair as a multiple of its floor, "" where that is not known."""
        row = self._row_of("B")
        if row is None:
            return ""
        times = row.times
        if times is None:
            return ""
        if math.isinf(times):
            return "the floor is 0"
        return f"{_times(times)} the floor"

    # ---- the captures

    def side(self, side: str, width: int) -> Runs:
        """The numbers of A or B in one line of a narrow screen."""
        row = self._row_of(side)
        palette = self.palette
        if row is None:
            words = f"{side} no capture"
            return [(words, palette.muted)]
        room = width - 36
        label_cells = max(8, min(28, room))
        label = fit(row.label, label_cells)
        value = number(row.logprob)
        logprob = fit(value, 9, right=True)
        chance = probability(row.logprob)
        rank = rank_text(row.rank)
        numbers = f" {logprob}  p {chance:<6} rank {rank:<5}"
        return [
            (f"{side} ", palette.strong),
            (label, palette.text),
            (numbers, self.value),
            (row.note, self._note_style(row)),
        ]

    def _row_of(self, side: str) -> CaptureRow | None:
        for row in self.view.captures:
            if row.side == side:
                return row
        return None

    def fits_all_columns(self, width: int) -> bool:
        """Whether the captures have all their columns."""
        return width >= _CAPTURE + _FLOOR + _RATIO

    def captures(self, width: int) -> Iterator[Runs]:
        """A row of heads, then one row for each capture.

        The columns of Δ over its floor and of the ratio are there if there is room.
        """
        rows = self.view.captures
        spare = width - _CAPTURE
        extra = 0
        for cells in (_FLOOR, _RATIO):
            if spare < cells:
                break
            spare -= cells
            extra += 1
        label_widths = [cell_len(row.label) for row in rows]
        longest = max(label_widths, default=0)
        label_cells = min(longest, _LABEL + spare)
        label_cells = max(_LABEL, label_cells)
        head = _captures_head(label_cells, extra)
        yield [(head, self.palette.muted)]
        for row in rows:
            yield self._capture(row, label_cells, extra)

    def _capture(self, row: CaptureRow, label_cells: int, extra: int) -> Runs:
        """A capture's side, label and numbers."""
        palette = self.palette
        side = " "
        style = palette.muted
        if row.side:
            side = row.side
            style = palette.text
        label = visible(row.label)
        return [
            (f"{side} ", palette.strong),
            (fit(label, label_cells), style),
            *self._numbers(row, extra),
        ]

    def _numbers(self, row: CaptureRow, extra: int) -> Runs:
        """The numbers of a capture; ``extra``: how many of the last columns fit."""
        if row.logprob is None:
            note = row.note or NOTHING
            style = self._note_style(row)
            return [(f" {note}", style)]
        plain = self.value
        logprob = number(row.logprob)
        chance = probability(row.logprob)
        rank = rank_text(row.rank)
        text = f" {logprob:>8} {chance:>6} {rank:>4} "
        numbers = (text, plain)
        if row.side == "A":
            return [numbers]

        times = _times(row.times)
        ratio = number(row.ratio, 3)
        columns = [f"{times:>{_FLOOR}}", f"{ratio:>{_RATIO}}"]
        seen_columns = "".join(columns[:extra])
        tail = (seen_columns, plain)
        if row.side != "B" or row.delta is None:
            delta = f"{signed(row.delta):>8}"
            return [numbers, (delta, plain), tail]
        text, style = self._marked_delta(row.delta)
        blanks = " " * (8 - len(text))
        return [
            numbers,
            (blanks, plain),
            (text, style),
            tail,
        ]

    def _note_style(self, row: CaptureRow) -> Style:
        if row.broken:
            return self.palette.bad
        return self.palette.muted


def _captures_head(label_cells: int, extra: int) -> str:
    """The heads of the columns; ``extra``: how many of the last two there are."""
    widths = {
        "logprob": 9,
        "p": 7,
        "rank": 5,
        "Δ A−": 9,
        "Δ/floor": _FLOOR,
        "ratio": _RATIO,
    }
    heads = [f"{name:>{cells}}" for name, cells in widths.items()]
    count = 4 + extra
    numbers = "".join(heads[:count])
    capture = fit("capture", label_cells)
    return f"  {capture}{numbers}"


def _delta_words(delta: float) -> str:
    """Which side finds the token more likely, and how many times."""
    if delta == 0:
        return "both alike"
    a_is_higher = delta > 0
    if math.isinf(delta):
        if a_is_higher:
            return "B calls it impossible"
        return "A calls it impossible"
    more = "less"
    if a_is_higher:
        more = "more"
    bounded = max(-99.0, min(99.0, delta))
    ratio = number(math.exp(bounded))
    return f"A {more} likely, ratio {ratio}"


def _times(times: float | None) -> str:
    """A multiple of the floor."""
    if times is None or not math.isfinite(times):
        return number(times, 3)
    return f"{number(times, 3)}×"


def quoted(text: str) -> str:
    """A piece in quotes, with a dot for each blank so that blanks can be counted."""
    dotted = text.replace(" ", "·")
    return f'"{dotted}"'


def rank_text(rank: int | None) -> str:
    """A rank, `NOTHING` where there is none."""
    if rank is None:
        return NOTHING
    return str(rank)
