"""Layers: where in the model a token begins to differ, by what was saved for it, as
bars of the relative error.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.strip import Strip

from logdrift.core.diagnose.layers import Layers, LayerSide, Stage, understood
from logdrift.core.numbers import number
from logdrift.core.session.layers import saved_layers
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.places import sequence_of
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.origin import Origin
from logdrift.tui.screens.saving import Saving
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run, strip_of
from logdrift.tui.widgets.reading import wrap_at_most
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.topics import score_bar

_NAME = 12
_WRONG = "▲"


@dataclass
class LayersRead(Message):
    """What is saved was read: that of the pair, the nearest to the token first."""

    found: tuple[Layers, ...]


@dataclass
class DebuggersMade(Message):
    """The commands for deeper debuggers, or ``problem`` says why there are none."""

    text: str
    problem: str = ""


class StageList(Rows):
    """A row for each stage of one backend, from the embedding to the head; bars grow
    with the logarithm.
    """

    fixed = 2

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.side: LayerSide | None = None
        self.title_text, self.aside = "Layers", ""

    @property
    def stages(self) -> Sequence[Stage]:
        return self.side.stages if self.side is not None else ()

    @property
    def line_count(self) -> int:
        return len(self.stages)

    def put(self, side: LayerSide | None, title: str, aside: str) -> None:
        """Show one backend, another one from its first wrong stage on."""
        if side is not self.side:
            self.selected = (
                next((i for i, s in enumerate(side.stages) if s.wrong), 0)
                if side is not None
                else 0
            )
        self.side, self.title_text, self.aside = side, title, aside
        self.rows_changed()

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self.title_text, width, self.aside)
        if self.side is None:
            return strip_of([], width)
        head = f"   {'stage':<{_NAME}} {'relative error':>14}"
        return strip_of(
            [(fit(f"{head}  {'of rounding':>11}", width), self.palette.muted)], width
        )

    def runs(self, index: int, width: int) -> Sequence[Run]:
        p, stage = self.palette, self.stages[index]
        mark = (f" {_WRONG} ", p.bad) if stage.wrong else ("   ", p.text)
        times = "·" if stage.times is None else f"{number(stage.times, 2)}×"
        room = max(4, width - _NAME - 33)
        return [
            mark,
            (fit(visible(stage.name), _NAME), p.bad if stage.wrong else p.text),
            (f" {_error(stage):>14}  {times:>11}  ", p.bad if stage.wrong else p.text),
            (
                score_bar(self._share(stage.error), room),
                p.bad if stage.wrong else p.accent,
            ),
        ]

    def _share(self, error: float) -> float:
        """0 to 1 from a tenth of the smallest error to the largest, by the
        logarithm.
        """
        errors = [
            s.error for s in self.stages if math.isfinite(s.error) and s.error > 0
        ]
        if not errors or not math.isfinite(error) or error <= 0:
            return 1.0 if error == math.inf else 0.0
        low, high = math.log10(min(errors)) - 1, math.log10(max(errors))
        return (math.log10(error) - low) / (high - low)


def _error(stage: Stage) -> str:
    """NaN is said where it is the finding: the stream is not finite."""
    return "NaN" if stage.wrong and math.isnan(stage.error) else f"{stage.error:.2e}"


def _backend(label: str) -> str:
    return label.partition("/")[0]


class LayersScreen(Saving, BaseScreen, inherit_bindings=False):
    """The answer nearest to the token under the explorer's cursor, and the command that
    asks for its own.
    """

    BINDINGS = bindings("layers")
    SCOPES = ("layers",)
    SAVED_AS = "layers.tsv"
    AUTO_FOCUS = "#stages"

    def __init__(self, origin: Origin, labels: tuple[str, str]) -> None:
        super().__init__()
        self.session: Session = origin.session
        self.labels = labels
        position = origin.position
        self.sequence = sequence_of(self.session.sequences, position)
        self.index = position - self.session.sequences.bounds(self.sequence)[0]
        self.piece = self.session.pieces.text(
            int(self.session.sequences.token_ids[position])
        ).replace(" ", "·")
        self.found: tuple[Layers, ...] | None = None
        self.at = 0

    def panes(self) -> ComposeResult:
        yield Bar(id="verdict")
        yield StageList(id="stages")
        yield Bar(id="detail")

    @property
    def stages(self) -> StageList:
        return self.query_one(StageList)

    @property
    def sides(self) -> list[tuple[Layers, LayerSide]]:
        return [(found, side) for found in self.found or () for side in found.sides]

    @property
    def place(self) -> str:
        """As the command takes it; the first token of a sequence has no score, so the
        whole sequence is asked about.
        """
        return f"{self.sequence}:{self.index}" if self.index else str(self.sequence)

    @property
    def command(self) -> str:
        """What asks both engines about the token."""
        pair = ":".join(self.labels)
        words = [
            "logdrift",
            "why",
            str(self.session.folder),
            "--pair",
            pair,
            "--layers",
            self.place,
        ]
        return " ".join(map(shlex.quote, words))

    def on_mount(self) -> None:
        self.read_saved()

    @background(group="layers", exclusive=True)
    def read_saved(self) -> None:
        """Read what is saved, the nearest to the token first."""
        found = understood(saved_layers(self.session.folder))
        # Layers are of backends: along which path the pair went is nothing that hooks
        # see.
        wanted = {_backend(label) for label in self.labels}
        mine = [
            each for each in found if {_backend(each.a), _backend(each.b)} == wanted
        ]
        self.post_message(LayersRead(tuple(sorted(mine, key=self._distance))))

    def _distance(self, found: Layers) -> tuple[bool, bool]:
        exact = found.position == (self.index or None)
        return found.sequence != self.sequence, not exact

    @on(LayersRead)
    def _on_read(self, message: LayersRead) -> None:
        self.found = message.found
        self.draw()

    # ---- showing

    def draw(self) -> None:
        if not self.size.width:
            return
        p, width = self.palette, self.size.width - 2
        a, b = map(visible, self.labels)
        head: list[list[Run]] = [
            [
                (" ", p.text),
                (
                    fit(
                        f"{a} {ARROW} {b} · token {self.sequence}:{self.index}"
                        f" {self.piece}",
                        width,
                    ),
                    p.strong,
                ),
            ]
        ]
        sides = self.sides
        found, side = sides[self.at] if sides else (None, None)
        head += [
            [(" ", p.text), (part, p.muted)]
            for part in wrap_at_most(self._state(found), width, 2)
        ]
        self.query_one("#verdict", Bar).put(head)
        title, aside = "Layers", ""
        if found is not None and side is not None:
            where = (
                f"{found.sequence}"
                if found.position is None
                else f"{found.sequence}:{found.position}"
            )
            title = (
                f"{visible(side.backend)} against {visible(found.standard)} · {where}"
            )
            aside = f"{self.at + 1} of {len(sides)}"
        self.stages.put(side, title, aside)
        self.query_one("#detail", Bar).put(self._detail(found, side, width))

    def _state(self, shown: Layers | None) -> str:
        if self.found is None:
            return "being read …"
        if shown is None:
            return (
                "nothing is saved for these backends: the command below asks them (x"
                " copies it)"
            )
        if self._distance(shown) == (False, False):
            return (
                "what was saved for this token"
                if self.index
                else "what was saved for the whole of this sequence"
            )
        if any(self._distance(each) == (False, False) for each in self.found):
            none = "not what was saved for this token"
        else:
            none = "nothing is saved for this token"
        about = "another sequence"
        if shown.sequence == self.sequence:
            about = (
                "the whole of this sequence"
                if shown.position is None
                else "another token of this sequence"
            )
        return f"{none}, this is about {about}: x copies the command that asks for it"

    def _detail(
        self, found: Layers | None, side: LayerSide | None, width: int
    ) -> list[list[Run]]:
        p = self.palette
        if found is None or side is None:
            words: list[tuple[str, Style, int]] = (
                [] if self.found is None else [(self.command, p.accent, 5)]
            )
        else:
            # The sentence is the answer, and stands nowhere else: in 60 columns it
            # takes up to four lines.
            words = [
                (
                    side.sentence,
                    p.text if side.kind in ("rounding", "unknown") else p.warn,
                    4,
                )
            ]
            words += [
                (note, p.muted, 3 if self.size.height >= 24 else 2)
                for note in found.notes
            ]
        out: list[list[Run]] = []
        for text, style, most in words or [("", p.text, 1)]:
            out += [
                [(" ", p.text), (part, style)]
                for part in wrap_at_most(visible(text), width, most)
            ]
        return out[: max(5, self.size.height // 3)]

    # ---- commands

    def action_next_side(self) -> None:
        self._turn(1)

    def action_previous_side(self) -> None:
        self._turn(-1)

    def _turn(self, step: int) -> None:
        if len(self.sides) < 2:
            self.say("there is no other answer")
            return
        self.at = (self.at + step) % len(self.sides)
        self.draw()

    def action_copy_command(self) -> None:
        self.say(self.logdrift.copy_text(self.command))

    def action_debuggers(self) -> None:
        """Commands for deeper debuggers, filled in for the token."""
        self.make_debuggers()

    @background(group="layers", failed=lambda words: DebuggersMade("", words))
    def make_debuggers(self) -> None:
        """Write the commands for deeper debuggers."""
        from logdrift.core.investigate.debuggers import debugger_script

        self.post_message(
            DebuggersMade(
                debugger_script(
                    self.session, self.labels, self.sequence, self.index or None
                )
            )
        )

    @on(DebuggersMade)
    def _on_debuggers_made(self, message: DebuggersMade) -> None:
        if message.problem:
            self.logdrift.show_error(message.problem)
        else:
            self.app.push_screen(
                TextScreen(
                    f"Deeper debuggers · token {self.place}", message.text.splitlines()
                )
            )

    def action_copy(self) -> None:
        self.say(self.logdrift.copy_text(self.text_to_save()))

    def text_to_save(self) -> str:
        """All that is saved as a table with tabs; the command where nothing is."""
        if not self.sides:
            return f"{self.command}\n"
        lines = ["place\tbackend\tstage\trelative error\ttimes rounding\tlimit\twrong"]
        for found, side in self.sides:
            where = (
                f"{found.sequence}"
                if found.position is None
                else f"{found.sequence}:{found.position}"
            )
            lines += [
                f"{where}\t{visible(side.backend)}\t{visible(s.name)}\t{s.error:.6g}\t"
                f"{'' if s.times is None else f'{s.times:.6g}'}\t{s.limit:.6g}\t{'yes' if s.wrong else 'no'}"
                for s in side.stages
            ]
        return "\n".join(lines)
