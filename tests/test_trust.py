"""A session from elsewhere starts nothing until its user has confirmed it, once; what
is captured here is never asked about.

The interpreter of every plan here writes down that it was started: that file, not what
is said, is what tests look at.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.capture import trust
from logdrift.core.capture.background import start_background
from logdrift.core.capture.into import add_backends
from logdrift.core.capture.supervisor import run_session
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.investigate.experiment_jobs import start_experiments
from logdrift.core.investigate.experiments import run_experiments
from logdrift.core.investigate.identity import chosen_backends, identify
from logdrift.core.investigate.layers import find_layers
from logdrift.core.plan import parse_spec
from logdrift.core.session.experiments import FOLDER
from logdrift.core.session.importers import import_session
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.manage import rename_session
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.confirm_start import ConfirmStart
from logdrift.tui.screens.experiments import ExperimentsScreen
from logdrift.tui.screens.why import WhyScreen
from tests.common import Fields, Run, refused
from tests.made_experiments import named, simple
from tests.made_sessions import captured_here, edit_manifest
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    judged,
    make_app,
    screen_text,
    until,
    until_screen,
    until_shown,
)

PAIR = ("trainer/prefill", "vllm/prefill")
LOGDRIFT = Path(sys.executable).parent / "logdrift"


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Path]:
    """What the planned interpreter leaves behind, beside it ``python`` itself."""
    python = tmp_path / "elsewhere" / "python"
    python.parent.mkdir()
    python.write_text(
        f"#!/bin/sh\necho started >> {tmp_path}/elsewhere/witness\nexit 3\n"
    )
    python.chmod(0o755)
    return tmp_path / "elsewhere" / "witness"


@pytest.fixture
def stranger(tmp_path: Path, witness: Path) -> Session:
    """A session with a plan that nobody here has captured; one of its captures is left
    to do.
    """

    def change(data: Fields) -> None:
        data["plan"]["trust_remote_code"] = True
        for backend in data["plan"]["backends"]:
            backend.update(
                python=str(witness.with_name("python")), options={"attention": "odd"}
            )

    return edit_manifest(simple(tmp_path / "stranger")[0], change)


@pytest.fixture
def unfinished(stranger: Session) -> Session:
    def change(data: Fields) -> None:
        data["captures"][0].update(status="pending", parts=[])

    return edit_manifest(stranger, change)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


def the_pair(session: Session) -> Any:
    from logdrift.core.compare.pair import make_pair

    return make_pair(session, *PAIR)


WAYS: dict[str, Callable[[Session], object]] = {
    "resume": lambda s: run_session(s.folder, lambda event: None),
    "in the background": lambda s: start_background(s.folder),
    "another backend": lambda s: add_backends(
        s.folder, [parse_spec("transformers@more")]
    ),
    "identity": lambda s: identify(s, chosen_backends(s), lambda event: None),
    "layers": lambda s: find_layers(s, PAIR, 0),
    "experiments": lambda s: run_experiments(
        s, the_pair(s), list(named(s, the_pair(s)).values())
    ),
    "experiments in the background": lambda s: start_experiments(s, the_pair(s)),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_started_or_written_whoever_asks(
    stranger: Session, witness: Path, way: str
) -> None:
    before = tree(stranger.folder)
    with pytest.raises(
        trust.Stranger, match="not captured or confirmed here"
    ) as caught:
        WAYS[way](stranger)
    said = str(caught.value)
    assert "\n" not in said
    assert str(witness.with_name("python")) in said
    assert trust.FLAG in said
    assert "trust_remote_code is on" in said
    assert 'attention="odd"' in said
    assert tree(stranger.folder) == before
    assert not witness.exists()


COMMANDS: list[list[str]] = [
    ["why", "SESSION", "--identity"],
    ["why", "SESSION", "--run"],
    ["why", "SESSION", "--run", "--detach"],
    ["why", "SESSION", "--layers", "0"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_refuse_off_a_terminal_and_the_flag_confirms(
    stranger: Session, witness: Path, run_logdrift: Run, command: list[str]
) -> None:
    refuse_then_confirm(stranger, witness, run_logdrift, command)


@pytest.mark.parametrize("more", [[], ["--detach"]], ids=["here", "detached"])
def test_resume_refuses_off_a_terminal_and_the_flag_confirms(
    unfinished: Session, witness: Path, run_logdrift: Run, more: list[str]
) -> None:
    refuse_then_confirm(
        unfinished,
        witness,
        run_logdrift,
        ["capture", "--out", "SESSION", "--resume", *more],
    )


def refuse_then_confirm(
    session: Session, witness: Path, run_logdrift: Run, command: list[str]
) -> None:
    words = [str(session.folder) if word == "SESSION" else word for word in command]
    before = tree(session.folder)
    done = run_logdrift(*words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (
        2,
        "",
        1,
    ), done.stderr
    assert trust.FLAG in done.stderr
    assert tree(session.folder) == before
    assert not witness.exists()
    run_logdrift(*words, trust.FLAG)
    wait_for(witness)
    witness.unlink()
    # A session that was confirmed is not asked about again.
    assert trust.FLAG not in run_logdrift(*words).stderr


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()


def test_looking_starts_nothing(
    stranger: Session, witness: Path, run_logdrift: Run
) -> None:
    folder = stranger.folder
    for words in (
        ["report", folder],
        ["report", folder, "--json"],
        ["report", folder, "--html"],
        ["why", folder],
        ["diff", folder, folder],
        ["why", folder, "--run", "--dry-run"],
        ["why", folder, "--layers", "0", "--debuggers"],
        ["check", folder, "--max", "mae=1"],
    ):
        assert run_logdrift(*words).returncode == 0, words
    assert not witness.exists()


@pytest.mark.parametrize(
    ("answer", "started"), [("y\n", True), ("n\n", False), ("\n", False)]
)
def test_a_terminal_is_asked_once(
    unfinished: Session, witness: Path, answer: str, started: bool
) -> None:
    command = [str(LOGDRIFT), "capture", "--out", str(unfinished.folder), "--resume"]
    said, code = on_terminal(command, answer)
    assert "[y/N]" in said
    assert "trust_remote_code is on" in said
    assert str(witness.with_name("python")) in said
    assert witness.exists() is started
    assert code == (1 if started else 2)
    if started:
        again, _ = on_terminal(command, "")
        assert "[y/N]" not in again


def on_terminal(command: list[str], answer: str) -> tuple[str, int]:
    """What a command says on a terminal of its own, answered once it asks, and its exit
    code.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                said += os.read(ours, 4096)
            except OSError:
                break
            if answer and b"[y/N]" in said:
                os.write(ours, answer.encode())
                answer = ""
    os.close(ours)
    return said.decode(errors="replace"), process.wait(60)


def edited(
    change: Callable[[Fields], object],
) -> Callable[[Fields], None]:
    return lambda data: (change(data), None)[1]


EDITS: dict[str, Callable[[Fields], object]] = {
    "interpreter": lambda d: d["plan"]["backends"][0].update(python="/bin/false"),
    "option": lambda d: d["plan"]["backends"][0]["options"].update(worker_cls="odd"),
    "engine": lambda d: d["plan"]["backends"][0].update(engine="vllm"),
    "own model": lambda d: d["plan"]["backends"][1].update(model="/elsewhere/model"),
    "model": lambda d: d["model"].update(id="/elsewhere/model"),
    "revision": lambda d: d["plan"].update(revision="odd"),
    "remote code": lambda d: d["plan"].update(trust_remote_code=False),
    "another backend": (
        lambda d: d["plan"]["backends"].append(
            {**d["plan"]["backends"][0], "name": "more"}
        )
    ),
    "id": lambda d: d.update(id="another"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_session_that_was_edited_is_another_one(stranger: Session, edit: str) -> None:
    captured_here(stranger.folder)
    assert trust.is_ours(read_manifest(stranger.folder))
    changed = edit_manifest(stranger, edited(EDITS[edit]))
    assert not trust.is_ours(changed.manifest)


def test_results_title_and_place_change_nothing_of_what_is_run(
    stranger: Session, tmp_path: Path
) -> None:
    captured_here(stranger.folder)

    def captured(data: Fields) -> None:
        data["captures"][0].update(status="failed", failure="it ended")
        data["title"] = "another title"

    edit_manifest(stranger, captured)
    renamed = rename_session(stranger.folder, "renamed")
    moved = tmp_path / "away" / "moved"
    moved.parent.mkdir()
    shutil.move(renamed, moved)
    trust.require_folder(moved)


def test_what_is_added_here_stays_ours(stranger: Session) -> None:
    captured_here(stranger.folder)
    add_backends(
        stranger.folder, [parse_spec(f"transformers,python={sys.executable}@more")]
    )
    trust.require_folder(stranger.folder)


def test_a_plan_that_changes_while_it_is_asked_about_is_not_confirmed(
    stranger: Session,
) -> None:
    with pytest.raises(trust.Stranger) as caught:
        trust.require_folder(stranger.folder)
    changed = edit_manifest(stranger, edited(EDITS["interpreter"]))
    trust.remember(caught.value.manifest)
    with pytest.raises(trust.Stranger):
        trust.require(changed.folder, changed.manifest)


def test_an_experiment_that_came_along_is_captured_by_the_plan_that_was_confirmed(
    stranger: Session, witness: Path, tmp_path: Path
) -> None:
    """``why/experiments`` of a session holds sessions with plans of their own, which
    nobody was shown.
    """
    captured_here(stranger.folder)
    experiment = next(e for e in named(stranger, the_pair(stranger)).values() if e.runs)
    run_experiments(stranger, the_pair(stranger), [experiment])
    planted = tmp_path / "planted"
    planted.write_text(f"#!/bin/sh\ntouch {tmp_path}/planted-witness\nexit 3\n")
    planted.chmod(0o755)
    inner = next((stranger.folder / FOLDER).glob("*/session.json"))
    data = json.loads(inner.read_text())
    for backend in data["plan"]["backends"]:
        backend["python"] = str(planted)
    inner.write_text(json.dumps(data))
    witness.unlink()
    (inner.parent / "experiment.json").unlink(missing_ok=True)
    run_experiments(stranger, the_pair(stranger), [experiment])
    assert witness.exists()
    assert not (tmp_path / "planted-witness").exists()


@pytest.mark.parametrize("home", ["not writable", "none"])
def test_without_a_state_folder_a_confirmation_holds_for_this_run(
    unfinished: Session, witness: Path, run_logdrift: Run, tmp_path: Path, home: str
) -> None:
    (tmp_path / "file").write_text("")
    state = {"not writable": str(tmp_path / "file"), "none": str(tmp_path / "nowhere")}[
        home
    ]
    words = ["capture", "--out", unfinished.folder, "--resume", "--detach", trust.FLAG]
    run_logdrift(*words, XDG_STATE_HOME=state)
    wait_for(witness)


def test_import_leaves_nothing_that_can_be_started(
    stranger: Session, tmp_path: Path
) -> None:
    why = stranger.folder / "why" / "experiments" / "x"
    why.mkdir(parents=True)
    for name in ("session.json", "pieces.json", "why/experiments/x/python"):
        path = stranger.folder / name
        path.write_bytes(path.read_bytes() if path.exists() else b"#!/bin/sh\n")
        path.chmod(0o777)
    (stranger.folder / "logs").mkdir()
    (stranger.folder / "logs" / "run.sh").write_text("#!/bin/sh\n")
    (stranger.folder / "logs" / "run.sh").chmod(0o4755)
    out = tmp_path / "imported"
    import_session("session", [str(stranger.folder)], out)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert any(path.name == "run.sh" for path in files)
    odd = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH | stat.S_ISUID | stat.S_ISGID
    found = [path for path in files if path.stat().st_mode & odd]
    assert found == []
    with pytest.raises(trust.Stranger):
        trust.require_folder(out)


@pytest.mark.parametrize("answer", ["y", "n", "escape", "enter"])
async def test_the_list_asks_before_it_resumes(
    unfinished: Session, witness: Path, own_home: Path, answer: str
) -> None:
    app = make_app(None, unfinished.folder.parent)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "stranger")
        await pilot.press("f5")
        await until_screen(pilot, ConfirmStart)
        await until_shown(pilot, "trust_remote_code")
        assert not witness.exists()
        await pilot.press(answer)
        if answer == "y":
            await until(pilot, witness.exists)
        else:
            await until_shown(pilot, "nothing was started")
            assert not witness.exists()
    assert trust.is_ours(unfinished.manifest) is (answer == "y")


@pytest.mark.parametrize("answer", ["y", "n"])
async def test_the_experiments_screen_asks_before_it_starts_any(
    stranger: Session, witness: Path, own_home: Path, answer: str
) -> None:
    app = make_app(stranger.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        await pilot.press("w")
        await until(
            pilot,
            lambda: isinstance(app.screen, WhyScreen) and app.screen.found is not None,
        )
        await pilot.press("x")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, ExperimentsScreen)
                and app.screen.found is not None
            ),
        )
        await pilot.press("x")
        await until(pilot, lambda: type(app.screen) is Confirm)
        await pilot.press("y")
        await until_screen(pilot, ConfirmStart)
        await pilot.press(answer)
        if answer == "y":
            await until(pilot, witness.exists)
            await until(
                pilot, lambda: (stranger.folder / FOLDER / "events.jsonl").exists()
            )
        else:
            await until_shown(pilot, "nothing was started")
            assert not (stranger.folder / "why").exists()


def test_the_shown_plan_is_safe_on_a_terminal(stranger: Session) -> None:
    hostile = edit_manifest(
        stranger,
        lambda d: d["plan"]["backends"][0].update(
            python="/x\x1b]0;owned\x07\u202e\n", model="m" * 5000
        ),
    )
    with refused("what the plan of this session would start is 5,"):
        trust.would_start(hostile.manifest)
    shorter = edit_manifest(
        hostile, lambda d: d["plan"]["backends"][0].update(model="m" * 900)
    )
    lines = trust.would_start(shorter.manifest)
    assert all(line.isprintable() for line in lines)


def padded(session: Session) -> Session:
    """Its plan has a long option in front of one that starts a program."""
    options = {"a": "harmless " * 60, "middleware": "evil.Code"}
    return edit_manifest(
        session, lambda d: d["plan"]["backends"][0].update(options=options)
    )


def test_no_option_is_pushed_out_of_sight(stranger: Session) -> None:
    lines = trust.would_start(padded(stranger).manifest)
    assert any("evil.Code" in line for line in lines)


async def test_the_window_shows_every_option(stranger: Session) -> None:
    """However long what stands before it is."""
    app = make_app(None, stranger.folder.parent)
    found = trust.Stranger(stranger.folder, padded(stranger).manifest)
    async with app.run_test(size=(80, 60)) as pilot:
        await app.push_screen(ConfirmStart(found, 80))
        await until_shown(pilot, "harmless")
        shown = screen_text(app)
    rows = [line.strip(" │┃┆|") for line in shown.splitlines()]
    assert "evil.Code" in "".join(rows)


def test_what_is_captured_here_is_recorded_before_it_is_written(tmp_path: Path) -> None:
    """By the real function, on a plan whose interpreter cannot even start: nothing is
    recorded for what was not made.
    """
    from logdrift.core.capture.create import create_session
    from logdrift.core.plan import CapturePlan

    plan = CapturePlan(
        "made", (parse_spec("transformers,python=/bin/false"),), texts=("x",)
    )
    with pytest.raises(LogdriftError):
        create_session(plan, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError):
        open_session(tmp_path / "new")
