"""An import that is ended by a signal: nothing hidden stays, or the next import takes
it away.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import open_session
from tests.made_sessions import capture, write_session

LOGDRIFT = Path(sys.executable).parent / "logdrift"
FILES = 3000
"""So many small files take a second to copy: long enough to be struck."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "s"
    write_session(folder, [2], [capture("a/prefill", [[-1.0] * 4])])
    for index in range(FILES):
        path = folder / "why" / str(index % 10) / f"{index}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return folder


def _hear_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def struck(source: Path, out: Path, number: int) -> int:
    """Exit code of an import that got a signal while it copied."""
    process = subprocess.Popen(
        [LOGDRIFT, "import", "session", str(source), "--out", str(out)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A run of the tests in the background ignores some signals, and children inherit it.
        preexec_fn=_hear_interrupts,
    )
    deadline = time.monotonic() + 60
    while (
        not list(out.parent.glob(f".{out.name}.importing-*/why"))
        and time.monotonic() < deadline
    ):
        assert process.poll() is None, "it ended before it was struck"
        time.sleep(0.001)
    process.send_signal(number)
    return process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_can_be_heard_leaves_nothing(
    source: Path, tmp_path: Path, number: int
) -> None:
    assert struck(source, tmp_path / "out", number) == 130
    assert os.listdir(tmp_path) == []


def test_what_a_killed_import_left_goes_with_the_next_one(
    source: Path, tmp_path: Path
) -> None:
    assert struck(source, tmp_path / "out", signal.SIGKILL) == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.importing-")
    import_session("session", [str(source)], tmp_path / "another")
    assert os.listdir(tmp_path) == ["another"]
    open_session(tmp_path / "another")


def test_an_import_that_runs_and_what_only_looks_like_one_are_left_alone(
    source: Path, tmp_path: Path
) -> None:
    running = subprocess.Popen(
        [
            LOGDRIFT,
            "import",
            "session",
            str(source),
            "--out",
            str(tmp_path / "running"),
        ],
        stdout=subprocess.DEVNULL,
    )
    while not list(tmp_path.glob(".running.importing-*/why")):
        assert running.poll() is None
        time.sleep(0.001)
    running.send_signal(signal.SIGSTOP)
    ours = next(tmp_path.glob(".running.importing-*")).name
    others = [
        ".x.importing-deadbeef",
        ".x.importing-00000000-1-1-deadbeef",
        "x.importing-notes",
        ".x.importing-",
        ours.replace(".running", ".x").partition("-")[0] + "-mine",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    import_session("session", [str(source)], tmp_path / "another")
    assert set(os.listdir(tmp_path)) == {ours, *others, "another"}
    running.send_signal(signal.SIGCONT)
    assert running.wait(60) == 0
    assert set(os.listdir(tmp_path)) == {"running", *others, "another"}
    shutil.rmtree(tmp_path / "running")
