"""The command palette: every command of the registry that applies where the focus
is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.dom import DOMNode
from textual.screen import Screen

from logdrift.tui.actions import COMMANDS, Command
from logdrift.tui.screens.base import BaseScreen, SafeScreen
from logdrift.tui.services import services


class Commands(Provider):
    """The palette lists the registry: what applies to the pane and the screen below it,
    grouped by what it belongs to.
    """

    def _applicable(self) -> Iterator[tuple[Command, Callable[[], Any]]]:
        for command, node, enabled in active_commands(self.screen):
            if command.palette and enabled:
                yield command, partial(self.app.run_action, command.name, node)

    async def discover(self) -> Hits:
        for command, run in self._applicable():
            yield DiscoveryHit(_entry(command), run, help=self._help(command))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command, run in self._applicable():
            score = matcher.match(f"{_entry(command)} {command.help}")
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(_entry(command)),
                    run,
                    help=self._help(command),
                )

    def _help(self, command: Command) -> str:
        keys = command.key_names(services(self.app).keymap)
        if keys:
            return f"{' '.join(keys)}   {command.help}"
        return command.help


def _entry(command: Command) -> str:
    if command.scope == "app":
        group = "General"
    else:
        group = command.scope.capitalize()
    return f"{group}: {command.title}"


def active_commands(screen: Screen[Any]) -> Iterator[tuple[Command, DOMNode, bool]]:
    """The commands that have a key where the focus is, its own first, with what does
    them and whether they can be done.
    """
    known = {command.id: command for command in COMMANDS}
    seen: set[str] = set()
    for active in screen.active_bindings.values():
        name = active.binding.id or ""
        if name in known and name not in seen:
            seen.add(name)
            command = known[name]
            node = active.node
            applies = not isinstance(node, BaseScreen) or node.applies(command.name)
            yield (
                command,
                screen.app if command.scope == "app" else node,
                active.enabled and applies,
            )


class CommandWindow(CommandPalette, SafeScreen[None]):
    """Textual's palette, which is left as every other window is."""

    def _action_command_list(self, action: str) -> None:
        # Commands that were listed a moment ago have no lines yet: Textual looks for
        # them on a page down.
        with contextlib.suppress(KeyError):
            super()._action_command_list(action)
