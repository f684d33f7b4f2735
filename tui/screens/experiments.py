"""Experiments: one-knob runs that can prove a cause, their time, and their outcome."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.core.errors import InputError
from logdrift.core.investigate.budget import DEFAULT_BUDGET, parse_budget, write_budget
from logdrift.core.numbers import counted
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.actions import key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.experiment_watch import Experiments, ExperimentWatch
from logdrift.tui.models.experiments import (
    STATES,
    ExperimentRow,
    chosen_at_first,
    total,
)
from logdrift.tui.models.pairs import reason
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.starting import NotConfirmed, StartingScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Row
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.table import Table

if TYPE_CHECKING:
    from logdrift.tui.models.why import WhyView

POLL_SECONDS = 1.0
_COLUMNS = ("change", "takes", "outcome", "backend", "cause")


@dataclass
class ExperimentsRead(Message):
    """The experiments were read; ``problem`` says why they could not be."""

    found: Experiments | None
    problem: str = ""


@dataclass
class RunAsked(Message):
    """Experiments were started (``ids``) or cancelled, or ``problem`` says why not."""

    words: str
    problem: str = ""
    ids: frozenset[str] = frozenset()


def _refused(words: str) -> RunAsked:
    return RunAsked("", problem=words)


class ExperimentsScreen(StartingScreen, ResultScreen, inherit_bindings=False):
    """A row for each experiment, the most telling first. A thread follows those that
    run.
    """

    BINDINGS = bindings("experiments")
    SCOPES = ("experiments",)
    AUTO_FOCUS = "#experiments"
    SAVED_AS = "experiments.tsv"

    def __init__(self, session: Session, why: WhyView) -> None:
        super().__init__()
        self.session = session
        self.why = why
        self.found: Experiments | None = None
        self.chosen: set[str] | None = None
        self.budget = DEFAULT_BUDGET
        self.with_left_out = False
        self._problem = ""
        self._stop = threading.Event()
        self._wake = threading.Event()

    def panes(self) -> ComposeResult:
        yield Bar(id="verdict")
        yield Table("Experiments", id="experiments")
        yield Bar(id="detail")

    @property
    def table(self) -> Table:
        return self.query_one("#experiments", Table)

    @property
    def rows(self) -> tuple[ExperimentRow, ...]:
        """The experiments that can run, have run or run now; what is left out is among
        them where it is asked for.
        """
        found = self.found
        if found is None:
            return ()
        if self.with_left_out:
            return found.rows
        return tuple(row for row in found.rows if row.state != "left out")

    @property
    def _left_out(self) -> int:
        """How many options mean nothing here."""
        if self.found is None:
            return 0
        return sum(row.state == "left out" for row in self.found.rows)

    @property
    def here(self) -> ExperimentRow | None:
        """The selected row."""
        rows = self.rows
        if rows:
            return rows[self.table.selected]
        return None

    @property
    def _engines_run(self) -> bool:
        """Whether experiments run now."""
        found = self.found
        return found is not None and bool(found.running)

    def _chosen_rows(self) -> list[ExperimentRow]:
        return [row for row in self.rows if self._is_chosen(row)]

    def _is_chosen(self, row: ExperimentRow) -> bool:
        return self.chosen is not None and row.id in self.chosen

    def _row_here(self) -> list[ExperimentRow]:
        """The selected row, if it can run."""
        row = self.here
        if row is None or row.state == "left out":
            return []
        return [row]

    def on_mount(self) -> None:
        self.follow()

    def on_unmount(self) -> None:
        self._stop.set()
        self._wake.set()

    # ---- what is known

    @background(group="experiments", exclusive=True)
    def follow(self) -> None:
        """Read what is proposed and saved, again and again; send what is new."""
        sent: Experiments | None = None
        watch: ExperimentWatch | None = None
        while not self._stop.is_set():
            try:
                if watch is None:
                    why = self.why
                    watch = ExperimentWatch(self.session, why.pair, why.found)
                found = watch.look()
            except Exception as error:
                problem = reason(self.session, error)
                self.post_message(ExperimentsRead(None, problem))
                return
            if found != sent:
                sent = found
                self.post_message(ExperimentsRead(found))
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    @on(ExperimentsRead)
    def _on_read(self, message: ExperimentsRead) -> None:
        self._problem = message.problem
        if message.found is not None:
            self._take(message.found)
        self.show_hints()
        self.draw()

    def _take(self, now: Experiments) -> None:
        """Keep what was read, and say when a run has ended."""
        before = self.found
        self.found = now
        if self.chosen is None:
            self.chosen = chosen_at_first(now.rows, self.budget)
        if before is not None and _has_ended(before, now):
            self.say("the experiments have ended")

    def applies(self, name: str) -> bool:
        if name == "start":
            return not self._engines_run
        return self._engines_run or name != "cancel_run"

    # ---- showing

    def draw(self) -> None:
        if not self.size.width:
            return
        cells = []
        marks = []
        for row in self.rows:
            cells.append(_cells_of(row))
            marks.append(self._mark(row))
        self.table.put(_COLUMNS, cells, marks)
        self._show_bars()

    def _mark(self, row: ExperimentRow) -> Run:
        palette = self.palette
        if self._is_chosen(row) and row.state != "running":
            return "●", palette.accent
        styles = {
            "running": palette.accent,
            "done": palette.text,
            "failed": palette.bad,
        }
        mark = STATES[row.state]
        style = styles.get(row.state, palette.muted)
        return mark, style

    @on(Rows.Moved)
    def _on_moved(self) -> None:
        self.say("")
        self._show_bars()

    def _show_bars(self) -> None:
        head = self._head()
        detail = self._detail()
        self.bar("verdict").put(head)
        self.bar("detail").put(detail)

    def _head(self) -> list[Row]:
        """The pair, and what is known of its experiments."""
        palette = self.palette
        labels = self.why.labels
        a, b = map(visible, labels)
        names = fit(f"{a} {ARROW} {b}", self.text_width)
        blank = (" ", palette.text)
        rows: list[Row] = [[blank, (names, palette.strong)]]
        for words, style in self._state():
            rows += self.paragraph(words, style, most=2)
        return rows

    def _state(self) -> list[Run]:
        palette = self.palette
        found = self.found
        if self._problem:
            problem = visible(self._problem)
            return [(problem, palette.bad)]
        if found is None:
            return [("being read …", palette.muted)]
        if found.running:
            return [(f"runs in the background: {found.running}", palette.muted)]
        words = self._choice()
        if found.why_none:
            words = f"no experiment is proposed: {found.why_none}"
        state = [(words, palette.muted)]
        if found.ended:
            state.insert(0, (found.ended, palette.warn))
        return state

    def _choice(self) -> str:
        """What would be run, in words."""
        budget = write_budget(self.budget)
        words = f"budget {budget} · {self._chosen_words()}"
        some_decide = any(row.deciding for row in self.rows)
        if not some_decide:
            words += " · none can prove or refute what is likely"
        left_out = self._left_out
        if left_out and not self.with_left_out:
            key = self._key("reasons")
            options = counted(left_out, "option")
            words += f" · left out: {options} without meaning here ({key} says why)"
        return words

    def _chosen_words(self) -> str:
        """How many are chosen and how long they take; without one, what to press."""
        chosen = self._chosen_rows()
        if chosen:
            return f"{len(chosen)} chosen, {total(chosen)}"
        states = {row.state for row in self.rows}
        if "proposed" not in states:
            return "all have run"
        one = self._key("choose_row")
        every = self._key("choose_all")
        return f"none chosen: {one} chooses one, {every} all"

    def _detail(self) -> list[Row]:
        """The selected row in full."""
        palette = self.palette
        row = self.here
        if row is None:
            nothing = ("", palette.text)
            return [[nothing]]
        most = 2
        if self.is_low:
            most = 1
        title = visible(row.title)
        about = visible(row.about)
        lines: list[Row] = []
        lines += self.paragraph(title, palette.strong, most)
        if row.words:
            lines += self.paragraph(visible(row.words), palette.text, most=3)
        lines += self.paragraph(about, palette.muted, most)
        if row.outcome and row.state != "left out":
            lines += self._outcome(row)
        return lines

    def _outcome(self, row: ExperimentRow) -> Sequence[Row]:
        """The outcome, which stands in full nowhere else on this screen."""
        style = self.palette.accent
        if row.state == "failed":
            style = self.palette.bad
        eighth = self.size.height // 8
        outcome = visible(row.outcome)
        return self.paragraph(outcome, style, most=max(2, eighth))

    # ---- commands

    def action_choose_row(self) -> None:
        """Have the experiment run, or not."""
        row = self.here
        if row is None or self.chosen is None:
            return
        if row.state == "left out":
            self.warn(row.outcome)
            return
        self.chosen ^= {row.id}
        self.draw()
        self.table.action_row_down()

    def action_choose_all(self) -> None:
        """All that have not run, or none where one is chosen."""
        chosen = set()
        if not self.chosen:
            for row in self.rows:
                if row.state == "proposed":
                    chosen.add(row.id)
        self.chosen = chosen
        self.draw()

    @on(Rows.Chosen)
    def _on_chosen(self) -> None:
        """Open the experiment of the row, or run it alone where it has not run."""
        row = self.here
        if row is None:
            return
        if row.folder is not None:
            self.action_open_experiment()
        elif row.state == "left out":
            self.warn(row.outcome)
        else:
            self._start([row])

    def action_start(self) -> None:
        """Ask, then run what is chosen, or the experiment of the row where none is."""
        rows = self._chosen_rows() or self._row_here()
        self._start(rows)

    def _start(self, rows: list[ExperimentRow]) -> None:
        if self._engines_run:
            key = self._key("cancel_run")
            self.warn(f"experiments run already ({key} cancels them)")
            return
        if rows:
            self._ask_to_start(rows)
        else:
            self.warn("there is no experiment to run")

    def _ask_to_start(self, rows: list[ExperimentRow]) -> None:
        from logdrift.tui.screens.confirm import Confirm

        count = counted(len(rows), "experiment")
        limit = write_budget(self.budget)

        def confirmed() -> None:
            self.say(f"starting {count}", stays=True)
            self.start_rows(rows, self.budget)

        question = Confirm(
            f"Run {count} in the background?",
            f"Yes, start engines for {count} now, {total(rows)}, at most {limit}",
        )
        self.confirm(question, confirmed)

    @background(group="start", writes=True, failed=_refused)
    def start_rows(self, rows: list[ExperimentRow], budget: float) -> None:
        """Start experiments in a process of their own."""
        from logdrift.core.capture.trust import Stranger
        from logdrift.core.investigate.experiment_jobs import start_experiments

        ids = [row.id for row in rows]
        pair = self.why.pair
        try:
            start_experiments(self.session, pair, ids, budget_s=budget)
        except Stranger as stranger:
            again = partial(self.start_rows, rows, budget)
            self.post_message(NotConfirmed(stranger, again))
            return
        words = "started in the background: leave and come back as you like"
        started = RunAsked(words, ids=frozenset(ids))
        self.post_message(started)

    def action_cancel_run(self) -> None:
        """Ask, then cancel those that run."""
        from logdrift.tui.screens.confirm import Confirm

        if not self._engines_run:
            self.warn("no experiment runs")
            return
        question = Confirm(
            "Cancel the experiments that run?", "Yes, cancel: what is done stays"
        )
        self.confirm(question, self.cancel_run)

    @background(group="start", writes=True, failed=_refused)
    def cancel_run(self) -> None:
        """End the process that runs experiments."""
        from logdrift.core.investigate.experiment_jobs import cancel_experiments

        cancel_experiments(self.session.folder)
        self.post_message(RunAsked("the experiments are cancelled"))

    @on(RunAsked)
    def _on_run_asked(self, message: RunAsked) -> None:
        self._wake.set()
        chosen = self.chosen or set()
        self.chosen = chosen - message.ids
        self.draw()
        self.say(message.words)
        if message.problem:
            self.logdrift.show_error(message.problem)

    def action_reasons(self) -> None:
        """Show the options that are left out, with the reason of each, or hide them."""
        self.with_left_out = not self.with_left_out
        self.draw()

    def action_budget(self) -> None:
        """Ask for the time that experiments may take together."""
        from logdrift.tui.screens.prompt import LinePrompt

        prompt = LinePrompt(
            "Budget",
            "time that all of them may take together: 90s, 10m, 1h",
            write_budget(self.budget),
            problem=_wrong_budget,
        )
        self.ask(prompt, self._take_budget)

    def _take_budget(self, text: str) -> None:
        if not text:
            return
        self.budget = parse_budget(text)
        self.chosen = None
        if self.found is not None:
            self.chosen = chosen_at_first(self.rows, self.budget)
        self.draw()

    def action_open_experiment(self) -> None:
        """The experiment's own session, in an explorer."""
        row = self.here
        if row is None or row.folder is None:
            words = "this experiment has not run yet: there is no session of it"
            self.warn(words)
            return
        self.logdrift.open_folder(row.folder)

    def action_shift(self, step: int) -> None:
        self.table.shift(step)

    def text_to_save(self) -> str:
        return self.table.copied()

    def _key(self, name: str) -> str:
        keymap = self.logdrift.keymap
        return key_of("experiments", name, keymap)


def _cells_of(row: ExperimentRow) -> Sequence[str]:
    return [row.change, row.takes, row.short, row.backend, row.cause]


def _has_ended(before: Experiments, now: Experiments) -> bool:
    """Whether a run was seen, or has begun and ended since the last look."""
    was_running = bool(before.running)
    has_begun = before.began != now.began
    return (was_running or has_begun) and not now.running


def _wrong_budget(text: str) -> str:
    """What is wrong with a budget, "" for nothing."""
    try:
        parse_budget(text)
    except InputError as error:
        return error.reason
    return ""
