"""Screens that start what a session's plan names: where the session is from elsewhere
they ask, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message

from logdrift.tui.screens.base import BaseScreen

if TYPE_CHECKING:
    from logdrift.core.capture.trust import Stranger


@dataclass
class NotConfirmed(Message):
    """Nothing was started: the session was neither captured nor confirmed here.
    ``again`` is what to do once it is.
    """

    stranger: Stranger
    again: Callable[[], object]


class StartingScreen(BaseScreen, inherit_bindings=False):
    """Asks whether a session from elsewhere may start anything; a yes is recorded, and
    the command is run again.
    """

    @on(NotConfirmed)
    def _on_not_confirmed(self, message: NotConfirmed) -> None:
        from logdrift.core.capture import trust
        from logdrift.tui.screens.confirm_start import ConfirmStart

        def answered(index: int | None) -> None:
            if index == 1:
                trust.remember(message.stranger.manifest)
                message.again()
            else:
                self.say("not confirmed: nothing was started")

        self.say("")
        question = ConfirmStart(message.stranger, self.app.size.width)
        self.app.push_screen(question, answered)
