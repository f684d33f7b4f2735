"""`P`: the screen as a picture. `H`: the HTML report, from every screen on a session."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from benchmarks.make_session import make_session
from logdrift.core.session.reader import open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.state import Mark, ViewState, save_state
from logdrift.tui.picture import CELL_HEIGHT, CELL_WIDTH
from logdrift.tui.screen_picture import picture_of
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.report import ReportScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.themes import NAMES, ThemeName
from tests.common import REPOSITORY
from tests.tui_screen import (
    MEDIUM,
    judged,
    make_app,
    screen_text,
    until,
    until_quiet,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
SVG = "{http://www.w3.org/2000/svg}"
SESSIONS = REPOSITORY / "sessions"
SAMPLE = SESSIONS / "sample-smollm2"
SIZES = [(80, 24), (100, 30), (120, 36), (200, 60)]


@pytest.fixture
def here(own_home: None) -> Path:
    """The folder that names are typed for."""
    return Path.cwd()


def _texts(svg: str) -> list[tuple[int, int, str]]:
    """Line, column and letters of each run of a picture, as they are drawn."""
    found = []
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        line = (float(text.attrib["y"]) - 10) // CELL_HEIGHT
        column = round((float(text.attrib["x"]) - 10) / CELL_WIDTH)
        found.append((int(line), column, (text.text or "").replace("\xa0", " ")))
    return found


def _column(line: str, cells: int) -> str:
    """What stands in a line from a cell on."""
    for place in range(len(line) + 1):
        if cell_len(line[:place]) == cells:
            return line[place:]
    return ""


def assert_same(svg: str, app: LogdriftApp) -> None:
    """The picture has every run of the screen where the screen has it, and no more."""
    shown = screen_text(app).split("\n")
    drawn = _texts(svg)
    for line, column, letters in drawn:
        assert _column(shown[line], column).startswith(letters), (line, column)
    characters = sum(len(letters.replace(" ", "")) for _, _, letters in drawn)
    assert characters == len(re.sub(r"\s", "", "".join(shown)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", ["", "w", "R", "m", "d", "T", "?", "t"])
async def test_the_picture_is_the_screen(size: tuple[int, int], keys: str) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=size) as pilot:
        await judged(pilot)
        if keys:
            before = app.screen
            await pilot.press(keys)
            await until(pilot, lambda: app.screen is not before)
        await until_quiet(pilot)
        svg = picture_of(app.screen, "t")
        assert_same(svg, app)
        root = ElementTree.fromstring(svg)
        expected = size[0] * CELL_WIDTH + 20
        assert float(root.attrib["width"]) == pytest.approx(expected)


@pytest.mark.parametrize("theme", NAMES)
@pytest.mark.parametrize("depth", ["truecolor", "256", "16", "none"])
async def test_a_picture_has_the_colours_of_the_theme(
    theme: ThemeName, depth: Any
) -> None:
    app = make_app(SAMPLE, depth=depth, theme=theme)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        svg = picture_of(app.screen, "t")
        assert_same(svg, app)
        root = ElementTree.fromstring(svg)
        fills = {element.attrib.get("fill", "") for element in root.iter()}
        assert all(re.fullmatch("#[0-9a-f]{6}|", fill) for fill in fills), fills
        assert len(fills) > 3 or depth == "none"


async def test_text_of_models_stays_text_in_a_picture(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", tokens=400, sequences=4, top_k=3)
    hostile = folder.rename(tmp_path / "<b>&x;")
    app = make_app(None, folder=tmp_path)
    async with app.run_test(size=MEDIUM) as pilot:
        await until_shown(pilot, "<b>&x;")
        svg = picture_of(app.screen, "<b>&x;")
        assert_same(svg, app)
        assert "<b>" not in svg
    assert hostile.exists()


async def test_p_asks_for_a_name_and_saves_the_screen_without_its_question(
    here: Path,
) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        before = screen_text(app)
        await pilot.press("P")
        await until_screen(pilot, LinePrompt)
        assert isinstance(app.screen, LinePrompt)
        assert app.screen.text == "sample-smollm2.svg"
        await pilot.press("ctrl+u", *"a.png", "enter")
        await until_shown(pilot, "end the name in .svg")
        await pilot.press("ctrl+u", *"a.svg", "enter")
        await until_shown(pilot, "written: ")
    svg = (here / "a.svg").read_text(encoding="utf-8")
    drawn = _texts(svg)
    lines = before.split("\n")
    assert all(_column(lines[y], x).startswith(text) for y, x, text in drawn)
    if shutil.which("rsvg-convert"):
        subprocess.run(
            ["rsvg-convert", here / "a.svg", "-o", here / "a.png"], check=True
        )
        assert (here / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("keys", "screen"),
    [
        ("", ExplorerScreen),
        ("w", WhyScreen),
        ("R", ReportScreen),
        ("list", SessionsScreen),
    ],
)
async def test_h_saves_the_page_from_every_screen_on_a_session(
    here: Path, keys: str, screen: type
) -> None:
    session = open_session(SAMPLE)
    marks = (Mark(40, "look at this"),)
    save_state(session.manifest.id, ViewState(marks=marks))
    from_list = keys == "list"
    app = make_app(None if from_list else SAMPLE, folder=SESSIONS)
    async with app.run_test(size=MEDIUM) as pilot:
        if from_list:
            await until_shown(pilot, "sample-smollm2")
            while app.screen.list.here.name != "sample-smollm2":  # type: ignore[attr-defined]
                await pilot.press("down")
        else:
            await judged(pilot)
            await pilot.press(*keys)
        await until_screen(pilot, screen)
        await pilot.press("H")
        await until_screen(pilot, LinePrompt)
        await pilot.press("enter")
        await until_shown(pilot, "written: ")
    page = (here / "sample-smollm2-report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert 'id="causes"' in page
    assert "look at this" in page
    assert "trainer/prefill → vllm/decode" in page


async def test_h_takes_marks_that_are_only_just_made(here: Path) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        await pilot.press("b", *"now", "enter")
        await until_shown(pilot, "marked")
        await pilot.press("H")
        await until_screen(pilot, LinePrompt)
        await pilot.press("enter")
        await until_shown(pilot, "written: ")
    page = (here / "sample-smollm2-report.html").read_text(encoding="utf-8")
    assert ">now<" in page


async def test_nothing_is_written_into_a_session(here: Path) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        for key, ending in (("H", "html"), ("P", "svg")):
            await pilot.press(key)
            await until_screen(pilot, LinePrompt)
            await pilot.press("ctrl+u", *f"{SAMPLE}/x.{ending}", "enter")
            await until_shown(pilot, "lies in the session folder")
            await pilot.press("escape")
            await until_screen(pilot, ExplorerScreen)
