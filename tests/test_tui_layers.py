"""Layers: into the screen and out of it, each of its commands by its keys, and what is
saved, damaged or hostile in it.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from logdrift.cli.main import build_parser
from logdrift.cli.why_layers import parse_place
from logdrift.core.diagnose.layers import Layers
from logdrift.core.session.layers import FOLDER, save_layers
from logdrift.core.session.reader import Session
from logdrift.tui.actions import commands
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.layers import LayersScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.screens.why import WhyScreen
from tests.made_answers import a_result, put
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    detail,
    explorer,
    head,
    joined,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
NOTHING: dict[str, np.ndarray] = {}
"""The screen shows no tensors."""
SIZES = [(60, 20), (80, 24), (200, 60)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Two sequences of eight tokens from two backends, in a folder that a shell would
    take apart.
    """
    rows = [[np.nan, *[-1.0] * 7]] * 2
    near = [[np.nan, *[-1.25] * 7]] * 2
    return write_session(
        tmp_path / "a session",
        [2, 2],
        [capture("trainer/prefill", rows), capture("vllm/prefill", near)],
    )


def answer(name: str = "one", **changes: Any) -> Layers:
    """`a_result` with errors that grow, its second backend called ``vllm``."""
    found = a_result()
    sides = [
        replace(
            side,
            backend=backend,
            sentence=side.sentence.replace(side.backend, backend),
            stages=tuple(
                replace(s, error=1e-3 * 2**i) for i, s in enumerate(side.stages)
            ),
        )
        for side, backend in zip(found.sides, ("trainer", "vllm"), strict=True)
    ]
    return replace(found, **{"name": name, "sides": tuple(sides), **changes})


def save(session: Session, found: Layers) -> Path:
    return save_layers(session.folder, found.name, found.to_json(), NOTHING)


async def opened(pilot: Any, *moves: str) -> LayersScreen:
    """In from the explorer, after ``moves`` from the first token of the first
    sequence.
    """
    app = pilot.app
    await judged(pilot)
    await pilot.press("1", "g", *moves)
    await until(pilot, lambda: explorer(app).position == moves.count("l"))
    await pilot.press("w")
    await until(
        pilot, lambda: isinstance(app.screen, WhyScreen) and bool(app.screen.found)
    )
    await pilot.press("y")
    return await read(pilot)


async def read(pilot: Any) -> LayersScreen:
    app = pilot.app
    await until(
        pilot,
        lambda: isinstance(app.screen, LayersScreen) and app.screen.found is not None,
    )
    screen: LayersScreen = app.screen
    await until(pilot, lambda: "being read" not in head(screen))
    return screen


def title(screen: LayersScreen) -> str:
    return lines(screen.stages)[0].strip()


def copied(sent: list[str]) -> str:
    """What went to the clipboard last."""
    data = next(s for s in reversed(sent) if s.startswith("\x1b]52;c;"))
    return base64.b64decode(data[7:-1]).decode()


# -- every command, by every key


async def _turned(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    before = title(screen)
    await pilot.press(key)
    await until(pilot, lambda: title(screen) != before)
    assert {before.split()[0], title(screen).split()[0]} == {"trainer", "vllm"}


async def _command(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    await pilot.press(key)
    await until_shown(pilot, "copied ")
    check_command(copied(sent), screen.session, "0:1")


def check_command(line: str, session: Session, place: str) -> None:
    """As a shell and the command line would read it."""
    program, *words = shlex.split(line)
    args = build_parser("why").parse_args(words)
    assert program == "logdrift"
    assert args.session == session.folder
    assert args.pair == ["trainer/prefill:vllm/prefill"]
    assert args.layers == place
    assert parse_place(args.layers)


async def _debuggers(
    pilot: Any, screen: LayersScreen, sent: list[str], key: str
) -> None:
    app = pilot.app
    await pilot.press(key)
    await until(
        pilot,
        lambda: (
            isinstance(app.screen, TextScreen)
            and "Deeper debuggers · token 0:1" in screen_text(app)
        ),
    )
    shown = app.screen.text_to_save()
    # Up to the token, and of the layer that was found for this sequence before.
    assert '"input_ids": [0]' in shown
    assert r"layers\.2\." in shown
    await pilot.press("q")
    await until_back(pilot, screen)


async def _copy(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    await pilot.press(key)
    await until_shown(pilot, "copied ")
    check_table(copied(sent))


def check_table(table: str) -> None:
    """All stages of both backends, in full."""
    names, *rows = [line.split("\t") for line in table.rstrip("\n").split("\n")]
    assert names == [
        "place",
        "backend",
        "stage",
        "relative error",
        "times rounding",
        "limit",
        "wrong",
    ]
    stages = [(side.backend, stage) for side in answer().sides for stage in side.stages]
    assert [row[:3] for row in rows] == [
        ["0", backend, stage.name] for backend, stage in stages
    ]
    for row, (_, stage) in zip(rows, stages, strict=True):
        numbers = [stage.error, stage.times, stage.limit]
        assert [float(cell) for cell in row[3:6]] == pytest.approx(
            numbers, rel=1e-5
        )  # six digits are written
        assert row[6] == ("yes" if stage.wrong else "no")
    found = [row[1:3] for row in rows if row[6] == "yes"]
    expected = [["vllm", "layer 2"]]
    assert found == expected


async def _save(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    app = pilot.app
    await pilot.press(key)
    await until_screen(pilot, LinePrompt)
    name = app.screen.text
    assert name.startswith("layers")
    assert name.endswith(".tsv")
    await pilot.press("enter")
    await until(pilot, lambda: app.screen is screen and "written: " in screen_text(app))
    check_table(Path(name).read_text(encoding="utf-8"))


async def _back(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    await pilot.press(key)
    await until_screen(pilot, WhyScreen)


async def _start(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    """What no plan can start is said at once; tests/test_tui_asking.py starts some."""
    app = pilot.app
    await pilot.press(key)
    await until_screen(pilot, TextScreen)
    assert "has no plan for backend 'trainer'" in joined(screen_text(app))
    await pilot.press("escape")
    await until_back(pilot, screen)


async def _cancel(pilot: Any, screen: LayersScreen, sent: list[str], key: str) -> None:
    await pilot.press(key)
    await until_shown(pilot, "no engine is being asked")


EFFECTS: dict[str, Callable[[Any, LayersScreen, list[str], str], Awaitable[None]]] = {
    "start": _start,
    "cancel_run": _cancel,
    "next_side": _turned,
    "previous_side": _turned,
    "copy_command": _command,
    "debuggers": _debuggers,
    "copy": _copy,
    "save": _save,
    "back": _back,
}
"""By command: press a key of it and see what it does."""


async def test_every_command_is_done_by_each_of_its_keys(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(session, answer())
    app = make_app(session.folder)
    pressed: list[str] = []
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot, "l")
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        for command in commands("layers"):
            for key in command.keys:
                if app.screen is not screen:
                    await pilot.press("y")
                    screen = await read(pilot)
                screen.say("")
                sent.clear()
                await EFFECTS[command.name](pilot, screen, sent, key)
                pressed.append(command.name)
    assert (
        set(pressed) == set(EFFECTS) == {command.name for command in commands("layers")}
    )


# -- in and out


@pytest.mark.parametrize("key", ["q", "escape"])
async def test_in_and_out_leads_back_to_the_token(session: Session, key: str) -> None:
    save(session, answer())
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, "l", "l")
        await pilot.press(key)
        await until_screen(pilot, WhyScreen)
        await pilot.press(key)
        await until_screen(pilot, ExplorerScreen)
        assert explorer(app).position == 2


@pytest.mark.parametrize("size", SIZES)
async def test_without_an_answer_the_command_stands_there_and_is_copied(
    session: Session, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, "l", "l", "l")
        assert head(screen).startswith(
            "trainer/prefill → vllm/prefill · token 0:3 ·w3 nothing is saved"
        )
        # Where it is broken over lines a blank may be lost, in the path too.
        assert detail(screen).replace(" ", "") == screen.command.replace(" ", "")
        assert not any(line.strip() for line in lines(screen.stages)[1:])
        # No answer can be chosen and there is no next one: no key says so.
        keys = lines(screen.hint_line)[0]
        assert "choose" not in keys
        assert "Tab" not in keys
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        for key in ("Y", "c"):
            sent.clear()
            await pilot.press(key)
            check_command(copied(sent).rstrip("\n"), session, "0:3")
        await pilot.press("tab")
        await until_shown(pilot, "there is no other answer")


async def test_the_first_token_has_no_score_and_the_whole_sequence_is_asked_about(
    session: Session,
) -> None:
    save(session, answer())
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        assert screen.command.endswith(" --layers 0")
        assert "what was saved for the whole of this sequence" in head(screen)


# -- what is shown


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("depth", ["256", "none"])
async def test_the_wrong_layer_is_marked_selected_and_told_in_full(
    session: Session, size: tuple[int, int], depth: Any
) -> None:
    """The mark is a character: it stands there with colours and without."""
    found = answer(notes=("hooks measure the eager engine, " * 6,))
    save(session, found)
    app = make_app(session.folder, depth=depth)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, "l")
        assert title(screen).startswith("trainer against reference · 0")
        assert title(screen).endswith("1 of 2")
        assert "▲" not in text(screen.stages)
        await pilot.press("tab")
        await until(pilot, lambda: title(screen).startswith("vllm"))
        rows = lines(screen.stages)[2:]
        shown = found.sides[1].stages
        for row, stage in zip(rows, shown, strict=False):
            assert row[:3] == (" ▲ " if stage.wrong else "   ")
            assert f" {stage.error:.2e} " in row
            assert row[3:].startswith(stage.name)
            assert row.rstrip()[-1] in "█▏▎▍▌▋▊▉"
        expected = [["▲", "layer", "2"]]
        assert [row.split()[:3] for row in rows if "▲" in row] == expected
        bars = [row.count("█") for row in rows[: len(shown)]]
        assert bars == sorted(bars)
        assert bars[0] < bars[-1]
        assert shown[screen.stages.selected].wrong
        assert found.sides[1].sentence in detail(screen)
        assert "hooks measure" in detail(screen)
        within(screen)


def within(screen: LayersScreen) -> None:
    """All that is drawn fits: no line is wider than the screen, and the panes take no
    more lines than it has.
    """
    width, height = screen.size
    panes = [
        screen.query_one("#verdict"),
        screen.stages,
        screen.query_one("#detail"),
        screen.query_one("#hints"),
    ]
    assert sum(pane.size.height for pane in panes) == height
    assert screen.stages.page >= 5
    for pane in panes:
        assert pane.region.right <= width
        for y in range(pane.size.height):
            strip = pane.render_line(y)
            assert cell_len(strip.text) == strip.cell_length <= width


async def test_a_wrong_layer_far_down_is_brought_into_sight_and_moving_away_stays(
    session: Session,
) -> None:
    found = answer()
    (right, wrong), many = found.sides, 90
    stage = next(s for s in wrong.stages if s.wrong)
    stages = tuple(
        replace(stage, name=f"layer {i}", wrong=i == 70) for i in range(many)
    )
    save(session, replace(found, sides=(replace(wrong, stages=stages), right)))
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, "l")
        await until(pilot, lambda: " ▲ layer 70" in text(screen.stages))
        await pilot.press("home")
        await until(pilot, lambda: "layer 0 " in text(screen.stages))
        await pilot.resize_terminal(100, 30)
        await until(
            pilot, lambda: screen.size.width == 100 and screen.stages.selected == 0
        )
        assert "layer 0 " in text(screen.stages)


async def test_answers_of_other_tokens_are_said_to_be_that_and_the_nearest_comes_first(
    session: Session,
) -> None:
    save(session, answer("far", sequence=1, position=3))
    save(session, answer("near", position=5))
    save(session, answer("other", a="sglang/prefill"))
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, "l", "l")
        assert title(screen).endswith("1 of 4") and "· 0:5" in title(screen), (
            "not that of another engine"
        )
        assert (
            "nothing is saved for this token, this is about another token of this"
            " sequence" in head(screen)
        )
        await pilot.press("tab", "tab")
        await until(pilot, lambda: "· 1:3" in title(screen))
        assert (
            "nothing is saved for this token, this is about another sequence"
            in head(screen)
        )
        await pilot.press("q")
        save(session, answer("exact", position=2))
        await until_screen(pilot, WhyScreen)
        await pilot.press("y")
        screen = await read(pilot)
        assert "what was saved for this token" in head(screen)
        assert "· 0:2" in title(screen)
        await pilot.press("tab", "tab")
        await until(pilot, lambda: "· 0:5" in title(screen))
        assert "not what was saved for this token, this is about another token" in head(
            screen
        )


HOSTILE = "\x1b]0;x\x07\u202eevil\u200b\n\udce9 宽宽"
"""Sets a window's title, writes from right to left, has no width, two lines, a lone
byte, and characters of two cells.
"""


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_text_is_made_visible_wherever_it_stands(
    session: Session, size: tuple[int, int]
) -> None:
    found = answer(standard=HOSTILE, notes=(HOSTILE * 9,))
    sides = [
        replace(
            s,
            backend=HOSTILE,
            sentence=HOSTILE * 9,
            stages=tuple(replace(t, name=HOSTILE) for t in s.stages),
        )
        for s in found.sides
    ]
    save(session, replace(found, sides=tuple(sides)))
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, "l")
        shown = screen_text(app)
        assert all(line.isprintable() for line in shown.split("\n")), ascii(shown)
        assert "<0x1B>]0;x<0x07>" in title(screen)
        assert "<0x1B>]0;x<0" in detail(screen)
        assert lines(screen.stages)[2][3:].startswith("<0x1B>]0;x<…")
        within(screen)
        table = screen.text_to_save()
        assert all(
            line.isprintable() for line in table.replace("\t", " ").split("\n")
        ), ascii(table)
        assert {len(line.split("\t")) for line in table.split("\n")} == {7}


# -- damaged


DAMAGED: list[tuple[str, Any]] = [
    ("sides", 3),
    ("sides", [None]),
    ("notes", 5),
    ("notes", [5]),
    ("a", None),
    ("standard", 7),
    ("sequence", "0"),
    ("position", "x"),
    ("sides/0/backend", 4),
    ("sides/0/sentence", None),
    ("sides/0/layers", ["; rm"]),
    ("sides/0/stages", []),
    ("sides/0/stages", [{}]),
    ("sides/0/stages/0/name", 5),
    ("sides/0/stages/0/error", "x"),
    ("sides/0/stages/0/error", [1]),
    ("sides/0/stages/0/times", "30"),
    ("sides/0/stages/0/limit", None),
    ("sides/0/stages/0/limit", 10**400),
]


async def test_damaged_answers_are_left_out(session: Session) -> None:
    """Each is broken in one place; what is whole beside them is shown."""
    for i, (path, value) in enumerate(DAMAGED):
        data = answer(f"bad-{i}").to_json()
        put(data, path, value)
        save_layers(session.folder, f"bad-{i}", data, NOTHING)
    folder = session.folder / FOLDER
    (folder / "cut.json").write_text(
        json.dumps(answer().to_json())[:300], encoding="utf-8"
    )
    (folder / "deep.json").write_text("[" * 200_000, encoding="utf-8")
    (folder / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (folder / "list.json").write_text("[1]", encoding="utf-8")
    (folder / "folder.json").mkdir()
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, "l")
        assert screen.found == ()
        assert "nothing is saved for these backends" in head(screen)
        await pilot.press("v")
        await until_screen(pilot, TextScreen)
        await pilot.press("q", "q")
        await until_screen(pilot, WhyScreen)
        save(session, answer())
        await pilot.press("y")
        screen = await read(pilot)
        assert title(screen).endswith("1 of 2")


async def test_a_stage_without_a_number_has_a_dot_or_nan_and_no_bar(
    session: Session,
) -> None:
    found = answer()
    right, wrong = found.sides
    none = replace(right.stages[0], error=float("nan"), times=None)
    save(
        session,
        replace(found, sides=(replace(right, stages=(none, *right.stages[1:])), wrong)),
    )
    app = make_app(session.folder)
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await opened(pilot, "l")
        expected = ["embedding", "nan", "·"]
        assert lines(screen.stages)[2].split() == expected
        await pilot.press("enter", "end")
        await until(pilot, lambda: screen.stages.selected == len(right.stages) - 1)
        within(screen)


async def test_what_cannot_be_made_into_commands_is_said_in_a_window(
    session: Session,
) -> None:
    """The screen stays."""
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, "l")
        screen.sequence = 9
        await pilot.press("v")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "has no sequence 9" in screen_text(app)
            ),
        )
        await pilot.press("q")
        await until_back(pilot, screen)
