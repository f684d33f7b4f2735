"""Long jobs of a command: side by side, with progress on stderr, ended by Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from logdrift.core.capture.jobs import Cancelled, Report, Step
from logdrift.core.errors import LogdriftError

_LINE_EVERY = 10.0
"""Seconds between plain lines of one job, where there is no terminal."""
Job = Callable[[], Any]


@dataclass
class JobResults:
    """What jobs returned, and what failed, by the name of the job."""

    results: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, LogdriftError] = field(default_factory=dict)

    @property
    def cancelled(self) -> bool:
        """Whether Ctrl-C ended one."""
        return any(isinstance(error, Cancelled) for error in self.failures.values())

    @property
    def exit_code(self) -> int:
        """The largest exit code of the failures; 0 without one."""
        codes = [error.exit_code for error in self.failures.values()]
        return max(codes, default=0)


def run_all(jobs: dict[str, Job]) -> None:
    """Run jobs side by side. Raises the first failure, `Cancelled` only without
    another one.
    """
    failures = [*collect(jobs).failures.values()]
    failures.sort(key=lambda error: isinstance(error, Cancelled))
    if failures:
        raise failures[0]


def collect(jobs: dict[str, Job]) -> JobResults:
    """Run jobs side by side. One that fails does not stop the rest, Ctrl-C stops all.

    Raises what no job should raise: everything but LogdriftError.
    """
    with ThreadPoolExecutor(max_workers=max(len(jobs), 1)) as pool:
        futures = {name: pool.submit(job) for name, job in jobs.items()}
        _wait(futures)
    outcome = JobResults()
    for name, future in futures.items():
        error = future.exception()
        if isinstance(error, LogdriftError):
            outcome.failures[name] = error
        else:
            outcome.results[name] = future.result()
    return outcome


def _wait(futures: dict[str, Future[Any]]) -> None:
    """Wait for all; waking up lets the main thread handle signals."""
    pending = True
    while pending:
        waited = wait(futures.values(), timeout=0.2)
        pending = bool(waited.not_done)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM and a lost terminal set the event; jobs then end their process
    groups and raise Cancelled.
    """
    cancel = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    if under_nohup:
        numbers.remove(signal.SIGHUP)
    former = {}
    for number in numbers:
        former[number] = signal.signal(number, lambda *_: cancel.set())
    try:
        yield cancel
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def shown() -> Iterator[Report]:
    """Progress on stderr: bars on a terminal, plain lines elsewhere. Jobs report from
    their own threads.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _JobLines().report
        return
    columns = (
        TextColumn("{task.fields[what]:<13}"),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=4
    ) as progress:
        yield _JobBars(progress).report


class _JobBars:
    """A bar for each job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._guard = threading.Lock()

    def report(self, step: Step) -> None:
        """Show how far a job is."""
        with self._guard:
            self._progress.update(
                self._task(step.what),
                description=step.doing,
                completed=step.done,
                total=step.total or None,
                count=_count(step),
            )

    def _task(self, what: str) -> TaskID:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task("", what=what, count="")
        return self._tasks[what]


class _JobLines:
    """A line when a job goes on to something else, or has been silent for a while."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}
        """The last line of each job: what it did, and when that was printed."""
        self._guard = threading.Lock()
        self._began = time.monotonic()

    def report(self, step: Step) -> None:
        """Print how far a job is."""
        now = time.monotonic()
        with self._guard:
            doing, when = self._last.get(step.what, ("", 0.0))
            if step.doing == doing and now - when < _LINE_EVERY:
                return
            self._last[step.what] = (step.doing, now)
            words = f"{step.doing} {_count(step)}".rstrip()
            line = f"{step.what}: {words} ({now - self._began:.0f} s)"
            print(line, file=sys.stderr, flush=True)


def _count(step: Step) -> str:
    """``3 of 7``, "" where the total is unknown."""
    if not step.total:
        return ""
    return f"{step.done} of {step.total}"
