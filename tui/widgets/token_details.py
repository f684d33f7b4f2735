"""The rows about one token: its place and bytes, and each capture's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.style import Style

from logdrift.core.numbers import counted, number, probability
from logdrift.core.session.visible import visible
from logdrift.tui.glyphs import fit
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.capture_table import (
    ENTROPY,
    FLOORS,
    CaptureTable,
    delta_text,
    is_known,
    marked,
    nats,
    note_style,
    rank_text,
    times_text,
)
from logdrift.tui.widgets.lines import Run, Runs

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import CaptureRow, Inspection
    from logdrift.tui.models.token_sampling import TurnNumbers

_BYTES = 16
"""How many bytes of a token are written out at most."""


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

    def head(self, width: int) -> Iterator[Runs]:
        """Where the token is, its text, its id and its role: one row, or two."""
        role = self.view.role.words()
        line = self._named(width, role)
        whole = quoted(self.view.text)
        cells = [cell_len(text) for text, _ in line]
        has_whole_text = any(text == whole for text, _ in line)
        if has_whole_text and sum(cells) < width:
            yield line
            return
        yield self._named(width, "")
        yield [(role, self.palette.muted)]

    def head_line(self, width: int) -> Runs:
        """As `head`, in one row: a long text is cut."""
        return self._named(width, self.view.role.words())

    def _named(self, width: int, role: str) -> Runs:
        """Index, text, id and sequence, and the role where there is one."""
        view = self.view
        palette = self.palette
        position = f"[{view.index}] "
        tail = f" id {view.token_id}  seq {view.sequence}"
        if role:
            tail += f"  {role}"
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

    def pair(self, table: CaptureTable) -> Iterator[Runs]:
        """Δ of the pair in words, then what the table has no column for."""
        palette = self.palette
        yield self.delta()
        indent: Run = ("  ", palette.text)
        floor = self.floor_words()
        if any(row.exact for row in self.view.captures):
            yield [indent, (f"floor 0: {EXACT}", palette.muted)]
        elif floor and not table.has(FLOORS):
            yield [indent, (floor, palette.muted)]
        entropies = self._entropies()
        if entropies and not table.has(ENTROPY):
            words = "  ".join(entropies)
            yield [indent, (f"entropy {words} nats", palette.muted)]
        if self.view.weights:
            versions = [f"{side} {visible(name)}" for side, name in self.view.weights]
            words = "  ".join(versions)
            yield [indent, (f"weight version {words}", palette.muted)]
        if self.view.turn is not None:
            yield [indent, (_turn_words(self.view.turn), palette.muted)]

    def _entropies(self) -> list[str]:
        """The entropy of A and of B where they have one."""
        entropies = []
        for row in self.view.captures:
            if row.side and is_known(row.entropy):
                entropies.append(f"{row.side} {number(row.entropy, 3)}")
        return entropies

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
        text = delta_text(delta)
        value = marked(text, self.level, self.value, palette)
        words = f"  {_delta_words(delta)}"
        return [head, value, (words, palette.muted)]

    def _broken_labels(self) -> list[str]:
        """A and B as far as their score is NaN."""
        labels = []
        for row in self.view.captures:
            if row.side and row.broken:
                labels.append(row.label)
        return labels

    def floor_words(self) -> str:
        """Δ of the pair as a multiple of its floor, "" where that is not known."""
        row = self._row_of("B")
        if row is None:
            return ""
        if row.exact:
            return EXACT
        if row.times is None:
            return ""
        return f"{times_text(row.times)} the floor"

    # ---- the captures

    def side(self, side: str, width: int) -> Runs:
        """The numbers of A or B in one line of a narrow screen."""
        row = self._row_of(side)
        palette = self.palette
        if row is None:
            words = f"{side} no capture"
            return [(words, palette.muted)]
        if row.logprob is None:
            label = visible(row.label)
            return [
                (f"{side} ", palette.strong),
                (f"{label}  ", palette.text),
                (row.note, note_style(row, palette)),
            ]
        numbers = _numbers_of(row)
        spare = width - 3 - cell_len(numbers)
        label_cells = max(8, min(self._label_cells, spare))
        return [
            (f"{side} ", palette.strong),
            (fit(visible(row.label), label_cells), palette.text),
            (numbers, self.value),
        ]

    @property
    def _label_cells(self) -> int:
        """The cells of the longer label of A and B."""
        labels = [visible(row.label) for row in self.view.captures if row.side]
        return max(map(cell_len, labels), default=0)

    def _row_of(self, side: str) -> CaptureRow | None:
        for row in self.view.captures:
            if row.side == side:
                return row
        return None

    def table(self, width: int) -> CaptureTable:
        """The rows of the captures in ``width`` cells."""
        return CaptureTable(
            rows=self.view.captures,
            width=width,
            level=self.level,
            value=self.value,
            palette=self.palette,
        )


EXACT = "repeats agree to the last bit"


def _numbers_of(row: CaptureRow) -> str:
    """The numbers of A or B on its line of the summary."""
    chance = probability(row.logprob)
    rank = rank_text(row.rank)
    text = f" {nats(row.logprob):>9}  p {chance:<6} rank {rank:<5}"
    if is_known(row.entropy):
        text += f" entropy {number(row.entropy, 3)}"
    return text


def _turn_words(turn: TurnNumbers) -> str:
    """What the turn of the token is like."""
    words = f"turn {turn.number:,}: {counted(turn.tokens, 'token')}"
    if turn.mae is None:
        return words
    return (
        f"{words}, mean |Δ| {number(turn.mae, 3)}, k3 {number(turn.k3, 3)},"
        f" {turn.beyond:,} beyond"
    )


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
    if abs(delta) >= 700:
        return f"A {more} likely by far"
    ratio = number(math.exp(delta))
    return f"A {more} likely, ratio {ratio}"


def quoted(text: str) -> str:
    """A piece in quotes, with a dot for each blank so that blanks can be counted."""
    dotted = text.replace(" ", "·")
    return f'"{dotted}"'
