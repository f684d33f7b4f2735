"""The shortest way to each kind of screen, by the commands of the registry."""

from __future__ import annotations

from typing import NamedTuple

from logdrift.tui.actions import COMMANDS, Command, Scope


class Way(NamedTuple):
    """The commands that lead from a start to where the keys of a scope are heard.

    Attributes:
        steps: ids of commands, one after the other.
        starts_on_list: whether it starts on the list of sessions, or in the explorer.
    """

    steps: tuple[str, ...] = ()
    starts_on_list: bool = False


WAYS: dict[Scope, Way] = {
    "app": Way(),
    "explorer": Way(),
    "move": Way(("explorer.pane_tokens",)),
    "list": Way(("explorer.pane_sequences",)),
    "pane": Way(("explorer.pane_inspector",)),
    "picker": Way(("explorer.modes",)),
    "prompt": Way(("explorer.go_to",)),
    "inspector": Way(("explorer.pane_inspector",)),
    "charts": Way(),
    "chart": Way(("explorer.pane_chart",)),
    "zoom": Way(("explorer.pane_chart", "charts.zoom_chart")),
    "reading": Way(("app.help",)),
    "matrix": Way(("explorer.matrix",)),
    "facts": Way(("explorer.facts",)),
    "limits": Way(("explorer.limits",)),
    "worst": Way(("explorer.worst",)),
    "report": Way(("explorer.report",)),
    "why": Way(("explorer.why",)),
    "experiments": Way(("explorer.why", "why.experiments")),
    "identity": Way(("explorer.why", "why.identity")),
    "layers": Way(("explorer.why", "why.layers")),
    "sessions": Way(starts_on_list=True),
    "form": Way(("sessions.new_capture",), True),
    "diff": Way(
        ("list.row_first", "sessions.mark", "list.row_down", "sessions.mark"), True
    ),
    "trend": Way(("sessions.trend",), True),
    "confirm": Way(("sessions.delete",), True),
}
"""The explorer's first, what deletes a session last."""

_BY_ID = {command.id: command for command in COMMANDS}


def steps_to(scope: Scope) -> list[Command]:
    """The commands of the way to a scope; each has a key."""
    return [_BY_ID[step] for step in WAYS[scope].steps]
