"""Keys of the user's own: checked against the registry, and a sample file of all that
can be changed.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Mapping

from logdrift.core.errors import InputError
from logdrift.tui.actions import (
    COMMANDS,
    SCOPE_TITLES,
    Command,
    Keymap,
    Scope,
    commands,
)
from logdrift.tui.actions.key_names import key_names

SCREENS: tuple[frozenset[Scope], ...] = tuple(
    frozenset[Scope](scopes)
    for scopes in (
        ("explorer", "charts", "move", "list", "pane", "inspector", "chart"),
        ("zoom", "charts", "chart"),
        ("sessions", "list"),
        ("matrix",),
        ("facts", "list"),
        ("limits", "list"),
        ("report", "reading", "pane"),
        ("why", "list"),
        ("experiments", "list"),
        ("layers", "list"),
        ("picker", "reading", "pane", "diff"),
        ("picker", "confirm", "list"),
        ("prompt",),
        ("form",),
    )
)
"""Scopes whose keys are listened to on one screen or window, beside those of
everywhere.
"""
_PANES: frozenset[Scope] = frozenset({"move", "list", "pane", "inspector", "chart"})
"""Of these, only those of the pane with the focus are listened to; the inspector has
two.
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
_PRINTABLE = "".join(chr(c) for c in range(33, 127))


def key_of(text: str) -> str:
    """The key that a text means: a character, a name (`enter`, `f5`, `slash`), or one
    with `ctrl+` and the like.

    Raises InputError that names the nearest key.
    """
    wanted = text.strip()
    if len(wanted) == 1 and wanted.isprintable():
        return _character(wanted)
    *modifiers, last = (
        wanted.split("+")
        if not wanted.endswith("++")
        else [*wanted[:-2].split("+"), "+"]
    )
    names = {_character(char) for char in _PRINTABLE if not char.isalnum()} | set(
        _NAMED
    )
    if len(last) == 1:
        key = _character(last)
    else:
        key = last.lower()
    if key not in names and not (len(last) == 1 and last.isalnum()):
        near = difflib.get_close_matches(key, sorted(names), n=1)
        raise InputError(
            f"there is no key {text!r}"
            + (f": did you mean {near[0]!r}?" if near else ": try 'f5'")
        )
    for modifier in modifiers:
        if modifier.lower() not in _MODIFIERS:
            near = difflib.get_close_matches(modifier.lower(), _MODIFIERS, n=1)
            raise InputError(
                f"key {text!r} has no modifier {modifier!r}: use"
                f" {near[0] if near else 'ctrl, alt, shift'}"
            )
    return "+".join([*sorted(modifier.lower() for modifier in modifiers), key])


def _character(char: str) -> str:
    if char.isalnum():
        return char
    name = unicodedata.name(char, "").lower().replace("-", "_").replace(" ", "_")
    return _RENAMED.get(name, name)


def check_keymap(
    given: Mapping[str, tuple[str, ...]], file: str = "the config"
) -> Keymap:
    """Keys by the id of their command, as Textual names them; an empty list leaves a
    command without a key.

    Raises InputError for an unknown id or key (naming the nearest), and for a key that
    would mean two things.
    """
    known = {command.id: command for command in COMMANDS}
    keymap: dict[str, tuple[str, ...]] = {}
    for name, keys in given.items():
        if name not in known:
            raise InputError(f"{file}: keys.{name} is unknown: {_nearest(name, known)}")
        try:
            keymap[name] = tuple(dict.fromkeys(key_of(key) for key in keys))
        except InputError as error:
            raise InputError(f"{file}: keys.{name}: {error}") from None
    for name, keys in keymap.items():
        for key in keys:
            other = _conflict(known[name], key, keymap)
            if other is not None:
                shown = key_names((key,))[0]
                raise InputError(
                    f"{file}: keys.{name}: {shown!r} is the key of {other.id}"
                    f" ({other.title}): give that one another key too"
                )
    return keymap


def _nearest(name: str, known: Mapping[str, Command]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    near = (
        near or [i for i in known if i.partition(".")[2] == name.rpartition(".")[2]][:1]
    )
    if near:
        return f"did you mean {near[0]!r}?"
    return "logdrift keys lists them all"


def _conflict(command: Command, key: str, keymap: Keymap) -> Command | None:
    for other in COMMANDS:
        if other is command or not _meet(command.scope, other.scope):
            continue
        # Two that have a key in common by themselves never have it at the same time.
        if key in keymap.get(other.id, other.keys) and not (
            key in command.keys and key in other.keys
        ):
            return other
    return None


def _meet(a: Scope, b: Scope) -> bool:
    """Whether keys of two scopes are listened to at the same time, so that one would
    hide the other.
    """
    if a != b and a in _PANES and b in _PANES and {a, b} != {"pane", "inspector"}:
        return False
    return (
        a == b
        or "app" in (a, b)
        or any(a in scopes and b in scopes for scopes in SCREENS)
    )


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
            keys = ", ".join(f'"{_written(key)}"' for key in command.keys)
            yield f"# {command.id} = [{keys}]  # {command.help}"


def _written(key: str) -> str:
    shown = key_names((key,))[0]
    if len(shown) == 1 and shown.isascii():
        return shown.replace("\\", "\\\\").replace('"', '\\"')
    return key
