"""Counts in words: one thing is one thing, and thousands have separators, on every
screen of a session of one token and of a large one.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.cli.progress import progress_view
from logdrift.core.charts.registry import CHARTS
from logdrift.core.numbers import all_counted, counted
from logdrift.core.session.layout import EVENTS as EVENTS_FILE
from logdrift.core.session.lock import LockHolder
from logdrift.core.session.progress import live
from logdrift.core.session.reader import open_session
from tests.common import NAN, Fields
from tests.made_sessions import capture, edit_manifest, write_session
from tests.tui_screen import judged, make_app, screen_text

pytestmark = pytest.mark.usefixtures("own_home")
KEYS = ("1", "2", "3", "4", "m", "d", "T", "R", "W", "w", "t", "S", "O", "p")
_ONE = re.compile(
    r"(?<![\d.,:/×])1 (tokens|sequences|prompts|captures|rows|lines|pairs|marks)\b"
    r"|\ball 1\b"
)
_LONG = re.compile(r"(?<![\d.,:#-])\d{4,} (tokens?|sequences?|prompts?|rows?|beyond)\b")


def test_one_is_not_all_and_not_many() -> None:
    assert counted(1, "token") == "1 token"
    assert counted(0, "token") == "0 tokens"
    assert all_counted(1, "sequence") == "1 sequence"
    assert all_counted(1234, "sequence") == "all 1,234 sequences"


PROGRESS = {"type": "progress", "label": "a/decode", "rate": 9.0, "left": None}
EVENTS = (
    {**PROGRESS, "sequences": 0, "planned": 1},
    {**PROGRESS, "sequences": 1, "planned": 1},
    {"type": "captured", "label": "a/decode", "sequences": 1, "tokens": 1},
)


@pytest.mark.parametrize("event", EVENTS)
def test_one_sequence_that_is_captured_is_one(
    folder: Path, event: Fields, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_view() as show:
        show(event)
    printed = capsys.readouterr().err
    session = open_session(folder)
    path = session.folder / EVENTS_FILE
    path.write_text(json.dumps(event) + "\n")
    me = LockHolder(host="here", pid=1, started=1, token="", since=time.time())
    doing = live(session, me).doing
    for words in (printed, doing):
        assert "1 sequence" in words or "1 token" in words
        assert not _ONE.search(words.replace("/1 ", " 1 "))


@pytest.fixture(scope="module", params=["one", "many"])
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("counts") / "s"
    if request.param == "many":
        # One sequence of 2,000 tokens among them: its own count has four digits.
        make_session(folder, 6000, 3, 5, captures=2)
        edit_manifest(open_session(folder), lambda data: data.update(title="many"))
        return folder
    rows = [[NAN, -1.0]]
    other = [[NAN, -1.5]]
    write_session(
        folder, [1], [capture("trainer/prefill", rows), capture("vllm/decode", other)]
    )
    return folder


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_screens_count_as_people_do(folder: Path, size: tuple[int, int]) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        for key in KEYS:
            await pilot.press(key)
            await pilot.pause(0.2)
            _check(screen_text(app), key)
            while app.screen is not screen:
                app.pop_screen()
                await pilot.pause()
            await pilot.press("1")
        for chart in range(len(CHARTS)):
            screen.action_chart(chart)
            await pilot.pause(0.1)
            _check(screen_text(app), CHARTS[chart].name)


def _check(shown: str, where: str) -> None:
    assert not _ONE.search(shown), f"{where}:\n{shown}"
    assert not _LONG.search(shown), f"{where}:\n{shown}"
