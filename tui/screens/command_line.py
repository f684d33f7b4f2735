"""The line after ``:``: every command of the screen by name, and where it is the
explorer, places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from textual.screen import Screen

from logdrift.core.errors import InputError
from logdrift.tui.actions import COMMANDS, SCOPE_TITLES, Command
from logdrift.tui.command_window import ActiveCommand, active_commands
from logdrift.tui.models.command_line import (
    CommandLine,
    TypedCommand,
    WordTaker,
    plain_name,
)
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.themes import THEMES

_SHORT = {
    "back": ("q", "wq", "close"),
    "quit_now": ("q!", "qa", "quit", "exit"),
    "help": ("h",),
}
"""What people type who come from an editor."""


def ask_command(
    screen: BaseScreen,
    *,
    words: str = "a command; Tab completes",
    place: Callable[[str], Callable[[], object] | None] = lambda text: None,
) -> None:
    """Ask for a command and do it. ``place`` says what a text does that is a place,
    None where it is none; InputError where there is no such place.
    """
    line = command_line(screen)

    def meant(text: str) -> Callable[[], object]:
        goes_there = place(text)
        if goes_there is not None:
            return goes_there
        return line.parse(text)

    def problem(text: str) -> str:
        if text.strip():
            meant(text)  # the prompt shows what it raises
        return ""

    def typed(text: str) -> None:
        described = line.described(text)
        if text.strip() and described:
            prompt.note(described)

    def taken(text: str) -> None:
        if text.strip():
            meant(text)()

    screen.say("")
    prompt = LinePrompt(
        ":",
        words,
        problem=problem,
        typed=typed,
        history="command",
        complete=line.completed,
    )
    screen.ask(prompt, taken)


def command_line(screen: BaseScreen) -> CommandLine:
    """The commands that can be typed on a screen now."""
    takers = {"theme": _theme(screen), **screen.word_takers()}
    return CommandLine(_typed_commands(screen), takers, _elsewhere)


def _theme(screen: BaseScreen) -> WordTaker:
    def check(name: str) -> None:
        if name not in THEMES:
            raise InputError(f"there is no theme {name!r}: {', '.join(THEMES)}")

    def take(name: str) -> None:
        screen.app.call_later(screen.app.run_action, f"theme({name!r})", screen.app)

    return WordTaker("dark, light or high-contrast", take, check, lambda: [*THEMES])


def _typed_commands(screen: Screen[Any]) -> Iterator[TypedCommand]:
    """What has a key where the focus is, and can be done now."""
    for active in active_commands(screen):
        command = active.command
        if not active.enabled:
            continue
        yield TypedCommand(
            name=_name(command),
            others=_other_names(command),
            help=command.help,
            run=partial(_run, screen, active),
            listed=command.palette,
        )


def _run(screen: Screen[Any], active: ActiveCommand) -> None:
    run_action = screen.app.run_action
    screen.app.call_later(run_action, active.command.name, active.node)


def _name(command: Command) -> str:
    """``next-divergence``, ``theme-dark``."""
    _, _, name = command.id.partition(".")
    return plain_name(name)


def _other_names(command: Command) -> tuple[str, ...]:
    """Its id and title, what an editor calls it, and words that mean it."""
    short = _SHORT.get(command.action, ())
    return (command.id, command.title, *short, *command.also.split())


def _elsewhere(name: str) -> str:
    """Where a command works that is none here."""
    for command in COMMANDS:
        if command.palette and name in (_name(command), plain_name(command.title)):
            return f"{name} works elsewhere: {SCOPE_TITLES[command.scope]}"
    return ""
