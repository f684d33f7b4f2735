"""A session folder that is renamed, replaced or deleted while it is captured: real
captures, real moves in the middle of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logdrift.core.errors import LogdriftError
from logdrift.core.processes import descendants
from logdrift.core.session import lock
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.reader import open_session
from logdrift.core.session.writer import (
    append_event,
    merge_pieces,
    write_manifest,
    write_part,
)
from tests.killing import Killer
from tests.made_sessions import capture, write_session
from tests.shared_captures import TEXTS, SharedCaptures, plan_of

SAMPLING = 1
SCORING = len(TEXTS) + 2
"""Parts that are listed while the first backend samples, and while it scores what it
sampled: a part holds one sequence.
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


def renamed(out: Path) -> Path:
    return out.rename(out.with_name(f"{out.name}-renamed"))


def replaced(out: Path) -> Path:
    """Renamed, and another session, with a capture of another run, has its name now."""
    away = renamed(out)
    write_session(out, [2, 2], [capture("a/prefill", [[-1.0] * 4, [-2.0] * 5])])
    return away


def replaced_while_taken(out: Path) -> Path:
    """As `replaced`, and somebody holds the new one."""
    away = replaced(out)
    other = lock.LockHolder("another-host", 1, 1, "other", time.time())
    (out / "lock").write_text(json.dumps(other._asdict()))
    return away


def deleted(out: Path) -> Path:
    shutil.rmtree(out)
    return out


MOVES: dict[str, Callable[[Path], Path]] = {
    "renamed": renamed,
    "replaced": replaced,
    "replaced and taken": replaced_while_taken,
    "deleted": deleted,
}


@pytest.fixture(scope="module")
def killer(
    tmp_path_factory: pytest.TempPathFactory,
    shared_captures: SharedCaptures,
    transformers_python: Path,
) -> Killer:
    baseline = shared_captures.session("transformers")
    folder = tmp_path_factory.mktemp("moved")
    return Killer(folder, plan_of("transformers"), baseline)


@pytest.mark.engine
@pytest.mark.parametrize("move", MOVES)
def test_a_running_capture_stops_and_writes_nothing_into_what_is_not_its_own(
    killer: Killer, move: str
) -> None:
    """Once while it samples; then what is left goes on, and is moved while it scores."""
    out = killer.folder / move.replace(" ", "-")
    sampling = moved_while_it_runs(killer, out, move, SAMPLING)
    where = moved_while_it_runs(killer, sampling, move, SCORING)
    if move != "deleted":
        assert killer.end(killer.begin(where)) == 0, killer.said()
        killer.check_numbers(open_session(where))


def moved_while_it_runs(killer: Killer, out: Path, move: str, listed: int) -> Path:
    """Where the session is after it was moved with ``listed`` parts in it."""
    process = killer.begin(out)
    wait_for_parts(process, out, listed)
    where = MOVES[move](out)
    before = contents(out)
    code = killer.end(process)
    said = [line for line in killer.said().splitlines() if line.startswith("logdrift:")]
    assert code == 1 and len(said) == 1, killer.said()
    assert "was renamed, replaced or deleted" in said[0]
    assert "Traceback" not in killer.said()
    assert contents(out) == before
    assert out.exists() is move.startswith("replaced")
    killer.check_nothing_runs()
    if move != "deleted":
        killer.check_listed(where)
    return where


def wait_for_parts(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    """Until so many parts are listed: that of a sequence, and that of its scores."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the capture ended before it could be moved"
        if (out / "session.json").exists():
            manifest = read_manifest(out)
            if sum(len(c.parts) for c in manifest.captures) >= count:
                return
        time.sleep(0.005)
    raise AssertionError("no part came")


@pytest.mark.parametrize("move", MOVES)
def test_whoever_writes_under_a_lock_looks_at_it_first(
    tmp_path: Path, move: str
) -> None:
    out = tmp_path / "s"
    session = write_session(out, [2], [capture("a/prefill", [[-1.0] * 4])])
    lock.acquire(out, "mine")
    MOVES[move](out)
    before = contents(out)
    running = descendants(os.getpid())
    for write in (
        lambda: write_manifest(out, session.manifest, "mine"),
        lambda: merge_pieces(out, {7: b"x"}, "mine"),
        lambda: append_event(out, {"type": "x"}, "mine"),
        lambda: write_part(
            out, "captures/a/prefill/part-00009.safetensors", {}, 0, 0, 0, "mine"
        ),
        lambda: lock.check_folder_held(out, "mine"),
    ):
        with pytest.raises(lock.Gone) as caught:
            write()
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == LogdriftError.exit_code
    lock.release(out)
    assert contents(out) == before
    assert descendants(os.getpid()) <= running
