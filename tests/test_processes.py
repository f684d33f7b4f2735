"""Ending process trees, the private channel, and which backends may run at once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logdrift.core.capture.background import cancel_capture
from logdrift.core.capture.devices import overlap as devices_overlap
from logdrift.core.capture.workers import (
    WORKER_SCRIPT,
    WorkerProcess,
    end_leftovers,
    remember_worker,
)
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.processes import descendants, kill_group, members
from logdrift.core.protocol import (
    BackendStart,
    CaptureJob,
    Channel,
    Job,
    ModelSource,
    PendingCapture,
    PrepareJob,
    QuestionJob,
    error_in,
    failed_message,
    job_message,
    job_of,
)
from logdrift.core.session import lock
from logdrift.core.session.layout import LOGS
from logdrift.core.session.lock import process_start
from tests.common import REPOSITORY

MODEL = ModelSource("m", "main")

TREE = """
import os, subprocess, sys, time
child = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
subprocess.Popen(child)
subprocess.Popen(child, start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


def _tree() -> subprocess.Popen[bytes]:
    """A session leader with a child in its group and one in a session of its own; both
    ignore SIGTERM.
    """
    leader = subprocess.Popen(
        [sys.executable, "-c", TREE], stdout=subprocess.PIPE, start_new_session=True
    )
    assert leader.stdout is not None
    leader.stdout.readline()
    deadline = time.monotonic() + 30
    while len(descendants(leader.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return leader


@pytest.mark.parametrize("grace", [0.0, 0.3])
def test_the_whole_tree_ends_also_what_left_the_group(grace: float) -> None:
    leader = _tree()
    below = descendants(leader.pid)
    assert len(below) == 2
    kill_group(leader.pid, grace)
    leader.wait(10)
    assert not members(leader.pid)
    assert not [pid for pid in below if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return (
            open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
        )
    except FileNotFoundError:
        return False


def _end_all(pids: set[int]) -> None:
    """End a tree whose leader is gone: nothing leads to the child that left its
    session any more.
    """
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _worker(folder: Path, name: str) -> WorkerProcess:
    """A tree as a worker of ours, with its pid file: the real launch, on an interpreter
    that becomes the tree.
    """
    python = folder / f"{name}-python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{TREE}'\n")
    python.chmod(0o755)
    lock.acquire(folder, name)
    worker = WorkerProcess(
        python, {}, folder, f"{LOGS}/{name}.log", PrepareJob(MODEL, SamplingSpec(), ())
    )
    remember_worker(folder, name, worker, name)
    lock.release(folder)
    # A child that is seen may not have left the session yet; said is that both have.
    deadline = time.monotonic() + 30
    while b"ready" not in worker.log.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(descendants(worker.pid)) == 2
    return worker


def test_leftovers_of_a_killed_supervisor_end(tmp_path: Path) -> None:
    worker = _worker(tmp_path, "ours")
    below = descendants(worker.pid)
    end_leftovers(tmp_path)
    assert worker.wait(10)
    assert not members(worker.pid)
    assert not [pid for pid in below if _lives(pid)]
    assert not list((tmp_path / LOGS).glob("*.pid"))


def test_what_a_dead_worker_left_in_its_session_ends_too(tmp_path: Path) -> None:
    worker = _worker(tmp_path, "ours")
    below = descendants(worker.pid)
    try:
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.wait(10)
        assert len(members(worker.pid)) == 1, "the child in its group outlives it"
        left = members(worker.pid)
        end_leftovers(tmp_path)
        assert not [pid for pid in left if _lives(pid)]
    finally:
        _end_all(below)


NOTES: dict[str, Callable[[int], str]] = {
    "as an older logdrift wrote it": lambda pid: f"{pid} {process_start(pid)}",
    "with a token of its own": lambda pid: f"{pid} {process_start(pid)} {'a' * 32}",
    "with an empty token": lambda pid: f"{pid} {process_start(pid)} ",
    "of a pid that is used again": lambda pid: f"{pid} 1 {'a' * 32}",
    "nobody": lambda pid: "0 0",
    "everybody": lambda pid: "-1 0",
    "everybody, with a token": lambda pid: f"-1 0 {'a' * 32}",
    "our own group": lambda pid: f"0 0 {'a' * 32}",
    "itself": lambda pid: f"{os.getpid()} {process_start(os.getpid())} {'a' * 32}",
    "no numbers": lambda pid: "\u0664\u0665 x y",
    "nothing": lambda pid: "",
    "much": lambda pid: "1 " * 100_000,
}


@pytest.mark.parametrize("note", NOTES)
def test_a_pid_file_from_elsewhere_kills_nobody(tmp_path: Path, note: str) -> None:
    victim = _tree()
    try:
        (tmp_path / LOGS).mkdir()
        (tmp_path / LOGS / "x.pid").write_text(NOTES[note](victim.pid))
        end_leftovers(tmp_path)
        assert victim.poll() is None
        assert len(descendants(victim.pid)) == 2
        assert not list((tmp_path / LOGS).glob("*.pid"))
    finally:
        kill_group(victim.pid, 0.0)
        victim.wait(10)


def test_a_session_whose_leader_is_gone_is_left_alone_where_it_is_not_ours(
    tmp_path: Path,
) -> None:
    """The children of somebody's ended shell are members of a session that has no
    leader any more.
    """
    leader = _tree()
    below = descendants(leader.pid)
    leader.kill()
    leader.wait(10)
    left = members(leader.pid)
    try:
        assert len(left) == 1
        (tmp_path / LOGS).mkdir()
        (tmp_path / LOGS / "x.pid").write_text(f"{leader.pid} 0 {'a' * 32}")
        end_leftovers(tmp_path)
        assert members(leader.pid) == left
    finally:
        _end_all(below)


@pytest.mark.parametrize("kind", ["link", "pipe", "linked folder", "file for a folder"])
def test_pid_files_that_are_no_files_are_no_trouble(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.pid").write_text("1 1")
    session = tmp_path / "session"
    session.mkdir()
    if kind == "linked folder":
        (session / LOGS).symlink_to(outside)
    elif kind == "file for a folder":
        (session / LOGS).write_text("")
    else:
        (session / LOGS).mkdir()
        if kind == "link":
            (session / LOGS / "x.pid").symlink_to(outside / "x.pid")
        else:
            os.mkfifo(session / LOGS / "x.pid")
    refused = (
        pytest.raises(InputError, match="is a link")
        if kind == "linked folder"
        else contextlib.nullcontext()
    )
    with refused:
        end_leftovers(session)
    assert (outside / "x.pid").read_text() == "1 1"


@pytest.mark.parametrize("hard", [False, True], ids=["polite", "after the grace"])
def test_a_lock_from_elsewhere_ends_nobody(tmp_path: Path, hard: bool) -> None:
    """A lock that names a process of this machine, alive, with its true start time."""
    victim = _tree()
    try:
        said = {
            "host": os.uname().nodename,
            "pid": victim.pid,
            "started": process_start(victim.pid),
            "token": "t",
            "since": 0,
        }
        (tmp_path / "lock").write_text(json.dumps(said))
        with pytest.raises(
            InputError, match=r"is not seen to write .* and is left alone"
        ):
            cancel_capture(tmp_path, grace=0.0 if hard else 5.0)
        assert victim.poll() is None
        assert len(descendants(victim.pid)) == 2
    finally:
        kill_group(victim.pid, 0.0)
        victim.wait(10)


def test_a_group_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"], start_new_session=True)
    process.wait()
    kill_group(process.pid, 0.0)


def test_channel_joins_what_the_socket_splits() -> None:
    a, b = socket.socketpair()
    channel = Channel(b)
    big = {"type": "part", "text": "é" * 300_000}
    sender = threading.Thread(
        target=lambda: (
            Channel(a).send({"type": "one"}),
            Channel(a).send(big),
            a.close(),
        )
    )
    sender.start()
    expected = [{"type": "one"}, big]
    assert list(channel.messages()) == expected
    sender.join()


START = BackendStart(
    spec=BackendSpec("a", "vllm", paths=("prefill",), options={"x": {"y": [1]}}),
    model=MODEL,
    tokenizer=ModelSource("t"),
    sampling=SamplingSpec(seed=1),
    top_k=5,
    part_sequences=8,
    max_length=64,
)


@pytest.mark.parametrize(
    "job",
    [
        PrepareJob(MODEL, SamplingSpec(max_tokens=3), ({"text": "a"},), True),
        CaptureJob(
            start=START,
            folder="s",
            token="k",
            captures=(PendingCapture("a/prefill", "prefill", 1, 2),),
            planned=9,
            parts=3,
        ),
        QuestionJob(START, "layers", {"ids": [1, 2]}, "out"),
    ],
)
def test_a_job_survives_the_channel(job: Job) -> None:
    assert job_of(json.loads(json.dumps(job_message(job)))) == job


def test_a_job_of_another_version_is_refused() -> None:
    """The supervisor runs on while another logdrift is installed over it."""
    message = {**job_message(PrepareJob(MODEL, SamplingSpec(), ())), "version": 1}
    with pytest.raises(LogdriftError, match="changed while it was running"):
        job_of(message)


def test_an_error_survives_the_channel() -> None:
    error = InputError(
        "it is empty",
        field="prompts[2]",
        where="text 3",
        file="p.jsonl",
        line=3,
        remedy="type",
    )
    again = error_in(json.loads(json.dumps(failed_message(error))))
    assert type(again) is InputError
    assert vars(again) == vars(error)
    assert str(again) == "text 3: it is empty: type"
    assert type(error_in(failed_message(LogdriftError("gone")))) is LogdriftError


def test_a_worker_ends_when_its_supervisor_is_gone() -> None:
    """The real launcher, told nothing and left alone: end of file must end it."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, str(WORKER_SCRIPT), str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
    )
    theirs.close()
    ours.close()
    assert process.wait(30) == 1


def test_a_worker_that_dies_before_it_is_told_its_job_ends_like_any_other(
    tmp_path: Path,
) -> None:
    """The job is larger than what a socket holds, so it can never be sent in full."""
    job = PrepareJob(MODEL, SamplingSpec(), ({"prompt": "x" * 8_000_000},))
    worker = WorkerProcess(Path("/bin/false"), {}, tmp_path, "log", job)
    assert worker.receive() is None
    assert worker.end(0.0) == 1


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ({"cpu"}, {"cpu"}, True),
        ({"cpu"}, {"*"}, False),
        ({"cpu"}, {"0"}, False),
        ({"0"}, {"1"}, False),
        ({"0", "1"}, {"1"}, True),
        ({"*"}, {"1"}, True),
        ({"*"}, {"*"}, True),
    ],
)
def test_which_devices_may_be_used_at_once(
    one: set[str], other: set[str], overlap: bool
) -> None:
    assert devices_overlap(frozenset(one), frozenset(other)) is overlap
    assert devices_overlap(frozenset(other), frozenset(one)) is overlap


WATCHER = """
import os, signal, subprocess, sys, threading, time
from logdrift.core.worker.engine_watch import EngineWatch
lost = threading.Event()
watch = EngineWatch(lambda count: (print("lost", count, flush=True), lost.set()), patience=0.5)
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.run([sys.executable, "-c", "pass"])
failing = subprocess.run([sys.executable, "-c", "raise SystemExit(3)"])
print("quiet" if not lost.wait(3) else "too early", flush=True)
children = [subprocess.Popen(sleeper) for _ in range(2)]
if sys.argv[1] == "starting":
    os.kill(children[0].pid, signal.SIGKILL)
else:
    watch.engine_is_up()
    if sys.argv[1] == "reaped":
        children[0].kill(); children[0].wait()
    elif sys.argv[1] == "survived":
        children[0].kill(); children[0].wait()
        for _ in range(30):
            watch.sign(); time.sleep(0.1)
    elif sys.argv[1] == "closing":
        watch.stop()
        children[0].kill()
print("noticed" if lost.wait(4) else "nothing", flush=True)
for child in children:
    child.kill()
"""


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (
            "starting",
            ["lost 1", "noticed"],
        ),  # killed before the engine is up, and never asked about
        (
            "survived",
            ["logdrift: watching 2 engine processes", "nothing"],
        ),  # the engine went on working without it
        ("reaped", ["logdrift: watching 2 engine processes", "lost 1", "noticed"]),
        ("closing", ["logdrift: watching 2 engine processes", "nothing"]),
    ],
)
def test_a_dead_engine_process_is_noticed_from_the_start(
    when: str, said: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, when],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.partition(": python")[0] for line in done.stdout.splitlines()]
    assert lines == ["quiet", *said]


@pytest.mark.parametrize(
    ("before", "said"), [("SIG_IGN", "kept"), ("SIG_DFL", "interrupted")]
)
def test_what_nohup_ignores_stays_ignored(before: str, said: str) -> None:
    program = (
        "import os, signal\nfrom logdrift.core.interrupts import"
        f" cancellable\nsignal.signal(signal.SIGHUP, signal.{before})\ntry:\n    with"
        " cancellable():\n        os.kill(os.getpid(), signal.SIGHUP)\n       "
        " print('kept')\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    expected = (0, [said])
    assert (done.returncode, done.stdout.split()) == expected, done.stderr


def test_workers_are_started_in_one_place() -> None:
    """Interpreter, environment and GPUs of an engine come together in one module. The
    self-test and the reader of torch's dumps start scripts of their own, which are no
    workers.
    """
    callers = {
        name: sorted(
            path.relative_to(REPOSITORY).as_posix()
            for folder in ("core", "cli", "tui")
            for path in (REPOSITORY / folder).rglob("*.py")
            if re.search(rf"(?<!def )(?<!class )\b{name}\(", path.read_text("utf-8"))
        )
        for name in ("WorkerProcess", "engine_environment", "visible_devices")
    }
    assert callers == {
        "WorkerProcess": ["core/capture/start.py", "core/capture/workers.py"],
        "engine_environment": [
            "core/capture/environments.py",
            "core/capture/start.py",
            "core/capture/torch_dumps.py",
            "core/planted/selftest.py",
        ],
        "visible_devices": ["core/capture/start.py"],
    }
