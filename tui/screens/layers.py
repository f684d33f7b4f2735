"""Layers: where in the model a token begins to differ, as bars of the error."""

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
from logdrift.tui.models.places import sequence_of
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.origin import Origin
from logdrift.tui.screens.saving import save
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run, strip_of
from logdrift.tui.widgets.paragraph import paragraph
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
        self.title_text = "Layers"
        self.aside = ""

    @property
    def stages(self) -> Sequence[Stage]:
        if self.side is not None:
            return self.side.stages
        return ()

    @property
    def line_count(self) -> int:
        return len(self.stages)

    def put(self, side: LayerSide | None, title: str, aside: str) -> None:
        """Show one backend, another one from its first wrong stage on."""
        another = side is not self.side
        self.side = side
        self.title_text = title
        self.aside = aside
        if another:
            wrong = [index for index, stage in enumerate(self.stages) if stage.wrong]
            self.selected = wrong[0] if wrong else 0
        self.rows_changed()

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self.title_text, width, self.aside)
        if self.side is None:
            return strip_of([], width)
        head = f"   {'stage':<{_NAME}} {'relative error':>14}  {'of rounding':>11}"
        return strip_of([(fit(head, width), self.palette.muted)], width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        stage = self.stages[index]
        if stage.wrong:
            mark = _WRONG
            style = bar_style = self.palette.bad
        else:
            mark = " "
            style = self.palette.text
            bar_style = self.palette.accent
        bar_cells = max(4, width - _NAME - 33)
        return [
            (f" {mark} ", style),
            (fit(visible(stage.name), _NAME), style),
            (f" {_error(stage):>14}  {_times(stage):>11}  ", style),
            (score_bar(self._share(stage.error), bar_cells), bar_style),
        ]

    def _share(self, error: float) -> float:
        """0 to 1 from a tenth of the smallest error to the largest, by the
        logarithm.
        """
        if error == math.inf:
            return 1.0
        errors = [stage.error for stage in self.stages if _on_the_scale(stage.error)]
        if not errors or not _on_the_scale(error):
            return 0.0
        low = math.log10(min(errors)) - 1
        high = math.log10(max(errors))
        return (math.log10(error) - low) / (high - low)


def _on_the_scale(error: float) -> bool:
    """Whether it has a logarithm."""
    return math.isfinite(error) and error > 0


def _error(stage: Stage) -> str:
    """NaN where it is the finding: the stream is not finite."""
    if stage.wrong and math.isnan(stage.error):
        return "NaN"
    return f"{stage.error:.2e}"


def _times(stage: Stage) -> str:
    """How many times rounding the error is."""
    if stage.times is None:
        return "·"
    return f"{number(stage.times, 2)}×"


def _backend(label: str) -> str:
    return label.partition("/")[0]


class LayersScreen(BaseScreen, inherit_bindings=False):
    """The answer nearest to the token under the explorer's cursor, and the command that
    asks for its own.
    """

    BINDINGS = bindings("layers")
    SCOPES = ("layers",)
    AUTO_FOCUS = "#stages"

    def __init__(self, origin: Origin, labels: tuple[str, str]) -> None:
        super().__init__()
        self.session: Session = origin.session
        self.labels = labels
        position = origin.position
        self.sequence = sequence_of(self.session.sequences, position)
        self.index = position - self.session.sequences.bounds(self.sequence)[0]
        token_id = int(self.session.sequences.token_ids[position])
        self.piece = self.session.pieces.text(token_id).replace(" ", "·")
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
        return [(layers, side) for layers in self.found or () for side in layers.sides]

    @property
    def place(self) -> str:
        """As the command takes it; the first token of a sequence has no score, so the
        whole sequence is asked about.
        """
        if self.index:
            return f"{self.sequence}:{self.index}"
        return str(self.sequence)

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
        # Layers are of backends: hooks do not see along which path the pair went.
        backends = {_backend(label) for label in self.labels}
        answers = [
            answer
            for answer in understood(saved_layers(self.session.folder))
            if {_backend(answer.a), _backend(answer.b)} == backends
        ]
        self.post_message(LayersRead(tuple(sorted(answers, key=self._distance))))

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
        width = self.size.width - 2
        layers, side = self.sides[self.at] if self.sides else (None, None)
        self.query_one("#verdict", Bar).put(self._head(layers, width))
        if layers is None or side is None:
            self.stages.put(None, "Layers", "")
        else:
            against = f"{visible(side.backend)} against {visible(layers.standard)}"
            aside = f"{self.at + 1} of {len(self.sides)}"
            self.stages.put(side, f"{against} · {_place(layers)}", aside)
        self.query_one("#detail", Bar).put(self._detail(layers, side, width))

    def _head(self, layers: Layers | None, width: int) -> list[list[Run]]:
        """The pair and the token, and what the answer below is about."""
        p = self.palette
        a, b = map(visible, self.labels)
        token = f"{self.sequence}:{self.index} {self.piece}"
        title = fit(f"{a} {ARROW} {b} · token {token}", width)
        state = paragraph(self._state(layers), p.muted, p, width=width, most=2)
        return [[(" ", p.text), (title, p.strong)], *state]

    def _state(self, layers: Layers | None) -> str:
        """What the answer below is about, or that there is none."""
        if self.found is None:
            return "being read …"
        if layers is None:
            return (
                "nothing is saved for these backends: the command below asks them (Y"
                " copies it)"
            )
        if self._exact(layers):
            what = "this token" if self.index else "the whole of this sequence"
            return f"what was saved for {what}"
        another_is_exact = any(self._exact(answer) for answer in self.found)
        if another_is_exact:
            here = "not what was saved for this token"
        else:
            here = "nothing is saved for this token"
        about = self._about(layers)
        return f"{here}, this is about {about}: Y copies the command that asks for it"

    def _exact(self, layers: Layers) -> bool:
        """Whether an answer is about the token itself."""
        return not any(self._distance(layers))

    def _about(self, layers: Layers) -> str:
        if layers.sequence != self.sequence:
            return "another sequence"
        if layers.position is None:
            return "the whole of this sequence"
        return "another token of this sequence"

    def _detail(
        self, layers: Layers | None, side: LayerSide | None, width: int
    ) -> list[list[Run]]:
        """What the side shows, with notes; the command where nothing is saved."""
        rows: list[list[Run]] = []
        if layers is not None and side is not None:
            rows = self._finding(layers, side, width)
        elif self.found is not None:
            rows = self._paragraph(self.command, self.palette.accent, width, most=5)
        if not rows:
            rows = [[(" ", self.palette.text), ("", self.palette.text)]]
        return rows[: max(5, self.size.height // 3)]

    def _finding(self, layers: Layers, side: LayerSide, width: int) -> list[list[Run]]:
        """The sentence of a side, and the notes."""
        style = self.palette.warn
        if side.kind in ("rounding", "unknown"):
            style = self.palette.text
        # The sentence is the answer, and stands nowhere else: in 60 columns it takes
        # up to four lines.
        rows = self._paragraph(side.sentence, style, width, most=4)
        most = 3 if self.size.height >= 24 else 2
        for note in layers.notes:
            rows += self._paragraph(note, self.palette.muted, width, most=most)
        return rows

    def _paragraph(
        self, words: str, style: Style, width: int, *, most: int
    ) -> list[list[Run]]:
        return paragraph(visible(words), style, self.palette, width=width, most=most)

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

        script = debugger_script(
            self.session, self.labels, self.sequence, self.index or None
        )
        self.post_message(DebuggersMade(script))

    @on(DebuggersMade)
    def _on_debuggers_made(self, message: DebuggersMade) -> None:
        if message.problem:
            self.logdrift.show_error(message.problem)
            return
        title = f"Deeper debuggers · token {self.place}"
        self.app.push_screen(TextScreen(title, message.text.splitlines()))

    def action_copy(self) -> None:
        self.say(self.logdrift.copy_text(self.text_to_save()))

    def action_save(self) -> None:
        save(self, "layers.tsv", self.text_to_save, session=self.session.folder)

    def text_to_save(self) -> str:
        """All that is saved as a table with tabs; the command where nothing is."""
        if not self.sides:
            return f"{self.command}\n"
        lines = ["place\tbackend\tstage\trelative error\ttimes rounding\tlimit\twrong"]
        for layers, side in self.sides:
            for stage in side.stages:
                row = (_place(layers), visible(side.backend), *_cells(stage))
                lines.append("\t".join(row))
        return "\n".join(lines)


def _cells(stage: Stage) -> tuple[str, ...]:
    """A stage as a row of the copied table."""
    return (
        visible(stage.name),
        f"{stage.error:.6g}",
        "" if stage.times is None else f"{stage.times:.6g}",
        f"{stage.limit:.6g}",
        "yes" if stage.wrong else "no",
    )


def _place(layers: Layers) -> str:
    """``3:41``; ``3`` for the whole sequence."""
    if layers.position is None:
        return f"{layers.sequence}"
    return f"{layers.sequence}:{layers.position}"
