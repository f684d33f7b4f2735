"""A form of a capture: backends, the engines that are there, and the start in the
background.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.session.visible import visible
from logdrift.tui.actions import Hint, key_hints
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.models.capture_rows import FormRow
from logdrift.tui.models.draft_problems import field_of
from logdrift.tui.models.engines import Found, look_for_engines
from logdrift.tui.screens.base import BaseScreen
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
class StartFailed(Message):
    """The capture does not run, and why."""

    error: LogdriftError


def not_started(words: str) -> StartFailed:
    error = LogdriftError(words)
    return StartFailed(error)


class CaptureFormScreen(BaseScreen, inherit_bindings=False):
    """Subclasses say what is asked, what the form gives and how it is started; a form
    is dismissed with their answer once the capture runs, and with None where it is
    left.
    """

    BINDINGS = bindings("form")
    CSS_PATH = "new_capture.tcss"
    SCOPES = ("form",)
    AUTO_FOCUS = "#form"
    TITLE_TEXT = ""
    PLAN_TITLE = ("Plan", "as TOML")

    def __init__(self, form: forms.CaptureForm) -> None:
        super().__init__()
        self.form = form
        self.built = self.build(form)
        self._untouched = form
        self.found: Mapping[str, Found] = {}
        self.expanded: frozenset[int] = frozenset()
        self.started = False
        self._cancel = threading.Event()

    # ---- what each form has of its own

    def build(self, form: forms.CaptureForm) -> DraftPlan:
        """What a form gives, or what is wrong with it."""
        raise NotImplementedError

    def rows_of(self, problems: DraftPlan) -> list[FormRow]:
        """The rows of the form, with what is wrong below each."""
        raise NotImplementedError

    def problems_to_show(self) -> DraftPlan:
        """What is wrong, less what has yet to be filled in."""
        return self.built

    def put_plan(self, pane: PlanPane) -> None:
        """Show beside the form what it gives."""
        raise NotImplementedError

    def begin(self) -> None:
        """Start the capture, in a thread: there is nothing wrong."""
        raise NotImplementedError

    def new_backend(self, engine: str) -> forms.BackendForm:
        """Another backend of an engine."""
        names = {backend.name for backend in self.form.backends}
        return forms.new_backend(engine, names)

    # ---- what is shown

    def panes(self) -> ComposeResult:
        with Container(id="panes"):
            yield Form(self.TITLE_TEXT, self, id="form")
            title, form = self.PLAN_TITLE
            yield PlanPane(title, form, id="plan")

    def on_mount(self) -> None:
        self.show_form()
        self.set_timer(self.LATER, self._look_for_engines)

    def on_unmount(self) -> None:
        self._cancel.set()

    def hints(self) -> list[Hint]:
        # A question mark is typed here.
        help_hint = Hint("F1", "help", "f1", stays=True)
        hints = key_hints(
            *self.SCOPES,
            keymap=self.logdrift.keymap,
            applies=self.applies,
            words=self.other_words(),
        )
        hints.append(help_hint)
        return hints

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        is_narrow = width < WIDE
        self.set_class(is_narrow, "-narrow")

    @property
    def fields(self) -> Form:
        return self.query_one(Form)

    def set_form(self, form: forms.CaptureForm, *, key: str | None = None) -> None:
        """Show another form, with the cursor in ``key`` or where it is."""
        self.form = form
        self.built = self.build(form)
        self.show_form(key)

    def show_form(self, key: str | None = None) -> None:
        """Show the form as it is now."""
        problems = self.problems_to_show()
        rows = self.rows_of(problems)
        self.fields.show(rows, key=key)
        self.draw()

    def draw(self) -> None:
        """The plan beside the form, where there is room for it."""
        pane = self.query_one(PlanPane)
        self.put_plan(pane)

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
        self.show_form()

    # ---- filling in

    def typed(self, key: str, text: str) -> None:
        """A field was typed in."""
        self.say("")
        self._fill(key, text)

    def _fill(self, key: str, value: str) -> None:
        form = forms.with_value(self.form, key, value)
        self.set_form(form)

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
        self.expanded ^= {index}
        self.show_form()

    def _press_plan_button(self, key: str) -> None:
        press = getattr(self, f"action_{key}")
        press()

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
        index = len(backends)
        added = self.new_backend(engine)
        backends.append(added)
        self.expanded |= {index}
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
        self.set_form(form, key=key)

    def _remove_backend(self, index: int) -> None:
        backends = list(self.form.backends)
        removed = backends.pop(index)
        expanded = set()
        for other in self.expanded:
            if other < index:
                expanded.add(other)
            elif other > index:
                expanded.add(other - 1)
        self.expanded = frozenset(expanded)
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

    # ---- starting and leaving

    def action_start(self) -> None:
        if self.started:
            self.say(_BEING_STARTED, stays=True)
        elif self.built.plan is None:
            self.point_at_problem()
        else:
            self.started = True
            self.begin()

    def point_at_problem(self) -> None:
        """To the first field that is wrong; what is wrong stands below it."""
        key = self._first_wrong_field()
        # As if started: the prompt that has yet to be typed is wrong now.
        before = self.started
        self.started = True
        self.show_form(key)
        self.started = before
        problems = self.built.problems
        reasons = iter(problems.values())
        problem = next(reasons, "")
        if key is not None:
            problem = problems[key] or problem
        self.warn(problem)

    def _first_wrong_field(self) -> str | None:
        built = self.built
        problems = built.problems
        for row in self.rows_of(built):
            is_wrong = row.kind == "bad"
            if is_wrong and row.key in problems:
                return row.key
        return None

    @on(Narrated)
    def _on_narrated(self, message: Narrated) -> None:
        self.say(message.words, stays=True)

    @on(StartFailed)
    def _on_start_failed(self, message: StartFailed) -> None:
        self.started = False
        error = message.error
        words = str(error)
        key = field_of(error, self.form)
        self.say("")
        if key is None:
            self.logdrift.show_error(words)
            return
        problems = {key: words}
        self.built = replace(self.built, problems=problems)
        self.show_form(key)
        self.warn(words)

    def action_leave(self) -> None:
        from logdrift.tui.screens.confirm import Confirm

        if self.started:
            self.say(_BEING_STARTED, stays=True)
        elif self.form == self._untouched:
            self.dismiss(None)
        else:
            question = Confirm(
                "Leave the form?", "Yes, drop what was filled in", "No, stay"
            )
            self.confirm(question, self.dismiss)


def known_engines() -> set[str]:
    """The engines that have an interpreter."""
    from logdrift.core.capture.environments import available

    known = set()
    interpreters = available()
    for engine, interpreter in interpreters.items():
        if not isinstance(interpreter, LogdriftError):
            known.add(engine)
    return known
