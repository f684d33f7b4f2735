"""Following the session folder: what other processes write there is read and shown."""

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
"""Short enough to show a finished part within a second, drawing included."""


@dataclass(eq=False, repr=False)
class SessionRead(Message):
    """A newer state of the session folder was read.

    ``progress`` is the state of the folder, ``problem`` the reason why another pair is
    shown than the chosen one.
    """

    session: Session
    view: PairView | None
    progress: str
    problem: str | None


@dataclass(eq=False, repr=False)
class ProgressRead(Message):
    """How far the capture that writes the session is, and how long it will take, was
    read.
    """

    live: Live

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ProgressRead)


def _cannot_follow(words: str) -> WorkFailed:
    return WorkFailed(f"{words}\n\nWhat was read before stays on the screen.")


class SessionWatch:
    """Reads the folder about once a second while the explorer is open."""

    def __init__(self, node: DOMNode, explorer: Explorer) -> None:
        self.node = node
        self._explorer = explorer
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the watch, and save the explorer's state."""
        self._stop.set()
        self._save(self._explorer.state)

    @background(group="reader", exclusive=True, failed=_cannot_follow)
    def start(self) -> None:
        """Watch until `stop`: read what is new, save the explorer's state."""
        explorer = self._explorer
        session = explorer.session
        saved = explorer.state
        progress = explorer.progress
        damaged = session.damaged
        while not self._stop.wait(POLL_SECONDS):
            if explorer.state != saved:
                saved = explorer.state
                self._save(saved)
                # A mark that is missing from now on was removed here: another explorer
                # did not add it.
                explorer.marks_seen = saved.marks
            newer = session.refresh()
            new_progress = self._progress_of(newer)
            same_progress = new_progress == progress
            same_damage = newer.damaged == damaged
            if newer is session and same_progress and same_damage:
                continue
            session = newer
            progress = new_progress
            damaged = newer.damaged
            self._post_session(session, saved, progress)

    def _progress_of(self, session: Session) -> str:
        """The state of the folder; posts `ProgressRead` while a process writes it."""
        holder = session.lock
        if holder is None:
            return session.state
        if not session.is_growing:
            return "complete"
        from logdrift.core.session.progress import live

        message = ProgressRead(live(session, holder))
        self.node.post_message(message)
        return "running"

    def _post_session(self, session: Session, saved: ViewState, progress: str) -> None:
        pair, problem = open_pair(session, saved.pair)
        view = None
        if pair is not None:
            view = judged(session, pair)
        message = SessionRead(session, view, progress, problem)
        self.node.post_message(message)

    def _save(self, state: ViewState) -> None:
        explorer = self._explorer
        session_id = explorer.session.manifest.id
        save_state(session_id, state, explorer.marks_seen)
