"""The screen over the steps of a training: rows, chart, change, two steps, growing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from logdrift.core.trend.answered import TrendReport
from logdrift.core.trend.reader import TrendReader
from logdrift.tui.app import LogdriftApp
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.screens.trend import TrendScreen
from logdrift.tui.screens.trend_follower import TrendRead
from tests.made_trends import step_session
from tests.tui_screen import (
    joined,
    lines,
    make_app,
    screen_text,
    until,
    until_screen,
    until_shown,
)

STEPS = 24
CHANGE = 14
SIZES = [(80, 24), (120, 36), (200, 60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    for step in range(STEPS):
        behind = max(0, step - CHANGE + 1)
        version = str(min(step, CHANGE - 1))
        facts = {"weight_version": version}
        step_session(folder, step, 0.02 * 1.3**behind, facts=facts)
    return folder


async def on_trend(pilot: Pilot[Any], rows: int = STEPS) -> TrendScreen:
    """The screen once every row is measured, opened from the list."""
    await until_screen(pilot, SessionsScreen)
    listing = pilot.app.screen
    assert isinstance(listing, SessionsScreen)
    await until(pilot, lambda: bool(listing.list.rows))
    await pilot.press("E")
    await until_screen(pilot, TrendScreen)
    screen = pilot.app.screen
    assert isinstance(screen, TrendScreen)
    await until(pilot, lambda: screen.is_measured and len(screen.rows.rows) == rows, 40)
    return screen


def app_on(folder: Path) -> LogdriftApp:
    return make_app(None, folder)


@pytest.mark.parametrize("size", SIZES)
async def test_the_change_is_said_marked_and_drawn(
    made: Path, own_home: Path, size: tuple[int, int]
) -> None:
    async with app_on(made).run_test(size=size) as pilot:
        screen = await on_trend(pilot)
        await until_shown(pilot, "weights are not synced")
        await until_shown(pilot, "95% interval")
        change = screen.shown.change if screen.shown is not None else None
        assert change is not None
        await pilot.press("n")
        assert screen.rows.selected == change.shift.start
        await until_shown(pilot, "┊")
        shown = lines(screen.rows)
        marked = [line for line in shown if line.startswith("c ")]
        (row,) = marked
        assert row.split()[1] == str(change.row.step)
        text = screen_text(screen.logdrift)  # type: ignore[arg-type]
        assert "c: MAE grows since step" in text
        assert all(len(line) <= size[0] for line in text.splitlines())


async def test_numbers_are_drawn_one_after_the_other(
    made: Path, own_home: Path
) -> None:
    async with app_on(made).run_test(size=(120, 36)) as pilot:
        screen = await on_trend(pilot)
        for words in ("estimate of KL", "effective sample size"):
            await pilot.press("v")
            await until_shown(pilot, words)
        await pilot.press("V", "V", "V")
        await until_shown(pilot, "no step has lag")
        await pilot.press("C")
        await until_screen(pilot, Picker)
        await pilot.press("g", "enter")
        await until(pilot, lambda: pilot.app.screen is screen)
        await until_shown(pilot, "95% interval")


async def test_two_steps_are_compared(made: Path, own_home: Path) -> None:
    async with app_on(made).run_test(size=(80, 24)) as pilot:
        screen = await on_trend(pilot)
        await pilot.press("g", "space")
        await until_shown(pilot, "Space on another step")
        await pilot.press("G", "space")
        await until_screen(pilot, TextScreen)
        await until_shown(pilot, "beyond noise")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert screen.rows.marked is None


async def test_enter_opens_the_step_and_q_leads_back(
    made: Path, own_home: Path
) -> None:
    async with app_on(made).run_test(size=(80, 24)) as pilot:
        screen = await on_trend(pilot)
        await pilot.press("g", "down", "enter")
        await until_screen(pilot, ExplorerScreen)
        opened = pilot.app.screen
        assert isinstance(opened, ExplorerScreen)
        assert opened.session.name == "step_1"
        await pilot.press("q")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("q")
        await until_screen(pilot, SessionsScreen)


async def test_a_step_that_is_added_appears(
    made: Path, own_home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "grows"
    shutil.copytree(made, folder)
    async with app_on(folder).run_test(size=(80, 24)) as pilot:
        screen = await on_trend(pilot)
        await pilot.press("g")
        step_session(folder, STEPS, 0.02)
        await until(pilot, lambda: len(screen.rows.rows) == STEPS + 1)
        assert screen.rows.selected == 0, "the cursor stays on its step"
        await pilot.press("G")
        step_session(folder, STEPS + 1, 0.02)
        await until(pilot, lambda: len(screen.rows.rows) == STEPS + 2)
        assert screen.rows.selected == STEPS + 1, "at the end it follows"


# ---- what a screen shows while steps are measured, or measured again


def half_measured(report: TrendReport) -> TrendRead:
    """What the screen is sent while the second half of the rows is measured."""
    (line,) = report.trend.lines
    rows = []
    for place, row in enumerate(line.rows):
        is_done = place < STEPS // 2
        rows.append(replace(row, measured=is_done))
    lines = (replace(line, rows=tuple(rows)),)
    trend = replace(report.trend, lines=lines)
    return TrendRead(TrendReport.of(trend), left=STEPS // 2, total=STEPS)


async def stopped(pilot: Pilot[Any]) -> TrendScreen:
    """The screen with every row, which no longer follows its folder."""
    screen = await on_trend(pilot)
    screen.follower.stop()
    return screen


@pytest.mark.parametrize("key", ["c", "ctrl+s", "H", "n"])
async def test_what_is_half_measured_is_neither_copied_nor_saved(
    made: Path, own_home: Path, key: str
) -> None:
    async with app_on(made).run_test(size=(120, 36)) as pilot:
        screen = await stopped(pilot)
        assert screen.report is not None
        message = half_measured(screen.report)
        screen.post_message(message)
        await until(pilot, lambda: not screen.is_measured)
        await pilot.press(key)
        await pilot.pause()
        if key != "n":
            await until_shown(pilot, "the steps are still being measured")
        assert pilot.app.screen is screen
        assert message.report is not None
        (line,) = message.report.lines
        assert "answer" not in line.__dict__, "no change was looked for on the way"


async def test_a_mark_stays_on_its_step_when_it_is_measured_again(
    made: Path, own_home: Path
) -> None:
    async with app_on(made).run_test(size=(120, 36)) as pilot:
        screen = await stopped(pilot)
        await pilot.press("g", "down", "space")
        report = screen.report
        assert report is not None
        (line,) = report.trend.lines
        first, second, *others = line.rows
        again = replace(second, mae=0.9, sentence="measured again")
        lines_again = (replace(line, rows=(first, again, *others)),)
        trend = replace(report.trend, lines=lines_again)
        read = TrendRead(TrendReport.of(trend), total=STEPS, judged=True)
        screen.post_message(read)
        await until(pilot, lambda: screen.report is read.report)
        assert [row[0] for row in lines(screen.rows)[2:6]].count("•") == 1
        await pilot.press("G", "space")
        await until_screen(pilot, TextScreen)
        await until_shown(pilot, "0.900")


async def test_a_folder_that_is_empty_now_shows_no_old_chart(
    made: Path, own_home: Path
) -> None:
    async with app_on(made).run_test(size=(120, 36)) as pilot:
        screen = await stopped(pilot)
        await until_shown(pilot, "95% interval")
        assert screen.report is not None
        nothing = TrendReport.of(replace(screen.report.trend, lines=()))
        screen.post_message(TrendRead(nothing, judged=True))
        await until_shown(pilot, "No session with two captures")
        assert not any(lines(screen.chart)[1:])
        assert not any(lines(screen.rows)[1:])
        assert "95% interval" not in screen_text(screen.logdrift)  # type: ignore[arg-type]


async def test_the_pair_that_was_chosen_stays_when_another_grows(
    own_home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    for step in range(2):
        step_session(folder, step, 0.02)
    step_session(folder, 9, 0.02, model="other")
    async with app_on(folder).run_test(size=(80, 24)) as pilot:
        screen = await on_trend(pilot, 2)
        await pilot.press("p")
        await until_screen(pilot, Picker)
        await pilot.press("down", "enter")
        await until(pilot, lambda: len(screen.rows.rows) == 1)
        for step in (10, 11):
            step_session(folder, step, 0.02, model="other")
        await until(pilot, lambda: len(screen.rows.rows) == 3)
        assert {row.model for row in screen.rows.rows} == {"other"}
        await until_shown(pilot, "pair 1 of 2")


async def test_a_page_is_saved(made: Path, own_home: Path) -> None:
    async with app_on(made).run_test(size=(80, 24)) as pilot:
        await on_trend(pilot)
        await pilot.press("H")
        await until_shown(pilot, "-trend.html")
        await pilot.press("enter")
        await until(pilot, lambda: bool(list(own_home.glob("*-trend.html"))))


async def test_several_pairs_are_chosen_from(own_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    for step in range(3):
        step_session(folder, step, 0.02)
    step_session(folder, 9, 0.02, model="other")
    async with app_on(folder).run_test(size=(80, 24)) as pilot:
        screen = await on_trend(pilot, 3)
        await until_shown(pilot, "pair 1 of 2")
        await pilot.press("p")
        await until_screen(pilot, Picker)
        await pilot.press("down", "enter")
        await until(pilot, lambda: len(screen.rows.rows) == 1)
        await until_shown(pilot, "Too few to tell a change")


async def test_what_was_left_out_is_listed(own_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "left-out"
    for step in range(3):
        step_session(folder, step, 0.02)
    step_session(folder, 1, 0.02, name="again_step_1")
    async with app_on(folder).run_test(size=(80, 24)) as pilot:
        screen = await on_trend(pilot, 4)
        for number in range(12):
            broken = folder / f"broken_{number}"
            broken.mkdir()
            (broken / "session.json").write_text("{")
        await until_shown(pilot, "12 not measured")
        await pilot.press("L")
        await until_screen(pilot, TextScreen)
        await until_shown(pilot, "repeat a step")
        await until_shown(pilot, "broken_0: session.json is not JSON")
        shown = screen_text(screen.logdrift)  # type: ignore[arg-type]
        said = joined(shown.replace("│", " "))
        assert "Expecting property name enclosed in double quotes" in said
        await pilot.press("G")
        await until_shown(pilot, "broken_9: session.json is not JSON")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)


async def test_a_folder_without_a_pair_says_so(own_home: Path, tmp_path: Path) -> None:
    app = app_on(tmp_path / "nothing")
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(TrendScreen(tmp_path / "nothing"))
        await until_shown(pilot, "such folder yet")
        assert not TrendReader(tmp_path).look().total
