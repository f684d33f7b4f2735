"""Damage a session in every way that a file can be damaged, and hold every command
against what it may answer.

Each mutation changes one file of a copy of a session. Then opening, the list and
`report`, `why`, `check` and `diff` must answer as they do for whole sessions, or with
one line on stderr and exit code 2: no traceback, no ``unexpected``, no warning of
NumPy, no wait beyond two seconds, and no memory beyond twice the file. Each runs in a
process of its own, forked from one that has everything imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from endurance.mutations import mutate
from endurance.runs import Kind, Order, Tally
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.session.identity import LoadedTensor, LoadedWeights, write_identity
from logdrift.core.session.layers import save_layers
from logdrift.core.session.writer import append_event
from tests.common import SAMPLE
from tests.made_answers import a_result
from tests.made_experiments import named, record_of, save_record, simple

SECONDS = 2.0
"""Of a core: a command that takes more hangs; whole sessions of this size take a
fraction of one.
"""
WAIT = 20.0
"""Seconds on the clock: what waits that long without working waits for ever, on however
busy a machine.
"""
_SLACK = 96 << 20
"""Bytes that a command takes for itself, beside what it reads."""


@dataclass(frozen=True)
class Fault:
    """A command that did not answer as it must."""

    mutation: str
    command: str
    what: str


# ---- sessions to damage


def made_session(folder: Path) -> Path:
    """A small session with all that is found out later: an experiment, an identity
    check, layers, events, a log.
    """
    session, pair = simple(folder)
    experiment = next(iter(named(session, pair).values()))
    record = record_of(
        pair,
        Outcome(
            experiment,
            "explains",
            0.04,
            0.01,
            0.75,
            0.6,
            0.8,
            0.001,
            tokens=900,
            repeats=1,
        ),
    )
    own = save_record(
        session, experiment.id, {**record, "repeats": 1, "began": 1.0, "ended": 2.0}
    )
    simple(own / "x")
    for entry in (own / "x").iterdir():
        entry.rename(own / entry.name)
    tensors = (
        LoadedTensor("a", True, "digest", dtype="bfloat16", shape=(2, 3)),
        LoadedTensor("b", reason="packed"),
    )
    weights = LoadedWeights(
        "vllm",
        "vllm",
        tensors,
        config_differs=(("rope_theta", 1.0, 2.0),),
        extra=("c",),
    )
    write_identity(folder, asdict(weights))
    layers = a_result()
    save_layers(
        folder,
        layers.name,
        layers.to_json(),
        {"errors/vllm": np.ones((2, 3), np.float32)},
    )
    for event in (
        {
            "t": 1.0,
            "type": "backend",
            "backend": "vllm",
            "engine": "vllm",
            "python": "python",
        },
        {"t": 2.0, "type": "facts", "backend": "vllm", "version": "1", "device": "cpu"},
        {
            "t": 3.0,
            "type": "captured",
            "label": "vllm/prefill",
            "sequences": 24,
            "tokens": 960,
        },
    ):
        append_event(folder, event)
    append_event(
        own.parent, {"t": 1.0, "type": "plan", "pair": ["a", "b"], "budget": 1.0}
    )
    (folder / "logs").mkdir()
    (folder / "logs" / "vllm.log").write_text("started\n")
    holder = {
        "host": socket.gethostname(),
        "pid": 1 << 30,
        "started": 1,
        "token": "x",
        "since": 1.0,
    }
    (folder / "lock").write_text(json.dumps(holder))
    return folder


# ---- what is asked


def _open(session: Path) -> int:
    """All that the explorer does with a session before and behind its first screen, but
    for the screen.
    """
    from logdrift.tui.app import readable
    from logdrift.tui.models.backend_log import log_lines
    from logdrift.tui.models.inspection import inspect
    from logdrift.tui.models.pairs import judged, open_pair
    from logdrift.tui.models.state import load_state
    from logdrift.tui.models.why import explain

    opened = readable(session)
    load_state(opened.manifest.id)
    pair, _ = open_pair(opened, None)
    for info in opened.captures:
        log_lines(opened, info.backend)
    if opened.sequences.tokens:
        inspect(opened, pair, opened.sequences.tokens - 1)
    if pair is not None:
        judged(opened, pair)
        explain(opened, pair)
    return 0


def _list(session: Path) -> int:
    from logdrift.tui.models.session_watch import FolderWatch

    FolderWatch(session.parent).look(depth="answers", stop=lambda: False)
    return 0


def _command(*arguments: str) -> Callable[[Path], int]:
    def run(session: Path) -> int:
        from logdrift.cli.main import main

        return main(
            [argument.replace("SESSION", str(session)) for argument in arguments]
        )

    return run


COMMANDS: dict[str, Callable[[Path], int]] = {
    "open": _open,
    "list": _list,
    "report": _command("report", "SESSION", "--json"),
    "why": _command("why", "SESSION"),
    "check": _command("check", "SESSION", "--max", "mae=1"),
    "diff": _command("diff", "SESSION", "SESSION"),
    "csv": _command("export", "SESSION", "--to", "csv", "-o", os.devnull),
    "lines": _command("export", "SESSION", "--to", "jsonl", "-o", os.devnull),
}


def _asked(name: str, session: Path) -> str | None:
    """What is wrong with how a command answers; None for nothing."""
    from logdrift.core.errors import InputError

    out = io.StringIO()
    err = io.StringIO()
    code: int | None = None
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            code = COMMANDS[name](session)
        if warned:
            return (
                f"Warning: {warned[0].filename}:{warned[0].lineno}: {warned[0].message}"
            )
    except InputError as error:
        code = 2
        err.write(f"logdrift: {error}\n")
    except _Slow:
        return "hangs"
    except BaseException:
        return (
            traceback.format_exc().strip().splitlines()[-1]
            + " "
            + traceback.format_exc(limit=-1)[-300:]
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = err.getvalue()
    if "unexpected" in said or "Traceback" in said or "Warning" in said:
        return said.strip()
    if code not in (0, 1, 2) or (
        code == 2 and (said.count("\n") != 1 or not said.startswith("logdrift: "))
    ):
        return f"exit code {code}: {said!r}"
    if code == 0 and said:
        return f"said on stderr: {said!r}"
    return None


class _Slow(BaseException):
    """Time is up. Not an Exception, which a command might take for its own."""


def _ring(number: int, frame: Any) -> None:
    raise _Slow


def faults_of(session: Path, mutation: str, commands: Sequence[str]) -> list[Fault]:
    """Ask every command about a damaged session, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        found: list[list[str]] = []
        try:
            os.close(reading)
            signal.signal(signal.SIGALRM, _ring)
            signal.signal(signal.SIGPROF, _ring)
            largest = max(
                (file.stat().st_size for file in session.rglob("*") if file.is_file()),
                default=0,
            )
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            for name in commands:
                wrong = _asked(name, session)
                if wrong is not None:
                    found.append([name, wrong])
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
            if grown > 2 * largest + _SLACK:
                found.append(
                    ["all", f"{grown >> 20} MiB for a file of {largest >> 20}"]
                )
        except BaseException as error:
            found.append(["all", repr(error)])
        finally:
            with open(writing, "wb") as answers:
                answers.write(json.dumps(found).encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    if not said or status:
        return [Fault(mutation, "all", f"ended by {status}")]
    return [Fault(mutation, name, what) for name, what in json.loads(said)]


def run(order: Order, tally: Tally) -> None:
    """Damage copies of two sessions, one file at a time."""
    sources = _whole_sessions(order.folder)
    for number in order.numbers:
        chance = order.chance(number)
        # The sample is ten times as much to compute.
        source = sources[chance.random() < 0.15]
        copy = order.folder / "sessions" / "damaged"
        shutil.copytree(source, copy)
        try:
            mutation = mutate(copy, chance)
            faults = faults_of(copy, mutation, list(COMMANDS))
        finally:
            shutil.rmtree(order.folder / "sessions")
        tally.count("sessions", "runs")
        for fault in faults:
            tally.lose(
                number, "sessions", f"{fault.mutation}: {fault.command}: {fault.what}"
            )


def _whole_sessions(folder: Path) -> list[Path]:
    """What is damaged later. All that is ever imported is imported here, before the
    first fork.
    """
    sources = [
        made_session(folder / "source" / "made"),
        Path(shutil.copytree(SAMPLE, folder / "source" / "sample")),
    ]
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    for source in sources:
        for name in COMMANDS:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                COMMANDS[name](source)
            wrong = faults_of(source, "whole", [name])
            assert not wrong, wrong
    return sources


KIND = Kind("damage", "one file of a session is damaged", 10_000, run)
