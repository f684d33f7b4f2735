"""The HTML report from every screen on a session: one key, a file name, done.

The page has the causes, the experiments and the reader's marks, which the command gives
with ``--html --marks``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from logdrift.tui.faults import background
from logdrift.tui.models.state import Mark
from logdrift.tui.report_file import (
    kept_marks,
    noted_tokens,
    offered_name,
    problem,
    write_report,
)
from logdrift.tui.screens.base import BaseScreen, Saved
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.prompt import LinePrompt

_ENDINGS = (".html",)


def save_page(
    screen: BaseScreen,
    folder: Path,
    pair: Labels | None = None,
    marks: Iterable[Mark] | None = None,
) -> None:
    """Ask for a file name and write the page of the session in ``folder`` there.

    ``pair`` is shown in full (None: the usual one). ``marks`` None: those that the
    explorer keeps. ``screen`` is sent `Saved`.
    """
    saver = _PageSaver(node=screen, folder=folder, pair=pair, marks=marks)
    offered = offered_name(folder.name, "-report.html", Path())
    words = f"in {Path.cwd()}: causes, experiments, charts, text and your marks"
    prompt = LinePrompt("Save HTML", words, offered, problem=saver.problem)
    screen.ask(prompt, saver.answered)


@dataclass(frozen=True, kw_only=True)
class _PageSaver:
    """Makes and writes the page for a screen, its ``node``."""

    node: BaseScreen
    folder: Path
    pair: Labels | None
    marks: Iterable[Mark] | None

    def problem(self, name: str) -> str:
        """What is wrong with a file name, "" for nothing."""
        return problem(name, self.folder, _ENDINGS)

    def answered(self, name: str) -> None:
        """Write the page and say so meanwhile."""
        self.node.say(f"writing {name}", stays=True)
        self.write(name)

    @background(group="save", writes=True, failed=lambda words: Saved("", words))
    def write(self, name: str) -> None:
        """A second or two for each pair of a million tokens."""
        outcome = write_report(name, self._page())
        self.node.post_message(Saved(outcome))

    def _page(self) -> str:
        from logdrift.core.compare.pairs import default_pair
        from logdrift.core.compare.published import PUBLISHED
        from logdrift.core.config import load_config
        from logdrift.core.report.build import report_on
        from logdrift.core.report.forms import rendered
        from logdrift.core.report.layout import Canvas
        from logdrift.core.session.reader import open_session

        session = open_session(self.folder)
        noted = kept_marks(session) if self.marks is None else noted_tokens(self.marks)
        limits = (*PUBLISHED, *load_config().thresholds)
        report = report_on(session, limits=limits)
        main = self.pair or default_pair(session)
        return rendered("html", report, session, main, Canvas(), noted)
