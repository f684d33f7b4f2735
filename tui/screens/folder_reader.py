"""The thread that reads the folder of sessions again and again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from textual.dom import DOMNode
from textual.message import Message

from logdrift.tui.faults import background
from logdrift.tui.models.sessions import FolderWatch, SessionRow

POLL_SECONDS = 0.75
"""A finished part is to be seen within a second, drawing included."""


@dataclass
class SessionsRead(Message):
    """The folder was read. ``problem``: why it could not be."""

    rows: tuple[SessionRow, ...]
    problem: str | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SessionsRead)

    def has(self, rows: tuple[SessionRow, ...], problem: str | None) -> bool:
        """Whether it says just this."""
        return self.rows == rows and self.problem == problem


class FolderReader:
    """Reads a folder in a thread and sends `SessionsRead` to ``node`` on every
    change.
    """

    def __init__(self, node: DOMNode, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self._stop = threading.Event()
        self._forget = threading.Event()
        self._wake = threading.Event()

    @background(group="reader", exclusive=True)
    def start(self) -> None:
        """Read the folder, first quickly, then with the numbers; afterwards look at
        times of change only.
        """
        watch = FolderWatch(self.folder)
        sent: SessionsRead | None = None
        while not self._stop.is_set():
            for numbers in (False, True):
                rows, problem = watch.look(numbers=numbers, stop=self._stopped)
                if self._stopped():
                    return
                if sent is None or not sent.has(rows, problem):
                    sent = SessionsRead(rows, problem)
                    self.node.post_message(sent)
            self._wait()
            if self._forget.is_set():
                self._forget.clear()
                watch.forget()

    def _stopped(self) -> bool:
        return self._stop.is_set()

    def _wait(self) -> None:
        self._wake.wait(POLL_SECONDS)
        self._wake.clear()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()

    def look_now(self) -> None:
        """Look for changes at once."""
        self._wake.set()

    def read_again(self) -> None:
        """Read every session again, changed or not."""
        self._forget.set()
        self._wake.set()
