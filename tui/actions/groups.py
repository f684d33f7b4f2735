"""What a key is for: the groups in which the help shows commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from logdrift.tui.actions.command import Command

MOVING = frozenset(
    {
        *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
        *("h", "j", "k", "l", "g", "G", "tab", "shift+tab", "dollar_sign"),
        *("ctrl+u", "ctrl+d", "ctrl+home", "ctrl+end", *"0123456789"),
    }
)
"""Keys that move, by the widget that has the focus."""
GO = "Go to"
LOOK = "Look"
SCREENS = "Screens"
SAVE = "Mark, copy and save"
STEP = "Step and scroll"
PROGRAM = "Program"
GROUPS = (GO, LOOK, SCREENS, SAVE, STEP, PROGRAM)
"""The most used first."""
_KEYS: dict[str, frozenset[str]] = {
    STEP: MOVING,
    GO: frozenset({"n", "N", "greater_than_sign", "less_than_sign"})
    | {"left_square_bracket", "right_square_bracket", "full_stop", "comma"}
    | {"colon", "semicolon", "u", "U", "enter"},
    SCREENS: frozenset("wxiyAmdTRWLeCpBE"),
    SAVE: frozenset({"space", "b", "c", "Y", "H", "P", "ctrl+s", "ctrl+o"}),
    PROGRAM: frozenset({"question_mark", "f1", "q", "escape", "r", "X", "M"})
    | {"ctrl+p", "ctrl+q", "ctrl+z", "ctrl+c", "ctrl+l", "ctrl+n", "I", "D"}
    | {"f2", "f5", "f6", "delete", "ctrl+r", "ctrl+t"},
}
"""The keys of each group; all others change how something is looked at."""


class CommandGroup(NamedTuple):
    """Commands that are for the same."""

    title: str
    commands: list[Command]


def group_of(key: str) -> str:
    """The group of a key, by Textual's name."""
    for title, keys in _KEYS.items():
        if key in keys:
            return title
    return LOOK


def grouped(shown: Iterable[Command]) -> Iterator[CommandGroup]:
    """The commands by their groups, each in its order; groups without one left out."""
    known = list(shown)
    for title in GROUPS:
        members = [command for command in known if _group(command) == title]
        if members:
            yield CommandGroup(title, members)


def _group(command: Command) -> str:
    if not command.keys:
        return PROGRAM
    return group_of(command.keys[0])
