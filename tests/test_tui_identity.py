"""Identity: into the window and out of it; what differs is named, who was not asked is
said, damage is one line.
"""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from logdrift.cli.main import build_parser
from logdrift.core.session.identity import (
    LoadedTensor,
    LoadedWeights,
    identity_file,
    write_identity,
)
from logdrift.core.session.reader import Session
from logdrift.tui.actions import commands
from logdrift.tui.screens.identity import IdentityScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.why import WhyScreen
from tests.made_answers import loaded, off, put
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    SMALL,
    judged,
    make_app,
    screen_text,
    text,
    until,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
SIZES = [(60, 20), (80, 24), (200, 60)]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Three backends, in a folder that a shell would take apart."""
    rows = [[np.nan, *[-1.0] * 7]]
    labels = ("trainer/prefill", "vllm/prefill", "sglang/prefill")
    return write_session(
        tmp_path / "it's a session", [2], [capture(label, rows) for label in labels]
    )


def save(session: Session, *found: LoadedWeights) -> None:
    for each in found:
        write_identity(session.folder, asdict(each))


async def opened(pilot: Any) -> IdentityScreen:
    app = pilot.app
    await judged(pilot)
    await pilot.press("w")
    await until_screen(pilot, WhyScreen)
    why = app.screen
    await until(pilot, lambda: why.found is not None or bool(why._problem))
    await pilot.press("i")
    await until(
        pilot,
        lambda: isinstance(app.screen, IdentityScreen) and app.screen._read is not None,
    )
    screen: IdentityScreen = app.screen
    await until(pilot, lambda: "being read" not in text(screen.reading))
    return screen


def told(screen: IdentityScreen) -> str:
    """What is seen of the text, without the scroll bar."""
    return " ".join(word for word in text(screen.reading).split() if word not in "│┃")


def within(screen: IdentityScreen) -> None:
    """Nothing is wider than its pane, and no pane leaves the screen."""
    reading = screen.reading
    assert reading.region.right <= screen.size.width
    assert reading.region.bottom <= screen.size.height
    for y in range(reading.size.height):
        strip = reading.render_line(y)
        assert cell_len(strip.text) == strip.cell_length <= reading.size.width


@pytest.mark.parametrize("size", SIZES)
async def test_what_differs_is_named_and_who_was_not_asked_is_said(
    session: Session, size: tuple[int, int]
) -> None:
    unread = LoadedTensor("c", reason="this is a shard of 2 ranks")
    save(session, loaded("trainer"), loaded("vllm", b=off("b"), c=unread))
    app = make_app(session.folder, depth="none" if size[0] == 60 else "256")
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        shown = told(screen)
        assert "trainer 3 tensors as on disk (3 by digest)" in shown
        assert "1 of 3 tensors differs from disk, 1 not read, 1 as on disk" in shown
        assert "b (relative L2 0.005, 60% of entries), by digest" in shown
        assert "not read: c: this is a shard of 2 ranks" in shown
        await pilot.press("G")
        await until(pilot, lambda: "Not checked: sglang." in told(screen))
        assert screen.command.replace(" ", "") in told(screen).replace(" ", "")
        within(screen)


async def test_all_that_were_asked_leave_nothing_to_ask(session: Session) -> None:
    save(session, *map(loaded, ("trainer", "vllm", "sglang")))
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        assert told(screen).count("3 tensors as on disk") == 3
        assert "Not checked" not in told(screen)
        assert "--identity" not in told(screen)


@pytest.mark.parametrize("size", SIZES)
async def test_without_an_answer_the_command_stands_there_and_is_copied_alone(
    session: Session, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        assert "No backend has been asked yet." in told(screen)
        assert screen.command.replace(" ", "") in told(screen).replace(" ", "")
        within(screen)
        (copied,) = await copies(pilot, monkeypatch, "Y")
        program, *words = shlex.split(copied)
        args = build_parser("why").parse_args(words)
        assert (program, args.session, args.identity) == (
            "logdrift",
            session.folder,
            True,
        )


async def copies(
    pilot: Any, monkeypatch: pytest.MonkeyPatch, key: str = "c"
) -> list[str]:
    """What a key sends to the clipboard."""
    sent: list[str] = []
    monkeypatch.setattr(pilot.app._driver, "write", sent.append)
    await pilot.press(key)
    await until_shown(pilot, "copied ")
    return [
        base64.b64decode(s[7:-1]).decode() for s in sent if s.startswith("\x1b]52;c;")
    ]


async def test_every_command_is_done_by_each_of_its_keys(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines are started in tests/test_tui_asking.py: this session has no plan."""
    save(session, loaded("vllm"))
    said = {
        "start": "not captured here: no engine can be asked",
        "cancel_run": "no engine is being asked",
        "copy_command": "copied ",
        "copy": "copied ",
        "back": "",
    }
    assert said.keys() == {command.name for command in commands("identity")}
    app = make_app(session.folder)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot)
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        for command in commands("identity"):
            for key in command.keys:
                if app.screen is not screen:
                    await pilot.press("i")
                    await until_screen(pilot, IdentityScreen)
                    screen = app.screen  # type: ignore[assignment]
                screen.say("")
                sent.clear()
                await pilot.press(key)
                if command.name == "back":
                    await until_screen(pilot, WhyScreen)
                    continue
                words = said[command.name]
                await until(pilot, lambda words=words: words in screen_text(app))  # type: ignore[misc]
                (copied,) = [_copied(s) for s in sent if "]52;c;" in s] or [""]
                shown = {
                    "copy_command": screen.command,
                    "copy": screen.text_to_save(),
                }
                assert copied == shown.get(command.name, "")


def _copied(sent: str) -> str:
    return base64.b64decode(sent[7:-1]).decode()


async def test_an_answer_is_copied_and_saved_as_it_stands(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save(session, loaded("vllm", b=off("b")))
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        (copied,) = await copies(pilot, monkeypatch)
        assert "b (relative L2 0.005" in copied
        assert "Not checked: sglang, trainer." in copied
        assert copied.split("\n")[-1] == screen.command
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        assert app.screen.text == "identity.txt"
        await pilot.press("enter")
        await until(
            pilot, lambda: app.screen is screen and "written: " in screen_text(app)
        )
    assert (tmp_path / "here" / "identity.txt").read_text(
        encoding="utf-8"
    ) == f"{copied}\n"


@pytest.mark.parametrize("key", ["q", "escape"])
async def test_out_again_to_the_causes(session: Session, key: str) -> None:
    save(session, loaded("vllm"))
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.resize_terminal(60, 20)
        await until(
            pilot,
            lambda: app.screen.size.width == 60 and "as on disk" in screen_text(app),
        )
        await pilot.press(key)
        await until_screen(pilot, WhyScreen)


# -- hostile and damaged


HOSTILE = "\x1b]0;x\x07\u202eevil\u200b\n\udce9 宽宽"


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_text_is_made_visible(
    session: Session, size: tuple[int, int]
) -> None:
    unread = LoadedTensor(HOSTILE * 3, reason=HOSTILE)
    found = replace(
        loaded("vllm", b=off(HOSTILE), c=unread),
        config_differs=((HOSTILE, HOSTILE, HOSTILE),),
        facts={"dtype": "bfloat16", "tokenizer_digest": [HOSTILE]},
    )
    save(
        session, found, replace(loaded("trainer"), facts={"tokenizer_digest": HOSTILE})
    )
    # A name of a file is the name of a backend.
    identity_file(session.folder, HOSTILE.replace("\n", "")).write_bytes(
        identity_file(session.folder, "trainer").read_bytes()
    )
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        shown = screen_text(app)
        assert all(line.isprintable() for line in shown.split("\n")), ascii(shown)
        assert all(line.isprintable() for line in screen.text_to_save().split("\n"))
        assert told(screen).count("<0x1B>") > 1
        within(screen)


DAMAGED: list[tuple[str, Any]] = [
    ("tensors", 3),
    ("tensors", [None]),
    ("tensors/0/name", 5),
    ("tensors/0/same", "no"),
    ("tensors/0/l2", "x"),
    ("tensors/0/reason", []),
    ("tensors/0/digest", {}),
    ("facts", []),
    ("tied", "yes"),
    ("config", 1),
    ("engine", None),
    ("backend", 7),
    ("config_differs", [[1]]),
    ("schema", "x"),
]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *DAMAGED,
        ("schema", 99),
        ("", "["),
        pytest.param("", "[" * 200_000, id="nested"),
        ("", "[1]"),
    ],
)
async def test_a_damaged_check_is_named_with_what_to_do(
    session: Session, path: str, value: Any
) -> None:
    file = identity_file(session.folder, "vllm")
    save(session, loaded("trainer"), loaded("vllm", b=off("b")))
    data = json.loads(file.read_bytes())
    if path:
        put(data, path, value)
    file.write_text(json.dumps(data) if path else value, encoding="utf-8")
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        said = (
            "is of a newer logdrift"
            if value == 99
            else "is damaged: delete it, and check again"
        )
        assert "vllm.json:" in told(screen)
        assert said in told(screen)
        within(screen)
        await pilot.press("q")
        await until_screen(pilot, WhyScreen)
