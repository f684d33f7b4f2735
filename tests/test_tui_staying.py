"""Nothing ends the program but quitting: keys faster than screens, odd input,
exceptions in handlers and threads.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.geometry import Size
from textual.keys import key_to_character

from benchmarks.make_session import make_session
from logdrift.core.errors import unforeseen
from logdrift.tui.app import LogdriftApp
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.sessions import SessionsScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from tests.made_sessions import capture, write_session
from tests.monkey import KEYS
from tests.monkey_world import make_world, no_engines
from tests.tui_screen import (
    LARGE,
    MEDIUM,
    SIZES,
    SMALL,
    make_app,
    screen_text,
    until,
    until_quiet,
    until_screen,
    until_shown,
)

FAR = "x" * 300


@pytest.fixture
def session(own_home: Path, tmp_path: Path) -> Path:
    return make_session(tmp_path / "sessions" / "made", 600, 6, 5, captures=4)


def type_at_once(app: LogdriftApp, *keys: str) -> None:
    """Several keys before the application gets to do any of them."""
    for key in keys:
        app.post_message(
            events.Key(key, key if len(key) == 1 else key_to_character(key))
        )


async def test_numbers_that_cannot_be_read_are_told_and_the_text_stays(
    own_home: Path, tmp_path: Path
) -> None:
    rows = [[float("nan"), -1.0, -2.0]] * 2
    huge = [[float("nan"), -1e30, -3.0]] * 2
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", huge)]
    made = write_session(tmp_path / "huge", [1, 1], captures)
    app = make_app(made.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        await until_shown(pilot, "holds -1e+30 where")
        await pilot.press("m", "enter")  # the pair all the same
        await until_shown(pilot, "│ Error")
        assert "Traceback" not in screen_text(app)
        await pilot.press("escape", "plus")
        await until_shown(pilot, "Sequence 0 · 3 tokens")


@pytest.mark.parametrize("second", ["enter", "q", "escape", "down", "space"])
@pytest.mark.parametrize("opens", ["t", "p", "O", "C", "T", "ctrl+p"])
async def test_a_list_that_asks_is_left_once(
    session: Path, opens: str, second: str
) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        for keys in (
            (opens, "enter", second),
            (opens,),
            ("enter", second),
            (opens, second, "enter", "enter"),
        ):
            type_at_once(app, *keys)
            await pilot.pause(0.05)
            assert app._exception is None
            assert isinstance(app.screen_stack[0], ExplorerScreen)
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
        assert not unforeseen


async def test_the_answer_to_delete_is_given_once(session: Path) -> None:
    app = make_app(None, session.parent)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "made")
        for keys in (
            ("enter", "enter"),
            ("enter", "q"),
            ("escape", "escape"),
            ("n", "enter"),
        ):
            await pilot.press("D")
            await until_screen(pilot, Picker)
            type_at_once(app, *keys)
            await until_screen(pilot, SessionsScreen)
            assert session.exists()
            assert app._exception is None


async def test_what_is_typed_before_a_window_stands_is_meant_for_it(
    session: Path,
) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        type_at_once(app, "O", "down", "enter")
        await until(pilot, lambda: app.screen_stack[0].model.mode.name == "floor")
        type_at_once(app, "slash", *"the", "escape")
        await until(pilot, lambda: app.screen is app.screen_stack[0])


@pytest.mark.parametrize("size", [*SIZES, (100, 30)])
async def test_what_is_typed_after_a_pane_was_chosen_is_meant_for_it(
    session: Path, size: tuple[int, int]
) -> None:
    app = make_app(session)
    async with app.run_test(size=size) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        screen = app.screen
        assert isinstance(screen, ExplorerScreen)
        for _ in range(3):
            before = screen.model.sequence
            type_at_once(app, "2", "up", "enter")
            await until(pilot, lambda: screen.model.sequence != before)  # noqa: B023
            await until(pilot, lambda: screen.focused is screen.tokens)
            assert not screen.pane_switch.zoomed


async def test_a_window_that_is_covered_is_left_as_soon_as_it_is_seen(
    session: Path,
) -> None:
    app = make_app(session)
    answers: list[int | None] = []
    async with app.run_test(size=SMALL) as pilot:
        picker = Picker(
            "Which", "", 3, lambda index, width: [("row", app.palette.text)]
        )
        app.push_screen(picker, answers.append)
        await until(pilot, lambda: picker.stands)
        app.show_error("something else")
        await until_screen(pilot, TextScreen)
        picker.dismiss(2)
        picker.dismiss(1)
        await pilot.pause()
        assert isinstance(app.screen, TextScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.screen_stack[0])
        assert answers == [2]


async def test_a_key_that_is_held_opens_one_window(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        for _ in range(60):
            type_at_once(app, "f1", "ctrl+p", "f1")
            await pilot.pause(0.005)
        assert len(app.screen_stack) < 5
        while len(app.screen_stack) > 1:
            await pilot.press("escape")


async def test_the_palette_moves_only_in_what_was_found(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        for key in (
            "pagedown",
            "pageup",
            "ctrl+end",
            "ctrl+home",
            "down",
            "up",
            "enter",
        ):
            type_at_once(app, "ctrl+p", key, key)
            await pilot.pause(0.05)
            type_at_once(app, "ctrl+p", "ctrl+p", key, "escape", "ctrl+p")
            await pilot.pause(0.05)
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
        assert app._exception is None


@pytest.mark.parametrize(
    "before",
    [
        (),
        ("slash",),
        ("ctrl+p",),
        ("semicolon",),
        ("t",),
        ("m",),
        ("question_mark", "slash"),
    ],
)
async def test_ctrl_q_quits_from_everywhere(
    session: Path, before: tuple[str, ...]
) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        type_at_once(app, *before, "ctrl+q")
        await until(pilot, lambda: app._exit)
    assert app.return_value == 0


async def test_a_key_of_ones_own_that_is_a_character_is_typed_in_lines(
    session: Path,
) -> None:
    app = make_app(session, keymap={"app.quit_now": ("Q",)})
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash", *"aQb")
        assert not app._exit and app.screen.text == "aQb"  # type: ignore[attr-defined]
        await pilot.press("escape", "Q")
        assert app._exit


# ---- exceptions


class _BrokenError(Exception):
    pass


def _fail(*_: Any, **__: Any) -> Any:
    raise _BrokenError("no one thought of it")


async def test_a_handler_that_raises_is_told_once_and_ends_nothing(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExplorerScreen, "action_matrix", _fail)
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        await pilot.press("m")
        await until_shown(pilot, "unexpected _BrokenError: no one thought of it")
        await pilot.press("escape", "m", "n")
        assert app.screen is app.screen_stack[0]
        assert len(unforeseen) == 2
        await pilot.press("question_mark")
        await until_shown(pilot, "One token back")
    unforeseen.clear()


_WORK = {
    "R": "logdrift.core.report.build.report_on",
    "T": "logdrift.core.compare.measured.measure_pair",
    "w": "logdrift.tui.screens.why.explain",
}
"""The key of a screen and what it works out in a thread."""


@pytest.mark.parametrize("key", _WORK)
async def test_work_that_fails_is_told_and_ends_nothing(
    session: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_WORK[key], _fail)
    app = make_app(session)
    async with app.run_test(size=MEDIUM) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        await pilot.press(key)
        await until_shown(pilot, "no one thought of it")
        while len(app.screen_stack) > 1:
            await pilot.press("escape" if isinstance(app.screen, TextScreen) else "q")
        assert app._exception is None
    unforeseen.clear()


async def test_a_line_that_cannot_be_drawn_says_so(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logdrift.tui.widgets.sequences.SequenceList.runs", _fail)
    app = make_app(session)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "unexpected _BrokenError")
        await pilot.press("n", "3")
        assert app._exception is None
    unforeseen.clear()


def test_a_thread_that_hangs_keeps_nobody_from_quitting(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        hung.set()
        threading.Event().wait(60)

    monkeypatch.setattr("logdrift.core.report.build.report_on", hang)
    app = make_app(session)

    async def leave(pilot: Any) -> None:
        type_at_once(app, "R")
        while not hung.is_set():
            await asyncio.sleep(0.01)
        type_at_once(app, "ctrl+q")

    began = time.monotonic()
    app.run(headless=True, size=(80, 24), auto_pilot=leave)
    assert time.monotonic() - began < 15


# ---- what is typed, and what is read

ODD = (
    "~a",
    "~nosuch/x",
    FAR,
    "a/" * 3000,
    "nul\0byte",
    "\udcff\udc80",
    "\x1b[31m",
    "/proc/1/mem",
    " ",
    "é" * 200,
)


@pytest.mark.parametrize("key", ["I", "slash", "f2"])
async def test_odd_input_in_the_list_is_one_line(session: Path, key: str) -> None:
    app = make_app(None, session.parent)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "made")
        for text in ODD:
            await pilot.press(key)
            app.post_message(events.Paste(text))
            await pilot.press("enter")
            await pilot.pause(0.02)
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
            await pilot.press("escape")
        assert app._exception is None
        assert not unforeseen


@pytest.mark.parametrize("key", ["slash", "colon", "f", "ctrl+s", "w", "R"])
async def test_odd_input_in_the_explorer_is_one_line(session: Path, key: str) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, ExplorerScreen) and app.screen.stands
        )
        for text in ODD:
            await pilot.press(key, *(["w"] if key in "wR" else []))
            app.post_message(events.Paste(text))
            await pilot.press("enter")
            await pilot.pause(0.02)
            while len(app.screen_stack) > 1:
                await pilot.press(
                    "escape"
                    if not isinstance(app.screen, type(app.screen_stack[0]))
                    else "q"
                )
                if len(app.screen_stack) > 1:
                    await pilot.press("q")
        assert app._exception is None
        assert not unforeseen


async def test_odd_input_in_the_form_is_said_below_its_field(session: Path) -> None:
    app = make_app(None, session.parent)
    with no_engines():
        async with app.run_test(size=SMALL) as pilot:
            await until_shown(pilot, "made")
            for text in ODD:
                await pilot.press("ctrl+n")
                for _ in range(6):
                    app.post_message(events.Paste(text))
                    await pilot.press("down")
                await pilot.press("ctrl+s")
                await pilot.pause(0.02)
                await until(pilot, lambda: len(app.screen_stack) > 1)
                while len(app.screen_stack) > 1:
                    await pilot.press("escape", "y")
            assert app._exception is None
            assert not unforeseen


def _damage(folder: Path) -> None:
    """Sessions that are wrong in ways that no file of ours is."""
    manifest = json.loads((folder / "good" / "session.json").read_text())

    def other(name: str, text: str, file: str = "session.json") -> None:
        shutil.copytree(folder / "good", folder / name)
        (folder / name / file).write_text(text)

    deep = "[" * 200_000
    lock = {
        "host": "elsewhere",
        "pid": 1,
        "started": 1,
        "token": "t",
        "since": float("nan"),
    }
    other("deep", deep)
    other("deep-lock", deep, "lock")
    other("nan-lock", json.dumps(lock), "lock")
    shutil.copytree(folder / "nan-lock", folder / "deep-events")
    (folder / "deep-events" / "events.jsonl").write_text(deep)
    blank = [
        {**info, "status": "failed", "failure": " \n\t"}
        for info in manifest["captures"]
    ]
    other("blank", json.dumps({**manifest, "captures": blank}))
    for name, value in (("number-id", 3), ("list-id", ["a"]), ("no-id", None)):
        other(name, json.dumps({**manifest, "id": value}))
    other("list", "[1, 2]")
    other("closed", "{}")
    (folder / "closed").chmod(0)


@pytest.mark.parametrize("size", SIZES)
async def test_bad_sessions_end_neither_the_list_nor_another_one(
    own_home: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    folder = tmp_path / "sessions"
    make_session(folder / "good", 300, 3, 5, captures=2)
    _damage(folder)
    app = make_app(None, folder)
    try:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: len(app.screen.list.sessions) > 10)
            for _ in range(len(app.screen.list.sessions)):
                await pilot.press("enter")
                await pilot.pause(0.1)
                while len(app.screen_stack) > 1:
                    await pilot.press("q")
                await pilot.press("down")
            rows = {row.name: row for row in app.screen.list.sessions}
            assert rows["good"].problem is None
            assert rows["deep"].problem
            assert rows["list"].problem
            await pilot.press("home")
            while app.screen.list.here.name != "good":
                await pilot.press("down")
            await pilot.press("enter")
            await until_screen(pilot, ExplorerScreen)
            assert app._exception is None
            assert not unforeseen
    finally:
        (folder / "closed").chmod(0o755)


@pytest.mark.parametrize(
    "name", ["huge", "infinite", "missing", "empty", "failed", "alone"]
)
@pytest.mark.parametrize("size", [(60, 20), *SIZES])
async def test_every_key_on_extreme_numbers(
    own_home: Path, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    sessions = make_world(tmp_path / "world")
    with no_engines():
        app = make_app(sessions / name, sessions)
        async with app.run_test(size=size) as pilot:
            for key in KEYS:
                await pilot.press(key)
                while len(app.screen_stack) > 1:
                    await pilot.press("escape")
                    if len(app.screen_stack) > 1:
                        await pilot.press("q")
                if app._exit:
                    break
            assert app._exception is None
            assert not unforeseen


async def test_a_screen_with_no_room_is_made(session: Path) -> None:
    app = make_app(session)
    async with app.run_test(size=SMALL) as pilot:
        for width, height in (
            (12, 24),
            (1, 1),
            (0, 0),
            (80, 0),
            (65535, 65535),
            (80, 24),
        ):
            size = Size(width, height)
            app.post_message(events.Resize(size, size))
            await pilot.press("R")
            await pilot.pause(0.1)
            assert app.size.width <= 1000
            assert app.size.height <= 500
            while len(app.screen_stack) > 1:
                await pilot.press("q")
        assert app.size == (80, 24)
        assert app._exception is None


async def test_captures_are_shifted_only_where_a_token_is_shown(
    own_home: Path, tmp_path: Path
) -> None:
    write_session(tmp_path / "empty", [], [])
    app = make_app(tmp_path / "empty")
    async with app.run_test(size=MEDIUM) as pilot:
        screen = app.screen_stack[0]
        assert isinstance(screen, ExplorerScreen)
        await until(pilot, lambda: screen.stands)
        await pilot.press("3", "right", "l", "left", "h")
        await pilot.pause()
        assert not unforeseen
        assert app.screen is screen


async def test_a_screen_that_has_left_says_nothing_of_the_size(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "made", 200, 2, 5, captures=2)
    app = make_app(folder)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ExplorerScreen))
        await pilot.press("T")
        await until(pilot, lambda: not isinstance(app.screen, ExplorerScreen))
        leaving = app.screen
        assert isinstance(leaving, BaseScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not leaving)
        leaving.add_class("-toosmall")
        size = Size(10, 3)
        leaving.on_resize(events.Resize(size, size))
        assert not leaving.query("#toosmall")


async def test_a_timer_rings_however_late_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_session(tmp_path / "made", 200, 2, 5, captures=2)
    app = make_app(folder)
    rung: list[str] = []
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ExplorerScreen))
        # A process that is held for 50 ms before each look at the clock.
        held = iter(range(1 << 30))
        monkeypatch.setattr("textual.timer._time.get_time", lambda: 0.05 * next(held))
        screen = app.screen
        assert isinstance(screen, ExplorerScreen)
        for node in (app, screen, screen.chart, screen.tokens):
            node.set_timer(0.001, lambda: rung.append("rung"))
        await until(pilot, lambda: len(rung) == 4)


async def test_a_legend_that_comes_while_the_text_is_hidden_keeps_no_old_layout(
    tmp_path: Path,
) -> None:
    folder = make_session(tmp_path / "made", 400, 4, 5, captures=2)
    app = make_app(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ExplorerScreen))
        screen = app.screen
        assert isinstance(screen, ExplorerScreen)
        tokens = screen.tokens
        await until(pilot, lambda: tokens.token_count > 0 and tokens.size.height > 0)
        first = tokens.passage
        await pilot.press("]")
        await until(pilot, lambda: tokens.passage is not first)
        await until_quiet(pilot)
        assert first is not None
        await pilot.press("4")
        await until(pilot, lambda: not tokens.size.height)
        layout = tokens.flow
        tokens.show(first, 0)
        assert first.legend is not None
        tokens.show_legend(first.legend._replace(scored=first.legend.scored + 1))
        assert tokens.flow is not layout
        assert tokens.flow.line_of(tokens.token_count - 1) >= 0
