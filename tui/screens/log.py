"""The logs of the backends, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.message import Message

from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.actions import Hint, hint_for
from logdrift.tui.faults import background
from logdrift.tui.screens.texts import TextScreen


@dataclass
class LogRead(Message):
    """The last lines of a log were read."""

    backend: str
    lines: list[str]


class LogScreen(TextScreen):
    """The end of a backend's log; the next text is the log of the next backend."""

    SAVED_AS = "backend-log.txt"

    def __init__(self, session: Session, backends: Sequence[str], start: int) -> None:
        super().__init__("Log", ["reading"])
        self.session = session
        self.session_folder = session.folder
        self.backends = list(backends)
        self.at = start

    def on_mount(self) -> None:
        self.read_log(self.backend)

    @property
    def backend(self) -> str:
        """The backend whose log is shown."""
        return self.backends[self.at]

    def hints(self) -> list[Hint]:
        hints = super().hints()
        if len(self.backends) == 1:
            return hints
        keymap = self.logdrift.keymap
        return [*hint_for("reading", "next_text", keymap, "next log"), *hints]

    def turn(self, step: int) -> None:
        count = len(self.backends)
        if count == 1:
            self.tell("there is only this log")
            return
        self.at = (self.at + step) % count
        self.read_log(self.backend)

    @background(group="log", exclusive=True)
    def read_log(self, backend: str) -> None:
        """Read the end of a log."""
        from logdrift.tui.models.backend_log import log_lines

        lines = log_lines(self.session, backend)
        self.post_message(LogRead(backend, lines))

    @on(LogRead)
    def _on_log_read(self, message: LogRead) -> None:
        backend = message.backend
        if backend != self.backend:
            return
        title = f"Log of {visible(backend)}, last lines"
        count = len(self.backends)
        if count > 1:
            title += f" ({self.at + 1} of {count})"
        self.reading.put(title, message.lines, at_end=True)
