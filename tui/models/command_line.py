"""Commands as they are typed after ``:``: found by name, abbreviated, completed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from logdrift.core.errors import InputError

_SHOWN = 8
"""Names that a message lists at most."""

Run = Callable[[], object]
Take = Callable[[str], object]


def _no_values() -> Sequence[str]:
    return ()


class WordTaker(NamedTuple):
    """A command that takes words: ``:theme dark``.

    ``take`` is called with them and raises InputError where they are wrong, before it
    has changed anything; ``check`` does the same and changes nothing. ``values`` are
    the words to complete, where they can be listed.
    """

    words: str
    take: Take
    check: Take
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
    run: Run
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
        self._listed = [command for command in self._commands if command.listed]
        self._takers = takers
        self._elsewhere = elsewhere

    # ---- what is meant

    def parse(self, text: str) -> Run:
        """What a text does. InputError for what is no command, with the nearest one."""
        whole_name = plain_name(text)
        command = self._exactly(whole_name)
        if command is not None:
            return command.run
        typed = _split(text)
        words = typed.words
        taker = self._taker(typed.name)
        if words and taker is not None:
            taker.check(words)
            return partial(taker.take, words)
        command = self._abbreviated(text)
        return command.run

    def _taker(self, name: str) -> WordTaker | None:
        """The command that takes words whose name is, or only begins with, this."""
        takers = self._takers
        if name in takers:
            return takers[name]
        beginning = _beginning(takers, name)
        if len(beginning) == 1:
            (only_name,) = beginning
            return takers[only_name]
        return None

    def _abbreviated(self, text: str) -> TypedCommand:
        """The only command whose name begins with the text."""
        start = plain_name(text)
        beginning: list[TypedCommand] = []
        for command in self._listed:
            if command.name.startswith(start):
                beginning.append(command)
        if len(beginning) == 1:
            return beginning[0]
        if beginning:
            names = [command.name for command in beginning]
            several = _several(names)
            raise InputError(f"{text.strip()!r} may be {several}")
        reason = self._unknown(text)
        raise InputError(reason)

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
        names = self._listed_names()
        names += self._takers
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        words = f"there is no command {text.strip()!r}"
        if near:
            return f"{words}: did you mean {near[0]}?"
        return f"{words}: Tab lists them"

    def _listed_names(self) -> list[str]:
        return [command.name for command in self._listed]

    # ---- completing

    def candidates(self, text: str) -> list[str]:
        """The texts that a text can become, each a whole line."""
        typed = _split(text)
        name = typed.name
        taker = self._takers.get(name)
        if taker is not None and typed.has_words:
            all_values = taker.values()
            values = _beginning(all_values, typed.words)
            return [f"{name} {value}" for value in values]
        start = plain_name(text)
        lines = _beginning(self._listed_names(), start)
        for taker_name in _beginning(self._takers, start):
            lines.append(f"{taker_name} ")
        return sorted(set(lines))

    def completed(self, text: str) -> str:
        """The text as far as all of its candidates agree."""
        candidates = self.candidates(text)
        if not candidates:
            return text
        common = _common_start(candidates)
        typed_length = len(text.lstrip())
        if len(common) < typed_length:
            return text
        return common

    def described(self, text: str) -> str:
        """The candidates in one line, or what the only one does; "" for none."""
        whole_name = plain_name(text)
        lines = self.candidates(text)
        candidates = set(map(str.strip, lines))
        command = self._exactly(whole_name)
        typed = _split(text)
        if command is not None and not typed.has_words:
            others = sorted(candidates - {whole_name})
            words = [command.help, *others]
            return " · ".join(words)
        if len(candidates) != 1:
            names = sorted(candidates)
            return " · ".join(names)
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
    name = text.lower()
    for joint in "_-":
        name = name.replace(joint, " ")
    parts = name.split()
    return "-".join(parts)


class _TypedText(NamedTuple):
    """The first word of a text in small letters, and what follows it.

    ``has_words``: a blank ends the first word, whether or not anything follows yet.
    """

    name: str
    words: str
    has_words: bool


def _split(text: str) -> _TypedText:
    has_words = " " in text.lstrip()
    name, _, rest = text.strip().partition(" ")
    small_name = name.lower()
    words = rest.strip()
    return _TypedText(small_name, words, has_words)


def _beginning(names: Iterable[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]


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
