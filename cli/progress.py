"""Progress of a capture: a bar with rate and time left on a terminal, plain lines off
it. Always on stderr.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from logdrift.core.numbers import clock
from logdrift.core.session.visible import visible

View = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def progress_view() -> Iterator[View]:
    """A function that shows supervisor events, for as long as the context lasts."""
    if not sys.stderr.isatty():
        yield _plain_line
        return
    columns = (
        TextColumn("[bold]{task.description:<24}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=Console(stderr=True), refresh_per_second=4
    ) as progress:
        yield _Bars(progress)


class _Bars:
    """One bar for each capture, in the order in which they begin."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._stage: TaskID | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        if kind == "stage":
            self._end_stage()
            text = f"{event['backend']}: {event['stage']}"
            self._stage = self._progress.add_task(
                escape(visible(text)), total=None, count="", note=""
            )
        elif kind == "progress":
            self._end_stage()
            task = self._task(event["label"], event["planned"])
            count = f"{event['sequences']}/{event['planned']} seq"
            self._progress.update(
                task, completed=event["sequences"], count=count, note=_note(event)
            )
        elif kind == "captured":
            task = self._task(event["label"], event["sequences"])
            count = f"{event['sequences']} seq"
            note = _captured(event)
            self._progress.update(
                task,
                total=event["sequences"],
                completed=event["sequences"],
                count=count,
                note=note,
            )
        elif kind == "failed":
            self._end_stage()
            self._progress.console.print(_line(event), markup=False, highlight=False)

    def _task(self, label: str, planned: int) -> TaskID:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(
                escape(label), total=planned, count="", note=""
            )
        return self._tasks[label]

    def _end_stage(self) -> None:
        if self._stage is not None:
            self._progress.remove_task(self._stage)
            self._stage = None


def _captured(event: Mapping[str, Any]) -> str:
    nan = event.get("nan")
    return f"{event['tokens']:,} tokens" + (f", {nan:,} of them NaN" if nan else "")


def _note(event: Mapping[str, Any]) -> str:
    left = event["left"]
    return f"{event['rate']:,.0f} tok/s" + (
        "" if left is None else f", {clock(left)} left"
    )


def _plain_line(event: Mapping[str, Any]) -> None:
    line = _line(event)
    if line:
        print(line, file=sys.stderr, flush=True)


def _line(event: Mapping[str, Any]) -> str:
    """An event as one line, empty for those that say nothing to a person."""
    kind = event["type"]
    text = {
        "stage": lambda: f"{event['backend']}: {event['stage']}",
        "facts": lambda: f"{event['backend']}: {event['version']} on {event['device']}",
        "progress": lambda: (
            f"{event['label']}: {event['sequences']}/{event['planned']} sequences,"
            f" {_note(event)}"
        ),
        "captured": lambda: f"{event['label']}: complete, {_captured(event)}",
        "failed": lambda: (
            f"{event.get('backend', 'capture')}: failed: {event['error']}"
        ),
    }.get(kind, lambda: "")()
    return visible(text)
