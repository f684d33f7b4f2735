"""The plan of a form as a file: shown, saved and loaded."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from logdrift.core.errors import LogdriftError, words_of
from logdrift.core.paths import user_path
from logdrift.core.plan import CapturePlan, load_plan
from logdrift.core.session.visible import visible
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.models.plan_file import save_plan
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.plan_pane import plan_lines


class PlanFilesScreen(BaseScreen, inherit_bindings=False):
    """A screen that makes a plan, ``built``; subclasses fill their form in from one."""

    built: DraftPlan

    @property
    def session_name(self) -> str:
        """The name of the session to capture, which also names the file."""
        raise NotImplementedError

    def take_plan(self, plan: CapturePlan) -> None:
        """Fill the form in from a plan."""
        raise NotImplementedError

    def point_at_problem(self) -> None:
        """Show what is wrong where there is no plan yet."""
        raise NotImplementedError

    def plan_lines(self) -> list[str]:
        """The plan as TOML; where there is none, what is wrong."""
        return plan_lines(self.built)

    def action_show_plan(self) -> None:
        from logdrift.tui.screens.texts import TextScreen

        window = TextScreen("Plan", self.plan_lines())
        self.app.push_screen(window)

    def action_save_plan(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        if self.built.plan is None:
            self.point_at_problem()
            return
        name = self.session_name or "plan"
        prompt = LinePrompt(
            "Save the plan",
            "a file; logdrift capture --plan takes it",
            f"{name}.toml",
            problem=_no_path,
        )
        self.ask(prompt, self._save_as)

    def _save_as(self, text: str) -> None:
        """Save, after a question where the file exists."""
        path = _path(text)
        if path is None:
            return
        if os.path.exists(path):
            self._ask_to_overwrite(path)
        else:
            self._write_plan(path)

    def _ask_to_overwrite(self, path: Path) -> None:
        from logdrift.tui.screens.confirm import Confirm

        name = visible(path.name)
        question = Confirm(f"{name} exists already", "Yes, write over it")
        self.confirm(question, partial(self._write_plan, path))

    def _write_plan(self, path: Path) -> None:
        draft = self.built
        assert draft.plan is not None
        try:
            save_plan(draft.plan, draft.ids, path)
        except LogdriftError as error:
            self.logdrift.show_error(str(error))
            return
        self.say(f"saved: {path}")

    def action_load_plan(self) -> None:
        from logdrift.tui.screens.prompt import LinePrompt

        words = "a TOML file, as saved here or as docs/plan.md has it"
        prompt = LinePrompt("Load a plan", words, problem=_no_path)
        self.ask(prompt, self._load_plan)

    def _load_plan(self, text: str) -> None:
        path = _path(text)
        if path is None:
            return
        try:
            plan = load_plan(path)
        except Exception as error:
            words = words_of(error)
            self.logdrift.show_error(words)
            return
        self.take_plan(plan)
        self.say(f"loaded: {path}")


def _path(text: str) -> Path | None:
    typed = text.strip()
    if typed:
        return user_path(typed)
    return None


def _no_path(text: str) -> str:
    """Nothing is wrong with a path that can be one. Raises InputError for others."""
    _path(text)
    return ""
