"""Layers: where in the model a token begins to differ, as bars of the error."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.strip import Strip

from logdrift.core.diagnose.layers import Layers, LayerSide, Stage, understood
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import number
from logdrift.core.session.layers import saved_layers
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.places import sequence_of
from logdrift.tui.models.token_text import token_text
from logdrift.tui.screens.asking import AskingScreen
from logdrift.tui.screens.origin import Labels, Origin
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run, strip_of
from logdrift.tui.widgets.reading import Row
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
        is_another = side is not self.side
        self.side = side
        self.title_text = title
        self.aside = aside
        if is_another:
            self.selected = self._first_wrong()
        self.rows_changed()

    def _first_wrong(self) -> int:
        """The index of the first wrong stage, 0 where none is wrong."""
        for index, stage in enumerate(self.stages):
            if stage.wrong:
                return index
        return 0

    def fixed_line(self, y: int, width: int) -> Strip:
        if y == 0:
            return self.title_line(self.title_text, width, self.aside)
        if self.side is None:
            return strip_of([], width)
        head = f"   {'stage':<{_NAME}} {'relative error':>14}  {'of rounding':>11}"
        run = (fit(head, width), self.palette.muted)
        return strip_of([run], width)

    def runs(self, index: int, width: int) -> Sequence[Run]:
        stage = self.stages[index]
        mark = " "
        style = self.palette.text
        bar_style = self.palette.accent
        if stage.wrong:
            mark = _WRONG
            style = self.palette.bad
            bar_style = self.palette.bad
        stage_name = visible(stage.name)
        name = fit(stage_name, _NAME)
        error = _error(stage)
        times = _times(stage)
        bar_cells = max(4, width - _NAME - 33)
        share = self._share(stage.error)
        return [
            (f" {mark} ", style),
            (name, style),
            (f" {error:>14}  {times:>11}  ", style),
            (score_bar(share, bar_cells), bar_style),
        ]

    def _share(self, error: float) -> float:
        """0 to 1 from a tenth of the smallest error to the largest, by the
        logarithm.
        """
        if error == math.inf:
            return 1.0
        errors = []
        for stage in self.stages:
            if _on_the_scale(stage.error):
                errors.append(stage.error)
        if not errors or not _on_the_scale(error):
            return 0.0
        smallest = min(errors)
        low = math.log10(smallest) - 1
        high = math.log10(max(errors))
        height = math.log10(error) - low
        return height / (high - low)


def _on_the_scale(error: float) -> bool:
    """Whether it has a logarithm."""
    return math.isfinite(error) and error > 0


def _error(stage: Stage) -> str:
    """NaN where it is the finding: the stream is not finite."""
    error = stage.error
    if stage.wrong and math.isnan(error):
        return "NaN"
    return f"{error:.2e}"


def _times(stage: Stage) -> str:
    """How many times rounding the error is."""
    if stage.times is None:
        return "·"
    return f"{number(stage.times, 2)}×"


def _backend(label: str) -> str:
    return label.partition("/")[0]


def _backends(labels: Iterable[str]) -> set[str]:
    """The backends of a pair: hooks do not see along which path it went."""
    return set(map(_backend, labels))


class LayersScreen(AskingScreen, inherit_bindings=False):
    """The answer nearest to the token under the explorer's cursor; ``x`` asks for its
    own.
    """

    BINDINGS = bindings("layers")
    SCOPES = ("layers",)
    AUTO_FOCUS = "#stages"
    SAVED_AS = "layers.tsv"
    QUESTION = "layers"
    CANCEL = "Cancel the comparison of layers?"

    def __init__(self, origin: Origin, labels: Labels) -> None:
        super().__init__()
        self.session: Session = origin.session
        self.labels = labels
        position = origin.position
        sequences = self.session.sequences
        self.sequence = sequence_of(sequences, position)
        first_position, _ = sequences.bounds(self.sequence)
        self.index = position - first_position
        text = token_text(self.session, position)
        self.piece = text.replace(" ", "·")
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
        """Each side of each answer."""
        pairs = []
        for layers in self.found or ():
            for side in layers.sides:
                pairs.append((layers, side))
        return pairs

    @property
    def place(self) -> str:
        """As the command takes it; the first token of a sequence has no score, so the
        whole sequence is asked about.
        """
        if self.index:
            return f"{self.sequence}:{self.index}"
        return str(self.sequence)

    @property
    def _asked_index(self) -> int | None:
        """The token that can be asked about, None for the whole sequence."""
        return self.index or None

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
        backends = _backends(self.labels)
        saved = saved_layers(self.session.folder)
        answers = []
        for answer in understood(saved):
            both = (answer.a, answer.b)
            if _backends(both) == backends:
                answers.append(answer)
        answers.sort(key=self._distance)
        read = LayersRead(tuple(answers))
        self.post_message(read)

    def _distance(self, layers: Layers) -> tuple[bool, bool]:
        """How far an answer is from the token: to be compared with those of others."""
        is_elsewhere = layers.sequence != self.sequence
        is_other_token = layers.position != self._asked_index
        return is_elsewhere, is_other_token

    @on(LayersRead)
    def _on_read(self, message: LayersRead) -> None:
        self.found = message.found
        self.at = 0
        self.show_hints()
        self.draw()

    def applies(self, name: str) -> bool:
        if name == "choose":
            return False  # a stage is only looked at
        if name in ("next_side", "previous_side"):
            return len(self.sides) > 1
        return super().applies(name)

    # ---- showing

    def draw(self) -> None:
        if not self.size.width:
            return
        sides = self.sides
        layers = None
        side = None
        if sides:
            layers, side = sides[self.at]
        head = self._head(layers)
        self.bar("verdict").put(head)
        if layers is None or side is None:
            self.stages.put(None, "Layers", "")
        else:
            backend = visible(side.backend)
            standard = visible(layers.standard)
            title = f"{backend} against {standard} · {_place(layers)}"
            aside = f"{self.at + 1} of {len(sides)}"
            self.stages.put(side, title, aside)
        detail = self._detail(layers, side)
        self.bar("detail").put(detail)

    def _head(self, layers: Layers | None) -> list[Row]:
        """The pair and the token, and what the answer below is about."""
        palette = self.palette
        a, b = map(visible, self.labels)
        token = f"{self.sequence}:{self.index} {self.piece}"
        title = fit(f"{a} {ARROW} {b} · token {token}", self.text_width)
        title_row: Row = [(" ", palette.text), (title, palette.strong)]
        words = self._state(layers)
        rows = [title_row, *self.paragraph(words, palette.muted, most=2)]
        state = self.state_run()
        if state is not None:
            text, style = state
            rows += self.paragraph(text, style, most=2)
        return rows

    def _state(self, layers: Layers | None) -> str:
        """What the answer below is about, or that there is none."""
        if self.found is None:
            return "being read …"
        start = self.key("start")
        if layers is None:
            return (
                f"nothing is saved for these backends yet: {start} starts both and asks"
                " them about this token, as the command below does"
            )
        if self._exact(layers):
            if self.index:
                return "what was saved for this token"
            return "what was saved for the whole of this sequence"
        another_is_exact = any(map(self._exact, self.found))
        words = "nothing is saved for this token"
        if another_is_exact:
            words = "not what was saved for this token"
        about = self._about(layers)
        return f"{words}, this is about {about}: {start} asks the engines about it"

    def _exact(self, layers: Layers) -> bool:
        """Whether an answer is about the token itself."""
        return self._distance(layers) == (False, False)

    def _about(self, layers: Layers) -> str:
        if layers.sequence != self.sequence:
            return "another sequence"
        if layers.position is None:
            return "the whole of this sequence"
        return "another token of this sequence"

    def _detail(self, layers: Layers | None, side: LayerSide | None) -> Sequence[Row]:
        """What the side shows, with notes; the command where nothing is saved."""
        palette = self.palette
        rows: list[Row] = []
        if layers is not None and side is not None:
            rows = self._finding(layers, side)
        elif self.found is not None:
            command = visible(self.command)
            rows += self.paragraph(command, palette.accent, most=5)
        if not rows:
            blank = (" ", palette.text)
            rows = [[blank]]
        most = max(5, self.size.height // 3)
        return rows[:most]

    def _finding(self, layers: Layers, side: LayerSide) -> list[Row]:
        """The sentence of a side, and the notes."""
        palette = self.palette
        style = palette.warn
        if side.kind in ("rounding", "unknown"):
            style = palette.text
        rows: list[Row] = []
        # The sentence is the answer, and stands nowhere else: in 60 columns it takes
        # up to four lines.
        sentence = visible(side.sentence)
        rows += self.paragraph(sentence, style, most=4)
        most = 3
        if self.is_low:
            most = 2
        for note in map(visible, layers.notes):
            rows += self.paragraph(note, palette.muted, most)
        return rows

    # ---- asking

    def action_start(self) -> None:
        """Ask, then start the engines for the token."""
        from logdrift.core.investigate.layers import asked_for_layers
        from logdrift.tui.screens.confirm import Confirm

        if self.refused_to_start():
            return
        try:
            asked = asked_for_layers(self.session, self.labels)
        except LogdriftError as error:
            self.logdrift.show_error(str(error))
            return
        names = visible(", ".join(sorted(asked)))
        about = f"token {self.place}"
        if not self.index:
            about = f"the whole of sequence {self.sequence}"
        question = Confirm(
            f"Compare the layers at {about}?",
            f"Yes, start {names} in the background",
            "No, start nothing",
        )
        self.confirm(question, lambda: self.ask_engines(self._start_layers))

    def _start_layers(self) -> int:
        from logdrift.core.investigate.question_jobs import start_layers

        return start_layers(self.session, self.labels, self.sequence, self._asked_index)

    # ---- commands

    def action_next_side(self) -> None:
        self._turn(1)

    def action_previous_side(self) -> None:
        self._turn(-1)

    def _turn(self, step: int) -> None:
        count = len(self.sides)
        if count < 2:
            self.say("there is no other answer")
            return
        self.at = (self.at + step) % count
        self.draw()

    def action_debuggers(self) -> None:
        """Commands for deeper debuggers, filled in for the token."""
        self.make_debuggers()

    @background(group="layers", failed=lambda words: DebuggersMade("", words))
    def make_debuggers(self) -> None:
        """Write the commands for deeper debuggers."""
        from logdrift.core.investigate.debuggers import debugger_script

        script = debugger_script(
            self.session, self.labels, self.sequence, self._asked_index
        )
        self.post_message(DebuggersMade(script))

    @on(DebuggersMade)
    def _on_debuggers_made(self, message: DebuggersMade) -> None:
        if message.problem:
            self.logdrift.show_error(message.problem)
            return
        title = f"Deeper debuggers · token {self.place}"
        lines = message.text.splitlines()
        self.app.push_screen(TextScreen(title, lines))

    def text_to_save(self) -> str:
        """All that is saved as a table with tabs; the command where nothing is."""
        if not self.sides:
            return f"{self.command}\n"
        lines = ["place\tbackend\tstage\trelative error\ttimes rounding\tlimit\twrong"]
        for layers, side in self.sides:
            place = _place(layers)
            backend = visible(side.backend)
            for stage in side.stages:
                cells = (place, backend, *_cells(stage))
                lines.append("\t".join(cells))
        return "\n".join(lines)


def _cells(stage: Stage) -> tuple[str, ...]:
    """A stage as a row of the copied table."""
    times = ""
    if stage.times is not None:
        times = f"{stage.times:.6g}"
    wrong = "no"
    if stage.wrong:
        wrong = "yes"
    return (
        visible(stage.name),
        f"{stage.error:.6g}",
        times,
        f"{stage.limit:.6g}",
        wrong,
    )


def _place(layers: Layers) -> str:
    """``3:41``; ``3`` for the whole sequence."""
    if layers.position is None:
        return f"{layers.sequence}"
    return f"{layers.sequence}:{layers.position}"
