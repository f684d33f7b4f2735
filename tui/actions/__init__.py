"""Every command of the screens, declared once: key bindings, the line of keys, the
palette, the help and the docs are made from this list. Nothing here needs Textual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from logdrift.tui.actions.charts import CHART_COMMANDS
from logdrift.tui.actions.command import NO_KEYMAP, Command, Keymap, Scope
from logdrift.tui.actions.everywhere import EVERYWHERE_COMMANDS
from logdrift.tui.actions.explorer import EXPLORER_COMMANDS
from logdrift.tui.actions.hints import (
    NO_WORDS,
    Hint,
    Words,
    always,
    hint_of,
    hints_of,
)
from logdrift.tui.actions.panes import PANE_COMMANDS
from logdrift.tui.actions.sessions import SESSION_COMMANDS
from logdrift.tui.actions.tables import TABLE_COMMANDS
from logdrift.tui.actions.why import WHY_COMMANDS

__all__ = [
    "COMMANDS",
    "NO_KEYMAP",
    "NO_WORDS",
    "SCOPE_TITLES",
    "Command",
    "Hint",
    "Keymap",
    "Scope",
    "Words",
    "commands",
    "first_key",
    "hint_for",
    "hint_of",
    "hints_of",
    "key_hints",
    "key_of",
]

SCOPE_TITLES: dict[Scope, str] = {
    "app": "Everywhere",
    "sessions": "Sessions",
    "explorer": "Explorer",
    "move": "In the text",
    "list": "In lists",
    "pane": "In the inspector and long texts",
    "picker": "In a list that asks",
    "prompt": "In a line that asks",
    "inspector": "In the inspector",
    "charts": "Charts, in the explorer and on the whole screen",
    "chart": "In the chart",
    "zoom": "In the chart on the whole screen",
    "reading": "In a long text",
    "matrix": "Matrix",
    "facts": "Settings",
    "limits": "Limits",
    "worst": "Worst tokens",
    "report": "Report",
    "why": "Why",
    "experiments": "Experiments",
    "identity": "Identity",
    "layers": "Layers",
    "diff": "Two sessions compared",
    "trend": "Over the steps of a training",
    "confirm": "Where yes or no is asked",
    "form": "In the form of a capture",
}

COMMANDS: tuple[Command, ...] = (
    *EVERYWHERE_COMMANDS,
    *SESSION_COMMANDS,
    *EXPLORER_COMMANDS,
    *PANE_COMMANDS,
    *CHART_COMMANDS,
    *TABLE_COMMANDS,
    *WHY_COMMANDS,
)


def commands(*scopes: Scope) -> Iterator[Command]:
    """The commands of the scopes, in the order of their declaration."""
    return (command for command in COMMANDS if command.scope in scopes)


def key_hints(
    *screen: Scope,
    panes: Iterable[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
    applies: Callable[[str], bool] = always,
    words: Words = NO_WORDS,
) -> list[Hint]:
    """The line of keys of a screen of these scopes, with a pane of the scopes ``panes``
    in it that has the focus; of commands that have something to do now, as
    ``applies`` says by name.
    """
    return hints_of(COMMANDS, screen, panes, keymap, applies=applies, words=words)


def hint_for(scope: Scope, name: str, keymap: Keymap, word: str) -> list[Hint]:
    """The hint of one command with another word; none where it has no key."""
    return [
        hint_of(command, keymap, word)
        for command in commands(scope)
        if command.name == name and command.keys_in(keymap)
    ]


def first_key(scope: Scope, name: str, keymap: Keymap) -> str:
    """The first key of a command, as it stands on a keyboard; "" for none."""
    for command in commands(scope):
        if command.name == name:
            keys = command.key_names(keymap)
            return next(iter(keys), "")
    raise LookupError(f"scope {scope} has no command {name!r}")


def key_of(scope: Scope, name: str, keymap: Keymap) -> str:
    """`first_key` for a sentence: ``palette`` where there is none."""
    return first_key(scope, name, keymap) or "palette"
