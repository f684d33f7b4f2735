"""Two sessions compared on the screen: the answer first, then the tokens that changed,
which lead into the later session.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from logdrift.core.report.diff import both_pairs, diff_sessions
from logdrift.core.session.reader import open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.comparison import LISTED, compare_folders
from logdrift.tui.screens.diff import DiffScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.widgets.bars import Bar
from tests.made_sessions import capture, compared_pair, write_session
from tests.tui_screen import (
    SMALL,
    explorer,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_screen,
)

pytestmark = pytest.mark.usefixtures("own_home")
LENGTH = 24
PROMPT = 4
FOUR_KEYS = ("space", "down", "space", "enter")


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    compared_pair(folder)
    return folder


async def listed(pilot: Any, app: LogdriftApp) -> SessionsScreen:
    await until(
        pilot,
        lambda: (
            isinstance(app.screen, SessionsScreen)
            and app.screen.list.line_count == 2
            and all(row.verdict is not None for row in app.screen.list.sessions)
        ),
    )
    screen = app.screen
    assert isinstance(screen, SessionsScreen)
    screen.list.select(0)
    return screen


async def compared(pilot: Any, app: LogdriftApp) -> DiffScreen:
    await listed(pilot, app)
    await pilot.press("space", "down", "space")
    await until_screen(pilot, DiffScreen)
    screen = app.screen
    assert isinstance(screen, DiffScreen)
    await until(pilot, lambda: bool(screen.reading.plain))
    return screen


def test_the_tokens_are_those_of_the_diff_the_worse_ones_first(sessions: Path) -> None:
    a = sessions / "a"
    b = sessions / "b"
    old = open_session(a)
    new = open_session(b)
    diff = diff_sessions(old, new, *both_pairs(old, new, None, None))
    found = compare_folders(a, b)
    assert found.tone == "bad"
    assert found.answer.startswith("WORSE, beyond noise: MAE")
    kinds = [token.worse for token in found.tokens]
    assert kinds == sorted(kinds, reverse=True)
    assert kinds.count(True) == LISTED
    first = found.tokens[0]
    worst = diff.worsened[0]
    assert first.sequence == worst.sequence_later
    assert first.position == worst.position
    assert found.labels == ("trainer/prefill", "vllm/prefill")
    # The command and its JSON still list ten.
    assert len(diff.worsened) == 10
    assert diff.worsened == found.diff.worsened[:10]
    back = compare_folders(b, a)
    assert back.tone == "good"
    assert back.answer.startswith("BETTER, beyond noise: MAE")
    # Better all in all, and still some tokens are worse: they come first.
    assert back.tokens[0].worse
    assert not back.tokens[-1].worse


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_four_keys_from_the_list_to_the_first_worse_token(
    sessions: Path, size: tuple[int, int]
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        listing = await listed(pilot, app)
        earlier, later = (row.folder for row in listing.list.sessions)
        await pilot.press(*FOUR_KEYS[:3])
        await until_screen(pilot, DiffScreen)
        await pilot.press(*FOUR_KEYS[3:])
        await until_screen(pilot, ExplorerScreen)
        screen = explorer(app)
        first = compare_folders(earlier, later).tokens[0]
        start, _ = screen.session.sequences.bounds(first.sequence)
        assert screen.session.folder == later
        assert screen.position == start + first.position
        assert screen.view is not None
        assert screen.view.labels == ("trainer/prefill", "vllm/prefill")
        assert screen.earlier.folder == earlier
        await pilot.press("q")
        await until_screen(pilot, DiffScreen)
        await pilot.press("q")
        await until_screen(pilot, SessionsScreen)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 60)])
async def test_the_answer_is_the_first_line_in_the_colour_of_its_meaning(
    sessions: Path, size: tuple[int, int]
) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=size) as pilot:
        screen = await compared(pilot, app)
        found = screen.comparison
        assert screen_text(app).lstrip().startswith(found.answer[:40])
        style = app.palette.good if found.tone == "good" else app.palette.bad
        first = screen.query_one("#answer", Bar).render_line(0)
        (said, *_) = [segment for segment in first if segment.text.strip()]
        assert said.style is not None
        assert said.style.color == style.color
        rows = lines(screen.changed)
        assert all(len(row) <= size[0] for row in rows)
        assert found.tokens[0].place in rows[2]
        assert found.tokens[0].word in rows[2]
        # The whole diff stands below, and is what is copied.
        whole = screen.text_to_save()
        assert " ".join(whole.split()).startswith(found.answer)
        assert "No setting that was observed changed." in whole
        await pilot.press("tab")
        assert screen.reading.has_focus
        await pilot.press("tab")
        assert screen.changed.has_focus


async def test_the_two_change_places(sessions: Path) -> None:
    app = make_app(None, sessions)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await compared(pilot, app)
        before = screen.comparison
        await pilot.press("percent_sign")
        await until(pilot, lambda: screen.comparison is not before)
        after = screen.comparison
        assert after.earlier == before.later
        assert after.later == before.earlier
        assert {before.tone, after.tone} == {"good", "bad"}
        await until(pilot, lambda: after.title in text(screen.reading))
        assert screen_text(app).lstrip().startswith(after.answer[:40])


async def test_nothing_changed_is_said_and_enter_opens_nothing(tmp_path: Path) -> None:
    rows = [[-2.0] * LENGTH for _ in range(2)]
    captures = [capture("trainer/prefill", rows), capture("vllm/prefill", rows)]
    for name in ("a", "b"):
        write_session(tmp_path / "sessions" / name, [PROMPT] * 2, captures)
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=SMALL) as pilot:
        screen = await compared(pilot, app)
        assert not screen.comparison.tokens
        assert "No token changed" in screen_text(app)
        await pilot.press("enter")
        assert app.screen is screen
