"""The command palette: every command of the registry that applies where the focus
is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, NamedTuple

from textual import work
from textual.binding import Binding, BindingType
from textual.command import (
    CommandList,
    CommandPalette,
    DiscoveryHit,
    Hit,
    Hits,
    Provider,
)
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Input

from logdrift.tui.actions import COMMANDS, Command, commands
from logdrift.tui.screens.base import WINDOW_STYLES, BaseScreen, SafeScreen
from logdrift.tui.services import services

_WORD = re.compile(r"[^\s:,]+")


class Commands(Provider):
    """The palette lists the registry: what applies to the pane and the screen below it,
    grouped by what it belongs to.
    """

    def _entries(self) -> Iterator[PaletteEntry]:
        run_action = self.app.run_action
        for active in active_commands(self.screen):
            command = active.command
            if command.palette and active.enabled:
                node = active.node
                run = partial(run_action, command.name, node)
                yield PaletteEntry(command, run)

    async def discover(self) -> Hits:
        for entry in self._entries():
            help_text = self._help(entry.command)
            yield DiscoveryHit(entry.title, entry.run, help=help_text)

    async def search(self, query: str) -> Hits:
        """What has the words of the query, in its title first; where nothing has, what
        has its letters.
        """
        entries = list(self._entries())
        matcher = self.matcher(query)
        scores = [_by_words(entry.command, query) for entry in entries]
        if not any(scores):
            scores = [matcher.match(entry.text) for entry in entries]
        scored = zip(entries, scores, strict=True)
        for entry, score in scored:
            if score > 0:
                title = matcher.highlight(entry.title)
                help_text = self._help(entry.command)
                yield Hit(score, title, entry.run, help=help_text)

    def _help(self, command: Command) -> str:
        """Its keys, and what its title does not say."""
        keymap = services(self.app).keymap
        names = command.key_names(keymap)
        keys = " ".join(names)
        parts = filter(None, (keys, command.rest))
        return "   ".join(parts)


class PaletteEntry(NamedTuple):
    """A command that the palette lists, and what does it."""

    command: Command
    run: Callable[[], Any]

    @property
    def title(self) -> str:
        return _entry(self.command)

    @property
    def text(self) -> str:
        """What letters are looked for in."""
        return f"{self.title} {self.command.help}"


def _by_words(command: Command, query: str) -> float:
    """How well the words of a query begin words of a command: 3 for its title and
    group, 2 with the rest of its help, 1 with words that mean it, else 0.
    """
    asked = query.lower().split()
    if not asked:
        return 0.0
    title = _entry(command)
    words: list[str] = []
    better = 3.0
    for text in (title, command.rest, command.also):
        small_letters = text.lower()
        words += _WORD.findall(small_letters)
        if _all_begin(asked, words):
            return better
        better -= 1
    return 0.0


def _all_begin(parts: list[str], words: list[str]) -> bool:
    """Whether each part begins one of the words."""
    for part in parts:
        beginning = [word for word in words if word.startswith(part)]
        if not beginning:
            return False
    return True


def _entry(command: Command) -> str:
    group = command.scope.capitalize()
    if command.scope == "app":
        group = "General"
    return f"{group}: {command.title}"


class ActiveCommand(NamedTuple):
    """A command that has a key where the focus is, and what does it."""

    command: Command
    node: DOMNode
    enabled: bool
    """Whether it can be done now."""


def active_commands(screen: Screen[Any]) -> Iterator[ActiveCommand]:
    """The commands that have a key where the focus is, its own first."""
    remaining = {command.id: command for command in COMMANDS}
    for active in screen.active_bindings.values():
        name = active.binding.id or ""
        command = remaining.pop(name, None)
        if command is None:
            continue
        node = active.node
        enabled = active.enabled
        if isinstance(node, BaseScreen):
            enabled = enabled and node.applies(command.name)
        if command.scope == "app":
            node = screen.app
        yield ActiveCommand(command, node, enabled)
    if isinstance(screen, BaseScreen):
        # A list takes Enter before its screen does: what the screen calls it counts.
        for command in commands(*screen.SCOPES):
            if command.id in remaining:
                enabled = screen.applies(command.name)
                yield ActiveCommand(command, screen, enabled)


class CommandWindow(CommandPalette, SafeScreen[None]):
    """Textual's palette, which is left as every other window is, and as a line that is
    typed: with Ctrl+C too.
    """

    CSS_PATH = WINDOW_STYLES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "escape", "Leave", show=False, priority=True)
    ]

    def on_mount(self) -> None:
        # A cursor that blinks is sent again and again, over every slow line.
        query = self.query_one(Input)
        query.cursor_blink = False
        palette = self.logdrift.palette
        self.set_class(palette.depth == "none", "-plain")

    def _action_command_list(self, action: str) -> None:
        # Commands that were listed a moment ago have no lines yet: Textual looks for
        # them on a page down.
        with contextlib.suppress(KeyError):
            super()._action_command_list(action)

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)
    async def _gather_commands(self, search_value: str) -> None:
        # A search may still run when the window is left: Textual then looks for the
        # list that shows what was found, and a worker that fails ends the program.
        try:
            await _GATHER(self, search_value)
        except NoMatches:
            if self.query(CommandList):
                raise


_GATHER = CommandPalette._gather_commands.__wrapped__  # type: ignore[attr-defined]
"""What Textual's worker runs, without the worker."""
