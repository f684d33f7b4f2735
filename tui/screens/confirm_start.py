"""A window that asks once whether a session from elsewhere may start what its plan
names.
"""

from __future__ import annotations

from logdrift.core.capture import trust
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.widgets.reading import Row, wrap_at_most

_LINES = 3
"""Rows that one interpreter, with its options, may take."""
_BORDER = 8


class ConfirmStart(Confirm):
    """No and yes, and below them all that would be started; answers 1 for yes, as
    `Confirm` does.
    """

    def __init__(self, stranger: trust.Stranger, width: int) -> None:
        name = stranger.folder.resolve().name
        super().__init__(
            f"{name} was not captured or confirmed here. Start this?",
            "Yes, start it, now and from now on",
            "No, start nothing",
        )
        answers = self.row
        room = max(20, width - _BORDER)
        parts: list[str] = []
        for line in (trust.OLDER, *stranger.starts):
            parts += wrap_at_most(line, room, _LINES)

        def row(index: int, width: int) -> Row:
            if index < 2:
                return answers(index, width)
            return [(f"   {parts[index - 2]}", self.logdrift.palette.muted)]

        self.row = row
        self.count = 2 + len(parts)
