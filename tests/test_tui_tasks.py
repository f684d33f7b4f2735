"""Tasks of a first look, done from the list of sessions with as few keys as the program
promises: each test presses its keys on the real screens, and no others.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from logdrift.core.compare.pair import default_pair, make_pair
from logdrift.core.compare.usual import USUAL
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.comparison import compare_folders
from logdrift.tui.models.opening import worst_position
from logdrift.tui.models.places import write_place
from logdrift.tui.screens.diff import DiffScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.why import WhyScreen
from tests.common import REPOSITORY
from tests.made_sessions import compared_pair
from tests.tui_screen import (
    explorer,
    head,
    joined,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 36)])
NAME = "sample-smollm2"
SIZE = tuple[int, int]


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    shutil.copytree(REPOSITORY / "sessions" / NAME, folder / NAME)
    return folder


@pytest.fixture
def session(sessions: Path) -> Session:
    return open_session(sessions / NAME)


class Keys:
    """Presses keys and counts them."""

    def __init__(self, pilot: Pilot[Any]) -> None:
        self._pilot = pilot
        self.count = 0

    async def press(self, *keys: str) -> None:
        self.count += len(keys)
        await self._pilot.press(*keys)


async def listed(pilot: Pilot[Any]) -> SessionsScreen:
    """The list of sessions, its answers worked out."""
    app = pilot.app
    screen = app.screen
    assert isinstance(screen, SessionsScreen)
    await until(
        pilot,
        lambda: bool(screen.list.rows) and screen.list.rows[0].answer is not None,
    )
    return screen


@SIZES
async def test_is_the_mae_normal_takes_no_key(
    sessions: Path, session: Session, size: SIZE
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        screen = await listed(pilot)
        labels = default_pair(session)
        assert labels is not None
        pair = make_pair(session, *labels)
        mae = float(abs(pair.delta[pair.scored].astype(float)).mean())
        row = next(line for line in lines(screen.list) if NAME in line)
        assert f"{mae:.4f} usual" in row
        told = joined(text(screen.detail))
        assert f"is usual for bfloat16 ({USUAL['bfloat16'].words})" in told


@SIZES
async def test_the_worst_token_with_the_top_5_of_each_engine_takes_two(
    sessions: Path, session: Session, size: SIZE
) -> None:
    labels = default_pair(session)
    assert labels is not None
    pair = make_pair(session, *labels)
    worst = worst_position(pair)
    assert worst is not None
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        await listed(pilot)
        keys = Keys(pilot)
        await keys.press("enter")
        await until_screen(pilot, ExplorerScreen)
        screen = explorer(app)
        assert screen.position == worst
        await until(pilot, lambda: screen.model.answer is not None)
        place = write_place(session.sequences, worst)
        assert f"worst {place} " in text(screen.query_one("#answer"))
        await keys.press("enter")
        await until(pilot, lambda: _has_top_5(app, session, worst))
        assert keys.count == 2


def _has_top_5(app: LogdriftApp, session: Session, position: int) -> bool:
    """Whether the five likeliest tokens of both engines of the pair are on the screen,
    with the log-probabilities that each gives them.
    """
    shown = screen_text(app)
    labels = default_pair(session)
    assert labels is not None
    for label in labels:
        capture = session.capture(label)
        assert capture.top_logprobs is not None
        logprobs = capture.top_logprobs.whole()[position][:5]
        if not all(f"{logprob:.4f}" in shown for logprob in logprobs):
            return False
    return True


@SIZES
async def test_the_cause_takes_two(sessions: Path, size: SIZE) -> None:
    """The list has it already, in few words; `w` tells all."""
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        screen = await listed(pilot)
        row = next(line for line in lines(screen.list) if NAME in line)
        assert "numerical noise" in row
        keys = Keys(pilot)
        await keys.press("g", "w")
        await until(
            pilot,
            lambda: isinstance(app.screen, WhyScreen) and app.screen.found is not None,
        )
        assert "numerical noise, nothing to fix" in head(app.screen)
        assert keys.count == 2
        await pilot.press("q")
        await until_back(pilot, screen)


@SIZES
async def test_a_page_for_a_colleague_takes_three(
    sessions: Path, tmp_path: Path, size: SIZE, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        await listed(pilot)
        keys = Keys(pilot)
        await keys.press("g", "H")
        await until_shown(pilot, ".html")
        await keys.press("enter")
        await until(pilot, lambda: any(work.glob("*.html")), seconds=60)
        assert keys.count == 3
        await until(pilot, lambda: "written: " in screen_text(app), seconds=60)
    (page,) = work.glob("*.html")
    assert "numerical noise, nothing to fix" in page.read_text(encoding="utf-8")


@SIZES
async def test_the_first_token_that_a_change_made_worse_takes_four(
    tmp_path: Path, size: SIZE
) -> None:
    sessions = tmp_path / "sessions"
    compared_pair(sessions)
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        screen = await listed(pilot)
        await until(pilot, lambda: len(screen.list.rows) == 2)
        screen.list.select(0)
        earlier, later = (row.folder for row in screen.list.sessions)
        keys = Keys(pilot)
        await keys.press("space", "down", "space")
        await until_screen(pilot, DiffScreen)
        await keys.press("enter")
        await until_screen(pilot, ExplorerScreen)
        assert keys.count == 4
        shown = explorer(app)
        first = compare_folders(earlier, later).tokens[0]
        start, _ = shown.session.sequences.bounds(first.sequence)
        assert first.worse
        assert shown.session.folder == later
        assert shown.position == start + first.position
