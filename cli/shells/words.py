"""What a shell can complete: the commands with their flags and arguments, as data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from logdrift.cli.suggest import actions_below
from logdrift.core.engines import ENGINES

Takes = Literal["", "words", "session", "file", "folder", "other"]
"""What comes after a flag, or as an argument: nothing, one of some words, a session, a
path, or a text that no shell can know.
"""
_BY_NAME: Mapping[str, Takes] = {
    "SESSION": "session",
    "session": "session",
    "OLD": "session",
    "NEW": "session",
    "FILE": "file",
    "PYTHON": "file",
    "DIR": "folder",
}
_ENGINE_NAMES = ("ENGINE", "LIST", "SPEC", "ENGINE=PATH")
"""Arguments that begin with the name of an engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagWords:
    """A flag: its spellings, what it does, and what comes after it (one of ``words``
    where it takes words).
    """

    spellings: tuple[str, ...]
    help: str
    takes: Takes
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWords:
    """A command: its flags, and what its arguments are. The program itself has the
    empty name, and its arguments are the commands.
    """

    name: str
    help: str
    flags: tuple[FlagWords, ...]
    takes: Takes
    words: tuple[str, ...]

    @property
    def all_flags(self) -> list[str]:
        """Every spelling of every flag."""
        return [word for flag in self.flags for word in flag.spellings]


def command_words(
    name: str, help: str, parser: argparse.ArgumentParser
) -> CommandWords:
    """What can be completed of a command's ``parser``."""
    actions = list(_actions(parser))
    flags = [_flag(action) for action in actions if action.option_strings]
    arguments = [action for action in actions if not action.option_strings]
    takes: Takes = ""
    words: dict[str, None] = {}
    for action in arguments:
        own_words = _words_of(action)
        words |= dict.fromkeys(own_words)
        takes = _stronger(takes, _takes(action, own_words))
    return CommandWords(
        name=name,
        help=help,
        flags=tuple(flags),
        takes=takes,
        words=tuple(words),
    )


def _stronger(one: Takes, other: Takes) -> Takes:
    """A path says more than a word: words are offered beside it anyway."""
    if other in ("", "words") and one:
        return one
    return other


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Its arguments, and those of the parsers below it."""
    known: set[str] = set()
    for action in parser._actions:
        yield action
        known |= set(action.option_strings)
        for below in actions_below(action).values():
            for inner in _actions(below):
                fresh = known.isdisjoint(inner.option_strings)
                if fresh:
                    yield inner
                known |= set(inner.option_strings)


def _flag(action: argparse.Action) -> FlagWords:
    words = _words_of(action)
    takes: Takes = ""
    if action.nargs != 0:
        takes = _takes(action, words)
    return FlagWords(
        spellings=tuple(action.option_strings),
        help=_one_line(action.help or ""),
        takes=takes,
        words=words,
    )


def _words_of(action: argparse.Action) -> tuple[str, ...]:
    if action.choices is not None:
        return tuple(map(str, action.choices))
    if action.metavar in _ENGINE_NAMES:
        return tuple(ENGINES)
    return ()


def _takes(action: argparse.Action, words: tuple[str, ...]) -> Takes:
    if words:
        return "words"
    name = action.metavar or action.dest
    return _BY_NAME.get(str(name), "other")


def _one_line(help: str) -> str:
    """The first sentence of a help text, as far as its first bracket."""
    text = " ".join(help.replace("%%", "%").split())
    for end in ("; ", " (", ": "):
        text, _, _ = text.partition(end)
    return text
