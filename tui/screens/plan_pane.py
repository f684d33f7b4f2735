"""What a form makes, beside it: a plan as TOML, or a command."""

from __future__ import annotations

from collections.abc import Iterable

from rich.style import Style
from textual.strip import Strip

from logdrift.core.errors import LogdriftError
from logdrift.core.plan.writing import plan_toml
from logdrift.core.session.visible import visible
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.widgets.lines import Text, strip_of


class PlanPane(Text, can_focus=False):
    """The plan as TOML, or what else a form gives; ``form`` names it."""

    fixed = 1

    def __init__(self, title: str, form: str, *, id: str) -> None:
        super().__init__(id=id)
        self._title = title
        self._form = form

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line(self._title, width, self._form)

    def put(self, lines: Iterable[str]) -> None:
        """Show lines, where there is room for them."""
        is_hidden = not self.display
        if is_hidden or not self.size.width:
            return
        strips = []
        for line in lines:
            style = self._style(line)
            run = (f" {visible(line)}", style)
            strips.append(strip_of([run], self.inner_width))
        self.set_lines(strips)

    def _style(self, line: str) -> Style:
        """Tables stand out, comments step back."""
        if line.startswith("["):
            return self.palette.strong
        if line.startswith("#"):
            return self.palette.muted
        return self.palette.text


def plan_lines(draft: DraftPlan) -> list[str]:
    """The plan as TOML; where there is none, what is wrong."""
    if draft.plan is None:
        problems = draft.problems.values()
        return ["# not yet a plan:", *(f"# {words}" for words in problems)]
    try:
        text = plan_toml(draft.plan)
    except LogdriftError as error:
        return [f"# {error}"]
    lines = text.splitlines()
    if draft.ids is None:
        return lines
    note = "# the ids are written to this file of prompts when the plan is saved"
    return [note, *lines]
