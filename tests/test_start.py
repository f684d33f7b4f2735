"""What a start may import until the first screen stands: seconds are measured by
`benchmarks/screen.py`, here modules are counted.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from logdrift.core.session.files import DIGEST, NO_ID, with_digest
from logdrift.core.session.layout import MANIFEST, PIECES
from tests.common import SAMPLE

PROGRAM = """
import asyncio, json, sys
from pathlib import Path

import logdrift.cli.main, logdrift.cli.open
from logdrift.tui.app import LogdriftApp, readable
from logdrift.core.session import verify
from logdrift.tui.door import prepare
from logdrift.tui.screens.base import BaseScreen

drawn = []

def after_each_frame(app):
    panes = app.screen.query("#tokens")
    if not drawn and panes and panes.first().size.area:
        drawn.extend(sys.modules)
        app.exit(0)

prepare()
# What waits for the first screen by the clock would come before it on a slow machine.
verify._LATER = BaseScreen.LATER = 1000.0
LogdriftApp.post_display_hook = after_each_frame
app = LogdriftApp(readable(Path(sys.argv[1])), Path())
asyncio.run(app.run_async(headless=True, size=(80, 24)))
print(json.dumps(drawn))
"""

LATER = (
    # The pane of the chart is hidden.
    "logdrift.core.charts.data",
    "logdrift.core.charts.reduce",
    "logdrift.tui.widgets.charts.building",
    "logdrift.tui.widgets.charts.painting",
    "logdrift.tui.widgets.charts.terminal",
    "plotext",
    # The answer, the gate and the numbers come in from threads, once the screen stands.
    "logdrift.core.compare.gate",
    "logdrift.core.compare.measure",
    "logdrift.core.diagnose",
    "logdrift.core.report",
    # What only other screens, windows and commands need.
    "logdrift.core.capture",
    "logdrift.core.engines",
    "logdrift.core.investigate",
    "logdrift.core.plan",
    "logdrift.core.session.importers",
    "logdrift.core.session.writer",
    "logdrift.tui.command_window",
    "logdrift.tui.models.inspection",
    "logdrift.tui.screens.sessions",
    "logdrift.tui.screens.texts",
    "logdrift.tui.screens.why",
    "logdrift.tui.screens.explorer.earlier",
    "logdrift.tui.screens.explorer.following",
    "logdrift.tui.screens.explorer.jobs",
    "logdrift.tui.screens.explorer.listing",
    "logdrift.tui.screens.explorer.moves",
    # Hashing waits for the background.
    "hashlib",
)
MOST = 105
"""A module is about a third of a millisecond, of the 70 that the limit of
`benchmarks/screen.py` leaves beside what an empty Textual application needs. Before
this number grows, something that the first screen does not show has to be left out.
"""


@pytest.mark.parametrize("name", ["earlier", "following", "jobs"])
def test_every_message_of_a_thread_reaches_a_method_of_the_explorer(name: str) -> None:
    """They are found by name, so that their modules are imported later."""
    from textual.message import Message

    from logdrift.tui.screens.explorer import ExplorerScreen

    module = importlib.import_module(f"logdrift.tui.screens.explorer.{name}")
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Message)
        and kind.__module__ == module.__name__
    ]
    assert kinds
    for kind in kinds:
        assert f"_{kind.handler_name}" in vars(ExplorerScreen), kind


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The modules that are imported when the explorer's first screen is drawn."""
    home = str(tmp_path_factory.mktemp("home"))
    session = tmp_path_factory.mktemp("sample") / "sample"
    shutil.copytree(SAMPLE, session)
    # The shipped sample is older than the digests of these files.
    for name, entry in ((MANIFEST, DIGEST), (PIECES, NO_ID)):
        file = session / name
        content = with_digest(file.read_bytes(), entry)
        file.write_bytes(content)
    environment = {**os.environ, "XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(session)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    names: list[str] = json.loads(run.stdout)
    assert "logdrift.tui.screens.explorer.screen" in names
    return names


@pytest.mark.parametrize("room", LATER)
def test_the_first_screen_is_drawn_without(modules: list[str], room: str) -> None:
    loaded = [n for n in modules if n == room or n.startswith(f"{room}.")]
    assert not loaded


def test_a_start_imports_few_modules(modules: list[str]) -> None:
    own = [name for name in modules if name.partition(".")[0] == "logdrift"]
    assert len(own) <= MOST, sorted(own)
