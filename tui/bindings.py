"""The commands as Textual's key bindings."""

from __future__ import annotations

from typing import cast

from textual.binding import Binding, BindingType
from textual.dom import DOMNode

from logdrift.tui.actions import Command, Scope, commands


def bindings(*scopes: Scope) -> list[BindingType]:
    """Bindings of the scopes; the id is what a keymap names."""
    return list(map(_binding, commands(*scopes)))


def scopes_of(pane: DOMNode | None) -> tuple[Scope, ...]:
    """The scopes whose keys a pane hears itself."""
    if pane is None:
        return ()
    found: dict[Scope, None] = {}
    for known in pane._bindings.key_to_bindings.values():
        for binding in known:
            scope, _, _ = (binding.id or "").partition(".")
            if scope:
                found[cast("Scope", scope)] = None
    return tuple(found)


def _binding(command: Command) -> Binding:
    # A command without a key has one that no keyboard sends: a keymap can give it
    # another.
    keys = ",".join(command.keys) or f"unbound_{command.id}"
    action = command.name
    if command.scope == "app":
        # Windows bind the application's commands as well, and what is below a window
        # does not hear its keys: so those have their full name.
        action = f"app.{action}"
    return Binding(
        keys,
        action,
        command.help,
        show=bool(command.hint),
        id=command.id,
        priority=command.name == "command_palette",
    )
