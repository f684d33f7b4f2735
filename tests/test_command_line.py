"""The line after ``:``: commands by name, abbreviated, completed, refused; histories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import list_pairs
from logdrift.core.errors import InputError
from logdrift.core.session.reader import open_session
from logdrift.tui.actions import COMMANDS
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.command_line import (
    CommandLine,
    TypedCommand,
    WordTaker,
    plain_name,
)
from logdrift.tui.models.state import SORTS
from logdrift.tui.models.typed_history import (
    KEPT,
    Recall,
    remember_typed,
    typed_before,
)
from logdrift.tui.screens.command_line import command_line
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.prompt import LineBox, LinePrompt
from logdrift.tui.screens.report import ReportScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.screens.worst import WorstScreen
from logdrift.tui.widgets.line_edit import TypedLine
from tests.common import refused
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    explorer,
    judged,
    make_app,
    screen_text,
    until,
    until_back,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(
        tmp_path_factory.mktemp("typed") / "gen", 1200, 12, 20, captures=4
    )


# ---- the model


def made(done: list[str]) -> CommandLine:
    def command(name: str, *others: str, listed: bool = True) -> TypedCommand:
        return TypedCommand(
            name=name,
            others=others,
            help=f"Does {name}",
            run=lambda: done.append(name),
            listed=listed,
        )

    def check(word: str) -> None:
        if word not in ("dark", "light"):
            raise InputError(f"no theme {word}")

    theme = WordTaker(
        "a theme",
        lambda word: done.append(f"theme={word}"),
        check,
        lambda: ["dark", "light"],
    )
    return CommandLine(
        [
            command("report", "explorer.report", "Report"),
            command("redo-jump", "explorer.redo_jump", "Redo the jump"),
            command("why", "explorer.why", "Why"),
            command("sort", "Sort the sequences"),
            command("row-down", listed=False),
        ],
        {"theme": theme, "sort": theme},
        lambda name: "rename works elsewhere" if name == "rename" else "",
    )


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("report", "report"),
        ("REPORT ", "report"),
        ("explorer.report", "report"),
        ("redo_jump", "redo-jump"),
        ("Redo the jump", "redo-jump"),
        ("red", "redo-jump"),
        ("wh", "why"),
        ("row_down", "row-down"),
        ("theme dark", "theme=dark"),
        ("th light", "theme=light"),
        ("sort", "sort"),
        ("sort dark", "theme=dark"),
    ],
)
def test_a_name_is_found_in_every_way_it_is_written(typed: str, expected: str) -> None:
    done: list[str] = []
    run = made(done).parse(typed)
    assert done == [], "nothing is done before it is taken"
    run()
    assert done == [expected]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("re", "may be report, redo-jump"),
        ("reprot", "did you mean report?"),
        ("zzzzz", "Tab lists them"),
        ("theme", "theme takes a theme"),
        ("theme blue", "no theme blue"),
        ("rename", "works elsewhere"),
        ("row-do", "there is no command"),
    ],
)
def test_what_is_no_command_is_said(typed: str, said: str) -> None:
    with refused(said.replace("?", r"\?")):
        made([]).parse(typed)


def test_tab_completes_as_far_as_all_agree() -> None:
    line = made([])
    assert line.completed("re") == "re"
    assert line.completed("rep") == "report"
    assert line.completed("t") == "theme "
    assert line.completed("theme d") == "theme dark"
    assert line.completed("theme x") == "theme x"
    assert line.completed("") == ""
    assert line.candidates("re") == ["redo-jump", "report"]
    assert "row-down" not in line.candidates("")
    assert line.described("theme ") == "theme dark · theme light"
    assert line.described("wh") == "why: Does why"
    assert line.described("zzz") == ""


# ---- histories


def test_a_history_keeps_the_newest_of_each_kind() -> None:
    assert typed_before("search") == []
    for number in range(KEPT + 20):
        assert remember_typed("search", f"text {number}")
    remember_typed("filter", ">0.3")
    remember_typed("search", "text 50")
    kept = typed_before("search")
    assert len(kept) == KEPT
    assert kept[-1] == "text 50"
    assert kept.count("text 50") == 1
    assert typed_before("filter") == [">0.3"]
    assert not remember_typed("search", "  ")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"search": 3}', '{"search": [1, null, "a"]}', "\x00"]
)
def test_a_damaged_history_is_none(content: str, own_home: Path) -> None:
    assert remember_typed("search", "x")
    (file,) = own_home.parent.rglob("typed.json")
    file.write_text(content)
    assert typed_before("search") in ([], ["a"])
    assert remember_typed("search", "y")
    assert typed_before("search")[-1] == "y"
    json.loads(file.read_text())


def test_recall_goes_back_and_forth_and_keeps_what_is_typed_now() -> None:
    recall = Recall(["a", "b", "c"])
    assert recall.newer() is None
    assert [recall.older("now"), recall.older("c"), recall.older("b")] == [
        "c",
        "b",
        "a",
    ]
    assert recall.older("a") is None
    expected = ["b", "c", "now"]
    assert [recall.newer(), recall.newer(), recall.newer()] == expected
    assert recall.newer() is None
    assert Recall(["a", "b"]).older("b") == "a", "what stands there is passed over"


# ---- on the screens


async def command(pilot, words: str) -> None:  # type: ignore[no-untyped-def]
    await pilot.press("colon")
    await until_screen(pilot, LinePrompt)
    pilot.app.screen.query_one(LineBox).put(TypedLine.of(words))
    await pilot.pause()
    await pilot.press("enter")


@pytest.mark.parametrize(
    ("words", "opens"),
    [
        ("report", ReportScreen),
        ("why", WhyScreen),
        ("matrix", MatrixScreen),
        ("Worst tokens of all sequences", WorstScreen),
        ("explorer.why", WhyScreen),
    ],
)
async def test_a_command_opens_its_screen_and_q_leaves_it(
    folder: Path, words: str, opens: type
) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await command(pilot, words)
        await until_screen(pilot, opens)
        await command(pilot, "q")
        await until_back(pilot, screen)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_commands_with_words_in_the_explorer(
    folder: Path, size: tuple[int, int]
) -> None:
    session = open_session(folder)
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        for name in SORTS:
            await command(pilot, f"sort {name}")
            await until(pilot, lambda name=name: screen.model.state.sort == name)
        await command(pilot, "threshold 0.25")
        await until(pilot, lambda: screen.threshold == 0.25)
        await command(pilot, "colour rank")
        await until(pilot, lambda: screen.model.mode.name == "rank")
        await command(pilot, "theme light")
        await until(pilot, lambda: app.theme_name == "light")
        await command(pilot, "filter >0.2")
        await until(pilot, lambda: screen.model.listing.filter == ">0.2")
        a, b = next(p for p in list_pairs(session) if p != screen.model.labels)
        await command(pilot, f"pair {a}:{b}")
        await until(pilot, lambda: screen.model.labels == (a, b))
        await command(pilot, "3:7")
        await until(
            pilot, lambda: screen.position == int(session.sequences.offsets[3]) + 7
        )
        position = screen.position
        for wrong, said in (
            ("9999:1", "there is no sequence"),
            ("sort wrost", "not one of"),
            ("repotr", "did you mean report?"),
            ("threshold x", "is not a threshold"),
            ("rename", "works elsewhere: Sessions"),
        ):
            await command(pilot, wrong)
            assert isinstance(app.screen, LinePrompt), "Enter does not take it"
            assert said in screen_text(app)
            await pilot.press("escape")
            await until_back(pilot, screen)
        assert screen.position == position


async def test_every_listed_command_of_a_screen_is_found_by_its_id_and_title(
    folder: Path,
) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        line = command_line(screen)
        for declared in COMMANDS:
            # In the explorer its own command has the key of this one.
            if declared.id == "app.command_line":
                continue
            if declared.scope in ("explorer", "app"):
                for name in (declared.id, declared.title):
                    assert callable(line.parse(name)), name
        names = [plain_name(name) for name in line.candidates("")]
        assert "report" in names
        assert "theme" in names


async def test_the_list_of_sessions_has_commands_too(folder: Path) -> None:
    app = make_app(None, folder.parent)
    async with app.run_test(size=SMALL) as pilot:
        await until_screen(pilot, SessionsScreen)
        await until_shown(pilot, "gen")
        await command(pilot, "open")
        await until_screen(pilot, ExplorerScreen)
        await command(pilot, "q")
        await until_screen(pilot, SessionsScreen)
        await command(pilot, "q!")
        await until(pilot, lambda: app.return_code == 0)


async def test_up_brings_back_searches_filters_and_commands(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await command(pilot, "threshold 0.3")
        await command(pilot, "threshold 0.4")
        await until(pilot, lambda: screen.threshold == 0.4)
        await pilot.press("colon", "x", "up")
        assert _typed(app) == "threshold 0.4"
        await pilot.press("up", "enter")
        await until(pilot, lambda: screen.threshold == 0.3)
        await pilot.press("colon", "s", "o", "r", "tab")
        assert _typed(app) == "sort"
        await pilot.press("escape", "f", ">", "enter")
        await until(pilot, lambda: screen.model.state.filter == ">")
        await pilot.press("f", "ctrl+u", "up")
        assert _typed(app) == ">"
        await pilot.press("escape", "slash", "t", "h", "e", "enter")
        await until(pilot, lambda: screen.model.found.matches is not None)
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("slash", "up")
        assert _typed(app) == "the", "kept for the next time"
        await pilot.press("down")
        assert _typed(app) == ""
        assert explorer(app).model.found.matches is None


def _typed(app: LogdriftApp) -> str:
    assert isinstance(app.screen, LinePrompt)
    return app.screen.text
