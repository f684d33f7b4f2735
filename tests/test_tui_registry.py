"""One declaration per command: what is bound, shown, documented and done is the same.
And nothing heavy is imported.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from logdrift.tui.actions import COMMANDS, SCOPE_TITLES, Command, key_hints
from logdrift.tui.actions.grammar import GRAMMAR
from logdrift.tui.actions.groups import MOVING
from logdrift.tui.actions.key_tables import (
    grammar_table,
    keys_table,
)
from logdrift.tui.app import LogdriftApp
from logdrift.tui.bindings import bindings
from logdrift.tui.screens.chart import ChartScreen
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.diff import DiffScreen
from logdrift.tui.screens.experiments import ExperimentsScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.identity import IdentityScreen
from logdrift.tui.screens.layers import LayersScreen
from logdrift.tui.screens.limits import LimitsScreen
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.new_capture import NewCaptureScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.report import ReportScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.settings import FactsScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.screens.trend import TrendScreen
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.screens.worst import WorstScreen
from logdrift.tui.widgets.charts.pane import ChartPane
from logdrift.tui.widgets.inspector import Inspector
from logdrift.tui.widgets.lines import Text
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.tokens import Tokens
from tests.common import REPOSITORY

DOCS = REPOSITORY / "docs" / "explorer.md"
DOERS = {
    "app": (LogdriftApp,),
    "sessions": (SessionsScreen,),
    "explorer": (ExplorerScreen,),
    "move": (Tokens,),
    "list": (Rows,),
    "pane": (Text,),
    "picker": (Picker, TextScreen),
    "prompt": (LinePrompt,),
    "inspector": (Inspector,),
    "charts": (ExplorerScreen, ChartScreen),
    "chart": (ChartPane,),
    "zoom": (ChartScreen,),
    "confirm": (Confirm,),
    "form": (NewCaptureScreen,),
    "reading": (TextScreen, ReportScreen, IdentityScreen, DiffScreen),
    "matrix": (MatrixScreen,),
    "facts": (FactsScreen,),
    "limits": (LimitsScreen,),
    "worst": (WorstScreen,),
    "report": (ReportScreen,),
    "diff": (DiffScreen,),
    "trend": (TrendScreen,),
    "why": (WhyScreen,),
    "experiments": (ExperimentsScreen,),
    "identity": (IdentityScreen,),
    "layers": (LayersScreen,),
}


def test_the_documented_keys_are_those_of_the_registry() -> None:
    text = DOCS.read_text(encoding="utf-8")
    shown = text.partition("<!-- keys -->")[2].partition("<!-- /keys -->")[0].strip()
    assert shown == keys_table(), "run: python -m logdrift.tui.actions docs/explorer.md"


def test_the_keys_of_the_readme_are_those_of_the_registry() -> None:
    """The five keys of its five questions lead where it says."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Five questions, five keys")[2].partition("##")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    keys = {row[1].strip(): row[2].strip(" `") for row in rows[1:]}
    grammar = {meaning.key: meaning.actions for meaning in GRAMMAR}
    asked = {
        "Which token is the worst?": "worst",
        "Why do they differ?": "why",
        "Did my fix help?": "mark",
        "How do I show it to others?": "save_page",
    }
    for question, action in asked.items():
        key = keys.pop(question)
        assert action in grammar[key.lower() if key == "Space" else key], question
    assert keys == {"Is my number normal?": "none"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.scope}.{c.name}")
def test_every_command_can_be_done(command: Command) -> None:
    name, _, arguments = command.name.partition("(")
    for doer in DOERS[command.scope]:
        assert hasattr(doer, f"action_{name}"), doer
    if arguments:
        ast.literal_eval(f"({arguments.rstrip(')')},)")
    assert command.help
    assert not command.help.endswith(".")


def test_no_key_means_two_things_in_one_scope() -> None:
    for scope in SCOPE_TITLES:
        keys = [
            key
            for command in COMMANDS
            if command.scope == scope
            for key in command.keys
        ]
        assert len(keys) == len(set(keys)), scope


def test_one_key_has_one_meaning_everywhere() -> None:
    grammar = {meaning.key: meaning.actions for meaning in GRAMMAR}
    assert len(grammar) == len(GRAMMAR)
    used: dict[str, set[str]] = {}
    for command in COMMANDS:
        # Where yes or no is asked nothing else is heard.
        if command.scope == "confirm":
            continue
        for key in set(command.keys) - MOVING:
            used.setdefault(key, set()).add(command.action)
    for key, actions in used.items():
        assert actions <= grammar[key], f"{key} means two things: {actions}"
    for key, actions in grammar.items():
        assert actions == used.get(key), f"{key} is no longer the key of all of these"


def test_d_does_not_delete() -> None:
    deleting = [command for command in COMMANDS if command.action == "delete"]
    assert deleting
    for command in deleting:
        assert "d" not in command.keys


def test_the_documented_meanings_are_those_of_the_grammar() -> None:
    text = (REPOSITORY / "docs" / "keys.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- grammar -->")
    shown = rest.partition("<!-- /grammar -->")[0].strip()
    assert shown == grammar_table(), "run: python -m logdrift.tui.actions docs/keys.md"


@pytest.mark.parametrize("pane", ["move", "list", "pane", "chart", "inspector"])
def test_no_pane_hides_a_key_of_the_explorer(pane: str) -> None:
    def keys(scope: str) -> set[str]:
        return {
            key
            for command in COMMANDS
            if command.scope == scope
            for key in command.keys
        }

    hidden = keys(pane) & (keys("explorer") | keys("app"))
    if pane == "chart":
        hidden -= set("0123456789")  # they choose charts while a chart has the focus
    assert not hidden


def test_bindings_have_ids_for_a_keymap() -> None:
    made = bindings(*SCOPE_TITLES)
    assert len({binding.id for binding in made}) == len(made) == len(COMMANDS)


def test_help_is_the_last_hint() -> None:
    assert key_hints("explorer", "app")[-1][:2] == ("?", "help")


def test_the_screen_imports_no_engine_and_draws_its_first_screen_without_plotext() -> (
    None
):
    code = (
        "import sys, logdrift.tui.app, logdrift.tui.screens.explorer,"
        " logdrift.tui.screens.sessions; print(*sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    loaded = {name.partition(".")[0] for name in found.stdout.split()}
    assert "textual" in loaded
    assert not loaded & {
        "torch",
        "transformers",
        "vllm",
        "sglang",
        "plotext",
        "scipy",
        "pandas",
        "hypothesis",
    }


def test_only_one_module_knows_plotext() -> None:
    users = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("core", "tui")
        for path in Path(REPOSITORY / folder).rglob("*.py")
        if re.search(
            r"^\s*(import|from) plotext", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert users == ["tui/widgets/charts/plot.py"]
