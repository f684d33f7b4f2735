"""The key tables of the docs, as Markdown."""

from __future__ import annotations

from pathlib import Path

from logdrift.tui.actions import SCOPE_TITLES, Command, commands

_START = "<!-- keys -->"
_END = "<!-- /keys -->"


def keys_table(*, ids: bool = False) -> str:
    """All commands by scope; ``ids``: with what a keymap calls each command."""
    head = ["| key | what it does |", "| --- | --- |"]
    if ids:
        head = ["| key | what it does | id |", "| --- | --- | --- |"]
    parts = []
    for scope, title in SCOPE_TITLES.items():
        rows = [_row(command, ids) for command in commands(scope)]
        parts.append("\n".join([f"### {title}", "", *head, *rows]))
    return "\n\n".join(parts)


def short_keys_table() -> str:
    """The commands that the explorer's line of keys names, most used first."""
    rows = [_row(command) for command in commands("explorer") if command.hint]
    return "\n".join(["| key | what it does |", "| --- | --- |", *rows])


def _row(command: Command, ids: bool = False) -> str:
    keys = " ".join(map(_code, command.key_names())) or "palette"
    words = command.help.replace("|", "\\|")  # a bar would end the cell
    row = f"| {keys} | {words} |"
    if ids:
        return f"{row} `{command.id}` |"
    return row


def _code(key: str) -> str:
    if key == "`":
        return "`` ` ``"
    return f"`{key}`"


def write_keys(path: Path) -> None:
    """Put the table between the two comments of a Markdown file: with ids in keys.md,
    the short one in the README.
    """
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(_START)
    _, _, tail = rest.partition(_END)
    table = keys_table(ids=path.name == "keys.md")
    if path.name == "README.md":
        table = short_keys_table()
    path.write_text(f"{head}{_START}\n{table}\n{_END}{tail}", encoding="utf-8")
