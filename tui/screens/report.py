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
from logdrift.tui.screens.searching import SearchKeys, TextSearch
from logdrift.tui.tones import painted
from logdrift.tui.widgets.reading import Reading, Row

if TYPE_CHECKING:
    from logdrift.core.report.marks import NotedToken
    from logdrift.core.report.paint.text import StyledLine
    from logdrift.core.report.records import SessionReport

_FORMATS = {
    "text": "text",
    "md": "Markdown",
}
_FORMS_WITH_MARKS = ("md", "html")
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
    no_key = ("", False)
    return Rendered(
        key=no_key,
        report=None,
        text="",
        problem=words,
    )


def _not_saved(words: str) -> Saved:
    return Saved("", problem=words)


class ReportScreen(SearchKeys, BaseScreen, inherit_bindings=False):
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
        yield Reading("Report", ["being made"], id="report")

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
        form = self.form
        width = self._width
        self.render_report(form, self.all_pairs, known, width)

    @property
    def _text_width(self) -> int:
        width = self.app.size.width
        screen_width = max(MIN_WIDTH, width)
        room = screen_width - 2
        return min(_WIDEST, room)

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
        pair = self.pair
        if pair is not None and not all_pairs:
            pairs = [pair]
        config = load_config()
        own_limits = config.thresholds
        limits = (*PUBLISHED, *own_limits)
        return report_on(self.session, pairs, limits=limits)

    def _text(self, form: str, report: SessionReport, width: int) -> str:
        """The report in a format."""
        from logdrift.core.report.forms import rendered
        from logdrift.core.report.layout import Canvas
        from logdrift.tui.report_file import kept_marks

        canvas = Canvas(width)
        session = self.session
        marks: Sequence[NotedToken] = ()
        if form in _FORMS_WITH_MARKS:
            marks = kept_marks(session)
        return rendered(form, report, session, self.pair, canvas, marks)

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
        plain_lines = map(_plain, lines)
        text = "".join(plain_lines)
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
        same_form = form == self.form
        same_pairs = all_pairs == self.all_pairs
        if same_form and same_pairs:
            self.text = message.text
            plain_lines = self.text.splitlines()
            self._show(message.lines or plain_lines)

    def _show(self, lines: Sequence[StyledLine | str]) -> None:
        """Show the report of what was chosen."""
        pairs = self._pairs_in_words()
        form = _FORMATS[self.form]
        title = f"Report · {form} · {pairs}"
        rows = list(map(self._row, lines))
        self.reading.put(title, rows)
        self.say("")

    def _pairs_in_words(self) -> str:
        if self.pair is None or self.all_pairs:
            return "all pairs"
        a, b = map(visible, self.pair)
        return f"{a} {ARROW} {b}"

    def _row(self, line: StyledLine | str) -> str | Row:
        """A line of the report for the pane."""
        if isinstance(line, str):
            return line
        rows = painted([line], self.palette)
        return rows[0]

    # ---- commands

    def action_next_format(self) -> None:
        forms = list(_FORMATS)
        index = forms.index(self.form)
        following = index + 1
        following %= len(forms)
        self.form = forms[following]
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

        here = Path.cwd()
        endings = ".txt, .md, .html or .json"
        words = visible(f"in {here}: {endings}")
        offered = default_name(self.session, Path())
        title = "Save the report"
        prompt = LinePrompt(title, words, offered, problem=name_problem)
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
        suffix = Path(name).suffix
        ending = suffix.lower()
        form = FORMS[ending]
        text = self._text(form, report, _WIDEST)
        words = write_report(name, text)
        self.post_message(Saved(words))


def _plain(line: StyledLine) -> str:
    """The text of a line and its end, without the tones."""
    texts = [run.text for run in line]
    texts.append("\n")
    return "".join(texts)
