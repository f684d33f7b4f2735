"""The line of keys: which commands it names, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from logdrift.tui.actions.command import NO_KEYMAP, Command, Keymap, Scope
from logdrift.tui.actions.key_names import key_name_of

_LEAVING = frozenset({"back", "cancel", "leave", "help"})
"""Actions whose keys stay at the end of the line, however narrow it is."""


class Hint(NamedTuple):
    """A key with its word on the line of keys.

    Attributes:
        name: the key as it stands on a keyboard; "" for a word alone.
        word: what it does, in a word or two.
        key: what a click presses, by Textual's name; "" for nothing.
        stays: whether it is shown where there is no room for all.
    """

    name: str
    word: str
    key: str = ""
    stays: bool = False


Words = Mapping[str, str]
"""Words that commands have now in place of their own, by action."""
NO_WORDS: Words = {}
SCROLL = Hint("↑↓", "scroll")
MOVE = Hint("↑↓", "move")


def always(_name: str) -> bool:
    """Every command has something to do."""
    return True


def hint_of(command: Command, keymap: Keymap = NO_KEYMAP, word: str = "") -> Hint:
    """The hint of a command that has a key; ``word`` in place of its own."""
    key = command.keys_in(keymap)[0]
    return Hint(
        name=key_name_of(key),
        word=word or command.hint,
        key=key,
        stays=command.action in _LEAVING,
    )


def hints_of(
    all_commands: Sequence[Command],
    screen: Iterable[Scope],
    panes: Iterable[Scope] = (),
    keymap: Keymap = NO_KEYMAP,
    applies: Callable[[str], bool] = always,
    words: Words = NO_WORDS,
) -> list[Hint]:
    """The hints of a screen on which a pane of the scopes ``panes`` has the focus:
    those of commands that have something to do now, as ``applies`` says by name.

    First what the pane itself offers and what the screen does in that pane, then the
    other commands of the screen, last how to leave and the help.
    """
    screen_scopes = tuple(screen)
    pane_scopes = tuple(panes)
    heard = {*screen_scopes, *pane_scopes}
    hinted = []
    for command in all_commands:
        if command.scope not in heard:
            continue
        if _is_shown(command, keymap) and applies(command.name):
            hinted.append(command)
    own = list(_in_scopes(hinted, pane_scopes))
    of_screen = list(_in_scopes(hinted, screen_scopes))
    near = [command for command in of_screen if set(command.near) & set(pane_scopes)]
    hints = _once_a_key([*near, *own, *of_screen], keymap, words)
    return sorted(hints, key=_stays)


def _is_shown(command: Command, keymap: Keymap) -> bool:
    if not command.hint:
        return False
    return bool(command.keys_in(keymap))


def _in_scopes(hinted: Iterable[Command], scopes: Iterable[Scope]) -> Iterator[Command]:
    """The commands of the scopes, scope by scope."""
    known = list(hinted)
    for scope in scopes:
        for command in known:
            if command.scope == scope:
                yield command


def _once_a_key(shown: Iterable[Command], keymap: Keymap, words: Words) -> list[Hint]:
    """A hint for each key, in the order of the first; its last word, which is the
    screen's, tells more than that of a pane.
    """
    hints: dict[str, Hint] = {}
    for command in shown:
        word = words.get(command.action, "")
        hint = hint_of(command, keymap, word)
        hints[hint.key] = hint
    return list(hints.values())


def _stays(hint: Hint) -> bool:
    return hint.stays
