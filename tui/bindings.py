"""The commands as Textual's key bindings."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from logdrift.tui.actions import Command, Scope, commands


def bindings(*scopes: Scope) -> list[BindingType]:
    """Bindings of the scopes; the id is what a keymap names."""
    return list(map(_binding, commands(*scopes)))


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
