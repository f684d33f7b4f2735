"""Screens that ask the engines of a session a question in the background: it is started
after a yes, followed, and cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.message import Message

from logdrift.tui.actions import key_of
from logdrift.tui.faults import background
from logdrift.tui.models.pairs import reason
from logdrift.tui.models.question_watch import QuestionState, look_at_question
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.screens.starting import NotConfirmed, StartingScreen
from logdrift.tui.widgets.lines import Run

if TYPE_CHECKING:
    from logdrift.core.investigate.question_jobs import Question

POLL_SECONDS = 1.0


@dataclass
class QuestionSeen(Message):
    """What asks the engines was looked at; ``problem`` says why it could not be."""

    state: QuestionState | None
    problem: str = ""


@dataclass
class QuestionAsked(Message):
    """Engines are being asked, or no longer; ``problem`` says why not."""

    words: str
    problem: str = ""


def _refused(words: str) -> QuestionAsked:
    return QuestionAsked("", problem=words)


class AskingScreen(StartingScreen, ResultScreen, inherit_bindings=False):
    """Follows what asks the question `QUESTION`; a subclass asks before it starts and
    reads the answers.
    """

    QUESTION: ClassVar[Question]
    CANCEL: ClassVar[str]
    """The question before it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.state: QuestionState | None = None
        self._problem = ""
        self._stop = threading.Event()
        self._wake = threading.Event()

    def read_saved(self) -> object:
        """Read the answers that the session holds, in a thread."""
        raise NotImplementedError

    @property
    def command(self) -> str:
        """What asks the question in a shell."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.follow()

    def on_unmount(self) -> None:
        self._stop.set()
        self._wake.set()

    def applies(self, name: str) -> bool:
        return self.engines_run or name != "cancel_run"

    # ---- what is known

    @background(group="asking", exclusive=True)
    def follow(self) -> None:
        """Look again and again; send what is new."""
        from logdrift.core.investigate.question_jobs import FOLDERS

        folder = self.session.folder / FOLDERS[self.QUESTION]
        sent: QuestionState | None = None
        while not self._stop.is_set():
            try:
                state = look_at_question(folder)
            except Exception as error:
                problem = reason(self.session, error)
                self.post_message(QuestionSeen(None, problem))
                return
            if state != sent:
                sent = state
                self.post_message(QuestionSeen(state))
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    @on(QuestionSeen)
    def _on_seen(self, message: QuestionSeen) -> None:
        before = self.state
        self._problem = message.problem
        if message.state is not None:
            self._take(message.state, before)
        self.show_hints()
        self.draw()

    def _take(self, state: QuestionState, before: QuestionState | None) -> None:
        """Keep what was seen; read the answers that came since."""
        self.state = state
        has_ended = state.ended_since(before)
        if has_ended:
            self.say(state.ended or "the engines have answered")
        next_backend = before is not None and state.place != before.place
        if has_ended or next_backend:
            self.read_saved()

    @property
    def engines_run(self) -> bool:
        """Whether engines are being asked now."""
        return self.state is not None and bool(self.state.running)

    def state_run(self) -> Run | None:
        """What goes on, or how it ended badly; None where there is nothing to say."""
        palette = self.palette
        if self._problem:
            return self._problem, palette.bad
        state = self.state
        if state is None:
            return None
        if state.running:
            key = self.key("cancel_run")
            return f"asking: {state.running} ({key} cancels)", palette.accent
        if state.ended:
            return f"the last time: {state.ended}", palette.warn
        return None

    def key(self, name: str) -> str:
        """The key of a command of this screen."""
        return key_of(self.SCOPES[0], name, self.logdrift.keymap)

    # ---- starting and cancelling

    def refused_to_start(self) -> bool:
        """Whether engines run already; the line of keys says so then."""
        if not self.engines_run:
            return False
        key = self.key("cancel_run")
        self.warn(f"engines are being asked already ({key} cancels that)")
        return True

    def ask_engines(self, start: Callable[[], int]) -> None:
        """Start what asks, and say so until it runs."""
        self.say("starting", stays=True)
        self.start_asking(start)

    @background(group="asking-start", writes=True, failed=_refused)
    def start_asking(self, start: Callable[[], int]) -> None:
        """Start what asks, in a process of its own."""
        from logdrift.core.capture.trust import Stranger

        try:
            start()
        except Stranger as stranger:
            again = partial(self.start_asking, start)
            self.post_message(NotConfirmed(stranger, again))
            return
        words = "started in the background: leave and come back as you like"
        self.post_message(QuestionAsked(words))

    def action_cancel_run(self) -> None:
        """Ask, then end what asks the engines."""
        from logdrift.tui.screens.confirm import Confirm

        if not self.engines_run:
            self.warn("no engine is being asked")
            return
        question = Confirm(self.CANCEL, "Yes, cancel: what was answered stays")
        self.confirm(question, self.cancel_run)

    @background(group="asking-start", writes=True, failed=_refused)
    def cancel_run(self) -> None:
        """End the process that asks."""
        from logdrift.core.investigate.question_jobs import cancel_question

        cancel_question(self.session.folder, self.QUESTION)
        self.post_message(QuestionAsked("cancelled"))

    @on(QuestionAsked)
    def _on_asked(self, message: QuestionAsked) -> None:
        self._wake.set()
        self.say(message.words)
        if message.problem:
            self.logdrift.show_error(message.problem)

    def action_copy_command(self) -> None:
        """Copy what asks the same in a shell."""
        outcome = self.logdrift.copy_text(self.command)
        self.say(outcome)
