"""Two sessions compared: the answer, the tokens that changed, and the whole diff."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from logdrift.core.report.document import Gap
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.models.comparison import ChangedToken, Comparison, compare_folders
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.saving import save
from logdrift.tui.screens.searching import SearchKeys, TextSearch
from logdrift.tui.tones import painted, tone_styles
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.changed_tokens import ChangedTokens
from logdrift.tui.widgets.paragraph import paragraph
from logdrift.tui.widgets.reading import Reading
from logdrift.tui.widgets.rows import Rows

_WIDEST = 100
_ANSWER_LINES = 3
_NOT_COMPARED = "the two could not be compared the other way round"


@dataclass(eq=False, repr=False)
class ComparedAgain(Message):
    """The two sessions were compared the other way round; None: ``problem`` says why
    not.
    """

    comparison: Comparison | None
    problem: str = ""


def _not_compared(words: str) -> ComparedAgain:
    return ComparedAgain(None, words)


class DiffScreen(SearchKeys, BaseScreen, inherit_bindings=False):
    """The default pair in an earlier and a later session."""

    BINDINGS = bindings("diff", "reading")
    SCOPES = ("diff", "reading")
    AUTO_FOCUS = "#changed"
    SAVED_AS = "diff.txt"

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison
        self.search = TextSearch(self, self.say)

    def panes(self) -> ComposeResult:
        yield Bar(id="answer")
        yield ChangedTokens(id="changed")
        yield Reading(self.comparison.title, [], id="text")

    def on_mount(self) -> None:
        self._show_tokens()

    @property
    def changed(self) -> ChangedTokens:
        """The list of the tokens."""
        return self.query_one(ChangedTokens)

    @property
    def reading(self) -> Reading:
        """The whole diff."""
        return self.query_one(Reading)

    def _show_tokens(self) -> None:
        comparison = self.comparison
        count = comparison.counted()
        self.changed.put(comparison.tokens, count)

    def draw(self) -> None:
        if not self.size.width:
            return
        self._show_answer()
        changed = self.changed
        height = self.size.height
        two_fifths = height * 2 // 5
        most = max(5, two_fifths)
        needed = changed.line_count + 2
        changed.styles.height = min(needed, most)
        self._show_text()

    def _show_answer(self) -> None:
        """What is compared, and the answer in the colour of what it means."""
        comparison = self.comparison
        palette = self.palette
        width = self.size.width - 2
        styles = tone_styles(palette)
        rows = paragraph(
            comparison.answer,
            styles[comparison.tone],
            palette,
            width=width,
            most=_ANSWER_LINES,
        )
        bar = self.query_one("#answer", Bar)
        bar.put(rows)

    def _show_text(self) -> None:
        """What the answer rests on; the answer itself stands above."""
        from logdrift.core.report.diff_document import diff_document
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import styled_lines

        comparison = self.comparison
        _, *document = diff_document(comparison.diff)
        first_block = document[0]
        if isinstance(first_block, Gap):
            del document[0]
        width = min(_WIDEST, self.size.width)
        canvas = Canvas(width - 3)
        lines = styled_lines(document, canvas)
        rows = painted(lines, self.palette)
        self.reading.put(comparison.title, rows)

    # ---- commands

    @on(Rows.Chosen)
    def action_to_tokens(self) -> None:
        """Open the later session at the selected token, with the earlier one beside
        it.
        """
        changed = self.changed
        if not changed.line_count:
            self.say("no token changed")
            return
        token = changed.tokens[changed.selected]
        self._open(token)

    def action_change_chart(self) -> None:
        """Open the later session with the chart of the diff."""
        self._open(None)

    def _open(self, token: ChangedToken | None) -> None:
        comparison = self.comparison
        place = None
        if token is not None:
            place = (token.sequence, token.position)
        self.logdrift.open_folder(
            comparison.later,
            comparison.earlier,
            pair=comparison.labels,
            place=place,
        )

    def action_swap(self) -> None:
        """Compare the other way round: the earlier session as the later one."""
        self.say("comparing the other way round", stays=True)
        before = self.comparison
        self._compare_again(before.later, before.earlier)

    @background(group="compare", exclusive=True, failed=_not_compared)
    def _compare_again(self, earlier: Path, later: Path) -> None:
        comparison = compare_folders(earlier, later)
        message = ComparedAgain(comparison)
        self.post_message(message)

    @on(ComparedAgain)
    def _on_compared_again(self, message: ComparedAgain) -> None:
        if message.comparison is None:
            self.warn(_NOT_COMPARED)
            self.logdrift.show_error(message.problem)
            return
        self.say("")
        self.comparison = message.comparison
        self._show_tokens()
        self.draw()

    def turn(self, step: int) -> None:
        """To the other pane."""
        if self.changed.has_focus:
            self.reading.focus()
        else:
            self.changed.focus()

    def text_to_save(self) -> str:
        """The whole diff, as the command prints it."""
        from logdrift.core.report.diff_document import diff_document
        from logdrift.core.report.layout import Canvas
        from logdrift.core.report.paint.text import paint_text

        document = diff_document(self.comparison.diff)
        canvas = Canvas(_WIDEST)
        return paint_text(document, canvas)

    def action_copy(self) -> None:
        text = self.text_to_save()
        outcome = self.logdrift.copy_text(text)
        self.say(outcome)

    def action_save(self) -> None:
        folder = self.comparison.later
        save(self, self.SAVED_AS, self.text_to_save, session=folder)
