"""The report as it can be shown to others: to look at, to copy, to save."""

from __future__ import annotations

from collections.abc import Sequence
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
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.searching import TextSearch
from logdrift.tui.tones import painted
from logdrift.tui.widgets.reading import Reading, Row

if TYPE_CHECKING:
    from logdrift.core.report.paint.text import StyledLine
    from logdrift.core.report.records import SessionReport

_FORMATS = {
    "text": "text",
    "md": "Markdown",
}
_WIDEST = 110


@dataclass
class Rendered(Message):
    """The report was made and written in a format; ``problem`` says why not."""

    key: tuple[str, bool]
    report: SessionReport | None
    text: str
    lines: Sequence[StyledLine] = ()
    problem: str | None = None


def _not_rendered(words: str) -> Rendered:
    return Rendered(("", False), None, "", problem=words)


def _not_saved(words: str) -> Saved:
    return Saved("", problem=words)


class ReportScreen(BaseScreen, inherit_bindings=False):
    """Shows the report of the pair, or of all pairs; a thread makes it."""

    BINDINGS = bindings("report", "reading")
    SCOPES = ("report", "reading")
    AUTO_FOCUS = "#report"

    def __init__(self, session: Session, pair: Labels | None) -> None:
        super().__init__()
        self.session = session
        self.pair = pair
        self.search = TextSearch(self, self.say)
        self.form = "text"
        self.all_pairs = pair is None
        self.text = ""
        self._reports: dict[bool, SessionReport] = {}
        self._width = 0
        """Cells for which the text was made."""

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
        self._width = self._text_width
        words = "making the report"
        if self.all_pairs:
            words += " of all pairs"
        self.say(words)
        known = self._known_report()
        self.render_report(self.form, self.all_pairs, known, self._width)

    @property
    def _text_width(self) -> int:
        screen_width = max(MIN_WIDTH, self.app.size.width)
        return min(_WIDEST, screen_width - 2)

    def draw(self) -> None:
        """Lay the report out anew where the screen has another width."""
        if self._width != self._text_width:
            self._make()

    def _known_report(self) -> SessionReport | None:
        """The report of what is shown, if it was made already."""
        return self._reports.get(self.all_pairs)

    def _built(self, all_pairs: bool) -> SessionReport:
        """The numbers, which take a second or two for each pair of a million tokens.
        Not for the event loop.
        """
        from logdrift.core.compare.published import PUBLISHED
        from logdrift.core.config import load_config
        from logdrift.core.report.build import report_on

        pairs = None
        if self.pair is not None and not all_pairs:
            pairs = [self.pair]
        own_limits = load_config().thresholds
        limits = (*PUBLISHED, *own_limits)
        return report_on(self.session, pairs, limits=limits)

    def _text(self, form: str, report: SessionReport, width: int) -> str:
        """The report in a format."""
        from logdrift.core.report.forms import rendered
        from logdrift.core.report.layout import Canvas
        from logdrift.tui.report_file import kept_marks

        canvas = Canvas(width)
        marks = kept_marks(self.session) if form in ("md", "html") else ()
        return rendered(form, report, self.session, self.pair, canvas, marks)

    @background(group="report", exclusive=True, failed=_not_rendered)
    def render_report(
        self, form: str, all_pairs: bool, known: SessionReport | None, width: int
    ) -> None:
        """Make the report and write it in a format."""
        worker = get_current_worker()
        report = known or self._built(all_pairs)
        if worker.is_cancelled:
            return
        key = (form, all_pairs)
        if form == "text":
            message = self._in_tones(key, report, width)
        else:
            text = self._text(form, report, width)
            message = Rendered(key, report, text)
        self.post_message(message)

    def _in_tones(
        self, key: tuple[str, bool], report: SessionReport, width: int
    ) -> Rendered:
        """The text as the command prints it, and its lines in their tones."""
        from logdrift.core.report.forms import styled_text
        from logdrift.core.report.layout import Canvas

        canvas = Canvas(width)
        lines = styled_text(report, self.session, self.pair, canvas)
        texts = ["".join(run.text for run in line) for line in lines]
        text = "".join(f"{line}\n" for line in texts)
        return Rendered(key, report, text, lines)

    @on(Rendered)
    def _on_rendered(self, message: Rendered) -> None:
        if message.report is None:
            self.warn("the report could not be made")
            problem = message.problem or ""
            self.logdrift.show_error(problem)
            return
        form, all_pairs = message.key
        self._reports[all_pairs] = message.report
        if form == self.form and all_pairs == self.all_pairs:
            self.text = message.text
            self._show(message.lines or message.text.splitlines())

    def _show(self, lines: Sequence[StyledLine | str]) -> None:
        """Show the report of what was chosen."""
        pairs = "all pairs"
        if self.pair is not None and not self.all_pairs:
            a, b = map(visible, self.pair)
            pairs = f"{a} {ARROW} {b}"
        title = f"Report · {_FORMATS[self.form]} · {pairs}"
        rows = [self._row(line) for line in lines]
        self.reading.put(title, rows)
        self.say("")

    def _row(self, line: StyledLine | str) -> str | Row:
        """A line of the report for the pane."""
        if isinstance(line, str):
            return line
        (row,) = painted([line], self.palette)
        return row

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
        following = forms.index(self.form) + 1
        self.form = forms[following % len(forms)]
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

    def action_save_page(self) -> None:
        """Save the HTML report of the session, with this pair in full."""
        from logdrift.tui.screens.save_page import save_page

        save_page(self, self.session.folder, self.pair)

    def action_save(self) -> None:
        """Ask for a file name, whose ending decides what is written."""
        from logdrift.tui.report_file import default_name, problem
        from logdrift.tui.screens.prompt import LinePrompt

        folder = self.session.folder

        def name_problem(name: str) -> str:
            return problem(name, folder)

        words = visible(f"in {Path.cwd()}: .txt, .md, .html or .json")
        offered = default_name(self.session, Path())
        prompt = LinePrompt("Save the report", words, offered, problem=name_problem)
        self.app.push_screen(prompt, self._save_as)

    def _save_as(self, name: str | None) -> None:
        if name is not None:
            self.say(f"writing {name}", stays=True)
            known = self._known_report()
            self.write_file(name, self.all_pairs, known)

    @background(group="save", writes=True, failed=_not_saved)
    def write_file(
        self, name: str, all_pairs: bool, known: SessionReport | None
    ) -> None:
        """Write the report that is shown, in the form that the name says."""
        from logdrift.core.report.forms import FORMS
        from logdrift.tui.report_file import write_report

        report = known or self._built(all_pairs)
        ending = Path(name).suffix.lower()
        text = self._text(FORMS[ending], report, _WIDEST)
        words = write_report(name, text)
        self.post_message(Saved(words))
