"""What a command of the screens is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from logdrift.tui.actions.key_names import key_names

Scope = Literal[
    "app",
    "sessions",
    "explorer",
    "move",
    "list",
    "pane",
    "picker",
    "prompt",
    "inspector",
    "charts",
    "chart",
    "zoom",
    "reading",
    "matrix",
    "facts",
    "limits",
    "worst",
    "report",
    "diff",
    "trend",
    "why",
    "experiments",
    "identity",
    "layers",
    "confirm",
    "form",
]
"""Where the keys of a command are heard: a screen, a kind of pane, or everywhere."""

Keymap = Mapping[str, tuple[str, ...]]
"""Ids of commands and the keys that a user gave them instead of their own."""
NO_KEYMAP: Keymap = {}


class Command(NamedTuple):
    """One command, declared once.

    Attributes:
        scope: where its keys are heard.
        action: the method that does it, without ``action_``.
        keys: by Textual's names; none for a command of the palette alone.
        help: what it does, in one line; the palette shows it up to the first comma or
            colon.
        arguments: what the method is called with.
        hint: the word beside its key on the line of keys, "" for none.
        palette: whether the palette lists it.
        keymap_name: what a keymap calls it, where action and arguments make no name.
        also: words that people look for and that its help does not have; palette and
            command line find it by them.
        near: the panes for which the line of keys names it first.
    """

    scope: Scope
    action: str
    keys: tuple[str, ...]
    help: str
    arguments: tuple[str | int, ...] = ()
    hint: str = ""
    palette: bool = True
    keymap_name: str = ""
    near: tuple[Scope, ...] = ()
    also: str = ""

    @property
    def name(self) -> str:
        """The action as Textual runs it: ``help``, ``chart_step(-1, 0)``."""
        if not self.arguments:
            return self.action
        arguments = ", ".join(map(repr, self.arguments))
        return f"{self.action}({arguments})"

    @property
    def id(self) -> str:
        """The id of the binding, ``scope.name``: what a keymap names."""
        name = self.keymap_name
        if not name:
            words = (self.action, *map(str, self.arguments))
            name = "_".join(words).replace("-", "_")
        return f"{self.scope}.{name}"

    @property
    def title(self) -> str:
        """The help up to its first comma or colon."""
        before_colon, _, _ = self.help.partition(":")
        before_comma, _, _ = before_colon.partition(",")
        return before_comma

    @property
    def rest(self) -> str:
        """The help behind the title, "" for nothing."""
        behind = self.help[len(self.title) :]
        return behind.lstrip(",: ")

    def keys_in(self, keymap: Keymap = NO_KEYMAP) -> tuple[str, ...]:
        """Its keys by Textual's names; a keymap may give it others."""
        return keymap.get(self.id, self.keys)

    def key_names(self, keymap: Keymap = NO_KEYMAP) -> tuple[str, ...]:
        """Its keys as they stand on a keyboard."""
        keys = self.keys_in(keymap)
        return key_names(keys)


def sideways(scope: Scope, columns: str) -> tuple[Command, ...]:
    """The keys of a table that is wider than the screen; ``columns`` says what moves,
    capitalised.
    """
    right = Command(
        scope=scope,
        action="shift",
        arguments=(1,),
        keys=("right", "l"),
        help=f"{columns} further right",
        palette=False,
        keymap_name="right",
    )
    left = Command(
        scope=scope,
        action="shift",
        arguments=(-1,),
        keys=("left", "h"),
        help=f"{columns} further left",
        palette=False,
        keymap_name="left",
    )
    return right, left
