"""Why the two captures of a pair differ: causes ranked, and the evidence for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import counted, number
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.bindings import bindings
from logdrift.tui.faults import background
from logdrift.tui.glyphs import ARROW, fit
from logdrift.tui.models.pairs import PairView, reason
from logdrift.tui.models.why import WhyView, evidence_stamp, explain
from logdrift.tui.screens.origin import Labels, Origin
from logdrift.tui.screens.pair_picker import ask_pair, open_labels
from logdrift.tui.screens.result import ResultScreen
from logdrift.tui.widgets.bars import Bar
from logdrift.tui.widgets.lines import Run
from logdrift.tui.widgets.reading import Row
from logdrift.tui.widgets.rows import Rows
from logdrift.tui.widgets.topics import TopicDetail, TopicList

WIDE = 110
_LIST_CELLS = 42
"""The least width of the list beside the evidence."""
_ANSWER_LINES = 5
"""Of the answer, which stands whole nowhere else on a screen."""
_VERDICT_LINES = 3


@dataclass
class Explained(Message):
    """The pair was diagnosed, or ``problem`` says why it could not be."""

    pair: Pair
    explanation: WhyView | None
    problem: str = ""


class WhyScreen(ResultScreen, inherit_bindings=False):
    """The verdict, the causes, and the evidence of the selected one. A thread works
    them out, once for each pair.
    """

    BINDINGS = bindings("why")
    CSS_PATH = "why.tcss"
    SCOPES = ("why",)
    AUTO_FOCUS = "#topics"
    SAVED_AS = "why.txt"

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin
        self.session = origin.session
        self.view = origin.view
        self.found: WhyView | None = None
        self._problem = ""

    def panes(self) -> ComposeResult:
        yield Bar(id="verdict")
        with Container(id="why"):
            yield TopicList(id="topics")
            yield TopicDetail(id="told")

    @property
    def topics(self) -> TopicList:
        return self.query_one("#topics", TopicList)

    @property
    def told(self) -> TopicDetail:
        return self.query_one("#told", TopicDetail)

    def size_classes(self, width: int, height: int) -> None:
        super().size_classes(width, height)
        is_narrow = width < WIDE
        self.set_class(is_narrow, "-stacked")

    def on_mount(self) -> None:
        self._want()

    @on(events.ScreenResume)
    def _on_resumed(self) -> None:
        """An experiment may have added evidence: what was known stands until the causes
        are ranked again.
        """
        known = self.found
        if known is not None and not self._is_current(known):
            self._want()

    def _is_current(self, explanation: WhyView) -> bool:
        """Whether no evidence came after an explanation."""
        return explanation.stamp == evidence_stamp(self.session)

    def on_unmount(self) -> None:
        self.workers.cancel_group(self, "why")

    def recoloured(self) -> None:
        self.told.recoloured()
        self.topics.recoloured()
        super().recoloured()

    # ---- working it out

    def _want(self) -> None:
        """Have the pair explained, unless it is known already."""
        assert self.view is not None
        labels = self.view.labels
        known = self.origin.explained(self.session, labels)
        if known is not None and self._is_current(known):
            self._take(known)
        else:
            self.explain_pair(self.session, self.view.pair)

    @background(group="why", exclusive=True)
    def explain_pair(self, session: Session, pair: Pair) -> None:
        """Diagnose a pair."""
        try:
            explanation = explain(session, pair)
            self.post_message(Explained(pair, explanation))
        except Exception as error:
            problem = reason(session, error)
            self.post_message(Explained(pair, None, problem))

    @on(Explained)
    def _on_explained(self, message: Explained) -> None:
        explanation = message.explanation
        if explanation is not None:
            self.origin.keep_explained(self.session, explanation)
        view = self.view
        if view is None or view.pair is not message.pair:
            return
        self._problem = message.problem
        if explanation is None:
            self.draw()
        else:
            self._take(explanation)

    def _take(self, found: WhyView) -> None:
        self.found = found
        self.topics.put(found.topics)
        self.draw()
        self._tell()

    # ---- showing

    def draw(self) -> None:
        """Verdict and state; the list takes as much room as it needs where it stands
        above the rest.
        """
        if not self.size.width:
            return
        head = self._head()
        self.bar("verdict").put(head)
        topics = self.topics
        if self.has_class("-stacked"):
            needed = topics.line_count + 1
            most = self.size.height * 2 // 5
            height = min(needed, most)
            topics.styles.height = max(4, height)
            topics.styles.width = "1fr"
        else:
            topics.styles.height = "1fr"
            topics.styles.width = self._list_cells()
        topics.aside = ""
        if self.found is not None:
            topics.aside = f"{self.found.causes} found"
        topics.refresh_fixed()

    def _list_cells(self) -> int:
        """What the names of all causes need beside the evidence, and no more than half
        of the screen: longer ones go on in a second row.
        """
        most = self.size.width * 46 // 100
        needed = max(_LIST_CELLS, self.topics.cells_needed)
        return min(needed, most)

    def _head(self) -> list[Row]:
        """The answer, the pair with its numbers, the verdict, and a running capture."""
        answer = self._answer_rows()
        most = _VERDICT_LINES
        if self.size.height < 30:
            left = most - len(answer)
            most = max(2, left)
        words, style = self._verdict()
        rows: list[Row] = [*answer]
        rows.append(self._pair_row())
        rows += self.paragraph(words, style, most)
        if self.session.is_growing:
            words = "being captured: this is about what was finished when it was opened"
            line = fit(words, self.text_width)
            row = self._row(line, self.palette.accent)
            rows.append(row)
        return rows

    def _row(self, text: str, style: Style) -> list[Run]:
        """A line, one blank from the border."""
        blank = (" ", self.palette.text)
        return [blank, (text, style)]

    def _pair_row(self) -> list[Run]:
        """The pair, cut to what its numbers leave of the line."""
        assert self.view is not None
        labels = self.view.labels
        a, b = map(visible, labels)
        numbers = self._numbers()
        room = self.text_width
        for text, _ in numbers:
            room -= len(text)
        names = fit(f"{a} {ARROW} {b}", room)
        row = self._row(names.rstrip(), self.palette.strong)
        return row + numbers

    def _numbers(self) -> list[Run]:
        """Verdict of the gate, MAE and number of tokens, once they are known."""
        if self.found is None:
            return []
        palette = self.palette
        verdict = self.found.gate.verdict
        diagnosis = self.found.found
        mae = diagnosis.size["mae"]
        mae_text = number(None)
        if isinstance(mae, float):
            mae_text = number(mae)
        return [
            (f"  {VERDICTS[verdict]}", palette.verdict(verdict)),
            (f"  MAE {mae_text}", palette.text),
            (f"  {counted(diagnosis.tokens, 'token')}", palette.muted),
        ]

    def _answer_rows(self) -> Sequence[Row]:
        """The sentence that explorer and report print, whole; one blank row until it is
        there.
        """
        palette = self.palette
        if self.found is None:
            nothing = ("", palette.text)
            return [[nothing]]
        answer = self.found.found.answer
        style = palette.meaning(answer.meaning)
        sentence = visible(answer.sentence)
        return self.paragraph(sentence, style, _ANSWER_LINES)

    def _verdict(self) -> Run:
        """The verdict of the diagnosis, with the score of the first cause."""
        palette = self.palette
        if self._problem:
            return f"not explained: {self._problem}", palette.bad
        if self.found is None:
            return "the causes are being worked out …", palette.muted
        diagnosis = self.found.found
        words = visible(diagnosis.verdict)
        if diagnosis.causes:
            first = diagnosis.causes[0]
            with_score = f"{first.sureness} {first.score:.2f}: "
            words = words.replace(f"{first.sureness}: ", with_score, 1)
        style = palette.warn
        if diagnosis.noise:
            style = palette.good
        return words, style

    @on(Rows.Moved, "#topics")
    def _on_moved(self) -> None:
        self.say("")
        self._tell()

    def _tell(self) -> None:
        """Show the evidence of the selected topic."""
        topic = self.topics.here
        if topic is None:
            return
        title = visible(topic.title)
        if topic.score is not None:
            title = f"Evidence: {topic.name}"
        self.told.put(title, topic.lines)

    # ---- commands

    @on(Rows.Chosen, "#topics")
    def _on_topic_chosen(self) -> None:
        """To the evidence, at its first token."""
        self.told.focus()
        self.told.to_token()

    @on(Rows.Chosen, "#told")
    def _on_told_chosen(self) -> None:
        position = self.told.position
        if position is None:
            self.warn("this line is about no token: those with ▸ are")
            return
        origin = self.origin
        self.dismiss()
        origin.jump(position)
        origin.to_tokens()

    def action_next_pane(self) -> None:
        if self.topics.has_focus:
            self.told.focus()
        else:
            self.topics.focus()

    def action_previous_pane(self) -> None:
        self.action_next_pane()

    @property
    def _labels(self) -> Labels | None:
        """The labels of the pair that is shown."""
        if self.view is not None:
            return self.view.labels
        return None

    def action_pair(self) -> None:
        ask_pair(self, self.session, self._labels, self._choose_pair)

    def _choose_pair(self, labels: Labels) -> None:
        """Explain another pair; the explorer shows it too."""
        if labels == self._labels:
            return
        pair = open_labels(self, self.session, labels)
        if pair is None:
            return
        self.origin.take_pair(pair)
        self.view = PairView(pair)
        self.found = None
        self._problem = ""
        self.topics.put(())
        self.told.put("", ())
        self.draw()
        self._want()

    def action_experiments(self) -> None:
        from logdrift.tui.screens.experiments import ExperimentsScreen

        if self.found is None:
            problem = self._problem or "the causes are still being worked out"
            self.warn(problem)
            return
        experiments = ExperimentsScreen(self.session, self.found)
        self.app.push_screen(experiments)

    def action_identity(self) -> None:
        from logdrift.tui.screens.identity import IdentityScreen

        identity = IdentityScreen(self.session, self._labels)
        self.app.push_screen(identity)

    def action_layers(self) -> None:
        from logdrift.tui.screens.layers import LayersScreen

        assert self.view is not None
        layers = LayersScreen(self.origin, self.view.labels)
        self.app.push_screen(layers)

    def action_numbers(self) -> None:
        """Show the numbers behind each sentence, or hide them."""
        told = self.told
        told.show_numbers(not told.with_numbers)

    def action_cause_table(self) -> None:
        from logdrift.tui.screens.cause_table import CauseTable

        topic = self.topics.here
        code = ""
        if topic is not None:
            code = topic.name
        self.app.push_screen(CauseTable(code))

    def action_save_page(self) -> None:
        """Save the HTML report of the session, with this pair in full."""
        from logdrift.tui.screens.save_page import save_page

        view = self.view
        labels = None if view is None else view.labels
        save_page(self, self.session.folder, labels)

    def action_copy(self) -> None:
        """The text of the selected cause."""
        topic = self.topics.here
        text = ""
        if topic is not None:
            text = topic.text
        outcome = self.logdrift.copy_text(text)
        self.say(outcome)

    def text_to_save(self) -> str:
        if self.found is not None:
            return self.found.text
        words, _ = self._verdict()
        return f"{words}\n"
