"""Keys that come faster than screens do: what is typed reaches the screen that it is
meant for, or none.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from textual import events
from textual.app import App

from logdrift.tui.screens.base import SafeScreen

TypedEvent = events.Key | events.Paste
"""What comes from the keyboard."""


class TypedAhead:
    """What was typed before the screen stood that it is meant for.

    What comes before a screen stands waits for it. What was on its way to a screen
    while another one opened over it is meant for that one. What was on its way to a
    screen that has left is dropped: it takes no more keys.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._early: deque[TypedEvent] = deque()

    def keeps_back(self, event: TypedEvent) -> bool:
        """Whether what was typed is not for the screen that stands now: it waits for
        the one that it is meant for, or is dropped with it.
        """
        app = self._app
        if not app.screen_stack:
            return True  # the last one has left
        if not event.is_forwarded:
            if self._early or not self._screen_stands():
                self._early.append(event)
                return True
            event.aimed = app.screen  # type: ignore[union-attr]
            return False
        if isinstance(event, events.Paste):
            return False
        aimed = getattr(event, "aimed", app.screen)
        if aimed is app.screen:
            return False
        if aimed in app.screen_stack:
            copy = events.Key(event.key, event.character)
            self._early.append(copy)
            self.type_early()
        return True

    def type_early(self) -> None:
        """A screen stands: it is given what was typed before."""
        early = self._early
        if early and self._screen_stands():
            self._early = deque()
            for event in early:
                self._app.post_message(event)

    def _screen_stands(self) -> bool:
        if not self._app.screen_stack:
            return False
        screen = self._app.screen
        if isinstance(screen, SafeScreen):
            return screen.stands
        return screen.is_mounted
