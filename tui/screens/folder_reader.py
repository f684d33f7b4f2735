"""The thread that reads the folder of sessions again and again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from textual.dom import DOMNode
from textual.message import Message

from logdrift.tui.faults import background
from logdrift.tui.models.session_watch import DEPTHS, Depth, FolderLook, FolderWatch
from logdrift.tui.models.sessions import SessionRow

POLL_SECONDS = 0.75
"""A finished part is to be seen within a second, drawing included."""

_SHOWN_AFTER = 0.5
"""Seconds after which numbers and answers that have come in are shown."""


@dataclass
class SessionsRead(Message):
    """The folder was read. ``problem``: why it could not be."""

    rows: tuple[SessionRow, ...]
    problem: str | None

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SessionsRead)

    def has(self, look: FolderLook) -> bool:
        """Whether it says just this."""
        return self.rows == look.rows and self.problem == look.problem


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
        self._sent: SessionsRead | None = None
        self.selected: Path | None = None
        """The session whose answer is wanted first."""

    @background(group="reader", exclusive=True)
    def start(self) -> None:
        """Read the folder, first quickly, then with numbers, then with answers;
        afterwards look at times of change only.
        """
        watch = FolderWatch(self.folder)
        while not self._stop.is_set():
            for depth in DEPTHS:
                if not self._look(watch, depth):
                    return
            self._wait()
            if self._forget.is_set():
                self._forget.clear()
                watch.forget()

    def _look(self, watch: FolderWatch, depth: Depth) -> bool:
        """Look, and send what has come in; False where the thread is to end."""
        done = False
        while not done:
            look = watch.look(
                depth=depth,
                stop=self._stopped,
                seconds=_SHOWN_AFTER,
                first=self.selected,
            )
            if self._stopped():
                return False
            if self._sent is None or not self._sent.has(look):
                self._sent = SessionsRead(look.rows, look.problem)
                self.node.post_message(self._sent)
            done = look.done
        return True

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
