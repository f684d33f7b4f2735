"""Keys from the user's config: checked against the registry; and a sample of them."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache

from logdrift.core.errors import InputError
from logdrift.tui.actions import (
    COMMANDS,
    SCOPE_TITLES,
    Command,
    Keymap,
    Scope,
    commands,
)
from logdrift.tui.actions.key_names import key_name_of

SCREENS: tuple[frozenset[Scope], ...] = tuple(
    frozenset[Scope](scopes)
    for scopes in (
        ("explorer", "charts", "move", "list", "pane", "inspector", "chart"),
        ("zoom", "charts", "chart"),
        ("sessions", "list"),
        ("trend", "list"),
        ("matrix",),
        ("facts", "list"),
        ("limits", "list"),
        ("worst", "list"),
        ("report", "reading", "pane"),
        ("why", "list"),
        ("experiments", "list"),
        ("layers", "list"),
        ("identity", "reading", "pane"),
        ("picker", "reading", "pane", "diff"),
        ("picker", "confirm", "list"),
        ("prompt",),
        ("form",),
    )
)
"""Scopes whose keys work together on one screen or window, beside scope ``app``."""
_PANES: frozenset[Scope] = frozenset({"move", "list", "pane", "inspector", "chart"})
"""Of these, only the keys of the pane with the focus work; the inspector has two
scopes, its own and ``pane``.
"""
_NAMED = (
    "enter",
    "escape",
    "tab",
    "space",
    "backspace",
    "delete",
    "insert",
    "home",
    "end",
    "pageup",
    "pagedown",
    "up",
    "down",
    "left",
    "right",
    *(f"f{n}" for n in range(1, 25)),
)
_MODIFIERS = ("ctrl", "shift", "alt", "super")
_RENAMED = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_PRINTABLE_ASCII = range(33, 127)


def parse_key(text: str) -> str:
    """The key that a user's text means, as Textual names it.

    A text is a character, a name (`enter`, `f5`, `slash`), or one of these after
    `ctrl+` and other modifiers. Raises InputError that names the nearest key.
    """
    stripped = text.strip()
    if len(stripped) == 1 and stripped.isprintable():
        return _character(stripped)
    *modifiers, last = _split_at_plus(stripped)
    key = last.lower()
    if len(last) == 1:
        key = _character(last)
    if not _is_key(key):
        raise _no_such_key(text, key)
    for modifier in modifiers:
        if modifier.lower() not in _MODIFIERS:
            raise _no_such_modifier(text, modifier)
    parts = sorted(modifier.lower() for modifier in modifiers)
    parts.append(key)
    return "+".join(parts)


def _split_at_plus(text: str) -> list[str]:
    """``ctrl++`` is Ctrl and the key plus."""
    if text.endswith("++"):
        modifiers = text.removesuffix("++")
        return [*modifiers.split("+"), "+"]
    return text.split("+")


@cache
def _names_of_keys() -> frozenset[str]:
    """Every key but letters and digits."""
    names = set(_NAMED)
    for code in _PRINTABLE_ASCII:
        character = chr(code)
        if not character.isalnum():
            names.add(_character(character))
    return frozenset(names)


def _is_key(key: str) -> bool:
    is_letter_or_digit = len(key) == 1 and key.isalnum()
    return is_letter_or_digit or key in _names_of_keys()


def _no_such_key(text: str, key: str) -> InputError:
    names = sorted(_names_of_keys())
    near = difflib.get_close_matches(key, names, n=1)
    advice = "try 'f5'"
    if near:
        advice = f"did you mean {near[0]!r}?"
    return InputError(f"there is no key {text!r}: {advice}")


def _no_such_modifier(text: str, modifier: str) -> InputError:
    near = difflib.get_close_matches(modifier.lower(), _MODIFIERS, n=1)
    usable = "ctrl, alt, shift"
    if near:
        usable = near[0]
    return InputError(f"key {text!r} has no modifier {modifier!r}: use {usable}")


def _character(char: str) -> str:
    if char.isalnum():
        return char
    name = unicodedata.name(char, "").lower()
    name = name.replace("-", "_").replace(" ", "_")
    return _RENAMED.get(name, name)


def check_keymap(
    configured: Mapping[str, tuple[str, ...]], file: str = "the config"
) -> Keymap:
    """Keys by the id of their command, as Textual names them; an empty list leaves a
    command without a key.

    Raises InputError for an unknown id or key (naming the nearest), and for a key that
    would mean two things.
    """
    known = {command.id: command for command in COMMANDS}
    keymap: dict[str, tuple[str, ...]] = {}
    for name, texts in configured.items():
        if name not in known:
            advice = _nearest(name, known)
            raise InputError(f"{file}: keys.{name} is unknown: {advice}")
        try:
            keys = map(parse_key, texts)
            keymap[name] = tuple(dict.fromkeys(keys))
        except InputError as error:
            raise InputError(f"{file}: keys.{name}: {error}") from None
    for name in keymap:
        command = known[name]
        _refuse_conflicts(command, keymap, file)
    return keymap


def _refuse_conflicts(command: Command, keymap: Keymap, file: str) -> None:
    """Raise InputError where a new key of ``command`` is another command's too."""
    for key in keymap[command.id]:
        other = _conflict(command, key, keymap)
        if other is not None:
            key_name = key_name_of(key)
            raise InputError(
                f"{file}: keys.{command.id}: {key_name!r} is the key of {other.id}"
                f" ({other.title}): give that one another key too"
            )


def _nearest(name: str, known: Mapping[str, Command]) -> str:
    """Advice for an unknown id: one that is spelled alike, or has the same last
    part.
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not near:
        _, _, action = name.rpartition(".")
        near = [other for other in known if _part_after_scope(other) == action]
    if near:
        return f"did you mean {near[0]!r}?"
    return "logdrift keys lists them all"


def _part_after_scope(command_id: str) -> str:
    _, _, action = command_id.partition(".")
    return action


def _conflict(command: Command, key: str, keymap: Keymap) -> Command | None:
    """The other command that ``key`` would also mean."""
    for other in COMMANDS:
        if other is command or not _meet(command.scope, other.scope):
            continue
        other_keys = keymap.get(other.id, other.keys)
        # Two that share a default key never have it at the same time.
        shared_by_default = key in command.keys and key in other.keys
        if key in other_keys and not shared_by_default:
            return other
    return None


def _meet(a: Scope, b: Scope) -> bool:
    """Whether keys of two scopes work at the same time, so that one would hide the
    other.
    """
    both = {a, b}
    if a == b or "app" in both:
        return True
    both_are_panes = both <= _PANES
    if both_are_panes and both != {"pane", "inspector"}:
        return False
    return any(both <= scopes for scopes in SCREENS)


def sample() -> Iterator[str]:
    """Lines of a config file with every command and its keys, each commented out."""
    yield (
        "# Keys of your own: put the lines that you change into the config file, below"
        " [keys]."
    )
    yield (
        '# One key as a text or several as a list: "n", "space", "f5", "ctrl+n", "?".'
        " What is not named keeps its keys."
    )
    yield "[keys]"
    for scope, title in SCOPE_TITLES.items():
        yield ""
        yield f"# {title}"
        for command in commands(scope):
            keys = ", ".join(map(_quoted, command.keys))
            yield f"# {command.id} = [{keys}]  # {command.help}"


def _quoted(key: str) -> str:
    """A key as a string of TOML: its character where it has one."""
    name = key_name_of(key)
    is_character = len(name) == 1 and name.isascii()
    if not is_character:
        return f'"{key}"'
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
