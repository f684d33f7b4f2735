"""The help: what is useful here first, in as many columns as there is room for, and
closed by the key that opened it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from benchmarks.make_session import make_session
from logdrift.tui.actions import (
    COMMANDS,
    NO_KEYMAP,
    SCOPE_TITLES,
    Scope,
    commands,
)
from logdrift.tui.actions.grammar import GRAMMAR
from logdrift.tui.actions.groups import GROUPS, grouped
from logdrift.tui.actions.key_names import key_name_of
from logdrift.tui.palette import make_palette
from logdrift.tui.screens.help import HelpScreen, commands_of, once_a_key
from logdrift.tui.widgets.columns import COLUMN, in_columns
from logdrift.tui.widgets.lines import Row
from logdrift.tui.widgets.reading import plain
from tests.tui_screen import (
    LARGE,
    SIZES,
    SMALL,
    explorer,
    joined,
    make_app,
    until,
    until_screen,
)

STYLE = make_palette("none").text


@pytest.fixture
def session(own_home: Path, tmp_path: Path) -> Path:
    return make_session(tmp_path / "sessions" / "made", 600, 6, 5, captures=3)


async def opened(pilot: Pilot[int], *keys: str) -> HelpScreen:
    app = pilot.app
    await until(pilot, lambda: explorer(app).stands)  # type: ignore[arg-type]
    await pilot.press(*keys)
    await until_screen(pilot, HelpScreen)
    screen = app.screen
    assert isinstance(screen, HelpScreen)
    await until(pilot, lambda: screen.stands and screen.reading.line_count > 0)
    return screen


@pytest.mark.parametrize("key", ["question_mark", "f1"])
@pytest.mark.parametrize("before", [(), ("w",), ("t",), ("m",), ("R",), ("L",)])
async def test_the_key_that_opened_it_closes_it(
    session: Path, before: tuple[str, ...], key: str
) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: explorer(app).stands)
        await pilot.press(*before)
        await until(pilot, lambda: app.screen.stands)
        below = app.screen
        await opened(pilot, key)
        await pilot.press(key)
        await until(pilot, lambda: app.screen is below)


@pytest.mark.parametrize("size", SIZES)
async def test_every_key_and_every_meaning_is_in_it(
    session: Path, size: tuple[int, int]
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, "question_mark")
        saved = joined(screen.text_to_save())
        for command in COMMANDS:
            # In the explorer a line takes places as well as commands.
            if command.action != "command_line":
                assert joined(command.help) in saved
        for meaning in GRAMMAR:
            assert key_name_of(meaning.key) in saved
            assert joined(meaning.words) in saved
        for title in GROUPS:
            assert title in saved
        # What is heard here stands above what is heard elsewhere.
        assert saved.index("Next divergent token") < saved.index("One key, one meaning")
        assert saved.index("One key, one meaning") < saved.index(SCOPE_TITLES["form"])


PANES: tuple[tuple[Scope, ...], ...] = (
    *(("list", scope) for scope in ("sessions", "worst", "diff", "limits", "facts")),
    ("list", "experiments"),
    *((pane, "explorer", "charts") for pane in ("move", "list", "chart")),
    ("inspector", "pane", "explorer", "charts"),
    ("reading", "pane", "report"),
    ("zoom", "chart", "charts"),
)
"""Scopes that are heard together: of the pane with the focus, then of its screen."""


@pytest.mark.parametrize("here", PANES)
def test_a_key_stands_once_where_the_help_was_opened(here: tuple[Scope, ...]) -> None:
    heard = list(commands_of((*here, "app")))
    shown = once_a_key(heard, NO_KEYMAP)
    keys = [key for command in shown for key in command.keys]
    assert len(keys) == len(set(keys))
    assert set(keys) == {key for command in heard for key in command.keys}
    left_out = {command.id for command in heard} - {command.id for command in shown}
    if "list" in here:
        has_own = any(command.keys == ("enter",) for command in commands(here[1]))
        assert ("list.choose" in left_out) == has_own


@pytest.mark.parametrize(("size", "columns"), zip(SIZES, (1, 2, 3), strict=True))
async def test_a_wide_screen_has_more_columns(
    session: Path, size: tuple[int, int], columns: int
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, "question_mark")
        page = screen.reading
        rows = [page.line(at, page.inner_width).text for at in range(page.line_count)]
        headings = [
            sum(title in row for title in GROUPS)
            for row in rows
            if row.strip().startswith(GROUPS[0])
        ]
        assert max(headings) == columns


async def test_what_was_searched_for_is_in_the_middle(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, "question_mark")
        await pilot.press("slash", *"rank flip", "enter")
        page = screen.reading
        for _ in range(4):
            await pilot.press("n")
            await pilot.pause()
            shown = [
                row
                for row in range(page.page)
                if "rank flip" in page.line(page.top + row, page.inner_width).text
            ]
            middle = page.page // 2
            is_near_an_end = page.top in (0, page.line_count - page.page)
            assert is_near_an_end or middle in shown


async def test_it_is_laid_out_again_for_another_size(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot, "question_mark")
        before = screen.reading.line_count
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: screen.reading.line_count > before)
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen is explorer(app))


@pytest.mark.parametrize("width", [20, COLUMN, 2 * COLUMN, 3 * COLUMN + 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 9])
def test_columns_hold_every_row_once_and_blocks_stay_together(
    width: int, count: int
) -> None:
    blocks = [
        [[(f"b{block}r{row}.", STYLE)] for row in range(1 + block % 4)]
        for block in range(count)
    ]
    rows: list[Row] = list(in_columns(blocks, width, STYLE))
    lines = [plain(row) for row in rows]
    text = " ".join(lines)
    for block in blocks:
        columns = set()
        for row in block:
            words = plain(row)
            assert text.count(words) == 1
            columns.add(next(line.index(words) for line in lines if words in line))
        assert len(columns) == 1
    used = width // max(1, width // COLUMN) * max(1, width // COLUMN)
    assert all(len(line) <= used for line in lines) or width < 2 * COLUMN


def test_every_command_is_in_one_group() -> None:
    groups = list(grouped(COMMANDS))
    found = [group.title for group in groups]
    assert found == list(GROUPS)
    shown = [command.id for group in groups for command in group.commands]
    assert sorted(shown) == sorted(command.id for command in COMMANDS)
