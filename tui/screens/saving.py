"""Saving what a screen shows to a file: for what is too long to be copied, or where
copying does not get through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.session.visible import visible
from logdrift.tui.faults import background
from logdrift.tui.report_file import free_name, problem, write_report
from logdrift.tui.screens.base import SafeScreen, Saved
from logdrift.tui.screens.prompt import LinePrompt


def save(
    screen: SafeScreen[Any],
    offered: str,
    text: Callable[[], str],
    *,
    session: Path | None = None,
    title: str = "Save",
    endings: Collection[str] = (),
) -> None:
    """Ask for a file name and write ``text`` there; the screen is sent `Saved`.

    ``offered`` is numbered where there is such a file. Nothing is written into the
    folder of ``session``, and nothing under a name without one of the ``endings``
    (none: any will do).
    """
    saver = _Saver(node=screen, text=text, session=session, endings=endings)
    words = visible(f"in {Path.cwd()}; a file that exists is not replaced")
    name = free_name(offered, Path())
    prompt = LinePrompt(title, words, name, problem=saver.problem)
    screen.app.push_screen(prompt, saver.answered)


@dataclass(frozen=True)
class _Saver:
    """Writes for a screen, its ``node``."""

    node: SafeScreen[Any]
    text: Callable[[], str]
    session: Path | None
    endings: Collection[str]

    def problem(self, name: str) -> str:
        """What is wrong with a file name, "" for nothing."""
        return problem(name, self.session, self.endings)

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
