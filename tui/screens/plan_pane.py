"""The plan that a form makes, as TOML beside it."""

from __future__ import annotations

from rich.style import Style
from textual.strip import Strip

from logdrift.core.errors import LogdriftError
from logdrift.core.plan.writing import plan_toml
from logdrift.core.session.visible import visible
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.widgets.lines import Text, strip_of


class PlanPane(Text, can_focus=False):
    """The plan as TOML."""

    fixed = 1

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Plan", width, "as TOML")

    def put(self, draft: DraftPlan) -> None:
        """Show a plan, where there is room for it."""
        is_hidden = not self.display
        if is_hidden or not self.size.width:
            return
        strips = []
        for line in plan_lines(draft):
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
