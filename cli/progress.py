"""Progress of a capture on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from logdrift.core.numbers import clock, counted
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
        yield _CaptureBars(progress)


class _CaptureBars:
    """One bar for each capture, in the order in which they begin."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._stage: TaskID | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        show = {
            "stage": self._show_stage,
            "progress": self._show_progress,
            "captured": self._show_captured,
            "failed": self._show_failed,
        }.get(event["type"])
        if show is not None:
            show(event)

    def _show_stage(self, event: Mapping[str, Any]) -> None:
        self._end_stage()
        text = escape(visible(f"{event['backend']}: {event['stage']}"))
        self._stage = self._progress.add_task(text, total=None, count="", note="")

    def _show_progress(self, event: Mapping[str, Any]) -> None:
        self._end_stage()
        self._progress.update(
            self._task(event["label"], event["planned"]),
            completed=event["sequences"],
            count=f"{event['sequences']}/{event['planned']} seq",
            note=_note(event),
        )

    def _show_captured(self, event: Mapping[str, Any]) -> None:
        sequences = event["sequences"]
        self._progress.update(
            self._task(event["label"], sequences),
            total=sequences,
            completed=sequences,
            count=f"{sequences} seq",
            note=_captured(event),
        )

    def _show_failed(self, event: Mapping[str, Any]) -> None:
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
    """Tokens of a capture, and how many scores are NaN."""
    text = counted(event["tokens"], "token")
    nan = event.get("nan")
    if nan:
        text += f", {nan:,} of them NaN"
    return text


def _note(event: Mapping[str, Any]) -> str:
    """Tokens a second, and the time left where it is known."""
    text = f"{event['rate']:,.0f} tok/s"
    left = event["left"]
    if left is not None:
        text += f", {clock(left)} left"
    return text


def _plain_line(event: Mapping[str, Any]) -> None:
    line = _line(event)
    if line:
        print(line, file=sys.stderr, flush=True)


def _line(event: Mapping[str, Any]) -> str:
    """An event as one line, empty for those that say nothing to a person."""
    return visible(_words(event))


def _facts(event: Mapping[str, Any]) -> str:
    """The engine's version, and its device where it is known: a server may not tell."""
    words = f"{event['backend']}: {event['version']}"
    if event["device"] is None:
        return words
    return f"{words} on {event['device']}"


def _words(event: Mapping[str, Any]) -> str:
    match event["type"]:
        case "stage":
            return f"{event['backend']}: {event['stage']}"
        case "facts":
            return _facts(event)
        case "progress":
            count = f"{event['sequences']}/{counted(event['planned'], 'sequence')}"
            return f"{event['label']}: {count}, {_note(event)}"
        case "captured":
            return f"{event['label']}: complete, {_captured(event)}"
        case "failed":
            return f"{event.get('backend', 'capture')}: failed: {event['error']}"
        case _:
            return ""
