"""A list of a session's pairs, which are judged one by one while it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.compare.pair import Pair, list_pairs
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import number
from logdrift.core.session.reader import Session
from logdrift.core.words import VERDICTS
from logdrift.tui.faults import background
from logdrift.tui.glyphs import fit
from logdrift.tui.models.pairs import PairRow, pair_row, read_pair
from logdrift.tui.palette import Palette
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.origin import Labels
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.reading import Row


@dataclass(eq=False, repr=False)
class PairJudged(Message):
    """One line of the pair list was worked out."""

    index: int
    row: PairRow


class PairPicker(Picker):
    """Asks for a pair; ``now`` is the one that is shown, marked in the list."""

    def __init__(
        self,
        session: Session,
        pairs: Sequence[Labels],
        now: Labels | None,
        palette: Palette,
    ) -> None:
        start = 0
        if now in pairs:
            start = pairs.index(now)
        super().__init__(
            "Pairs: Δ = log p A − log p B",
            "   A → B, with MAE of the completions in nats, and verdict",
            len(pairs),
            self._row,
            start,
        )
        self._session = session
        self._pairs = pairs
        self._now = now
        self._palette = palette
        self.known: dict[int, PairRow] = {}

    def on_mount(self) -> None:
        self._judge_all()

    @background(group="pairs", exclusive=True)
    def _judge_all(self) -> None:
        worker = get_current_worker()
        for index, labels in enumerate(self._pairs):
            if worker.is_cancelled:
                return
            row = pair_row(self._session, *labels)
            self.post_message(PairJudged(index, row))

    @on(PairJudged)
    def _on_pair_judged(self, message: PairJudged) -> None:
        self.known[message.index] = message.row
        self.update()

    def _row(self, index: int, width: int) -> Row:
        labels = self._pairs[index]
        a, b = labels
        room = max(10, width - 32)
        names = fit(f"{a} → {b}", room)
        mark = " "
        style = self._palette.text
        if labels == self._now:
            mark = "•"
            style = self._palette.strong
        judgement = self._judgement(index)
        return [(f" {mark} {names}", style), *judgement]

    def _judgement(self, index: int) -> Row:
        """MAE and verdict of a pair, or why there are none; … until it is judged."""
        palette = self._palette
        row = self.known.get(index)
        if row is None:
            return [("        …", palette.muted)]
        if row.problem:
            problem = fit(f" {row.problem}", 29)
            return [(problem, palette.bad)]
        mae = number(row.mae)
        verdict = VERDICTS.get(row.verdict or "", "")
        style = palette.verdict(row.verdict)
        return [(f" {mae:>9}", palette.text), (f"  {verdict}", style)]


def ask_pair(
    screen: BaseScreen,
    session: Session,
    now: Labels | None,
    chosen: Callable[[Labels], None],
) -> None:
    """Ask for a pair of a session; ``chosen`` gets the labels of the one chosen."""
    pairs = list_pairs(session)
    if not pairs:
        words = "two captures with a finished sequence are needed for a pair"
        screen.warn(words)
        return

    def index_chosen(index: int) -> None:
        chosen(pairs[index])

    screen.say("")
    picker = PairPicker(session, pairs, now, screen.palette)
    screen.choose(picker, index_chosen)


def open_labels(screen: BaseScreen, session: Session, labels: Labels) -> Pair | None:
    """The pair of two labels; where it does not open, shows the error and gives
    None.
    """
    try:
        return read_pair(session, *labels)
    except LogdriftError as error:
        screen.logdrift.show_error(str(error))
        return None
