"""Screens that show what was worked out: texts cut to the screen, copied and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style

from logdrift.core.session.reader import Session
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.saving import save
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.paragraph import paragraph
from logdrift.tui.widgets.reading import Row

_FEW_ROWS = 24


class ResultScreen(BaseScreen, inherit_bindings=False):
    """A screen on a session whose contents are copied and saved as one text."""

    SAVED_AS: ClassVar[str]
    """The file name that is offered."""
    session: Session

    @property
    def text_width(self) -> int:
        """Cells of a line of text, a blank on either side left out."""
        return self.size.width - 2

    @property
    def is_low(self) -> bool:
        """Whether there is room for the most important lines alone."""
        return self.size.height < _FEW_ROWS

    def bar(self, name: str) -> Bar:
        """The bar with an id."""
        return self.query_one(f"#{name}", Bar)

    def paragraph(self, words: str, style: Style, most: int) -> Sequence[Row]:
        """``words`` in at most ``most`` rows of a bar."""
        return paragraph(words, style, self.palette, width=self.text_width, most=most)

    # ---- copying and saving

    def text_to_save(self) -> str:
        """What the screen shows, as text."""
        raise NotImplementedError

    def action_copy(self) -> None:
        """Copy the text and say what became of it."""
        text = self.text_to_save()
        outcome = self.logdrift.copy_text(text)
        self.say(outcome)

    def action_save(self) -> None:
        """Ask for a file name and write the text there."""
        folder = self.session.folder
        save(self, self.SAVED_AS, self.text_to_save, session=folder)
