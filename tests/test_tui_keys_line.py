"""The line of keys: that of the focused pane, clickable, and free of old messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from benchmarks.make_session import make_session
from logdrift.core.charts.registry import CHARTS
from logdrift.tui.actions import COMMANDS, Command, Hint, hint_of, hints_of, key_hints
from logdrift.tui.models.sessions import SessionRow, can_be_done
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.widgets import bars
from logdrift.tui.widgets.bars import Hints, fitting, heading_parts, seconds_to_read
from logdrift.tui.widgets.reading import Reading
from logdrift.tui.widgets.table import Table
from tests.tui_screen import (
    MEDIUM,
    SIZES,
    SMALL,
    explorer,
    judged,
    lines,
    make_app,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)

PANES = {
    "tokens": ("move", "next Δ"),
    "sequences": ("list", "sort"),
    "inspector": ("inspector", "other side"),
    "chart": ("chart", "chart"),
}
"""The panes of the explorer, their scopes, and the first word of their lines."""


@pytest.fixture
def session(own_home: Path, tmp_path: Path) -> Path:
    return make_session(tmp_path / "sessions" / "made", 600, 6, 5, captures=3)


async def standing(pilot: Pilot[int]) -> ExplorerScreen:
    await until(pilot, lambda: pilot.app.screen.is_mounted)
    screen = explorer(pilot.app)
    await until(pilot, lambda: screen.stands)
    return screen


def line_of(pilot: Pilot[int]) -> Hints:
    """The line of keys of what is in front."""
    return pilot.app.screen.query(Hints).last()


def at(line: Hints, word: str) -> int:
    """The column of a word on the line."""
    column = f"{text(line)} ".index(f" {word} ")
    return column + 1


@pytest.mark.parametrize("size", SIZES)
async def test_the_line_is_that_of_the_focused_pane(
    session: Path, size: tuple[int, int]
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        screen = await standing(pilot)
        for pane, (scope, first) in PANES.items():
            screen.pane_switch.go_to(pane)
            await pilot.pause()
            hints = screen.hints()
            assert hints[0].word == first
            own = [
                command
                for command in COMMANDS
                if scope in (command.scope, *command.near) and command.hint
            ]
            words = {hint.word for hint in hints[: len(own)]}
            assert words >= {
                command.hint
                for command in own
                if command.action != "choose" and screen.applies(command.name)
            }
            shown = text(screen.query_one("#hints", Hints))
            assert shown.strip().startswith(f"{hints[0].name} {first}")
            assert shown.rstrip().endswith("q back  ? help")


async def test_every_key_on_the_line_is_heard_where_it_stands(session: Path) -> None:
    (session / "logs").mkdir(exist_ok=True)
    (session / "logs" / "trainer.log").write_text("loading\n")
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await standing(pilot)
        for opens in ("w", "m", "d", "T", "R", "L", "t", "p", "slash", "question_mark"):
            await pilot.press(opens)
            await until(pilot, lambda: app.screen is not screen and app.screen.stands)
            bound = app.screen.active_bindings
            for line in app.screen.query(Hints):
                for hint in line.hints:
                    assert not hint.key or hint.key in bound, (opens, hint)
            await pilot.press("escape")
            await until_back(pilot, screen)


async def test_a_click_on_a_key_does_what_the_key_does(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await standing(pilot)
        before = screen.position
        line = line_of(pilot)
        await pilot.click(line, offset=(at(line, "next Δ"), 0))
        await until(pilot, lambda: screen.position != before)
        assert screen.focused is screen.tokens
        await pilot.click(line, offset=(at(line, "threshold") - 1, 0))
        await until_screen(pilot, Picker)
        window = line_of(pilot)
        await until(pilot, lambda: "leave" in text(window))
        await pilot.click(window, offset=(at(window, "leave"), 0))
        await until_back(pilot, screen)
        await pilot.click(line, offset=(at(line, "search"), 0))
        await until_screen(pilot, LinePrompt)
        title = app.screen.query_one("#prompt-title", Hints)
        await pilot.click(title, offset=(at(title, "leave"), 0))
        await until_back(pilot, screen)
        await pilot.click(line, offset=(at(line, "why"), 0))
        await until_screen(pilot, WhyScreen)
        await until(pilot, lambda: "back" in text(line_of(pilot)))
        await pilot.click(line_of(pilot), offset=(at(line_of(pilot), "back"), 0))
        await until_back(pilot, screen)


async def test_a_message_goes_by_itself_and_by_a_click(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await standing(pilot)
        line = line_of(pilot)
        screen.say("done")
        await until(pilot, lambda: text(line).strip() == "done")
        await pilot.click(line, offset=(2, 0))
        assert "? help" in text(line)
        monkeypatch.setattr(bars, "SECONDS_AT_LEAST", 0.0)
        monkeypatch.setattr(bars, "CHARACTERS_A_SECOND", 1000)
        screen.warn("not done")
        await until(pilot, lambda: "? help" in text(line))
        screen.say("being done", stays=True)
        await pilot.pause(0.2)
        assert text(line).strip() == "being done"
        screen.say("")
        assert "? help" in text(line)


async def test_a_message_of_a_window_goes_too(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "SECONDS_AT_LEAST", 0.2)
    monkeypatch.setattr(bars, "CHARACTERS_A_SECOND", 1000)
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        await standing(pilot)
        app.show_error("something")
        await until_screen(pilot, TextScreen)
        await pilot.press("c")
        assert "leave" not in text(line_of(pilot))
        await until(pilot, lambda: "leave" in text(line_of(pilot)))


@pytest.mark.parametrize("nothing", ["", "\n", " \n "])
async def test_what_is_not_there_yet_is_not_copied(
    session: Path, nothing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await standing(pilot)
        assert app._driver is not None
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        assert app.copy_text(nothing) == "there is nothing to copy yet"
        assert not [text for text in sent if "52;c;" in text]
    assert not Table("made", id="made").copied()


@pytest.mark.parametrize("size", SIZES)
async def test_a_text_stands_below_the_first_letter_of_its_title(
    session: Path, size: tuple[int, int]
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        await standing(pilot)
        app.show_error("Enough words for more than one line. " * 9)
        await until_screen(pilot, TextScreen)
        reading = app.screen.query_one(Reading)
        await until(pilot, lambda: reading.line_count > 1)
        title, *rows = lines(reading)
        margin = len(title) - len(title.lstrip())
        assert margin == 1
        for row in filter(None, rows):
            assert len(row) - len(row.lstrip()) == margin
        assert not reading.plain.startswith(" ")


LOOK_AT = ("why", "worst", "report", "compare")
STATES = {
    "complete": {*LOOK_AT, "rename", "delete", "add backend"},
    "failed": {*LOOK_AT, "rename", "delete", "add backend", "resume"},
    "partial": {*LOOK_AT, "rename", "delete", "add backend", "resume"},
    "running": {*LOOK_AT, "cancel"},
    "damaged": {"rename", "delete"},
    "none": set(),
}
"""What the line names for a session of a state, beside what needs no session."""


@pytest.mark.parametrize(("state", "words"), STATES.items())
def test_the_list_names_what_its_session_can_be_asked(
    state: str, words: set[str]
) -> None:
    row: SessionRow | None = SessionRow(Path("made"), "made", state=state)
    if state == "damaged":
        row = SessionRow(Path("made"), "made", problem="it is cut")
    if state == "none":
        row = None
    hints = key_hints("sessions", applies=lambda name: can_be_done(name, row))
    of_any = {"open", "new capture", "over time", "filter", "sort", "import", "quit"}
    assert {hint.word for hint in hints} - of_any == words


async def test_an_empty_list_names_only_what_works(tmp_path: Path) -> None:
    app = make_app(None, tmp_path)
    async with app.run_test(size=MEDIUM) as pilot:
        line = app.screen.query_one("#hints", Hints)
        await until_shown(pilot, "look at the samples")
        await until(pilot, lambda: "open" in text(line))
        words = {hint.word for hint in line.hints}
        expected = {"open", "new capture", "import", "quit", "help"}
        assert words == expected


@pytest.mark.parametrize("size", SIZES)
async def test_a_chart_names_the_keys_that_it_has(
    session: Path, size: tuple[int, int]
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        screen = await standing(pilot)
        screen.pane_switch.go_to("chart")
        await pilot.pause()
        line = screen.query_one("#hints", Hints)
        for kind, entry in enumerate(CHARTS):
            screen.action_chart(kind)
            has_both = len(entry.reaches) > 1
            wanted = (has_both, entry.has_parts)

            def named(wanted: tuple[bool, bool] = wanted) -> bool:
                words = {hint.word for hint in line.hints}
                return ("all/this" in words, "closer" in words) == wanted

            await until(pilot, named)


@pytest.mark.parametrize("pane", PANES)
async def test_the_zoom_is_ended_by_a_key_that_says_so(
    session: Path, pane: str
) -> None:
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        screen.pane_switch.go_to(pane)
        for word in ("zoom", "unzoom", "zoom"):
            await until(pilot, lambda word=word: word_of_z(pilot) == word)
            await pilot.press("z")
        await until(pilot, lambda: word_of_z(pilot) == "unzoom")


def word_of_z(pilot: Pilot[int]) -> str:
    """What the line calls `z`."""
    return next((hint.word for hint in line_of(pilot).hints if hint.name == "z"), "")


def test_a_longer_message_is_shown_longer() -> None:
    assert 4 <= seconds_to_read("") < seconds_to_read("x" * 60) < 10


@pytest.mark.parametrize("width", range(1, 60, 3))
def test_how_to_leave_and_the_help_stay_on_a_narrow_line(width: int) -> None:
    hints = [Hint(str(n), "word") for n in range(9)]
    hints += [Hint("q", "back", "q", True), Hint("?", "help", "question_mark", True)]
    shown = fitting(hints, width)
    cells = sum(len(f" {hint.name} {hint.word} ") for hint in shown)
    assert cells <= width
    found = [hint for hint in hints if hint in shown]
    assert found == shown
    if width >= 16:
        assert shown[-2:] == hints[-2:]


def test_a_key_stands_once_with_the_word_of_the_screen() -> None:
    pane = Command("list", "choose", ("enter",), "Choose", hint="choose")
    screen = Command("sessions", "open", ("enter",), "Open", hint="open")
    for order in ((pane, screen), (screen, pane)):
        hints = hints_of(order, ("sessions",), ("list",))
        assert hints == [hint_of(screen)]


def test_keys_of_ones_own_stand_on_the_line() -> None:
    keymap = {"explorer.why": ("f9",), "explorer.search": ()}
    hints = key_hints("explorer", "app", panes=("move",), keymap=keymap)
    assert ("F9", "why") in [hint[:2] for hint in hints]
    assert "search" not in [hint.word for hint in hints]


def kinds_of(screen: object) -> set[str]:
    """The names of its class and of those that this one is made from."""
    return {kind.__name__ for kind in type(screen).__mro__}


OPENS = {"facts": "FactsScreen", "pair": "Picker", "report": "ReportScreen"}
"""What a click on the parts of the header opens."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("action", "opens"), OPENS.items())
async def test_a_click_on_a_part_of_the_header_opens_its_screen(
    session: Path, size: tuple[int, int], action: str, opens: str
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        header = screen.pane_group.header
        await until(pilot, lambda: bool(header.heading and header.heading.measured))
        heading = header.heading
        assert heading is not None
        column = 1
        for part in heading_parts(heading, header.inner_width, screen.palette):
            cells = sum(cell_len(words) for words, _ in part.runs)
            if part.action == action and cells:
                await pilot.click(header, offset=(column + cells - 1, 0))
                await until(pilot, lambda: opens in kinds_of(app.screen))
                return
            column += cells
        assert action == "report", "only numbers are left out where there is no room"


async def test_a_click_on_the_counts_shows_the_sequences(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        header = screen.pane_group.header
        await until(pilot, lambda: " seq ·" in text(header))
        await pilot.click(header, offset=(text(header).index(" seq ·"), 0))
        await until(pilot, lambda: screen.focused is screen.sequences)
