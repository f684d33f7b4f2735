"""Backends added to a session: a form, and the capture that scores the session's ids,
started in the background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.message import Message

from logdrift.core.errors import LogdriftError
from logdrift.tui.actions.hints import Words
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models.added_backends import (
    Added,
    ScoredSession,
    added_of,
    as_scorer,
    build_added,
    command_lines,
    form_for,
    session_to_score,
)
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.models.capture_rows import FormRow, scoring_rows
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.capture_form import (
    CaptureFormScreen,
    Narrated,
    StartFailed,
    known_engines,
    not_started,
)
from logdrift.tui.screens.plan_pane import PlanPane
from logdrift.tui.screens.starting import NotConfirmed, StartingScreen

Names = tuple[str, ...]
"""Of the backends that were added."""
_OF_A_PLAN = frozenset({"save_plan", "load_plan"})
"""Commands of the form that a session with a plan of its own has no use for."""


@dataclass
class AddedStarted(Message):
    """The capture of the added backends runs."""

    names: Names


class AddBackendScreen(StartingScreen, CaptureFormScreen, inherit_bindings=False):
    """Asks for backends that score the ids of a session; dismissed with their names
    once they are being captured.
    """

    BINDINGS = bindings("form")
    TITLE_TEXT = "Add a backend"
    PLAN_TITLE = ("Command", "that does the same")

    def __init__(self, session: ScoredSession) -> None:
        self.session = session
        super().__init__(form_for(session, known_engines()))

    def build(self, form: forms.CaptureForm) -> DraftPlan:
        return build_added(form, self.session)

    def rows_of(self, problems: DraftPlan) -> list[FormRow]:
        return scoring_rows(
            form=self.form,
            session=self.session,
            draft=problems,
            found=self.found,
            expanded=self.expanded,
            keymap=self.logdrift.keymap,
        )

    def new_backend(self, engine: str) -> forms.BackendForm:
        names = {backend.name for backend in self.form.backends}
        backend = forms.new_backend(engine, names | self.session.taken)
        return as_scorer(backend)

    def put_plan(self, pane: PlanPane) -> None:
        pane.put(self._command())

    def _command(self) -> list[str]:
        return command_lines(self.built, self.session)

    # ---- keys

    def applies(self, name: str) -> bool:
        return super().applies(name) and name not in _OF_A_PLAN

    def other_words(self) -> Words:
        return {"show_plan": "command"}

    def action_show_plan(self) -> None:
        """The command that does the same."""
        from logdrift.tui.screens.texts import TextScreen

        window = TextScreen("Command", self._command())
        self.app.push_screen(window)

    def action_save_plan(self) -> None:
        self.warn("there is no plan to save: the session keeps what is added")

    def action_load_plan(self) -> None:
        self.warn("there is no plan to load: add the backends here")

    # ---- the start

    def begin(self) -> None:
        plan = self.built.plan
        assert plan is not None
        self.say("checking the model", stays=True)
        self._start(added_of(plan, self.session))

    @background(group="start", exclusive=True, writes=True, failed=not_started)
    def _start(self, added: Added) -> None:
        from logdrift.core.capture.background import start_background
        from logdrift.core.capture.into import add_backends
        from logdrift.core.capture.trust import Stranger

        def narrate(text: str) -> None:
            self.post_message(Narrated(text))

        folder = self.session.folder
        try:
            add_backends(folder, added.backends, added.wish, narrate)
            start_background(folder)
        except Stranger as stranger:
            self.post_message(NotConfirmed(stranger, self.action_start))
            return
        except LogdriftError as error:
            self.post_message(StartFailed(error))
            return
        names = tuple(spec.name for spec in added.backends)
        self.post_message(AddedStarted(names))

    @on(NotConfirmed)
    def _on_stranger(self) -> None:
        self.started = False

    @on(AddedStarted)
    def _on_added_started(self, message: AddedStarted) -> None:
        self.dismiss(message.names)


def ask_backends(
    screen: BaseScreen, folder: Path, started: Callable[[Names], object]
) -> None:
    """Ask for backends to add to the session in ``folder``; ``started`` gets their
    names once they are being captured.
    """
    try:
        session = session_to_score(folder)
    except LogdriftError as error:
        screen.logdrift.show_error(str(error))
        return

    def answered(names: Names | None) -> None:
        if names is not None:
            started(names)

    screen.say("")
    form = AddBackendScreen(session)
    screen.app.push_screen(form, answered)
