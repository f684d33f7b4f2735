"""One key, one meaning: what each letter, sign and function key does wherever it does
anything.

A command that takes a key for something else is a mistake that a test names. Only where
yes or no is asked do `y` and `n` mean what they say: nothing else is heard there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMeaning:
    """What a key means on every screen.

    Attributes:
        key: by Textual's name.
        words: the meaning, as the docs and the help give it.
        actions: the actions that it may run, by `Command.action`.
    """

    key: str
    words: str
    actions: frozenset[str]


def _meaning(key: str, words: str, *actions: str) -> KeyMeaning:
    return KeyMeaning(key=key, words=words, actions=frozenset(actions))


GRAMMAR: tuple[KeyMeaning, ...] = (
    _meaning(
        "enter",
        "open or take what the cursor is on",
        "open",
        "choose",
        "submit",
        "to_tokens",
        "open_pair",
        "whole",
        "open_experiment",
    ),
    _meaning("space", "mark or choose what the cursor is on", "mark", "choose_row"),
    _meaning("q", "back, or quit from the first screen", "back", "cancel"),
    _meaning(
        "escape",
        "back: leave, end a search, remove a filter",
        "back",
        "cancel",
        "clear",
        "leave",
        "end_search",
    ),
    _meaning(
        "n",
        "next one: divergent token, match, change",
        "next_divergence",
        "search_next",
        "next_change",
    ),
    _meaning("N", "previous one", "previous_divergence", "search_previous"),
    _meaning("greater_than_sign", "next smaller |Δ| over all sequences", "smaller"),
    _meaning("less_than_sign", "next larger |Δ| over all sequences", "larger"),
    _meaning("full_stop", "next rank flip", "next_flip"),
    _meaning("comma", "previous rank flip", "previous_flip"),
    _meaning(
        "right_square_bracket",
        "next sequence, text, number or backend",
        "next_sequence",
        "next_text",
        "step_metric",
        "next_side",
    ),
    _meaning(
        "left_square_bracket",
        "previous sequence, text, number or backend",
        "previous_sequence",
        "previous_text",
        "step_metric",
        "previous_side",
    ),
    _meaning("right_parenthesis", "next turn of the assistant", "next_turn"),
    _meaning("left_parenthesis", "previous turn", "previous_turn"),
    _meaning("right_curly_bracket", "closer: half of the map", "chart_closer"),
    _meaning("left_curly_bracket", "wider: twice as much of the map", "chart_wider"),
    _meaning(
        "slash",
        "search; in the list of sessions the search is a filter",
        "search",
        "filter",
    ),
    _meaning("f", "filter", "filter"),
    _meaning("s", "sort by the next number", "sort"),
    _meaning("S", "sort otherwise: choose the number, or reverse", "sorts"),
    _meaning("o", "show the next number", "next_mode", "step_metric"),
    _meaning("O", "choose the number that is shown", "modes", "choose_metric"),
    _meaning("vertical_line", "boundaries of tokens, shown or not", "boundaries"),
    _meaning("t", "threshold", "threshold"),
    _meaning("plus", "threshold up", "threshold_up"),
    _meaning("equals_sign", "threshold up", "threshold_up"),
    _meaning("minus", "threshold down", "threshold_down"),
    _meaning(
        "a", "all, or only this one", "chart_reach", "scope", "all_pairs", "choose_all"
    ),
    _meaning(
        "v",
        "next view: chart, format, the reasons or numbers behind it",
        "next_chart",
        "change_chart",
        "next_format",
        "reasons",
        "numbers",
        "debuggers",
    ),
    _meaning("V", "previous view", "previous_chart"),
    _meaning("C", "charts: choose one", "charts"),
    _meaning("z", "the whole screen for the focused pane, and back", "zoom"),
    _meaning("percent_sign", "the other side first", "order", "swap"),
    _meaning("W", "worst tokens of all sequences", "worst"),
    _meaning("p", "pair: choose the two captures", "pair"),
    _meaning("w", "why do they differ", "why"),
    _meaning(
        "x",
        "experiments: look at them; start engines: asks first",
        "experiments",
        "start",
    ),
    _meaning("X", "cancel what runs", "cancel_capture", "cancel_run"),
    _meaning("i", "identity of the loaded weights", "identity"),
    _meaning("y", "layers", "layers"),
    _meaning("A", "all causes", "cause_table"),
    _meaning("M", "minutes that experiments may take", "budget"),
    _meaning("m", "matrix", "matrix"),
    _meaning("d", "settings that differ", "facts"),
    _meaning("T", "limits", "limits"),
    _meaning("R", "report", "report"),
    _meaning("H", "HTML: save the report as a page", "save_page"),
    _meaning("P", "picture: save the screen as SVG", "save_picture"),
    _meaning("L", "log, or what was left out", "log", "left_out"),
    _meaning("E", "evolution: the sessions over the steps of a training", "trend"),
    _meaning("e", "earlier session to compare with", "before"),
    _meaning("b", "mark with a note", "mark"),
    _meaning("B", "marks", "marks"),
    _meaning("c", "copy", "copy", "copy_text"),
    _meaning("Y", "copy the command line", "copy_command"),
    _meaning("ctrl+s", "save to a file", "save", "save_plan", "export_chart"),
    _meaning("ctrl+o", "load from a file", "load_plan"),
    _meaning("colon", "a place or a command by name", "go_to", "command_line"),
    _meaning("semicolon", "jump by letters", "labels"),
    _meaning("u", "undo the jump", "undo_jump"),
    _meaning("U", "redo the jump", "redo_jump"),
    _meaning("ctrl+n", "new capture", "new_capture"),
    _meaning("I", "import", "import_session"),
    _meaning("f2", "rename", "rename"),
    _meaning("f5", "start, or go on with, a capture", "start", "resume"),
    _meaning("ctrl+r", "start a capture", "start"),
    _meaning("f6", "add a backend", "add_backend"),
    _meaning("ctrl+t", "plan as TOML", "show_plan"),
    _meaning("delete", "delete: asks first", "delete"),
    _meaning("D", "delete: asks first", "delete"),
    _meaning("r", "read again", "refresh"),
    _meaning("question_mark", "help", "help"),
    _meaning("f1", "help", "help"),
    _meaning("ctrl+p", "command palette", "command_palette"),
    _meaning("ctrl+l", "draw the screen again", "redraw"),
    _meaning("ctrl+q", "quit at once", "quit_now"),
    _meaning("ctrl+z", "suspend: fg comes back", "suspend"),
    _meaning(
        "ctrl+c", "say how to quit; leave a line that is typed", "how_to_quit", "cancel"
    ),
)
"""Every key but those that move: arrows, `hjkl`, `g`, `G`, pages, ends, `Tab`, digits.
"""


def meanings() -> Iterator[tuple[list[str], str]]:
    """The keys of each meaning, by Textual's names, and the meaning in words."""
    by_words: dict[str, list[str]] = {}
    for meaning in GRAMMAR:
        by_words.setdefault(meaning.words, []).append(meaning.key)
    for words, keys in by_words.items():
        yield keys, words
