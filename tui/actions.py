"""Every command of the screens, declared once: bindings, hint line, palette, help and
docs are made from this list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from textual.binding import Binding, BindingType

from logdrift.core.charts.registry import CHARTS

Scope = Literal[
    "app",
    "sessions",
    "explorer",
    "move",
    "list",
    "pane",
    "picker",
    "prompt",
    "inspector",
    "charts",
    "chart",
    "zoom",
    "reading",
    "matrix",
    "facts",
    "limits",
    "report",
    "diff",
    "why",
    "experiments",
    "layers",
    "confirm",
    "form",
]

Keymap = Mapping[str, tuple[str, ...]]
"""Ids of commands and the keys that a user gave them in place of their own."""
NO_KEYMAP: Keymap = {}

SCOPE_TITLES: dict[Scope, str] = {
    "app": "Everywhere",
    "sessions": "Sessions",
    "explorer": "Explorer",
    "move": "In the text",
    "list": "In lists",
    "pane": "In the inspector and long texts",
    "picker": "In a list that asks",
    "prompt": "In a line that asks",
    "inspector": "In the inspector",
    "charts": "Charts, in the explorer and on the whole screen",
    "chart": "In the chart",
    "zoom": "In the chart on the whole screen",
    "reading": "In a long text",
    "matrix": "Matrix",
    "facts": "Settings",
    "limits": "Limits",
    "report": "Report",
    "why": "Why",
    "experiments": "Experiments",
    "layers": "Layers",
    "diff": "Two sessions compared",
    "confirm": "Where yes or no is asked",
    "form": "New capture",
}


class Command(NamedTuple):
    """``name`` is the action and the id of the binding; ``hint`` the word on the hint
    line, most wanted first.
    """

    name: str
    keys: tuple[str, ...]
    help: str
    scope: Scope
    hint: str = ""
    palette: bool = True
    shown: tuple[str, ...] = ()
    """How the keys are written where their names are not what is on the keyboard."""
    slug: str = ""
    """What a keymap calls it, where the name of the action is none."""

    @property
    def id(self) -> str:
        """The id of the binding, ``scope.name``: what a keymap names."""
        name = self.slug or re.sub(
            r"[^a-z0-9]+", "_", self.name.replace("-", "minus_")
        ).strip("_")
        return f"{self.scope}.{name}"

    @property
    def key_names(self) -> tuple[str, ...]:
        return self.shown or key_names(self.keys)

    def shown_keys(self, keymap: Keymap) -> tuple[str, ...]:
        """The names of its keys where a keymap may give it others."""
        return key_names(keymap[self.id]) if self.id in keymap else self.key_names

    @property
    def title(self) -> str:
        """The help up to its first comma or colon: what the palette lists."""
        return self.help.partition(":")[0].partition(",")[0]


def key_names(keys: Iterable[str]) -> tuple[str, ...]:
    """Keys as they stand on a keyboard: ``?`` for question_mark."""
    return tuple(_NAMES.get(key) or _key_name(key) for key in keys)


def _key_name(key: str) -> str:
    """``Ctrl+N``, ``F8``; a single character as it is."""
    *modifiers, last = key.split("+")
    shown = _NAMES.get(last) or (
        last if len(last) == 1 and not modifiers else last.capitalize()
    )
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown])


_NAMES = {
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "f1": "F1",
    "dollar_sign": "$",
    "ctrl+p": "Ctrl+P",
    "ctrl+d": "Ctrl+D",
    "ctrl+u": "Ctrl+U",
    "ctrl+q": "Ctrl+Q",
    "colon": ":",
    "semicolon": ";",
    "full_stop": ".",
    "comma": ",",
    "ctrl+home": "Ctrl+Home",
    "ctrl+end": "Ctrl+End",
    "space": "Space",
    "slash": "/",
    "delete": "Del",
    "f2": "F2",
    "f5": "F5",
    "f6": "F6",
    "ctrl+r": "Ctrl+R",
    "ctrl+t": "Ctrl+T",
    "ctrl+s": "Ctrl+S",
    "ctrl+o": "Ctrl+O",
}

COMMANDS: tuple[Command, ...] = (
    Command(
        "help",
        ("question_mark", "f1"),
        "Help: all keys and what the colours mean",
        "app",
        "help",
    ),
    Command(
        "command_palette",
        ("ctrl+p",),
        "Command palette: every command by name",
        "app",
        palette=False,
    ),
    Command("quit_now", ("ctrl+q",), "Quit at once, from any screen", "app"),
    Command(
        "redraw",
        ("ctrl+l",),
        "Draw the screen again: where something else has written to the terminal",
        "app",
    ),
    Command("open", ("enter",), "Open the session", "sessions", "open"),
    Command(
        "new_capture",
        ("c", "N"),
        "New capture: model, prompts, backends",
        "sessions",
        "new capture",
    ),
    Command(
        "back", ("q",), "Back, or quit where there is no way back", "sessions", "quit"
    ),
    Command(
        "filter",
        ("slash",),
        "Filter: only sessions with these words",
        "sessions",
        "filter",
    ),
    Command(
        "mark",
        ("space",),
        "Compare two: mark the old one, then the new one",
        "sessions",
        "compare",
    ),
    Command("sort", ("s",), "Sort by the next column", "sessions", "sort"),
    Command("reverse", ("S",), "Sort the other way round", "sessions"),
    Command("rename", ("R",), "Rename the folder of the session", "sessions", "rename"),
    Command(
        "delete",
        ("d", "delete"),
        "Delete the session: asks first",
        "sessions",
        "delete",
    ),
    Command(
        "import_session",
        ("I",),
        "Import: a session folder or a file with log-probabilities",
        "sessions",
        "import",
    ),
    Command(
        "resume",
        ("u",),
        "Resume: capture what a partial or failed session lacks",
        "sessions",
        "resume",
    ),
    Command(
        "cancel_capture",
        ("x",),
        "Cancel the running capture: asks first",
        "sessions",
        "cancel",
    ),
    Command("clear", ("escape",), "Take filter and mark away", "sessions"),
    Command("refresh", ("r",), "Read the folder again", "sessions"),
    Command(
        "next_divergence",
        ("n",),
        "Next divergent token, across sequences",
        "explorer",
        "next Δ",
    ),
    Command(
        "previous_divergence",
        ("N",),
        "Previous divergent token, across sequences",
        "explorer",
        "prev",
    ),
    Command(
        "previous_sequence",
        ("left_square_bracket",),
        "Previous sequence, in the order of the list",
        "explorer",
    ),
    Command(
        "pair", ("p",), "Pair: choose the two captures to compare", "explorer", "pair"
    ),
    Command(
        "threshold",
        ("t",),
        "Threshold: choose what counts as divergent, with counts",
        "explorer",
        "threshold",
    ),
    Command(
        "search",
        ("slash",),
        "Search text, also across tokens, or ids",
        "explorer",
        "search",
    ),
    Command(
        "why",
        ("w",),
        "Why: the causes of the gap, ranked, with their evidence",
        "explorer",
        "why",
    ),
    Command(
        "back",
        ("q",),
        "Back to the sessions, or quit where the session was opened directly",
        "explorer",
        "back",
    ),
    Command(
        "next_mode",
        ("o",),
        "Colour tokens by the next number: Δ, Δ over floor, |Δ|, ratio, rank, entropy,"
        " log p",
        "explorer",
        "colour",
    ),
    Command(
        "next_sequence",
        ("right_square_bracket",),
        "Next sequence, in the order of the list",
        "explorer",
        "next seq",
    ),
    Command("next_pane", ("tab",), "Go to the next pane", "explorer", "pane"),
    Command(
        "threshold_up",
        ("plus", "equals_sign"),
        "Raise the threshold one step",
        "explorer",
    ),
    Command("threshold_down", ("minus",), "Lower the threshold one step", "explorer"),
    Command(
        "sort", ("s",), "Sort the sequences: by the next number", "explorer", "sort"
    ),
    Command(
        "go_to",
        ("colon",),
        "Go to a position, to one of another sequence, or to an id",
        "explorer",
        "go to",
    ),
    Command("modes", ("O",), "Colour tokens by: choose from the list", "explorer"),
    Command(
        "labels",
        ("semicolon",),
        "Jump to a marked token by its letters",
        "explorer",
        "jump",
    ),
    Command(
        "next_flip", ("full_stop",), "Next rank flip, across sequences", "explorer"
    ),
    Command(
        "previous_flip", ("comma",), "Previous rank flip, across sequences", "explorer"
    ),
    Command("undo_jump", ("u",), "Undo the last jump", "explorer", "undo"),
    Command("redo_jump", ("U", "ctrl+r"), "Do the undone jump again", "explorer"),
    Command("mark", ("b",), "Mark the token, with a note", "explorer", "mark"),
    Command("marks", ("B",), "Marks: list them, go to one", "explorer"),
    Command(
        "filter",
        ("f",),
        "Filter the sequences: by text, id, divergence or mark",
        "explorer",
        "filter",
    ),
    Command("sorts", ("S",), "Sort the sequences by: choose from the list", "explorer"),
    Command("order", ("i",), "Order the alternatives by the other side", "explorer"),
    Command("end_search", ("escape",), "End the search, then the filter", "explorer"),
    Command("log", ("L",), "Log: the last lines of a backend's log", "explorer", "log"),
    Command(
        "copy",
        ("c",),
        "Copy the token under the cursor with its numbers",
        "explorer",
        "copy",
    ),
    Command(
        "matrix",
        ("m",),
        "Matrix: every capture against every capture",
        "explorer",
        "matrix",
    ),
    Command(
        "facts",
        ("d",),
        "Settings: how the captures really ran, differences first",
        "explorer",
        "settings",
    ),
    Command(
        "limits",
        ("T",),
        "Limits: what every framework calls normal, held against this pair",
        "explorer",
    ),
    Command(
        "report", ("R",), "Report: look at it, copy it, save it", "explorer", "report"
    ),
    Command(
        "before",
        ("e",),
        "Earlier session: choose one, and see before and after as a chart",
        "explorer",
    ),
    Command("previous_pane", ("shift+tab",), "Go to the previous pane", "explorer"),
    Command("pane('tokens')", ("1",), "Go to the tokens", "explorer"),
    Command("pane('sequences')", ("2",), "Go to the sequences", "explorer"),
    Command("pane('inspector')", ("3",), "Go to the inspector", "explorer"),
    Command("pane('chart')", ("4",), "Go to the chart", "explorer"),
    Command("token_left", ("left", "h"), "One token back", "move", palette=False),
    Command(
        "token_right",
        ("right", "l"),
        "One token on, into the next sequence at the end",
        "move",
        palette=False,
    ),
    Command("line_up", ("up", "k"), "One line up", "move", palette=False),
    Command("line_down", ("down", "j"), "One line down", "move", palette=False),
    Command("page_up", ("pageup", "ctrl+u"), "One page up", "move", palette=False),
    Command(
        "page_down", ("pagedown", "ctrl+d"), "One page down", "move", palette=False
    ),
    Command(
        "line_start", ("home", "0"), "First token of the line", "move", palette=False
    ),
    Command(
        "line_end",
        ("end", "dollar_sign"),
        "Last token of the line",
        "move",
        palette=False,
    ),
    Command(
        "first",
        ("g", "ctrl+home"),
        "First token of the sequence",
        "move",
        palette=False,
    ),
    Command(
        "last", ("G", "ctrl+end"), "Last token of the sequence", "move", palette=False
    ),
    Command("row_up", ("up", "k"), "One row up", "list", palette=False),
    Command("row_down", ("down", "j"), "One row down", "list", palette=False),
    Command("rows_up", ("pageup", "ctrl+u"), "One page up", "list", palette=False),
    Command(
        "rows_down", ("pagedown", "ctrl+d"), "One page down", "list", palette=False
    ),
    Command("row_first", ("home", "g"), "First row", "list", palette=False),
    Command("row_last", ("end", "G"), "Last row", "list", palette=False),
    Command(
        "choose",
        ("enter",),
        "Take the row: a session opens, a sequence is jumped to",
        "list",
        palette=False,
    ),
    Command(
        "scroll_lines(-1)", ("up", "k"), "Scroll up", "pane", palette=False, slug="up"
    ),
    Command(
        "scroll_lines(1)",
        ("down", "j"),
        "Scroll down",
        "pane",
        palette=False,
        slug="down",
    ),
    Command(
        "scroll_lines(-10)",
        ("pageup", "ctrl+u"),
        "Scroll a page up",
        "pane",
        palette=False,
        slug="page_up",
    ),
    Command(
        "scroll_lines(10)",
        ("pagedown", "ctrl+d"),
        "Scroll a page down",
        "pane",
        palette=False,
        slug="page_down",
    ),
    Command(
        "scroll_lines(-1000000000)",
        ("home", "g"),
        "Scroll to the start",
        "pane",
        palette=False,
        slug="start",
    ),
    Command(
        "scroll_lines(1000000000)",
        ("end", "G"),
        "Scroll to the end",
        "pane",
        palette=False,
        slug="end",
    ),
    Command(
        "cancel",
        ("escape", "q"),
        "Leave without a change",
        "picker",
        "leave",
        palette=False,
    ),
    Command("copy_text", ("c",), "Copy the text", "picker", palette=False),
    Command(
        "shift_captures(-1)",
        ("left", "h"),
        "Captures further left, beside A and B",
        "inspector",
        palette=False,
        slug="left",
    ),
    Command(
        "shift_captures(1)",
        ("right", "l"),
        "Captures further right",
        "inspector",
        palette=False,
        slug="right",
    ),
    Command(
        "cancel",
        ("escape",),
        "Leave without a change",
        "prompt",
        "leave",
        palette=False,
    ),
    Command(
        "submit", ("enter",), "Take what is typed", "prompt", "take", palette=False
    ),
    Command("yes", ("y",), "Yes, do it", "confirm", palette=False),
    Command("cancel", ("n",), "No, leave it as it is", "confirm", palette=False),
    Command(
        "start",
        ("f5", "ctrl+r"),
        "Start the capture in the background",
        "form",
        "start",
    ),
    Command("show_plan", ("f2", "ctrl+t"), "Plan: see it as TOML", "form", "plan"),
    Command("save_plan", ("ctrl+s",), "Save the plan to a file", "form", "save"),
    Command("load_plan", ("ctrl+o",), "Load a plan from a file", "form", "load"),
    Command(
        "leave",
        ("escape",),
        "Back to the sessions: asks where something was filled in",
        "form",
        "leave",
    ),
    Command("add_backend", ("f6",), "Add a backend", "form", "add backend"),
    Command("next_field", ("down", "tab"), "Next field", "form", palette=False),
    Command(
        "previous_field", ("up", "shift+tab"), "Previous field", "form", palette=False
    ),
    Command("fields_down", ("pagedown",), "One page down", "form", palette=False),
    Command("fields_up", ("pageup",), "One page up", "form", palette=False),
    Command("next_chart", ("v",), "Next chart", "charts", "chart"),
    Command("previous_chart", ("V",), "Previous chart", "charts"),
    Command("charts", ("C",), "Charts: choose one from the list", "charts"),
    Command(
        "zoom_chart", ("z",), "Chart on the whole screen, and back", "charts", "zoom"
    ),
    Command(
        "chart_reach",
        ("a",),
        "Chart of all sequences, or of this one",
        "charts",
        "all/this",
    ),
    Command(
        "export_chart",
        ("x",),
        "Export the chart: as text, SVG, or CSV of the numbers behind it",
        "charts",
        "export",
    ),
    Command(
        "chart_step(-1, 0)",
        ("left", "h"),
        "One column back: the cursor follows",
        "chart",
        palette=False,
        slug="left",
    ),
    Command(
        "chart_step(1, 0)",
        ("right", "l"),
        "One column on",
        "chart",
        palette=False,
        slug="right",
    ),
    Command(
        "chart_step(0, -1)",
        ("up", "k"),
        "One row up: in the heat map to other sequences",
        "chart",
        palette=False,
        slug="up",
    ),
    Command(
        "chart_step(0, 1)",
        ("down", "j"),
        "One row down",
        "chart",
        palette=False,
        slug="down",
    ),
    Command(
        "chart_step(-10, 0)",
        ("pageup", "ctrl+u"),
        "Ten columns back",
        "chart",
        palette=False,
        slug="page_left",
    ),
    Command(
        "chart_step(10, 0)",
        ("pagedown", "ctrl+d"),
        "Ten columns on",
        "chart",
        palette=False,
        slug="page_right",
    ),
    Command(
        "chart_end(-1)",
        ("home", "g"),
        "First column",
        "chart",
        palette=False,
        slug="first",
    ),
    Command(
        "chart_end(1)", ("end", "G"), "Last column", "chart", palette=False, slug="last"
    ),
    Command(
        "to_tokens",
        ("enter",),
        "To the text of the token under the cursor",
        "chart",
        palette=False,
    ),
    Command("back", ("q", "escape"), "Back to the explorer", "zoom", "back"),
    Command("next_divergence", ("n",), "Next divergent token", "zoom", "next Δ"),
    Command("previous_divergence", ("N",), "Previous divergent token", "zoom"),
    *(
        Command(
            f"chart({number})",
            (str((number + 1) % 10),),
            f"Chart {number + 1}: {entry.title}",
            "zoom",
            palette=False,
            slug=f"chart_{entry.name}",
        )
        for number, entry in enumerate(CHARTS[:10])
    ),
    Command("search", ("slash",), "Search in the text", "reading", "search"),
    Command("search_next", ("n",), "Next line found", "reading"),
    Command("save", ("w",), "Save the text to a file", "reading", "save"),
    Command("search_previous", ("N",), "Previous line found", "reading"),
    Command(
        "change_chart",
        ("v",),
        "Before and after as a chart, in the explorer of the new session",
        "diff",
        "chart",
    ),
    Command(
        "next_text",
        ("tab", "right_square_bracket"),
        "Next text, where there are several",
        "reading",
    ),
    Command(
        "previous_text",
        ("shift+tab", "left_square_bracket"),
        "Previous text",
        "reading",
    ),
    Command("open_pair", ("enter",), "Open the pair in the explorer", "matrix", "open"),
    Command(
        "choose_metric",
        ("m",),
        "Metric: choose the number that is shown",
        "matrix",
        "metric",
    ),
    Command(
        "step_metric(1)",
        ("right_square_bracket",),
        "Next number",
        "matrix",
        slug="next_metric",
    ),
    Command(
        "step_metric(-1)",
        ("left_square_bracket",),
        "Previous number",
        "matrix",
        slug="previous_metric",
    ),
    Command(
        "scope", ("s",), "Scope: completion, prompt or all tokens", "matrix", "scope"
    ),
    Command("copy", ("c",), "Copy the matrix as a table", "matrix", "copy"),
    Command("save", ("w",), "Save the matrix to a file", "matrix", "save"),
    Command("back", ("q", "escape"), "Back to the explorer", "matrix", "back"),
    Command(
        "move(-1, 0)", ("up", "k"), "One row up", "matrix", palette=False, slug="up"
    ),
    Command(
        "move(1, 0)",
        ("down", "j"),
        "One row down",
        "matrix",
        palette=False,
        slug="down",
    ),
    Command(
        "move(0, -1)",
        ("left", "h"),
        "One column back",
        "matrix",
        palette=False,
        slug="left",
    ),
    Command(
        "move(0, 1)",
        ("right", "l"),
        "One column on",
        "matrix",
        palette=False,
        slug="right",
    ),
    Command(
        "shift(1)",
        ("right", "l"),
        "Captures further right",
        "facts",
        palette=False,
        slug="right",
    ),
    Command(
        "shift(-1)",
        ("left", "h"),
        "Captures further left",
        "facts",
        palette=False,
        slug="left",
    ),
    Command("whole", ("space",), "Whole values of the row", "facts", "whole values"),
    Command(
        "reasons",
        ("r",),
        "Reasons of the gate for this pair, in full",
        "facts",
        "reasons",
    ),
    Command("copy", ("c",), "Copy the settings as a table", "facts", "copy"),
    Command("save", ("w",), "Save the settings to a file", "facts", "save"),
    Command("back", ("q", "escape"), "Back to the explorer", "facts", "back"),
    Command("whole", ("space",), "Everything about the limit", "limits", "whole"),
    Command("copy", ("c",), "Copy the limits as a table", "limits", "copy"),
    Command("save", ("w",), "Save the limits to a file", "limits", "save"),
    Command("back", ("q", "escape"), "Back to the explorer", "limits", "back"),
    Command("next_format", ("f",), "Format: text or Markdown", "report", "format"),
    Command(
        "all_pairs",
        ("a",),
        "All pairs, or the one of the explorer",
        "report",
        "all pairs",
    ),
    Command("copy", ("c",), "Copy the report as it is shown", "report", "copy"),
    Command("back", ("q", "escape"), "Back to the explorer", "report", "back"),
    Command(
        "next_pane",
        ("tab",),
        "Go to the evidence, or back to the causes",
        "why",
        "pane",
    ),
    Command(
        "experiments",
        ("x",),
        "Experiments: one knob changed, captured again, judged",
        "why",
        "experiments",
    ),
    Command("pair", ("p",), "Pair: choose the two captures to explain", "why", "pair"),
    Command(
        "cause_table",
        ("C",),
        "Causes: the table of all of them, in the order of checking",
        "why",
        "table",
    ),
    Command(
        "identity",
        ("i",),
        "Identity: what each engine really loaded, tensor by tensor",
        "why",
        "identity",
    ),
    Command(
        "layers",
        ("y",),
        "Layers: where in the model the token under the cursor begins to differ",
        "why",
        "layers",
    ),
    Command("copy", ("c",), "Copy the cause with its evidence", "why", "copy"),
    Command("save", ("w",), "Save all causes to a file", "why", "save"),
    Command("back", ("q", "escape", "o"), "Back to the explorer", "why", "back"),
    Command("previous_pane", ("shift+tab",), "Go to the other pane", "why"),
    Command(
        "choose_row",
        ("space",),
        "Choose the experiment, or not",
        "experiments",
        "choose",
    ),
    Command(
        "start",
        ("x",),
        "Start the chosen experiments in the background: asks first",
        "experiments",
        "start",
    ),
    Command(
        "choose_all",
        ("a",),
        "All that have not run, or none",
        "experiments",
        "all/none",
    ),
    Command(
        "budget",
        ("b",),
        "Budget: the time that they may take together",
        "experiments",
        "budget",
    ),
    Command(
        "cancel_run",
        ("X",),
        "Cancel the experiments that run: asks first",
        "experiments",
        "cancel",
    ),
    Command(
        "open_experiment",
        ("e",),
        "Open the experiment as a session of its own",
        "experiments",
        "open",
    ),
    Command("copy", ("c",), "Copy the experiments as a table", "experiments", "copy"),
    Command("save", ("w",), "Save the experiments to a file", "experiments", "save"),
    Command("back", ("q", "escape", "o"), "Back to the causes", "experiments", "back"),
    Command(
        "shift(1)",
        ("right", "l"),
        "Columns further right",
        "experiments",
        palette=False,
        slug="right",
    ),
    Command(
        "shift(-1)",
        ("left", "h"),
        "Columns further left",
        "experiments",
        palette=False,
        slug="left",
    ),
    Command(
        "next_side",
        ("tab", "right_square_bracket"),
        "Next backend, then the next saved answer",
        "layers",
        "next",
    ),
    Command(
        "previous_side",
        ("shift+tab", "left_square_bracket"),
        "Previous backend",
        "layers",
    ),
    Command(
        "copy_command",
        ("x",),
        "Copy the command that looks at the layers of the token",
        "layers",
        "command",
    ),
    Command(
        "debuggers",
        ("d",),
        "Debuggers: commands for deeper ones, for this token",
        "layers",
        "debuggers",
    ),
    Command("copy", ("c",), "Copy the layers as a table", "layers", "copy"),
    Command("save", ("w",), "Save the layers to a file", "layers", "save"),
    Command("back", ("q", "escape", "o"), "Back to the causes", "layers", "back"),
    Command("theme('dark')", (), "Dark theme", "app", slug="theme_dark"),
    Command("theme('light')", (), "Light theme", "app", slug="theme_light"),
    Command(
        "theme('high-contrast')",
        (),
        "High-contrast theme",
        "app",
        slug="theme_high_contrast",
    ),
)


def bindings(*scopes: Scope) -> list[BindingType]:
    """Textual bindings of the scopes; the id is what a keymap file names."""
    return [
        # A command without a key has one that no keyboard sends: a keymap can give it
        # another.
        Binding(
            ",".join(c.keys) or f"unbound_{c.id}",
            # By its full name: windows bind these as well, and what is below a window
            # does not hear its keys.
            f"app.{c.name}" if c.scope == "app" else c.name,
            c.help,
            show=bool(c.hint),
            id=c.id,
            priority=c.name == "command_palette",
        )
        for c in COMMANDS
        if c.scope in scopes
    ]


def commands(*scopes: Scope) -> Iterable[Command]:
    return (command for command in COMMANDS if command.scope in scopes)


def hint_pairs(*scopes: Scope, keymap: Keymap = NO_KEYMAP) -> list[tuple[str, str]]:
    """(key, word) for the hint line, most wanted first."""
    found = [
        (c.shown_keys(keymap), c.hint)
        for scope in scopes
        for c in commands(scope)
        if c.hint
    ]
    return [(keys[0], word) for keys, word in found if keys]


def keys_table(*, ids: bool = False) -> str:
    """The key tables of the docs as Markdown; ``ids``: with what a keymap calls each
    command.
    """
    parts = []
    for scope, title in SCOPE_TITLES.items():
        rows = [_table_row(c, ids) for c in commands(scope)]
        head = (
            ["| key | what it does | id |", "| --- | --- | --- |"]
            if ids
            else ["| key | what it does |", "| --- | --- |"]
        )
        parts.append("\n".join([f"### {title}", "", *head, *rows]))
    return "\n\n".join(parts)


def short_keys_table() -> str:
    """The explorer's commands that its line of keys names, the most wanted first: the
    table of the README.
    """
    rows = [_table_row(c, False) for c in commands("explorer") if c.hint]
    return "\n".join(["| key | what it does |", "| --- | --- |", *rows])


def _table_row(command: Command, ids: bool) -> str:
    keys = (
        " ".join("`` ` ``" if key == "`" else f"`{key}`" for key in command.key_names)
        or "palette"
    )
    words = command.help.replace("|", "\\|")  # a bar would end the cell
    return f"| {keys} | {words} |" + (f" `{command.id}` |" if ids else "")


def write_keys(path: str) -> None:
    """Put the tables between the two comments of a Markdown file; those of keys.md name
    the ids as well, that of the README is short.
    """
    with open(path, encoding="utf-8") as file:
        text = file.read()
    head, _, rest = text.partition("<!-- keys -->")
    tail = rest.partition("<!-- /keys -->")[2]
    with open(path, "w", encoding="utf-8") as file:
        table = (
            short_keys_table()
            if path.endswith("README.md")
            else keys_table(ids=path.endswith("keys.md"))
        )
        file.write(f"{head}<!-- keys -->\n{table}\n<!-- /keys -->{tail}")


if __name__ == "__main__":
    import sys

    write_keys(sys.argv[1])
