"""The list of sessions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from tests.tui_screen import make_app, screen_text, text, until
from tui.screens.explorer import ExplorerScreen
from tui.screens.sessions import SessionsScreen
from tui.screens.texts import TextScreen
from tui.widgets.bars import Hints


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    make_session(folder / "good", 600, 6, 5, captures=4)
    make_session(folder / "other", 300, 3, 5, captures=2)
    (folder / "broken").mkdir()
    (folder / "broken" / "session.json").write_text('{"format": 99}')
    (folder / "not-a-session").mkdir()
    return folder


async def test_sessions_are_listed_with_state_numbers_and_reasons(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "CAUTION" in screen_text(app))
        rows = {line.split()[0]: line for line in screen_text(app).splitlines() if line.strip()}
        for wanted in ("600", "complete", "reference, trainer, vllm", "CAUTION", "2026-01-01 00:00"):
            assert wanted in rows["good"]
        assert "format 99 is newer" in rows["broken"]
        assert "not-a-session" not in screen_text(app)


async def test_enter_opens_and_q_comes_back_and_leaves(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "good" in screen_text(app))
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        names = [row.name for row in listed.list.sessions]
        listed.list.select(names.index("good"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ExplorerScreen))
        await pilot.press("q")
        await until(pilot, lambda: app.screen is listed)
        listed.list.select(names.index("broken"))
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(app.screen, TextScreen) and "newer than this logdrift" in screen_text(app)
        )
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is listed)
        await pilot.press("q")
    assert app.return_value == 0


async def test_changes_from_outside_are_picked_up_and_the_selection_stays(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "CAUTION" in screen_text(app))
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        listed.list.select([row.name for row in listed.list.sessions].index("other"))
        make_session(sessions / "zz-new", 300, 3, 5, captures=2)
        await until(pilot, lambda: "zz-new" in screen_text(app))
        assert listed.list.sessions[listed.list.selected].name == "other"
        shutil.rmtree(sessions / "good")
        await until(pilot, lambda: "good" not in screen_text(app))
        assert listed.list.sessions[listed.list.selected].name == "other"


async def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    app = make_app(None, tmp_path / "none")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "no such folder yet" in screen_text(app))
        (tmp_path / "none").mkdir()
        await until(pilot, lambda: "logdrift demo" in text(app.screen.query_one(Hints)))
        await pilot.press("enter", "r", "down")
