"""Saving what a screen shows to a file: for what is too long to be copied, or where
copying does not get through.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.screen import Screen

from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.services import services
from logdrift.tui.widgets.bars import Hints

if TYPE_CHECKING:
    _Base = Screen[Any]
else:
    _Base = object


@dataclass
class Saved(Message):
    """A file was written, or ``problem`` says why not."""

    words: str
    problem: str | None = None


class Saving(_Base):
    """The screen says what would be saved, and under which name."""

    SAVED_AS = "logdrift.txt"
    """The name that is offered: its stem is numbered where there is such a file."""

    def text_to_save(self) -> str:
        """What is shown, as it is copied."""
        raise NotImplementedError

    def action_save(self) -> None:
        """Ask for a file name."""
        from logdrift.tui.report_file import free_name, problem
        from logdrift.tui.screens.prompt import Prompt

        def wrong(name: str) -> str:
            return problem(
                name, getattr(getattr(self, "session", None), "folder", None), ()
            )

        words = visible(f"in {Path.cwd()}; a file that exists is not replaced")
        self.app.push_screen(
            Prompt("Save", words, free_name(self.SAVED_AS, Path()), problem=wrong),
            self._save_as,
        )

    def _save_as(self, name: str | None) -> None:
        if name is not None:
            self.write_text(name, self.text_to_save())

    @background(group="save", writes=True, failed=lambda words: Saved("", words))
    def write_text(self, name: str, text: str) -> None:
        """Write the file."""
        from logdrift.tui.report_file import write_report

        self.post_message(
            Saved(write_report(name, text if text.endswith("\n") else f"{text}\n"))
        )

    def on_saved(self, message: Saved) -> None:
        """By its name: a decorator is not seen on a class that is no widget."""
        if message.problem is not None:
            self.query(Hints).last().say("not written")
            services(self).show_error(message.problem)
        else:
            self.query(Hints).last().say(message.words)
