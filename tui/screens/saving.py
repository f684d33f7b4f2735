"""Saving what a screen shows to a file: for what is too long to be copied, or where
copying does not get through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.report_file import free_name, problem, write_report
from logdrift.tui.screens.base import BaseScreen, SafeScreen, Saved
from logdrift.tui.screens.prompt import LinePrompt


class SavableScreen(BaseScreen, inherit_bindings=False):
    """A screen on a session whose contents are copied and saved as one text."""

    SAVED_AS: ClassVar[str]
    """The file name that is offered."""
    session: Session

    def text_to_save(self) -> str:
        """What the screen shows, as text."""
        raise NotImplementedError

    def action_copy(self) -> None:
        """Copy the text and say what became of it."""
        text = self.text_to_save()
        self.say(self.logdrift.copy_text(text))

    def action_save(self) -> None:
        """Ask for a file name and write the text there."""
        folder = self.session.folder
        save(self, self.SAVED_AS, self.text_to_save, session=folder)


def save(
    screen: SafeScreen[Any],
    offered: str,
    text: Callable[[], str],
    *,
    session: Path | None = None,
) -> None:
    """Ask for a file name and write ``text`` there; the screen is sent `Saved`.

    ``offered`` is numbered where there is such a file. Nothing is written into the
    folder of ``session``.
    """
    saver = _Saver(node=screen, text=text, session=session)
    words = visible(f"in {Path.cwd()}; a file that exists is not replaced")
    prompt = LinePrompt(
        "Save", words, free_name(offered, Path()), problem=saver.problem
    )
    screen.app.push_screen(prompt, saver.answered)


@dataclass(frozen=True)
class _Saver:
    """Writes for a screen, its ``node``."""

    node: SafeScreen[Any]
    text: Callable[[], str]
    session: Path | None

    def problem(self, name: str) -> str:
        """What is wrong with a file name, "" for nothing."""
        return problem(name, self.session, ())

    def answered(self, name: str | None) -> None:
        """Write, where a name was given."""
        if name is not None:
            self.write(name, self.text())

    @background(group="save", writes=True, failed=lambda words: Saved("", words))
    def write(self, name: str, text: str) -> None:
        """Write the file."""
        if not text.endswith("\n"):
            text += "\n"
        outcome = write_report(name, text)
        self.node.post_message(Saved(outcome))
