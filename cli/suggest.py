"""What was perhaps meant: a command, a path in its place, a flag that is not there."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from logdrift.core.errors import InputError
from logdrift.core.keys import near_key

_SESSIONS = "--sessions"
"""The one flag before a command that takes a value."""


def command_place(arguments: Sequence[str]) -> int | None:
    """Where the command, or what stands in its place, is among the arguments."""
    is_value = False
    for place, word in enumerate(arguments):
        if not word.startswith("-") and not is_value:
            return place
        # argparse takes a flag that is cut off, too.
        is_value = len(word) > len("--") and _SESSIONS.startswith(word)
    return None


def with_command(arguments: Sequence[str], commands: Collection[str]) -> list[str]:
    """The arguments with ``open`` before a path that stands where a command is
    expected.

    Raises InputError for what is neither, with the command that was perhaps meant.
    """
    place = command_place(arguments)
    if place is None or arguments[place] in commands:
        return list(arguments)
    word = arguments[place]
    if not _is_path(word):
        raise InputError(_no_command(word, commands))
    before = arguments[:place]
    after = arguments[place:]
    return [*before, "open", *after]


def _is_path(word: str) -> bool:
    """Whether a word can only be a path, or is one that exists."""
    looks_like_one = os.sep in word or word.startswith((".", "~"))
    return looks_like_one or os.path.exists(word)


def _no_command(word: str, commands: Iterable[str]) -> str:
    near = near_key(word, commands)
    if near is None:
        return f"no command and no folder is named {word!r} (see logdrift --help)"
    return f"no command {word!r}: did you mean {near!r}? (see logdrift --help)"


def refuse_unknown(
    unknown: Sequence[str],
    parser: argparse.ArgumentParser,
    command: argparse.ArgumentParser | None,
) -> None:
    """Raise InputError for arguments that nothing takes; names the flag of ``command``
    (of ``parser`` without one) that was perhaps meant.
    """
    if not unknown:
        return
    word = unknown[0]
    speaker = command or parser
    _, _, name = speaker.prog.rpartition(" ")
    see = f"(see {speaker.prog} --help)"
    if not word.startswith("-"):
        raise InputError(f"{name} takes no {word!r} {see}")
    flag, _, _ = word.partition("=")
    if flag in flags_of(parser):
        raise InputError(f"{flag} stands before the command: {parser.prog} {flag} ...")
    near = near_key(flag, flags_of(speaker))
    if near is None:
        raise InputError(f"{name} has no flag {flag} {see}")
    raise InputError(f"{name} has no flag {flag}: did you mean {near}? {see}")


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """Its flags, and those of the actions that it has below it."""
    flags: list[str] = []
    for action in parser._actions:
        flags += action.option_strings
        for below in actions_below(action).values():
            flags += flags_of(below)
    return list(dict.fromkeys(flags))


def actions_below(
    action: argparse.Action,
) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers by their names where an argument chooses one; else empty."""
    if isinstance(action, argparse._SubParsersAction):
        return action.choices
    return {}
