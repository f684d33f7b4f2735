"""Which panes stand beside each other at which size, the zoom, and the four lines."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_session import make_session
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.widgets.inspector import Summary
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    explorer,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
PANES = ("tokens", "sequences", "inspector", "chart")
ALL_KEYS = {"2": "sequences", "1": "tokens", "3": "inspector", "4": "chart"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 sequences, 1,500 tokens, 4 captures."""
    return make_session(
        tmp_path_factory.mktemp("panes") / "gen", 1500, 12, 20, captures=4
    )


def seen(screen: ExplorerScreen) -> set[str]:
    """The panes that stand on the screen."""
    return {name for name in PANES if screen.query_one(f"#{name}").size.width}


@pytest.mark.parametrize(
    ("size", "beside_text", "beside_list"),
    [
        ((80, 24), {"tokens"}, {"sequences"}),
        ((99, 40), {"tokens"}, {"sequences"}),
        ((100, 30), {"tokens", "inspector"}, {"tokens", "sequences"}),
        ((100, 24), {"tokens", "inspector"}, {"tokens", "sequences"}),
        ((200, 24), {"tokens", "inspector"}, {"tokens", "sequences"}),
        ((120, 36), set(PANES), set(PANES)),
        ((200, 60), set(PANES), set(PANES)),
    ],
)
async def test_text_and_inspector_stand_side_by_side_from_100_columns(
    folder: Path, size: tuple[int, int], beside_text: set[str], beside_list: set[str]
) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        assert seen(screen) == beside_text
        await pilot.press("3")
        await pilot.pause()
        assert seen(screen) == beside_text - {"tokens"} or seen(screen) == (
            {"inspector"} if size[0] < 100 else beside_text
        )
        await pilot.press("2")
        await pilot.pause()
        assert seen(screen) == beside_list
        widths = [screen.query_one(f"#{name}").size.width for name in seen(screen)]
        if len(widths) == 1:
            assert widths == [size[0]]


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 36), (200, 60)])
async def test_z_gives_the_focused_pane_the_whole_screen_and_takes_it_back(
    folder: Path, size: tuple[int, int]
) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        for key, name in ALL_KEYS.items():
            if name == "chart":
                continue  # a screen of its own
            await pilot.press(key)
            await pilot.pause()
            before = seen(screen)
            for back in ("z", "q", "escape"):
                await pilot.press("z")
                await pilot.pause()
                pane = screen.query_one(f"#{name}")
                assert seen(screen) == {name}
                assert pane.has_focus
                assert pane.size.width == size[0]
                # Header and keys stay.
                assert pane.size.height >= size[1] - 4
                await pilot.press(back)
                await pilot.pause()
                assert seen(screen) == before
                assert app.screen is screen
                assert screen.query_one(f"#{name}").has_focus


async def test_the_zoomed_inspector_has_all_alternatives(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("n", "3", "z")
        found = screen.model.inspection()
        assert len(found.top) >= 20

        def all_seen() -> bool:
            shown = screen_text(app)
            return all(f" {row.token_id} " in shown for row in found.top)

        await until(pilot, all_seen)


async def test_a_zoom_of_another_pane_gives_the_keys_back(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        screen.pane_switch.zoom("inspector")
        await pilot.pause()
        assert seen(screen) == {"inspector"}
        await pilot.press("q")
        await pilot.pause()
        assert screen.tokens.has_focus
        assert seen(screen) == set(PANES)


STEPS = ("1", "2", "3", "4", "enter", "tab", "s", "n", "g", "z", "]", "w", "d", "m")


@pytest.mark.parametrize("seed", range(6))
async def test_the_four_lines_are_never_empty(folder: Path, seed: int) -> None:
    """Whatever was opened, left and resized before, they are about the cursor."""
    chance = random.Random(seed)
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        for _ in range(12):
            await random_step(pilot, chance)
            summary = screen.query_one(Summary)
            if app.screen is not screen or not summary.size.width:
                continue
            await until(
                pilot,
                lambda: f"[{screen.tokens.cursor}]" in text(screen.query_one(Summary)),
            )
            shown = text(summary).splitlines()
            assert len(shown) == 4, shown
            assert all(line.strip() for line in shown), shown


async def random_step(pilot: Any, chance: random.Random) -> None:
    """A key, or another size; what opened over the explorer is left again."""
    if chance.random() < 0.2:
        await pilot.resize_terminal(chance.choice((60, 80, 99, 130)), 24)
        await pilot.pause()
        return
    await pilot.press(chance.choice(STEPS))
    await pilot.pause()
    while pilot.app.screen is not explorer(pilot.app):
        await pilot.press("q")
        await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
@pytest.mark.parametrize("sort", ["number", "worst", "mean", "sum", "length"])
async def test_a_click_on_the_name_of_a_column_sorts_by_it(
    folder: Path, size: tuple[int, int], sort: str
) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        await pilot.press("2")
        await pilot.pause()
        screen.listing.sort_by(sort)
        await pilot.pause()
        last = "mean" if sort in ("number", "worst", "mean") else sort
        heads = lines(screen.sequences)[1].replace("▾", " ")
        words = heads.replace("|Δ|", "   ").split()
        for word, wanted in zip(words, ("number", "worst", last), strict=True):
            start = heads.index(word)
            for x in {start, start + len(word) - 1}:
                screen.listing.sort_by("k3" if wanted == "number" else "number")
                if wanted not in ("number", "worst"):
                    screen.listing.sort_by(sort if wanted == sort else "worst")
                await pilot.pause()
                await pilot.click("#sequences", offset=(x, 1))
                await pilot.pause()
                assert screen.model.state.sort == wanted


async def test_a_session_without_logs_says_so_in_one_line(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        shutil.rmtree(folder / "logs", ignore_errors=True)
        await pilot.press("L")
        await until_shown(pilot, "without logs")
        assert app.screen is screen
        (folder / "logs").mkdir()
        (folder / "logs" / "trainer.log").write_text("loading\n")
        await pilot.press("L")
        await until(pilot, lambda: app.screen is not screen)
