"""Sending a signal to one process of several at a random moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.processes import command_of, descendants

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TOP = "top"
WORKER = "worker"
ENGINE_CHILD = "engine child"
BACKGROUND = "supervisor in the background"
_LOOK = 0.002
_ENGINES = ("VLLM::", "EngineCore", "sglang::", "spawn_main")
_SUPERVISOR = "logdrift.core.capture.supervisor"


@dataclass(frozen=True)
class Strike:
    """``number`` is sent to ``target`` after ``seconds``, or where ``lines`` is given
    once the events have so many lines.
    """

    target: str
    number: signal.Signals
    seconds: float
    lines: int | None = None

    def __str__(self) -> str:
        moment = f"{self.seconds:.2f} s"
        if self.lines is not None:
            moment = f"{self.lines} lines"
        return f"{self.number.name} after {moment}"


def random_strike(
    chance: random.Random, targets: Sequence[str], seconds: float, lines: int
) -> Strike:
    """Any moment of something that takes ``seconds`` and tells ``lines`` events."""
    by_events = lines > 0 and chance.random() < 0.5
    return Strike(
        target=chance.choice(targets),
        number=chance.choice(SIGNALS),
        seconds=chance.uniform(0, seconds),
        lines=chance.randint(1, lines) if by_events else None,
    )


def strike(plan: Strike, process: subprocess.Popen[bytes], events: Path | None) -> bool:
    """Whether the signal reached its target before all had ended."""
    _wait_for_the_moment(plan, process, events)
    while process.poll() is None:
        for victim in victims(process.pid, plan.target):
            if _send(victim, plan.number):
                return True
        time.sleep(_LOOK)
    return False


def _wait_for_the_moment(
    plan: Strike, process: subprocess.Popen[bytes], events: Path | None
) -> None:
    moment = time.monotonic() + plan.seconds

    def has_come() -> bool:
        if plan.lines is None or events is None:
            return time.monotonic() >= moment
        return count_lines(events) >= plan.lines

    _until(has_come, process)


def _until(has_come: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and not has_come():
        time.sleep(_LOOK)


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def victims(top: int, target: str) -> Iterator[int]:
    """The processes at or below ``top`` that a target means."""
    if target == TOP:
        yield top
        return
    for pid in sorted(descendants(top)):
        if _is(pid, target):
            yield pid


def _is(pid: int, target: str) -> bool:
    command = command_of(pid)
    is_supervisor = _SUPERVISOR in command
    if target == BACKGROUND:
        return is_supervisor
    is_leader = session_of(pid) == pid
    if target == WORKER:
        return is_leader and not is_supervisor
    return not is_leader and any(name in command for name in _ENGINES)


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def count_lines(file: Path) -> int:
    try:
        return file.read_bytes().count(b"\n")
    except OSError:
        return 0
