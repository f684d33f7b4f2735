"""A new capture: a form, the plan that it makes, and its start in the background."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from textual import on
from textual.message import Message

from logdrift.core.errors import LogdriftError
from logdrift.core.plan import CapturePlan
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.models import capture_form as forms
from logdrift.tui.models.capture_draft import DraftPlan, build
from logdrift.tui.models.capture_rows import FormRow, form_rows
from logdrift.tui.models.plan_file import with_typed_ids
from logdrift.tui.screens.capture_form import (
    CaptureFormScreen,
    Narrated,
    StartFailed,
    known_engines,
    not_started,
)
from logdrift.tui.screens.plan_files import PlanFilesScreen
from logdrift.tui.screens.plan_pane import PlanPane


@dataclass
class Started(Message):
    """The capture runs."""

    folder: Path


class NewCaptureScreen(CaptureFormScreen, PlanFilesScreen, inherit_bindings=False):
    """Asks for everything a capture needs; dismissed with the folder of the session
    once it runs.
    """

    BINDINGS = bindings("form")
    TITLE_TEXT = "New capture"

    def __init__(self, sessions: Path) -> None:
        self._sessions = sessions
        name = _free_name(sessions)
        engines = known_engines()
        super().__init__(forms.first_form(name, engines))

    def build(self, form: forms.CaptureForm) -> DraftPlan:
        return build(form, self._sessions)

    def rows_of(self, problems: DraftPlan) -> list[FormRow]:
        keymap = self.logdrift.keymap
        return form_rows(self.form, problems, self.found, self.expanded, keymap)

    def problems_to_show(self) -> DraftPlan:
        """What is wrong, less the prompt that has yet to be typed: an empty form is
        not wrong yet.
        """
        built = self.built
        if self.started or not self._lacks_prompt:
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

    def put_plan(self, pane: PlanPane) -> None:
        pane.put(self.plan_lines())

    @property
    def session_name(self) -> str:
        return self.form.session.strip()

    def take_plan(self, plan: CapturePlan) -> None:
        """Fill the form in from a plan."""
        self.expanded = frozenset()
        session = self.form.session
        form = forms.form_of(plan, session)
        self.set_form(form, key="model")

    # ---- the start

    def begin(self) -> None:
        built = self.built
        assert built.plan is not None
        self.say("checking model and prompts", stays=True)
        folder = self._sessions / self.session_name
        self._start(built.plan, built.ids, folder)

    @background(group="start", exclusive=True, writes=True, failed=not_started)
    def _start(
        self, plan: CapturePlan, ids: tuple[str, ...] | None, folder: Path
    ) -> None:
        from logdrift.core.capture.background import start_background
        from logdrift.core.capture.create import create_session
        from logdrift.core.session.scratch import brief_folder

        def narrate(text: str) -> None:
            self.post_message(Narrated(text))

        try:
            with brief_folder() as scratch:
                plan = with_typed_ids(plan, ids, scratch)
                create_session(plan, folder, narrate)
            start_background(folder)
        except LogdriftError as error:
            self.post_message(StartFailed(error))
            return
        self.post_message(Started(folder))

    @on(Started)
    def _on_started(self, message: Started) -> None:
        self.dismiss(message.folder)


def _free_name(sessions: Path) -> str:
    """A name for a session that is not taken yet."""
    for number in itertools.count(1):
        name = f"capture-{number}"
        folder = sessions / name
        if not folder.exists():
            return name
    raise AssertionError("numbers do not end")
