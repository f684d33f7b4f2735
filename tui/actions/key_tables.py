"""The key tables of the docs, as Markdown."""

from __future__ import annotations

from pathlib import Path

from logdrift.tui.actions import SCOPE_TITLES, Command, commands
from logdrift.tui.actions.grammar import meanings
from logdrift.tui.actions.key_names import key_names

_START = "<!-- keys -->"
_END = "<!-- /keys -->"
_GRAMMAR_START = "<!-- grammar -->"
_GRAMMAR_END = "<!-- /grammar -->"
_HEAD = (
    "| key | what it does |",
    "| --- | --- |",
)
_HEAD_WITH_IDS = (
    "| key | what it does | id |",
    "| --- | --- | --- |",
)


def keys_table(*, ids: bool = False) -> str:
    """All commands by scope; ``ids``: with what a keymap calls each command."""
    head = _HEAD
    if ids:
        head = _HEAD_WITH_IDS
    parts = []
    for scope, title in SCOPE_TITLES.items():
        lines = [f"### {title}", "", *head]
        for command in commands(scope):
            lines.append(_row(command, ids))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def grammar_table() -> str:
    """What each key means wherever it does anything; keys of one meaning share a
    row.
    """
    lines = ["| key | means |", "| --- | --- |"]
    for keys, words in meanings():
        names = " ".join(map(_code, key_names(keys)))
        lines.append(f"| {names} | {words} |")
    return "\n".join(lines)


def _row(command: Command, ids: bool = False) -> str:
    names = command.key_names()
    keys = " ".join(map(_code, names)) or "palette"
    words = command.help.replace("|", "\\|")  # a bar would end the cell
    row = f"| {keys} | {words} |"
    if ids:
        row += f" `{command.id}` |"
    return row


def _code(key: str) -> str:
    if key == "`":
        return "`` ` ``"
    return f"`{key}`"


def write_keys(path: Path) -> None:
    """Put the tables between their comments in a Markdown file: with ids and the
    grammar in keys.md.
    """
    text = path.read_text(encoding="utf-8")
    with_ids = path.name == "keys.md"
    table = keys_table(ids=with_ids)
    text = _between(text, _START, _END, table)
    if _GRAMMAR_START in text:
        grammar = grammar_table()
        text = _between(text, _GRAMMAR_START, _GRAMMAR_END, grammar)
    path.write_text(text, encoding="utf-8")


def _between(text: str, start: str, end: str, table: str) -> str:
    """The text with the table in place of what stood between the two comments; a text
    without them stays as it is.
    """
    if start not in text:
        return text
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    return f"{head}{start}\n{table}\n{end}{tail}"
