"""Every command of the screens, declared once: bindings, hint line, palette, help and docs are made from this list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Scope = Literal["app", "sessions", "explorer", "move", "list", "pane", "picker"]

SCOPE_TITLES: dict[Scope, str] = {
    "app": "Everywhere",
    "sessions": "Sessions",
    "explorer": "Explorer",
    "move": "In the text",
    "list": "In lists",
    "pane": "In the inspector, the chart and long texts",
    "picker": "In a list that asks",
}


@dataclass(frozen=True, slots=True)
class Command:
    """``name`` is the action and the id of the binding; ``hint`` the word on the hint line, most wanted first."""

    name: str
    keys: tuple[str, ...]
    help: str
    scope: Scope
    hint: str = ""
    palette: bool = True
    shown: tuple[str, ...] = ()
    """How the keys are written where their names are not what is on the keyboard."""

    @property
    def key_names(self) -> tuple[str, ...]:
        return self.shown or tuple(_NAMES.get(key, key) for key in self.keys)

    @property
    def title(self) -> str:
        """The help up to its first comma or colon: what the palette lists."""
        return self.help.partition(":")[0].partition(",")[0]


_NAMES = {
    "question_mark": "?", "left_square_bracket": "[", "right_square_bracket": "]", "plus": "+", "minus": "-",
    "equals_sign": "=", "left": "←", "right": "→", "up": "↑", "down": "↓", "pageup": "PgUp", "pagedown": "PgDn",
    "home": "Home", "end": "End", "enter": "Enter", "escape": "Esc", "tab": "Tab", "shift+tab": "Shift+Tab",
    "f1": "F1", "dollar_sign": "$", "ctrl+p": "Ctrl+P", "ctrl+d": "Ctrl+D", "ctrl+u": "Ctrl+U", "ctrl+q": "Ctrl+Q",
    "ctrl+home": "Ctrl+Home", "ctrl+end": "Ctrl+End", "space": "Space",
}  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    Command("help", ("question_mark", "f1"), "Help: all keys and what the colours mean", "app", "help"),
    Command("command_palette", ("ctrl+p",), "Command palette: every command by name", "app", palette=False),
    Command("quit_now", ("ctrl+q",), "Quit at once, from any screen", "app"),
    Command("open", ("enter",), "Open the session", "sessions", "open"),
    Command("refresh", ("r",), "Read the folder again", "sessions", "refresh"),
    Command("back", ("q",), "Back, or quit where there is no way back", "sessions", "quit"),
    Command("next_divergence", ("n",), "Next divergent token, across sequences", "explorer", "next Δ"),
    Command("previous_divergence", ("N",), "Previous divergent token, across sequences", "explorer", "prev"),
    Command("previous_sequence", ("left_square_bracket",), "Previous sequence, in the order of the list", "explorer"),
    Command("pair", ("p",), "Pair: choose the two captures to compare", "explorer", "pair"),
    Command("threshold", ("t",), "Threshold: choose what counts as divergent, with counts", "explorer", "threshold"),
    Command("back", ("q",), "Back to the sessions, or quit where the session was opened directly", "explorer", "back"),
    Command(
        "next_sequence", ("right_square_bracket",), "Next sequence, in the order of the list", "explorer", "next seq"
    ),
    Command("next_pane", ("tab",), "Go to the next pane", "explorer", "pane"),
    Command("threshold_up", ("plus", "equals_sign"), "Raise the threshold one step", "explorer"),
    Command("threshold_down", ("minus",), "Lower the threshold one step", "explorer"),
    Command("sort", ("s",), "Sort the sequences: by number, worst or mean |Δ|", "explorer", "sort"),
    Command("log", ("L",), "Log: the last lines of a backend's log", "explorer", "log"),
    Command("copy", ("c",), "Copy the token under the cursor with its numbers", "explorer", "copy"),
    Command("previous_pane", ("shift+tab",), "Go to the previous pane", "explorer"),
    Command("pane('tokens')", ("1",), "Go to the tokens", "explorer"),
    Command("pane('sequences')", ("2",), "Go to the sequences", "explorer"),
    Command("pane('inspector')", ("3",), "Go to the inspector", "explorer"),
    Command("pane('chart')", ("4",), "Go to the chart", "explorer"),
    Command("token_left", ("left", "h"), "One token back", "move", palette=False),
    Command("token_right", ("right", "l"), "One token on, into the next sequence at the end", "move", palette=False),
    Command("line_up", ("up", "k"), "One line up", "move", palette=False),
    Command("line_down", ("down", "j"), "One line down", "move", palette=False),
    Command("page_up", ("pageup", "ctrl+u"), "One page up", "move", palette=False),
    Command("page_down", ("pagedown", "ctrl+d"), "One page down", "move", palette=False),
    Command("line_start", ("home", "0"), "First token of the line", "move", palette=False),
    Command("line_end", ("end", "dollar_sign"), "Last token of the line", "move", palette=False),
    Command("first", ("g", "ctrl+home"), "First token of the sequence", "move", palette=False),
    Command("last", ("G", "ctrl+end"), "Last token of the sequence", "move", palette=False),
    Command("row_up", ("up", "k"), "One row up", "list", palette=False),
    Command("row_down", ("down", "j"), "One row down", "list", palette=False),
    Command("rows_up", ("pageup", "ctrl+u"), "One page up", "list", palette=False),
    Command("rows_down", ("pagedown", "ctrl+d"), "One page down", "list", palette=False),
    Command("row_first", ("home", "g"), "First row", "list", palette=False),
    Command("row_last", ("end", "G"), "Last row", "list", palette=False),
    Command("choose", ("enter",), "Take the row: a session opens, a sequence is jumped to", "list", palette=False),
    Command("scroll_lines(-1)", ("up", "k"), "Scroll up", "pane", palette=False),
    Command("scroll_lines(1)", ("down", "j"), "Scroll down", "pane", palette=False),
    Command("scroll_lines(-10)", ("pageup", "ctrl+u"), "Scroll a page up", "pane", palette=False),
    Command("scroll_lines(10)", ("pagedown", "ctrl+d"), "Scroll a page down", "pane", palette=False),
    Command("scroll_lines(-1000000000)", ("home", "g"), "Scroll to the start", "pane", palette=False),
    Command("scroll_lines(1000000000)", ("end", "G"), "Scroll to the end", "pane", palette=False),
    Command("cancel", ("escape", "q"), "Leave without a change", "picker", "leave", palette=False),
    Command("copy_text", ("c",), "Copy the text", "picker", palette=False),
)


def bindings(*scopes: Scope) -> list[BindingType]:
    """Textual bindings of the scopes; the id is what a keymap file names."""
    return [
        Binding(",".join(c.keys), c.name, c.help, show=bool(c.hint), id=f"{c.scope}.{c.name}")
        for c in COMMANDS
        if c.scope in scopes and c.name != "command_palette"
    ]


def commands(*scopes: Scope) -> Iterable[Command]:
    return (command for command in COMMANDS if command.scope in scopes)


def hint_pairs(*scopes: Scope) -> list[tuple[str, str]]:
    """(key, word) for the hint line, most wanted first."""
    return [(c.key_names[0], c.hint) for scope in scopes for c in commands(scope) if c.hint]


def keys_table() -> str:
    """The key tables of docs/explorer.md as Markdown."""
    parts = []
    for scope, title in SCOPE_TITLES.items():
        rows = [f"| {' '.join(f'`{key}`' for key in c.key_names)} | {c.help} |" for c in commands(scope)]
        parts.append("\n".join([f"### {title}", "", "| key | what it does |", "| --- | --- |", *rows]))
    return "\n\n".join(parts)


def write_keys(path: str) -> None:
    """Put the tables between the two comments of a Markdown file."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    head, _, rest = text.partition("<!-- keys -->")
    tail = rest.partition("<!-- /keys -->")[2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}<!-- keys -->\n{keys_table()}\n<!-- /keys -->{tail}")


if __name__ == "__main__":
    import sys

    write_keys(sys.argv[1])
