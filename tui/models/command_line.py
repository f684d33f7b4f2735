"""Commands as they are typed after ``:``: found by name, abbreviated, completed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from logdrift.core.errors import InputError

_SHOWN = 8
"""Names that a message lists at most."""


def _no_values() -> Sequence[str]:
    return ()


class WordTaker(NamedTuple):
    """A command that takes words: ``:theme dark``.

    ``take`` is called with them and raises InputError where they are wrong, before it
    has changed anything; ``check`` does the same and changes nothing. ``values`` are
    the words to complete, where they can be listed.
    """

    words: str
    take: Callable[[str], object]
    check: Callable[[str], object]
    values: Callable[[], Sequence[str]] = _no_values


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCommand:
    """A command that is done without words.

    ``name`` is completed; ``others`` are found as well. ``listed``: it is among the
    completions.
    """

    name: str
    others: tuple[str, ...]
    help: str
    run: Callable[[], object]
    listed: bool = True


class CommandLine:
    """The commands that can be typed on a screen.

    ``elsewhere`` says of a name where it is a command, "" for nowhere.
    """

    def __init__(
        self,
        commands: Iterable[TypedCommand],
        takers: dict[str, WordTaker],
        elsewhere: Callable[[str], str],
    ) -> None:
        self._commands = list(commands)
        self._takers = takers
        self._elsewhere = elsewhere

    # ---- what is meant

    def parse(self, text: str) -> Callable[[], object]:
        """What a text does. InputError for what is no command, with the nearest one."""
        name, words = _split(text)
        command = self._exactly(plain_name(text))
        if words and command is None:
            taker = self._taker(name)
            if taker is not None:
                taker.check(words)
                return lambda: taker.take(words)
        return self._command(text).run

    def _taker(self, name: str) -> WordTaker | None:
        """The command that takes words whose name is, or only begins with, this."""
        if name in self._takers:
            return self._takers[name]
        beginning = [other for other in self._takers if other.startswith(name)]
        if len(beginning) == 1:
            return self._takers[beginning[0]]
        return None

    def _command(self, text: str) -> TypedCommand:
        name = plain_name(text)
        command = self._exactly(name)
        if command is not None:
            return command
        listed = [command for command in self._commands if command.listed]
        beginning = [command for command in listed if command.name.startswith(name)]
        if len(beginning) == 1:
            return beginning[0]
        if beginning:
            names = [command.name for command in beginning]
            raise InputError(f"{text.strip()!r} may be {_several(names)}")
        raise InputError(self._unknown(text))

    def _exactly(self, name: str) -> TypedCommand | None:
        """The command of that name, or that is also called so."""
        for exact in (_is_named, _is_called):
            for command in self._commands:
                if exact(command, name):
                    return command
        return None

    def _unknown(self, text: str) -> str:
        name = plain_name(text)
        taker = self._takers.get(name)
        if taker is not None:
            return f"{name} takes {taker.words}"
        place = self._elsewhere(name)
        if place:
            return place
        names = [command.name for command in self._commands if command.listed]
        names += self._takers
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        words = f"there is no command {text.strip()!r}"
        if near:
            return f"{words}: did you mean {near[0]}?"
        return f"{words}: Tab lists them"

    # ---- completing

    def candidates(self, text: str) -> list[str]:
        """The texts that a text can become, each a whole line."""
        name, words = _split(text)
        taker = self._takers.get(name)
        if taker is not None and " " in text.lstrip():
            values = [value for value in taker.values() if value.startswith(words)]
            return [f"{name} {value}" for value in values]
        beginning = plain_name(text)
        names = [command.name for command in self._commands if command.listed]
        found = {other for other in names if other.startswith(beginning)}
        found |= {f"{other} " for other in self._takers if other.startswith(beginning)}
        return sorted(found)

    def completed(self, text: str) -> str:
        """The text as far as all of its candidates agree."""
        candidates = self.candidates(text)
        if not candidates:
            return text
        common = _common_start(candidates)
        if len(common) < len(text.lstrip()):
            return text
        return common

    def described(self, text: str) -> str:
        """The candidates in one line, or what the only one does; "" for none."""
        candidates = {candidate.strip() for candidate in self.candidates(text)}
        others = sorted(candidates - {plain_name(text)})
        command = self._exactly(plain_name(text))
        takes_words = " " in text.lstrip()
        if command is not None and not takes_words:
            return " · ".join([command.help, *others])
        if len(candidates) != 1:
            return " · ".join(sorted(candidates))
        (name,) = candidates
        taker = self._takers.get(name)
        if taker is not None:
            return f"{name}: {taker.words}"
        command = self._exactly(name)
        if command is None:
            return ""  # all of it is typed: a theme, an order
        return f"{name}: {command.help}"


def plain_name(text: str) -> str:
    """A name as it is compared: small letters, parts joined by hyphens."""
    return "-".join(text.lower().replace("_", " ").replace("-", " ").split())


def _split(text: str) -> tuple[str, str]:
    """The first word, and what follows it."""
    name, _, words = text.strip().partition(" ")
    return name.lower(), words.strip()


def _common_start(texts: list[str]) -> str:
    """What all texts begin with."""
    first = min(texts)
    last = max(texts)
    for index, character in enumerate(first):
        if not last.startswith(character, index):
            return first[:index]
    return first


def _is_named(command: TypedCommand, name: str) -> bool:
    return plain_name(command.name) == name


def _is_called(command: TypedCommand, name: str) -> bool:
    return name in map(plain_name, command.others)


def _several(names: list[str]) -> str:
    shown = names[:_SHOWN]
    if len(names) > _SHOWN:
        shown.append("…")
    return ", ".join(shown)
