"""A new capture: a form, the plan that it makes, and its start in the background."""

from __future__ import annotations

import itertools
import re
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import CapturePlan
from logdrift.core.session.visible import visible
from logdrift.tui.actions import Hint, key_hints
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models.capture_draft import DraftPlan, build, field_of
from logdrift.tui.models.capture_rows import FormRow, form_rows
from logdrift.tui.models.engines import Found, look_for_engines
from logdrift.tui.models.plan_file import with_typed_ids
from logdrift.tui.screens.plan_files import PlanFilesScreen
from logdrift.tui.screens.plan_pane import PlanPane
from logdrift.tui.widgets.form import Form
from logdrift.tui.widgets.reading import Row

WIDE = 110
"""Columns from which the plan stands beside the form."""
_BEING_LOOKED_FOR = Found("looking for it")
_BEING_STARTED = "it is being started: one moment"
_BACKEND_BUTTON = re.compile(r"backend\[(\d+)\](\.remove)?")


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


def _not_started(words: str) -> StartFailed:
    error = LogdriftError(words)
    return StartFailed(error)


class NewCaptureScreen(PlanFilesScreen, inherit_bindings=False):
    """Asks for everything a capture needs; dismissed with the folder of the session
    once it runs.
    """

    BINDINGS = bindings("form")
    CSS_PATH = "new_capture.tcss"
    SCOPES = ("form",)
    AUTO_FOCUS = "#form"

    def __init__(self, sessions: Path) -> None:
        super().__init__()
        self._sessions = sessions
        name = _free_name(sessions)
        engines = _known_engines()
        form = forms.first_form(name, engines)
        self.form = form
        self.built = build(form, sessions)
        self._untouched = form
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

    def hints(self) -> list[Hint]:
        keymap = self.logdrift.keymap
        # A question mark is typed here.
        help_hint = Hint("F1", "help", "f1", stays=True)
        hints = key_hints(*self.SCOPES, keymap=keymap)
        hints.append(help_hint)
        return hints

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        is_narrow = width < WIDE
        self.set_class(is_narrow, "-narrow")

    @property
    def fields(self) -> Form:
        return self.query_one(Form)

    # ---- what is shown

    def _set(self, form: forms.CaptureForm, *, key: str | None = None) -> None:
        self.form = form
        self.built = build(form, self._sessions)
        self._show(key)

    def _rows(self, problems: DraftPlan) -> list[FormRow]:
        """The rows of the form, with what is wrong below each."""
        keymap = self.logdrift.keymap
        expanded = self._expanded
        return form_rows(self.form, problems, self.found, expanded, keymap)

    def _show(self, key: str | None = None) -> None:
        problems = self._problems_to_show()
        rows = self._rows(problems)
        self.fields.show(rows, key=key)
        self.draw()

    def _problems_to_show(self) -> DraftPlan:
        """What is wrong, less the prompt that has yet to be typed: an empty form is
        not wrong yet.
        """
        built = self.built
        if self._started or not self._lacks_prompt:
            return built
        problems = dict(built.problems)
        problems.pop("prompts.text[0]", None)
        return replace(built, problems=problems)

    @property
    def _lacks_prompt(self) -> bool:
        """Whether a prompt is to be typed and nothing was typed yet."""
        form = self.form
        is_typed = form.source == "text"
        is_empty = form.texts == ("",)
        return is_typed and is_empty

    def draw(self) -> None:
        """The plan beside the form, where there is room for it."""
        pane = self.query_one(PlanPane)
        pane.put(self.built)

    @property
    def session_name(self) -> str:
        return self.form.session.strip()

    # ---- engines

    @background(group="probe", exclusive=True)
    def _look_for_engines(self) -> None:
        for found in look_for_engines(self._cancel):
            message = EnginesFound(found)
            self.post_message(message)

    @on(EnginesFound)
    def _on_engines_found(self, message: EnginesFound) -> None:
        found = dict(self.found)
        found.update(message.found)
        self.found = found
        self._show()

    # ---- filling in

    def typed(self, key: str, text: str) -> None:
        """A field was typed in."""
        self.say("")
        self._fill(key, text)

    def _fill(self, key: str, value: str) -> None:
        form = forms.with_value(self.form, key, value)
        self._set(form)

    def stepped(self, key: str, step: int) -> None:
        """Another choice of a field."""
        self.say("")
        form = self.form
        options = forms.choices(form, key)
        value = forms.value_of(form, key)
        index = options.index(value)
        index += step
        index %= len(options)
        following = options[index]
        self._fill(key, following)

    def pressed(self, key: str) -> None:
        """A button: of the plan, of a backend, or of an engine, which adds a
        backend.
        """
        backend = _BACKEND_BUTTON.fullmatch(key)
        if backend is not None:
            number, remove = backend.groups()
            index = int(number)
            if remove:
                self._remove_backend(index)
            else:
                self._expand(index)
        elif key.startswith("engine."):
            engine = key.removeprefix("engine.")
            self._add(engine)
        else:
            self._press_plan_button(key)

    def _expand(self, index: int) -> None:
        """Show all fields of a backend, or few again."""
        self._expanded ^= {index}
        self._show()

    def _press_plan_button(self, key: str) -> None:
        buttons = {
            "show_plan": self.action_show_plan,
            "save_plan": self.action_save_plan,
            "load_plan": self.action_load_plan,
            "start": self.action_start,
        }
        buttons[key]()

    def action_add_backend(self) -> None:
        from logdrift.tui.screens.texts import Picker

        engines = list(ENGINES)

        count = len(engines)

        def row(index: int, width: int) -> Row:
            engine = engines[index]
            return self._engine_row(engine)

        def chosen(index: int) -> None:
            engine = engines[index]
            self._add(engine)

        picker = Picker("Add a backend", " engine", count, row)
        self.choose(picker, chosen)

    def _engine_row(self, engine: str) -> Row:
        """An engine, and whether it can be used here."""
        palette = self.palette
        known = self.found.get(engine, _BEING_LOOKED_FOR)
        words = known.words
        style = palette.muted
        if known.problem:
            words = known.problem
            style = palette.bad
        name = (f" {engine:<14}", palette.text)
        state = (visible(words), style)
        return [name, state]

    def _add(self, engine: str) -> None:
        backends = list(self.form.backends)
        names = {backend.name for backend in backends}
        index = len(backends)
        added = forms.new_backend(engine, names)
        backends.append(added)
        self._expanded |= {index}
        name_key = f"backend[{index}].name"
        self._set_backends(backends, key=name_key)
        known = self.found.get(engine)
        if known is None or known.problem is None:
            return
        self.warn(known.problem)

    def _set_backends(
        self, backends: list[forms.BackendForm], key: str | None = None
    ) -> None:
        kept = tuple(backends)
        form = replace(self.form, backends=kept)
        self._set(form, key=key)

    def _remove_backend(self, index: int) -> None:
        backends = list(self.form.backends)
        removed = backends.pop(index)
        expanded = set()
        for other in self._expanded:
            if other < index:
                expanded.add(other)
            elif other > index:
                expanded.add(other - 1)
        self._expanded = frozenset(expanded)
        self._set_backends(backends)
        self.say(f"{removed.name} is removed")

    # ---- moving

    def action_next_field(self) -> None:
        self.fields.step(1)

    def action_previous_field(self) -> None:
        self.fields.step(-1)

    def action_fields_down(self) -> None:
        page = self.fields.page
        self.fields.step(page - 2)

    def action_fields_up(self) -> None:
        page = self.fields.page
        self.fields.step(2 - page)

    def take_plan(self, plan: CapturePlan) -> None:
        """Fill the form in from a plan."""
        self._expanded = frozenset()
        session = self.form.session
        form = forms.form_of(plan, session)
        self._set(form, key="model")

    # ---- starting and leaving

    def action_start(self) -> None:
        built = self.built
        plan = built.plan
        if self._started:
            self.say(_BEING_STARTED, stays=True)
        elif plan is None:
            self.point_at_problem()
        else:
            self._started = True
            self.say("checking model and prompts", stays=True)
            folder = self._sessions / self.session_name
            self._start(plan, built.ids, folder)

    def point_at_problem(self) -> None:
        """To the first field that is wrong; what is wrong stands below it."""
        key = self._first_wrong_field()
        # As if started: the prompt that has yet to be typed is wrong now.
        before = self._started
        self._started = True
        self._show(key)
        self._started = before
        problems = self.built.problems
        reasons = iter(problems.values())
        problem = next(reasons, "")
        if key is not None:
            problem = problems[key] or problem
        self.warn(problem)

    def _first_wrong_field(self) -> str | None:
        built = self.built
        problems = built.problems
        for row in self._rows(built):
            is_wrong = row.kind == "bad"
            if is_wrong and row.key in problems:
                return row.key
        return None

    @background(group="start", exclusive=True, writes=True, failed=_not_started)
    def _start(
        self, plan: CapturePlan, ids: tuple[str, ...] | None, folder: Path
    ) -> None:
        from logdrift.core.capture.background import start_background
        from logdrift.core.capture.create import create_session

        def narrate(text: str) -> None:
            self.post_message(Narrated(text))

        try:
            with tempfile.TemporaryDirectory(prefix="logdrift-") as scratch:
                scratch_folder = Path(scratch)
                plan = with_typed_ids(plan, ids, scratch_folder)
                create_session(plan, folder, narrate)
            start_background(folder)
        except LogdriftError as error:
            self.post_message(StartFailed(error))
            return
        self.post_message(Started(folder))

    @on(Narrated)
    def _on_narrated(self, message: Narrated) -> None:
        self.say(message.words, stays=True)

    @on(Started)
    def _on_started(self, message: Started) -> None:
        self.dismiss(message.folder)

    @on(StartFailed)
    def _on_start_failed(self, message: StartFailed) -> None:
        self._started = False
        error = message.error
        words = str(error)
        key = field_of(error, self.form)
        self.say("")
        if key is None:
            self.logdrift.show_error(words)
            return
        problems = {key: words}
        self.built = replace(self.built, problems=problems)
        self._show(key)
        self.warn(words)

    def action_leave(self) -> None:
        from logdrift.tui.screens.confirm import Confirm

        if self._started:
            self.say(_BEING_STARTED, stays=True)
        elif self.form == self._untouched:
            self.dismiss(None)
        else:
            question = Confirm(
                "Leave the form?", "Yes, drop what was filled in", "No, stay"
            )
            self.confirm(question, self.dismiss)


def _known_engines() -> set[str]:
    """The engines that have an interpreter."""
    from logdrift.core.capture.environments import available

    known = set()
    interpreters = available()
    for engine, interpreter in interpreters.items():
        if not isinstance(interpreter, LogdriftError):
            known.add(engine)
    return known


def _free_name(sessions: Path) -> str:
    """A name for a session that is not taken yet."""
    for number in itertools.count(1):
        name = f"capture-{number}"
        folder = sessions / name
        if not folder.exists():
            return name
    raise AssertionError("numbers do not end")
