"""A window that asks once whether a session from elsewhere may start what its plan
names.
"""

from __future__ import annotations

from logdrift.core.capture import trust
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.widgets.reading import Row, wrap

_BORDER = 8


class ConfirmStart(Confirm):
    """No and yes, and below them all that would be started; answers 1 for yes, as
    `Confirm` does.
    """

    def __init__(self, stranger: trust.Stranger, width: int) -> None:
        folder = stranger.folder.resolve()
        super().__init__(
            f"{folder.name} was not captured or confirmed here. Start this?",
            "Yes, start it, now and from now on",
            "No, start nothing",
        )
        answers = self.row
        answer_count = self.count
        room = max(20, width - _BORDER)
        starts: list[str] = []
        # All rows: what is cut off would be confirmed unseen.
        for line in (trust.OLDER, *stranger.starts):
            starts += wrap(line, room)

        def row(index: int, width: int) -> Row:
            if index < answer_count:
                return answers(index, width)
            text = starts[index - answer_count]
            return [(f"   {text}", self.logdrift.palette.muted)]

        self.row = row
        self.count = answer_count + len(starts)
