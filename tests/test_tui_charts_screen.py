"""The chart pane and its full screen, driven by keys."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot

from benchmarks.make_session import make_session
from logdrift.core.charts.registry import CHARTS, index_of
from logdrift.tui.app import LogdriftApp
from logdrift.tui.screens.chart import ChartScreen
from logdrift.tui.screens.charted import ChartedScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.bars import Hints, Tabs
from logdrift.tui.widgets.charts.pane import ChartPane
from logdrift.tui.widgets.charts.terminal import Drawing
from tests.divergences import next_divergence
from tests.test_tui_pty import running
from tests.tui_screen import (
    LARGE,
    MEDIUM,
    SMALL,
    judged,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 sequences, 3,000 tokens, 4 captures."""
    return make_session(
        tmp_path_factory.mktemp("charts") / "gen", 3000, 24, 20, captures=4
    )


async def drawn(
    pilot: Pilot[Any], pane: ChartPane, name: str, reach: str | None = None
) -> Drawing:
    """The picture of that chart, once it is the one that is shown."""
    wanted = CHARTS[index_of(name)].load()

    def there() -> bool:
        made = pane.made
        right = (
            made is not None
            and type(made) is wanted
            and (reach is None or made.reach == reach)
        )
        return pane.kind == index_of(name) and pane.chart is not None and right

    await until(pilot, there)
    assert pane.chart is not None
    return pane.chart


async def test_charts_are_chosen_by_key_and_by_list(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        pane = screen.chart
        await drawn(pilot, pane, "delta")
        assert "Δ by position" in text(pane).splitlines()[0]
        await pilot.press("v")
        await drawn(pilot, pane, "cumulative")
        await pilot.press("V", "V")
        await drawn(pilot, pane, CHARTS[-1].name)
        pane.choose(index_of("change"))
        await until(pilot, lambda: "no earlier session" in pane.problem)
        assert "e chooses an earlier session" in text(pane)
        await pilot.press("C")
        await until_screen(pilot, Picker)
        await pilot.press("home", "down", "down", "down", "enter")
        await drawn(pilot, pane, "histogram")
        assert "tokens by |Δ|" in text(pane)
        assert all(entry.title for entry in CHARTS)


async def test_all_sequences_or_this_one(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await drawn(pilot, screen.chart, "delta", "one")
        assert "this sequence" in text(screen.chart).splitlines()[0]
        await pilot.press("a")
        await drawn(pilot, screen.chart, "delta", "all")
        assert "all sequences" in text(screen.chart).splitlines()[0]
        assert "mean Δ" in text(screen.chart)
        await pilot.press("a")
        await drawn(pilot, screen.chart, "delta", "one")
        screen.chart.choose(index_of("heatmap"))
        await pilot.press("a")
        assert "always shows all sequences" in text(screen.query_one(Hints))


async def test_moving_in_the_chart_moves_the_cursor_and_enter_goes_to_the_text(
    folder: Path,
) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        screen.moves.go_to(0)
        await pilot.press("4")
        drawing = await drawn(pilot, screen.chart, "delta")
        await until(pilot, lambda: screen.chart.has_focus)
        start, stop = screen.session.sequences.bounds(0)
        for key, wanted in (
            ("end", stop - 1),
            ("home", start),
            ("G", stop - 1),
            ("g", start),
        ):
            await pilot.press(key)
            await until(pilot, lambda wanted=wanted: screen.position == wanted)  # type: ignore[misc]
        place = drawing.place
        assert place is not None
        position = start
        for key, step in (
            ("right", 1),
            ("l", 1),
            ("pagedown", 10),
            ("ctrl+d", 10),
            ("left", -1),
            ("h", -1),
            ("pageup", -10),
            ("ctrl+u", -10),
        ):
            wanted = place.step(position, step, 0)
            await pilot.press(key)
            await until(pilot, lambda wanted=wanted: screen.position == wanted)  # type: ignore[misc]
            position = screen.position
        assert screen.tokens.cursor == position - start
        await until(pilot, lambda: "▼" in text(screen.chart))
        await pilot.press("up", "k", "down", "j")
        assert screen.position == position, (
            "a chart of one sequence has no rows to change"
        )
        await pilot.press("enter")
        await until(pilot, lambda: screen.tokens.has_focus)


async def test_up_and_down_in_the_heat_map_change_the_sequence(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        screen.moves.go_to(0)
        screen.chart.choose(index_of("heatmap"))
        await pilot.press("4")
        drawing = await drawn(pilot, screen.chart, "heatmap")
        before = screen.model.sequence
        assert drawing.place.cell(screen.position) == (
            0,
            0,
        ), "the first token has no score, but a place"  # type: ignore[union-attr]
        wanted = drawing.place.step(screen.position, 0, 1)  # type: ignore[union-attr]
        await pilot.press("down")
        await until(pilot, lambda: screen.position == wanted)
        assert (
            screen.model.sequence > before
            and drawing.place.cell(screen.position)[1] > 0
        )  # type: ignore[union-attr,index]
        back = drawing.place.step(screen.position, 0, -1)  # type: ignore[union-attr]
        await pilot.press("k")
        await until(pilot, lambda: screen.position == back)
        assert drawing.place.cell(screen.position)[1] == 0  # type: ignore[union-attr,index]
        assert "▸" in text(screen.chart)


async def test_closer_and_wider_in_the_heat_map_by_key_and_wheel(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        pane = screen.chart
        await pilot.press("4", "5")
        whole = await drawn(pilot, pane, "heatmap")
        assert "rows" not in "".join(whole.legend)
        await pilot.press("right_curly_bracket")
        await until(pilot, lambda: shown_part(pane, "of 24"))
        window = pane.zoom.window
        assert window is not None
        assert window.down.size < 24
        for _ in range(24):
            await pilot.press("down")
        last = len(screen.model.listing) - 1
        await until(pilot, lambda: screen.model.sequence == last)
        await until(pilot, lambda: shown_part(pane, "to 24 of 24"))
        assert pane.chart is not None
        assert pane.chart.place is not None
        assert pane.chart.place.cell(screen.position) is not None
        x, y = place_of(screen_text(app), "┌")
        await pilot.hover(offset=(x + 5, y + 2))
        await scroll(pilot, x + 5, y + 2, up=True)
        await until(pilot, lambda: pane.zoom.window != window)
        window = pane.zoom.window
        await pilot.press("z")
        await until_screen(pilot, ChartScreen)
        await until(pilot, lambda: shown_part(shown_chart(app), "of 24"))
        assert shown_chart(app).zoom.window == window, "the same part as below"
        await pilot.press("z")
        await until_back(pilot, screen)
        for _ in range(4):
            await pilot.press("left_curly_bracket")
        await until(pilot, lambda: pane.zoom.window is None)
        await until(pilot, lambda: not shown_part(pane, "of 24"))
        await pilot.press("left_curly_bracket")
        assert "the whole map" in text(screen.query_one(Hints))
        await pilot.press("1", "right_curly_bracket")
        await until(pilot, lambda: "only the heat map" in text(screen.query_one(Hints)))


def shown_part(pane: ChartPane, words: str) -> bool:
    """Whether the legend says which part is shown."""
    return pane.chart is not None and words in " ".join(pane.chart.legend)


async def scroll(pilot: Pilot[Any], x: int, y: int, *, up: bool) -> None:
    event_class = MouseScrollUp if up else MouseScrollDown
    await pilot._post_mouse_events([event_class], offset=(x, y), button=0)


async def test_the_rows_of_the_heat_map_are_those_of_the_list(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        pane = screen.chart
        pane.choose(index_of("heatmap"))
        await drawn(pilot, pane, "heatmap")
        before = pane.chart
        await pilot.press("s")
        await until(pilot, lambda: pane.chart is not before)
        await until(pilot, lambda: shown_part(pane, "in the order of the list"))
        order = screen.model.listing.order.tolist()
        assert order != sorted(order)
        assert pane.chart is not None
        place = pane.chart.place
        rows = [
            place.cell(int(screen.session.sequences.offsets[sequence])).row  # type: ignore[union-attr]
            for sequence in order
        ]
        assert rows == sorted(rows)


async def test_a_click_goes_to_the_token(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        drawing = await drawn(pilot, screen.chart, "delta")
        column = drawing.columns // 2
        x, y = place_of(screen_text(app), "┌")
        await pilot.click(offset=(x + 1 + column, y + 2))
        await until(
            pilot, lambda: drawing.place.cell(screen.position) == (column, None)
        )  # type: ignore[union-attr]


def place_of(shown: str, words: str) -> tuple[int, int]:
    """Column and row of words on the screen, the lowest ones."""
    rows = shown.splitlines()
    row = max(y for y, line in enumerate(rows) if words in line)
    return rows[row].index(words), row


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 36), (200, 60)])
@pytest.mark.parametrize("before", ["v", "4", "4z"])
async def test_a_click_on_a_name_chooses_it_where_it_stands_on_the_screen(
    folder: Path, size: tuple[int, int], before: str
) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        await judged(pilot)
        for key in before:
            await pilot.press(key)
        await until(pilot, lambda: has_chart(app))
        chart = shown_chart(app)
        first = CHARTS[chart.kind]
        title = title_line(app)
        names = dict(zip(CHARTS, chart.title.names(), strict=True))
        others = [entry for entry in CHARTS if names[entry] in title]
        others.remove(first)
        assert len(others) > 1
        for entry in others[:3]:
            for end in (1, len(entry.title)):
                chart.choose(index_of(first.name))
                await drawn(pilot, chart, first.name)
                await until(pilot, lambda: title_line(app) in screen_text(app))
                x, y = place_of(screen_text(app), f" {entry.title} ")
                await pilot.click(offset=(x + end, y))
                await drawn(pilot, chart, entry.name)


def shown_chart(app: LogdriftApp) -> ChartPane:
    screen = app.screen
    assert isinstance(screen, ChartedScreen)
    return screen.chart


def has_chart(app: LogdriftApp) -> bool:
    screen = app.screen
    return isinstance(screen, ChartedScreen) and screen.chart.chart is not None


def title_line(app: LogdriftApp) -> str:
    return text(shown_chart(app)).splitlines()[0]


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
async def test_digits_choose_charts_while_the_chart_has_the_keys_and_only_then(
    folder: Path, size: tuple[int, int]
) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        await pilot.press("4")
        await drawn(pilot, screen.chart, "delta")
        tabs = text(screen.query_one(Tabs))
        for number, entry in enumerate(CHARTS[:10]):
            digit = str((number + 1) % 10)
            await pilot.press(digit)
            await drawn(pilot, screen.chart, entry.name)
            assert screen.chart.has_focus
            assert f" {digit} {entry.title} " in title_line(app), "the digit is said"
            assert f"{digit} " not in tabs, "and nothing else is said of it"
        await pilot.press("tab")
        await until(pilot, lambda: not screen.chart.has_focus)
        if screen.chart.display:
            numbered = f"{len(CHARTS[:10]) % 10} {CHARTS[9].title}"
            assert numbered not in title_line(app), "no longer a key of the chart"
        await pilot.press("2")
        await until(pilot, lambda: screen.pane == "sequences")


async def test_the_whole_screen_and_back(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("v")
        await until(pilot, lambda: screen.chart.display and screen.chart.has_focus)
        await drawn(pilot, screen.chart, "delta")
        for leave in ("z", "q", "escape"):
            await pilot.press("z")
            await until_screen(pilot, ChartScreen)
            full = app.screen
            assert isinstance(full, ChartScreen)
            for number, entry in enumerate(CHARTS[:10]):
                await pilot.press(str((number + 1) % 10))
                await drawn(pilot, full.chart, entry.name)
            await pilot.press("1")
            drawing = await drawn(pilot, full.chart, "delta")
            assert drawing.lines > 10
            assert "Tokens" not in screen_text(app)
            before = screen.position
            await pilot.press("right")
            await until(pilot, lambda before=before: screen.position != before)  # type: ignore[misc]
            await pilot.press("v", "v")
            await drawn(pilot, full.chart, "gap")
            await pilot.press(leave)
            await until_back(pilot, screen)
            await drawn(pilot, screen.chart, "gap")
            screen.chart.choose(0)
            await drawn(pilot, screen.chart, "delta")
        await pilot.press("z")
        await until_screen(pilot, ChartScreen)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen and screen.tokens.has_focus)


async def test_divergences_are_visited_from_the_whole_screen(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        screen.moves.go_to(0)
        await pilot.press("4", "z")
        await until_screen(pilot, ChartScreen)
        full = app.screen
        assert isinstance(full, ChartScreen)
        assert screen.model.pair is not None
        await drawn(pilot, full.chart, "delta", "one")
        last = -1
        for _ in range(3):
            wanted = next_divergence(screen.model.pair, max(last, 0), screen.threshold)
            await pilot.press("n")
            await until(pilot, lambda wanted=wanted: screen.position == wanted)  # type: ignore[misc]
            last = screen.position
        screen.moves.go_to(screen.session.sequences.bounds(5)[0])
        await until(
            pilot,
            lambda: (
                full.chart.made is not None and full.chart.made.source.sequence == 5
            ),
        )
        await pilot.press("N")
        await until(pilot, lambda: screen.model.sequence < 5)


async def test_export_asks_for_a_name_and_says_what_was_written(
    folder: Path, own_home: Path
) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        screen.moves.go_to(0)
        await drawn(pilot, screen.chart, "delta")
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        assert isinstance(app.screen, LinePrompt)
        assert app.screen.text == "gen-delta-seq0.svg"
        await pilot.press("enter")
        await until(pilot, lambda: (own_home / "gen-delta-seq0.svg").exists())
        await until(
            pilot,
            lambda: "written: gen-delta-seq0.svg" in text(screen.query_one(Hints)),
        )
        ET.fromstring((own_home / "gen-delta-seq0.svg").read_text(encoding="utf-8"))
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        await pilot.press("escape")
        await until_back(pilot, screen)
        found = [p.name for p in own_home.glob("*.svg")]
        assert found == ["gen-delta-seq0.svg"]
        screen.chart.choose(index_of("change"))
        await until(pilot, lambda: bool(screen.chart.problem))
        await pilot.press("ctrl+s")
        assert "no chart to export" in text(screen.query_one(Hints))


async def test_a_chart_that_is_too_small_says_so_and_comes_back(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await judged(pilot)
        drawing = await drawn(pilot, screen.chart, "delta")
        assert drawing.lines >= 3, "the small pane below the text"
        await pilot.resize_terminal(60, 20)
        await pilot.press("4")
        await until(
            pilot,
            lambda: (
                screen.chart.chart is not None and screen.chart.chart is not drawing
            ),
        )
        assert max(len(line) for line in text(screen.chart).splitlines()) <= 60


async def test_only_the_last_of_a_burst_is_drawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await drawn(pilot, screen.chart, "delta")
        asked = []
        monkeypatch.setattr(
            screen.chart, "_build", lambda key, *rest: asked.append(key)
        )
        for sequence in range(1, 8):
            screen.moves.go_to(screen.session.sequences.bounds(sequence)[0])
        await until(pilot, lambda: bool(asked))
        assert len(asked) == 1
        assert asked[0].chart.sequence == 7
        assert screen.chart.chart is not None, (
            "the old picture stays until the new one is there"
        )


def test_moving_on_the_whole_screen_sends_little_although_the_explorer_moves_below(
    folder: Path, tmp_path: Path
) -> None:
    with running(folder, folder, 200, 60, tmp_path / "state") as terminal:
        terminal.wait_for(b"Sequence")
        terminal.quiet(1.5)
        for key in (b"4", b"z", b"5"):
            os.write(terminal.fd, key)
        terminal.wait_for("░".encode())
        terminal.quiet(1.0)
        terminal.key(b"\x1b[C")
        terminal.quiet(1.0)
        sent = []
        for _ in range(3):
            before = len(terminal.output)
            os.write(terminal.fd, b"\x1b[C")
            terminal.quiet(1.0)
            sent.append(len(terminal.output) - before)
        assert min(sent) > 0
        assert max(sent) < 3000
        assert terminal.quiet(1.5) == 0


async def test_earlier_sessions_are_listed_once_however_many_links_lead_to_them(
    folder: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    other = shutil.copytree(folder, folder.parent / "other")
    for name, target in (("same", folder), ("twice", other), ("other", other)):
        (linked / name).symlink_to(target)
    app = make_app(folder, linked)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        await pilot.press("e")
        await until_screen(pilot, Picker)
        assert app.screen.count == 1, "one other session, and not this one"
