"""The report as it can be shown to others: to look at, to copy, to save."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW
from logdrift.tui.screens.base import MIN_WIDTH, BaseScreen, Saved
from logdrift.tui.screens.searching import TextSearch
from logdrift.tui.widgets.reading import Reading

if TYPE_CHECKING:
    from logdrift.core.report.records import SessionReport

_FORMATS = {"text": "text", "md": "Markdown"}
_WIDEST = 110


@dataclass
class Rendered(Message):
    """The report was made and written in a format; ``problem`` says why not."""

    key: tuple[str, bool]
    report: SessionReport | None
    text: str
    problem: str | None = None


class ReportScreen(BaseScreen, inherit_bindings=False):
    """Shows the report of the pair, or of all pairs; a thread makes it."""

    BINDINGS = bindings("report", "reading")
    SCOPES = ("report", "reading")
    AUTO_FOCUS = "#report"

    def __init__(self, session: Session, pair: tuple[str, str] | None) -> None:
        super().__init__()
        self.session = session
        self.pair = pair
        self.search = TextSearch(self, self.say)
        self.form = "text"
        self.all_pairs = pair is None
        self.text = ""
        self._reports: dict[bool, SessionReport] = {}

    def panes(self) -> ComposeResult:
        yield Reading("Report", [" being made"], id="report")

    def on_mount(self) -> None:
        self._make()

    def on_unmount(self) -> None:
        self.workers.cancel_group(self, "report")

    @property
    def reading(self) -> Reading:
        """The report."""
        return self.query_one(Reading)

    def _make(self) -> None:
        of_pairs = " of all pairs" if self.all_pairs else ""
        self.say(f"making the report{of_pairs}")
        width = min(_WIDEST, max(MIN_WIDTH, self.app.size.width) - 2)
        known = self._reports.get(self.all_pairs)
        self.render_report(self.form, self.all_pairs, known, width)

    def _built(self, all_pairs: bool) -> SessionReport:
        """The numbers, which take a second or two for each pair of a million tokens.
        Not for the event loop.
        """
        from logdrift.core.compare.published import PUBLISHED
        from logdrift.core.config import load_config
        from logdrift.core.report.build import report_on

        chosen = None
        if self.pair is not None and not all_pairs:
            chosen = [self.pair]
        limits = (*PUBLISHED, *load_config().thresholds)
        return report_on(self.session, chosen, limits=limits)

    @background(
        group="report",
        exclusive=True,
        failed=lambda words: Rendered(("", False), None, "", words),
    )
    def render_report(
        self, form: str, all_pairs: bool, known: SessionReport | None, width: int
    ) -> None:
        """Make the report and write it in a format."""
        from logdrift.core.report.forms import rendered
        from logdrift.core.report.layout import Canvas

        worker = get_current_worker()
        report = known or self._built(all_pairs)
        if worker.is_cancelled:
            return
        text = rendered(form, report, self.session, self.pair, Canvas(width))
        self.post_message(Rendered((form, all_pairs), report, text))

    @on(Rendered)
    def _on_rendered(self, message: Rendered) -> None:
        form, all_pairs = message.key
        if message.report is None:
            self.say("the report could not be made", warn=True)
            self.logdrift.show_error(message.problem or "")
            return
        self._reports[all_pairs] = message.report
        if message.key != (self.form, self.all_pairs):
            return
        self.text = message.text
        if all_pairs or self.pair is None:
            pairs = "all pairs"
        else:
            pairs = f" {ARROW} ".join(map(visible, self.pair))
        title = f"Report · {_FORMATS[form]} · {pairs}"
        self.reading.put(title, message.text.splitlines())
        self.say("")

    # ---- commands

    def action_search(self) -> None:
        self.search.ask()

    def action_search_next(self) -> None:
        self.search.step(1)

    def action_search_previous(self) -> None:
        self.search.step(-1)

    def action_next_text(self) -> None:
        self.say("there is only this text")

    def action_previous_text(self) -> None:
        self.action_next_text()

    def action_next_format(self) -> None:
        forms = list(_FORMATS)
        self.form = forms[(forms.index(self.form) + 1) % len(forms)]
        self._make()

    def action_all_pairs(self) -> None:
        if self.pair is None:
            self.say("these are all pairs")
            return
        self.all_pairs = not self.all_pairs
        self._make()

    def action_copy(self) -> None:
        """Copy what is shown; what is too long for a terminal can be saved."""
        if not self.text:
            self.say("the report is still being made")
            return
        words = self.logdrift.copy_text(self.text)
        if words.startswith("not copied"):
            words += ": Ctrl+S saves it to a file"
        self.say(words)

    def action_save(self) -> None:
        """Ask for a file name, whose ending decides what is written."""
        from logdrift.tui.report_file import default_name, problem
        from logdrift.tui.screens.prompt import LinePrompt

        folder = self.session.folder
        words = f"in {Path.cwd()}: .txt, .md, .html or .json"
        prompt = LinePrompt(
            "Save the report",
            visible(words),
            default_name(self.session, Path()),
            problem=lambda name: problem(name, folder),
        )
        self.app.push_screen(prompt, self._save_as)

    def _save_as(self, name: str | None) -> None:
        if name is not None:
            self.say(f"writing {name}")
            self.write_file(name, self.all_pairs, self._reports.get(self.all_pairs))

    @background(group="save", writes=True, failed=lambda words: Saved("", words))
    def write_file(
        self, name: str, all_pairs: bool, known: SessionReport | None
    ) -> None:
        """Write the report that is shown, in the form that the name says."""
        from logdrift.core.report.forms import FORMS, rendered
        from logdrift.core.report.layout import Canvas
        from logdrift.tui.report_file import write_report

        report = known or self._built(all_pairs)
        form = FORMS[Path(name).suffix.lower()]
        words = write_report(
            name, rendered(form, report, self.session, self.pair, Canvas(_WIDEST))
        )
        self.post_message(Saved(words))
