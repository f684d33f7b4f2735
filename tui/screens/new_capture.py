"""A new capture: a form, the plan that follows from it, and its start in the
background.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.strip import Strip

from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError, words_of
from logdrift.core.paths import user_path
from logdrift.core.plan import CapturePlan, load_plan
from logdrift.core.plan.writing import plan_toml
from logdrift.core.session.visible import visible
from logdrift.tui.actions import hint_pairs
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models.capture_draft import DraftPlan, build, field_of
from logdrift.tui.models.capture_rows import form_rows
from logdrift.tui.models.engines import Found, look_for_engines
from logdrift.tui.models.plan_file import save_plan, with_typed_ids
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.form import Form
from logdrift.tui.widgets.lines import Text, strip_of

WIDE = 110
"""Columns from which the plan stands beside the form."""


@dataclass
class EnginesFound(Message):
    """Which engines have an environment, or how one of them does."""

    found: Mapping[str, Found]


@dataclass
class Narrated(Message):
    """What the start is doing."""

    words: str


@dataclass
class Started(Message):
    """The capture runs."""

    folder: Path


@dataclass
class StartFailed(Message):
    """It does not, and why."""

    error: LogdriftError


class PlanPane(Text, can_focus=False):
    """The plan as TOML."""

    fixed = 1

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Plan", width, "as TOML")


class NewCaptureScreen(BaseScreen, inherit_bindings=False):
    """Asks for everything a capture needs; dismissed with the folder of the session
    once it runs.
    """

    BINDINGS = bindings("form")
    SCOPES = ("form",)
    AUTO_FOCUS = "#form"

    def __init__(self, sessions: Path) -> None:
        from logdrift.core.capture.environments import available

        super().__init__()
        self._sessions = sessions
        known = {
            engine: found
            for engine, found in available().items()
            if not isinstance(found, LogdriftError)
        }
        self.form = forms.first_form(_free_name(sessions), known)
        self.built = build(self.form, sessions)
        self._untouched = self.form
        self.found: Mapping[str, Found] = {}
        self._expanded: frozenset[int] = frozenset()
        self._started = False
        self._cancel = threading.Event()

    def panes(self) -> ComposeResult:
        with Container(id="panes"):
            yield Form("New capture", self, id="form")
            yield PlanPane(id="plan")

    def on_mount(self) -> None:
        self._show()
        self.set_timer(self.LATER, self._look_for_engines)

    def on_unmount(self) -> None:
        self._cancel.set()

    def show_hints(self) -> None:
        # A question mark is typed here.
        keymap = self.logdrift.keymap
        self.query_one("#hints", Hints).show(
            [*hint_pairs(*self.SCOPES, keymap=keymap), ("F1", "help")]
        )

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        self.set_class(width < WIDE, "-narrow")

    @property
    def fields(self) -> Form:
        return self.query_one(Form)

    # ---- what is shown

    def _set(self, form: forms.CaptureForm, *, key: str | None = None) -> None:
        self.form = form
        self.built = build(form, self._sessions)
        self._show(key)

    def _show(self, key: str | None = None) -> None:
        self.fields.show(
            form_rows(self.form, self._problems_to_show(), self.found, self._expanded),
            key=key,
        )
        self.draw()

    def _problems_to_show(self) -> DraftPlan:
        """What is wrong, less the prompt that has yet to be typed: an empty form is
        not wrong yet.
        """
        if self._started or self.form.texts != ("",) or self.form.source != "text":
            return self.built
        return replace(
            self.built,
            problems={
                k: v for k, v in self.built.problems.items() if k != "prompts.text[0]"
            },
        )

    def draw(self) -> None:
        """The plan beside the form, where there is room for it."""
        pane = self.query_one(PlanPane)
        p = self.palette
        if not pane.display or not pane.size.width:
            return
        rows: list[list[tuple[str, Style]]] = []
        for line in self.plan_lines():
            style = p.text
            if line.startswith(("[", "#")):
                if line.startswith("["):
                    style = p.strong
                else:
                    style = p.muted
            rows.append([(f" {visible(line)}", style)])
        pane.set_lines([strip_of(row, pane.inner_width) for row in rows])

    def plan_lines(self) -> list[str]:
        """The plan as TOML; where there is none, what is wrong."""
        if self.built.plan is None:
            return [
                "# not yet a plan:",
                *(f"# {words}" for words in self.built.problems.values()),
            ]
        try:
            lines = plan_toml(self.built.plan).splitlines()
        except LogdriftError as error:
            return [f"# {error}"]
        if self.built.ids is not None:
            lines[0:0] = [
                "# the ids are written to this file of prompts when the plan is saved"
            ]
        return lines

    # ---- engines

    @background(group="probe", exclusive=True)
    def _look_for_engines(self) -> None:
        for found in look_for_engines(self._cancel):
            self.post_message(EnginesFound(found))

    @on(EnginesFound)
    def _on_engines_found(self, message: EnginesFound) -> None:
        self.found = {**self.found, **message.found}
        self._show()

    # ---- filling in

    def typed(self, key: str, text: str) -> None:
        """A field was typed in."""
        self.say("")
        self._set(forms.with_value(self.form, key, text))

    def stepped(self, key: str, step: int) -> None:
        """Another choice of a field."""
        self.say("")
        options = forms.choices(self.form, key)
        at = options.index(forms.value_of(self.form, key))
        self._set(forms.with_value(self.form, key, options[(at + step) % len(options)]))

    def pressed(self, key: str) -> None:
        """A button: of the plan, of a backend, or of an engine, which adds a
        backend.
        """
        if match := re.fullmatch(r"backend\[(\d+)\](\.remove)?", key):
            index = int(match[1])
            if match[2]:
                self._remove_backend(index)
            else:
                self._expanded ^= {index}
                self._show()
        elif key.startswith("engine."):
            self._add(key.removeprefix("engine."))
        else:
            buttons = {
                "show_plan": self.action_show_plan,
                "save_plan": self.action_save_plan,
                "load_plan": self.action_load_plan,
                "start": self.action_start,
            }
            buttons[key]()

    def action_add_backend(self) -> None:
        from logdrift.tui.screens.texts import Picker
        from logdrift.tui.widgets.reading import Row

        engines = [*ENGINES]
        p = self.palette

        def row(index: int, width: int) -> Row:
            known = self.found.get(engines[index], Found("looking for it"))
            words = known.problem or known.words
            return [
                (f" {engines[index]:<14}", p.text),
                (visible(words), p.bad if known.problem else p.muted),
            ]

        def answered(index: int | None) -> None:
            if index is not None:
                self._add(engines[index])

        self.app.push_screen(
            Picker("Add a backend", " engine", len(engines), row), answered
        )

    def _add(self, engine: str) -> None:
        added = forms.new_backend(
            engine, {backend.name for backend in self.form.backends}
        )
        index = len(self.form.backends)
        self._expanded |= {index}
        self._set(
            replace(self.form, backends=(*self.form.backends, added)),
            key=f"backend[{index}].name",
        )
        problem = self.found.get(engine, Found()).problem
        if problem is not None:
            self.say(problem, warn=True)

    def _remove_backend(self, index: int) -> None:
        backends = self.form.backends
        self._expanded = frozenset(
            i - (i > index) for i in self._expanded if i != index
        )
        self._set(
            replace(self.form, backends=(*backends[:index], *backends[index + 1 :]))
        )
        self.say(f"{backends[index].name} is removed")

    # ---- moving

    def action_next_field(self) -> None:
        self.fields.step(1)

    def action_previous_field(self) -> None:
        self.fields.step(-1)

    def action_fields_down(self) -> None:
        self.fields.step(self.fields.page - 2)

    def action_fields_up(self) -> None:
        self.fields.step(2 - self.fields.page)

    # ---- the plan as a file

    def action_show_plan(self) -> None:
        from logdrift.tui.screens.texts import TextScreen

        self.app.push_screen(TextScreen("Plan", self.plan_lines()))

    def action_save_plan(self) -> None:
        if self.built.plan is None:
            self._point_at_problem()
            return
        from logdrift.tui.screens.confirm import Confirm
        from logdrift.tui.screens.prompt import LinePrompt

        def confirmed(path: Path, index: int | None) -> None:
            if index == 1:
                self._write_plan(path)

        def answered(text: str | None) -> None:
            path = _path(text)
            if path is None:
                return
            if os.path.exists(path):
                window = Confirm(
                    f"{visible(path.name)} exists already", "Yes, write over it"
                )
                self.app.push_screen(window, lambda index: confirmed(path, index))
            else:
                self._write_plan(path)

        name = f"{self.form.session.strip() or 'plan'}.toml"
        self.app.push_screen(
            LinePrompt(
                "Save the plan",
                "a file; logdrift capture --plan takes it",
                name,
                problem=_no_path,
            ),
            answered,
        )

    def _write_plan(self, path: Path) -> None:
        plan = self.built.plan
        assert plan is not None
        try:
            save_plan(plan, self.built.ids, path)
        except LogdriftError as error:
            self.logdrift.show_error(str(error))
            return
        self.say(f"saved: {path}")

    def action_load_plan(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        def answered(text: str | None) -> None:
            path = _path(text)
            if path is None:
                return
            try:
                plan = load_plan(path)
            except Exception as error:
                self.logdrift.show_error(words_of(error))
                return
            self.take_plan(plan)
            self.say(f"loaded: {path}")

        words = "a TOML file, as saved here or as docs/plan.md has it"
        self.app.push_screen(
            LinePrompt("Load a plan", words, problem=_no_path), answered
        )

    def take_plan(self, plan: CapturePlan) -> None:
        """Fill the form in from a plan."""
        self._expanded = frozenset()
        self._set(forms.form_of(plan, self.form.session), key="model")

    # ---- starting and leaving

    def action_start(self) -> None:
        if self._started:
            self.say("it is being started: one moment")
            return
        if self.built.plan is None:
            self._point_at_problem()
            return
        self._started = True
        self.say("checking model and prompts")
        self._start(
            self.built.plan, self.built.ids, self._sessions / self.form.session.strip()
        )

    def _point_at_problem(self) -> None:
        """To the first field that is wrong; what is wrong stands below it."""
        self._started, started = True, self._started
        rows = form_rows(self.form, self.built, self.found, self._expanded)
        first = next(
            (
                row.key
                for row in rows
                if row.kind == "bad" and row.key in self.built.problems
            ),
            None,
        )
        words = self.built.problems.get(first or "", "") or next(
            iter(self.built.problems.values()), ""
        )
        self._show(first)
        self._started = started
        self.say(words, warn=True)

    @background(
        group="start",
        exclusive=True,
        writes=True,
        failed=lambda words: StartFailed(LogdriftError(words)),
    )
    def _start(
        self, plan: CapturePlan, ids: tuple[str, ...] | None, folder: Path
    ) -> None:
        from logdrift.core.capture.background import start_background
        from logdrift.core.capture.create import create_session

        def narrate(text: str) -> None:
            self.post_message(Narrated(text))

        try:
            with tempfile.TemporaryDirectory(prefix="logdrift-") as scratch:
                plan = with_typed_ids(plan, ids, Path(scratch))
                create_session(plan, folder, narrate)
            start_background(folder)
        except LogdriftError as error:
            self.post_message(StartFailed(error))
            return
        self.post_message(Started(folder))

    @on(Narrated)
    def _on_narrated(self, message: Narrated) -> None:
        self.say(message.words)

    @on(Started)
    def _on_started(self, message: Started) -> None:
        self.dismiss(message.folder)

    @on(StartFailed)
    def _on_start_failed(self, message: StartFailed) -> None:
        self._started = False
        words = str(message.error)
        key = field_of(message.error, self.form)
        self.say("")
        if key is None:
            self.logdrift.show_error(words)
            return
        self.built = replace(self.built, problems={key: words})
        self._show(key)
        self.say(words, warn=True)

    def action_leave(self) -> None:
        from logdrift.tui.screens.confirm import Confirm

        if self._started:
            self.say("it is being started: one moment")
        elif self.form == self._untouched:
            self.dismiss(None)
        else:

            def answered(index: int | None) -> None:
                if index == 1:
                    self.dismiss(None)

            self.app.push_screen(
                Confirm("Leave the form?", "Yes, drop what was filled in", "No, stay"),
                answered,
            )


def _free_name(sessions: Path) -> str:
    """A name for a session that is not taken yet."""
    return next(
        name
        for n in range(1, 10**6)
        if not (sessions / (name := f"capture-{n}")).exists()
    )


def _path(text: str | None) -> Path | None:
    if text and text.strip():
        return user_path(text.strip())
    return None


def _no_path(text: str) -> str:
    """Nothing is wrong with a path that can be one. Raises InputError for others."""
    _path(text)
    return ""
