"""The thread that reads the sessions of a training again and again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.dom import DOMNode
from textual.message import Message

from logdrift.core.errors import InputError
from logdrift.tui.faults import background

if TYPE_CHECKING:
    from logdrift.core.trend.answered import TrendReport
    from logdrift.core.trend.reader import TrendLook, TrendReader
    from logdrift.core.trend.wish import TrendWish

POLL_SECONDS = 0.75
_SLICE = 0.5
"""Seconds of measuring after which what has come in is shown."""


@dataclass(eq=False, repr=False)
class TrendRead(Message):
    """The folder was read. ``left`` steps of ``total`` are not measured yet;
    ``problem``: why the folder cannot be read. ``judged``: changes were looked for.
    """

    report: TrendReport | None
    left: int = 0
    total: int = 0
    problem: str = ""
    judged: bool = False

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, TrendRead)


class TrendFollower:
    """Reads a folder in a thread and sends `TrendRead` to ``node`` on every change."""

    def __init__(self, node: DOMNode, folder: Path, wanted: TrendWish) -> None:
        self.node = node
        self.folder = folder
        self.wanted = wanted
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._forget = threading.Event()
        self._sent: object = None

    @background(group="trend", exclusive=True)
    def start(self) -> None:
        """Read, measure, and look for changes until `stop`."""
        from logdrift.core.trend.reader import TrendReader

        reader = TrendReader(self.folder, self.wanted)
        while not self._stop.is_set():
            if self._forget.is_set():
                self._forget.clear()
                reader = TrendReader(self.folder, self.wanted)
            if self._look(reader):
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()

    def _look(self, reader: TrendReader) -> bool:
        """Look, and send what has changed; whether everything is measured."""
        try:
            look = reader.look(self._stop.is_set, seconds=_SLICE)
        except InputError as error:
            self._send(str(error), TrendRead(None, problem=str(error)))
            return True
        self._send_look(look)
        return look.done

    def _send_look(self, look: TrendLook) -> None:
        from logdrift.core.trend.answered import TrendReport

        trend = look.trend
        said = (trend.contents, look.left)
        if said == self._sent:
            return
        report = TrendReport.of(trend)
        self._send(said, TrendRead(report, look.left, look.total))
        if look.done:
            for line in report.lines:
                _ = line.answer  # worked out here, and not where it is drawn
            judged = TrendRead(report, look.left, look.total, judged=True)
            self.node.post_message(judged)

    def _send(self, said: object, message: TrendRead) -> None:
        if said != self._sent and not self._stop.is_set():
            self._sent = said
            self.node.post_message(message)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()

    def read_again(self) -> None:
        """Look at everything again, at once."""
        self._sent = None
        self._forget.set()
        self._wake.set()
