"""What is told of one token: its place and bytes, and each capture's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import NOTHING, number, probability, signed
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import DOWN, UP, fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.lines import Run

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import CaptureRow, Inspection

_BYTES = 16
"""Bytes of a token that are written out at most."""
_LABEL = 8
"""Cells of a capture's label at least."""
_CAPTURE = 1 + 2 + _LABEL + 30
"""Cells of the row of a capture without the last two columns: a margin, the side, the
label and the numbers.
"""
_FLOOR = 9
_RATIO = 9
"""Cells of the last two columns: Δ over its floor, and the ratio."""


@dataclass(frozen=True, eq=False, repr=False)
class TokenDetails:
    """Writes an `Inspection` as rows of runs.

    ``level`` is that of the token's delta; ``greyed``: the pair cannot be compared.
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

    def head(self, width: int) -> list[Run]:
        """Where the token is, its text and its id."""
        view = self.view
        palette = self.palette
        where = "prompt" if view.in_prompt else "completion"
        if view.masked:
            where += "  masked"
        position = f"[{view.index}] "
        tail = f" id {view.token_id}  {where}  seq {view.sequence}"
        room = max(4, width - len(position) - len(tail) - 3)
        text = quoted(view.text)
        if cell_len(text) > room:
            text = fit(text, room).rstrip()
        return [
            (position, palette.muted),
            (text, palette.strong),
            (tail, palette.muted),
        ]

    def bytes(self) -> list[Run]:
        """The bytes of the token, and the character that they are a part of."""
        raw = self.view.raw
        palette = self.palette
        if raw is None:
            words = "bytes unknown: the session has no piece for this id"
            return [(words, palette.warn)]
        text = raw[:_BYTES].hex(" ") or "none"
        if len(raw) > _BYTES:
            text += f" … {len(raw)} bytes"
        return [("bytes ", palette.muted), (text, palette.text), *self._part()]

    def _part(self) -> list[Run]:
        """The character that the token has a part of, and where the text shows it."""
        if self.view.part is None:
            return []
        char, first, last = self.view.part
        if self.view.index == last:
            where = "here"
        else:
            where = f"at [{last}]"
        muted = self.palette.muted
        return [
            ("  part of ", muted),
            (quoted(char), self.palette.strong),
            (f" with [{first}]-[{last}]: the text shows it {where}", muted),
        ]

    # ---- the pair

    def pair(self) -> Iterator[list[Run]]:
        """What the last two columns of the captures say of the pair."""
        yield self.delta()
        words = self.floor_words()
        if words:
            yield [("  ", self.palette.text), (words, self.palette.muted)]

    def delta(self) -> list[Run]:
        """Δ of the pair and what it means, or why there is none."""
        delta = self.view.delta
        palette = self.palette
        head: Run = ("Δ ", palette.strong)
        rows = self.view.captures
        broken = [row.label for row in rows if row.side and row.broken]
        if broken:
            return [head, (f"NaN in {visible(' and '.join(broken))}", palette.bad)]
        if delta is None or math.isnan(delta):
            return [head, ("no score on both sides here", palette.muted)]
        words = f"  {_delta_words(delta)}"
        return [head, self._marked_delta(delta), (words, palette.muted)]

    def _marked_delta(self, delta: float) -> Run:
        """Δ with the mark and the colour of its level."""
        if not self.level:
            return signed(delta), self.value
        mark = UP if self.level > 0 else DOWN
        return f"{mark}{signed(delta)}", self.palette.level(self.level)

    def floor_words(self) -> str:
        """Δ of the pair as a multiple of its floor, "" where that is not known."""
        row = self._row_of("B")
        if row is None or row.times is None:
            return ""
        if math.isinf(row.times):
            return "the floor is 0"
        return f"{_times(row.times)} the floor"

    # ---- the captures

    def side(self, side: str, width: int) -> list[Run]:
        """The numbers of A or B in one line of a narrow screen."""
        row = self._row_of(side)
        palette = self.palette
        if row is None:
            return [(f"{side} no capture", palette.muted)]
        logprob = fit(number(row.logprob), 9, right=True)
        chance = f"{probability(row.logprob):<6}"
        return [
            (f"{side} ", palette.strong),
            (fit(row.label, max(8, min(28, width - 36))), palette.text),
            (f" {logprob}  p {chance} rank {rank_text(row.rank):<5}", self.value),
            (row.note, self._note_style(row)),
        ]

    def _row_of(self, side: str) -> CaptureRow | None:
        return next((row for row in self.view.captures if row.side == side), None)

    def fits_all_columns(self, width: int) -> bool:
        """Whether the captures have all their columns."""
        return width >= _CAPTURE + _FLOOR + _RATIO

    def captures(self, width: int) -> Iterator[list[Run]]:
        """One row a capture; Δ over its floor and the ratio as far as there is room for
        them.
        """
        palette = self.palette
        spare = width - _CAPTURE
        extra = [cells for cells in (_FLOOR, _FLOOR + _RATIO) if spare >= cells]
        room = _LABEL + spare - max(extra, default=0)
        longest = max((cell_len(row.label) for row in self.view.captures), default=0)
        label = max(_LABEL, min(longest, room))
        yield [(_captures_head(label, len(extra)), palette.muted)]
        for row in self.view.captures:
            style = palette.text if row.side else palette.muted
            yield [
                (f"{row.side or ' '} ", palette.strong),
                (fit(visible(row.label), label), style),
                *self._numbers(row, len(extra)),
            ]

    def _numbers(self, row: CaptureRow, extra: int) -> list[Run]:
        """The numbers of a capture; ``extra``: how many of the last columns fit."""
        if row.logprob is None:
            return [(f" {row.note or NOTHING}", self._note_style(row))]
        chance = probability(row.logprob)
        rank = rank_text(row.rank)
        numbers = (f" {number(row.logprob):>8} {chance:>6} {rank:>4} ", self.value)
        if row.side == "A":
            return [numbers]
        last = f"{_times(row.times):>{_FLOOR}}", f"{number(row.ratio, 3):>{_RATIO}}"
        tail = ("".join(last[:extra]), self.value)
        if row.side != "B" or row.delta is None:
            return [numbers, (f"{signed(row.delta):>8}", self.value), tail]
        text, style = self._marked_delta(row.delta)
        return [numbers, (" " * (8 - len(text)), self.value), (text, style), tail]

    def _note_style(self, row: CaptureRow) -> Style:
        if row.broken:
            return self.palette.bad
        return self.palette.muted


def _captures_head(label: int, extra: int) -> str:
    columns = ["logprob", "p", "rank", "Δ A−", "Δ/floor", "ratio"]
    widths = [9, 7, 5, 9, _FLOOR, _RATIO]
    heads = [f"{name:>{cells}}" for name, cells in zip(columns, widths, strict=True)]
    return f"  {fit('capture', label)}{''.join(heads[: 4 + extra])}"


def _delta_words(delta: float) -> str:
    """Which side finds the token more likely, and how many times."""
    if delta == 0:
        return "both alike"
    if math.isinf(delta):
        return f"{'B' if delta > 0 else 'A'} calls it impossible"
    more = "more" if delta > 0 else "less"
    ratio = math.exp(max(-99.0, min(99.0, delta)))
    return f"A {more} likely, ratio {number(ratio)}"


def _times(times: float | None) -> str:
    """A multiple of the floor."""
    if times is None or not math.isfinite(times):
        return number(times, 3)
    return f"{number(times, 3)}×"


def quoted(text: str) -> str:
    """A piece with its blanks made countable."""
    return f'"{text.replace(" ", "·")}"'


def rank_text(rank: int | None) -> str:
    """A rank, a dot where there is none."""
    if rank is None:
        return NOTHING
    return str(rank)
