"""Following the session folder: what other processes write there is read and told."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.dom import DOMNode
from textual.message import Message

from logdrift.core.session.reader import Session
from logdrift.tui.faults import WorkFailed, background
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.pairs import PairView, judged, open_pair
from logdrift.tui.models.state import ViewState, save_state

if TYPE_CHECKING:
    from logdrift.core.session.progress import Live

POLL_SECONDS = 0.75
"""A finished part is to be seen within a second, drawing included."""


@dataclass(eq=False, repr=False)
class SessionRead(Message):
    """A newer state of the session folder was read.

    ``progress`` is the state of the folder, ``problem`` says why another pair is shown.
    """

    session: Session
    view: PairView | None
    progress: str
    problem: str | None


@dataclass(eq=False, repr=False)
class Going(Message):
    """How far the capture that writes the session is, and how long it will take."""

    live: Live

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Going)


def _cannot_follow(words: str) -> WorkFailed:
    return WorkFailed(f"{words}\n\nWhat was read before stays on the screen.")


class SessionWatch:
    """Looks at the folder about once a second, as long as the screen is there."""

    def __init__(self, node: DOMNode, explorer: Explorer) -> None:
        self.node = node
        self._explorer = explorer
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the watch, and save where the reader was."""
        self._stop.set()
        self._save(self._explorer.state)

    @background(group="reader", exclusive=True, failed=_cannot_follow)
    def start(self) -> None:
        """Watch until `stop`: read what is new, save where the reader is."""
        session = self._explorer.session
        saved = self._explorer.state
        progress = self._explorer.progress
        damaged = session.damaged
        while not self._stop.wait(POLL_SECONDS):
            if saved != self._explorer.state:
                saved = self._explorer.state
                self._save(saved)
                # A mark that is taken away from now on was saved by this reader.
                self._explorer.marks_seen = saved.marks
            newer = session.refresh()
            now = self._progress_of(newer)
            if newer is session and now == progress and session.damaged == damaged:
                continue
            session = newer
            progress = now
            damaged = newer.damaged
            self._tell(session, saved, progress)

    def _progress_of(self, session: Session) -> str:
        """The state of the folder; one that a process writes is told to be going."""
        holder = session.lock
        if holder is None:
            return session.state
        from logdrift.core.session.progress import live

        self.node.post_message(Going(live(session, holder)))
        return "running"

    def _tell(self, session: Session, saved: ViewState, progress: str) -> None:
        pair, problem = open_pair(session, saved.pair)
        view = judged(session, pair) if pair is not None else None
        self.node.post_message(SessionRead(session, view, progress, problem))

    def _save(self, state: ViewState) -> None:
        explorer = self._explorer
        save_state(explorer.session.manifest.id, state, explorer.marks_seen)
