"""The lines below the list of sessions: what its columns have no room for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from logdrift.tui.actions import key_of
from logdrift.tui.models.sessions import SessionRow
from logdrift.tui.services import services
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Row
from logdrift.tui.widgets.paragraph import paragraph

_LINES = 2


class SessionDetail(Bar):
    """What is wrong with the selected session, what goes on in it, or the answer of its
    pair as a sentence. Always of the same height.
    """

    row: SessionRow | None = None

    def show(self, row: SessionRow | None) -> None:
        """Tell of another session, or of what has changed in the same one."""
        if row != self.row:
            self.row = row
            self.draw()

    def draw(self) -> None:
        rows: list[Row] = []
        if self.row is not None:
            rows += self._paragraph(self.row)
        blank: Row = [("", self.palette.text)]
        rows += [blank] * (_LINES - len(rows))
        self.put(rows)

    def _paragraph(self, row: SessionRow) -> Sequence[Row]:
        words, style = self._told(row)
        width = self.inner_width - 2
        return paragraph(words, style, self.palette, width=width, most=_LINES)

    def _told(self, row: SessionRow) -> tuple[str, Style]:
        palette = self.palette
        wrong = row.problem or row.damage
        if wrong:
            return wrong, palette.bad
        key = self._key_words(row.state)
        if row.state == "failed":
            return f"{row.doing}  ({key})", palette.bad
        if key:
            words = f"{row.doing}  ({key})" if row.doing else key
            return words, palette.muted
        if row.answer is not None:
            return row.answer.sentence, palette.meaning(row.answer.meaning)
        return row.title, palette.muted

    def _key_words(self, state: str) -> str:
        """The key that goes on from a state, and what it does."""
        keymap = services(self).keymap
        resume = key_of("sessions", "resume", keymap)
        cancel = key_of("sessions", "cancel_capture", keymap)
        words = {
            "partial": f"{resume} goes on with it",
            "failed": f"{resume} tries again",
            "running": f"{cancel} cancels",
        }
        return words.get(state, "")
