"""What the explorer asks in a window: which pair, which threshold, whose log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.style import Style
from textual import on
from textual.message import Message
from textual.worker import get_current_worker

from logdrift.core.compare.pair import Pair, list_pairs, make_pair
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import number, percent
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS
from logdrift.tui.faults import background
from logdrift.tui.glyphs import fit
from logdrift.tui.models.state import THRESHOLDS, ViewState
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.views import PairRow, PairView, pair_row

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.tui.modes import Mode

    Positions = npt.NDArray[np.int64]
    # The windows are imported when the first one opens.
    from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.reading import Row


@dataclass(eq=False, repr=False)
class PairJudged(Message):
    """One line of the pair list is known."""

    picker: Picker
    index: int
    row: PairRow


class AskingScreen(BaseScreen, inherit_bindings=False):
    """The questions; the explorer has the answers carried out."""

    session: Session
    view: PairView | None
    view_state: ViewState

    @property
    def pair(self) -> Pair | None:
        return self.view.pair if self.view is not None else None

    @property
    def threshold(self) -> float:
        return self.view_state.threshold

    def take_pair(self, pair: Pair) -> None:
        """Show another pair, and keep to it from now on."""
        raise NotImplementedError

    @property
    def mode(self) -> Mode:
        """What tokens are coloured by."""
        raise NotImplementedError

    @property
    def level_threshold(self) -> float:
        """The threshold of the mode, in its own unit."""
        raise NotImplementedError

    def set_threshold(self, threshold: float) -> None:
        """What counts as divergent, in the unit of the mode."""
        raise NotImplementedError

    def missing(self) -> str | None:
        """Why the pair has no numbers for the mode, None where it has."""
        raise NotImplementedError

    def beyond(self, threshold: float | None = None) -> Positions:
        """Flat positions of the tokens beyond a threshold of the mode, None for the one
        that is set.
        """
        raise NotImplementedError

    def set_mode(self, name: str) -> None:
        """Colour tokens by another number."""
        raise NotImplementedError

    def set_sort(self, name: str) -> None:
        """List the sequences in another order."""
        raise NotImplementedError

    def _ask(self, picker: Picker, answered: Callable[[int | None], None]) -> None:
        self.say("")
        self.app.push_screen(picker, answered)

    def action_threshold(self) -> None:
        from logdrift.tui.screens.texts import Picker

        pair = self.pair
        if pair is None:
            self.say("there is no pair to compare yet", warn=True)
            return
        mode, before, scored = self.mode, self.level_threshold, self.mode.tokens(pair)
        choices = mode.thresholds or THRESHOLDS
        counts: dict[int, int] = {}

        def row(index: int, width: int) -> Row:
            if index not in counts:
                counts[index] = len(self.beyond(choices[index]))
            nats = (
                f"{number(float(np.exp(choices[index])), 3):>8}"
                if not mode.thresholds
                else ""
            )
            beyond = f"{counts[index]:>11,} {percent(counts[index], scored):>8}"
            return [
                (f" {mode.step(choices[index]):>8} {nats} {beyond}", self.palette.text)
            ]

        def chosen(index: int | None) -> None:
            self.set_threshold(before if index is None else choices[index])

        start = min(range(len(choices)), key=lambda i: abs(np.log(choices[i] / before)))
        head = (
            f" {mode.head:>8} {'' if mode.thresholds else '   ratio'} {'beyond':>11}"
            f" {'of all':>8}"
        )
        self._ask(
            Picker(
                f"Threshold: {mode.title}",
                head,
                len(choices),
                row,
                start,
                lambda i: self.set_threshold(choices[i]),
                aside=True,
            ),
            chosen,
        )

    def action_modes(self) -> None:
        from logdrift.tui.modes import MODES
        from logdrift.tui.screens.texts import Picker

        p = self.palette
        before = [mode.name for mode in MODES].index(self.mode.name)

        def row(index: int, width: int) -> Row:
            mode = MODES[index]
            return [
                (f" {fit(mode.title, 14)}", p.strong),
                (fit(mode.words, max(1, width - 15)), p.muted),
            ]

        picker = Picker(
            "Colour tokens by",
            "",
            len(MODES),
            row,
            before,
            lambda i: self.set_mode(MODES[i].name),
        )
        self._ask(
            picker,
            lambda index: self.set_mode(MODES[before if index is None else index].name),
        )

    def action_sorts(self) -> None:
        from logdrift.core.compare.per_sequence import REDUCTIONS
        from logdrift.tui.screens.texts import Picker

        p = self.palette
        before = [entry.name for entry in REDUCTIONS].index(self.view_state.sort)

        def row(index: int, width: int) -> Row:
            entry = REDUCTIONS[index]
            return [
                (f" {fit(entry.name, 10)}", p.strong),
                (fit(entry.words, max(1, width - 11)), p.muted),
            ]

        picker = Picker("Sort sequences by", "", len(REDUCTIONS), row, before)
        self._ask(
            picker,
            lambda index: (
                None if index is None else self.set_sort(REDUCTIONS[index].name)
            ),
        )

    def action_pair(self) -> None:
        from logdrift.tui.screens.texts import Picker

        pairs = list_pairs(self.session)
        if not pairs:
            self.say(
                "two captures with a finished sequence are needed for a pair", warn=True
            )
            return

        def row(index: int, width: int) -> Row:
            return self._pair_runs(*pairs[index], picker.known.get(index), width)

        def chosen(index: int | None) -> None:
            if index is not None:
                self._choose_pair(pairs[index])

        start = (
            pairs.index(self.view.labels)
            if self.view is not None and self.view.labels in pairs
            else 0
        )
        picker = Picker(
            "Pairs: Δ = log p A − log p B",
            "   A → B, with MAE of the completions in nats, and verdict",
            len(pairs),
            row,
            start,
        )
        self._ask(picker, chosen)
        self._judge_pairs(picker, pairs)

    def _pair_runs(self, a: str, b: str, known: PairRow | None, width: int) -> Row:
        p = self.palette
        here = self.view is not None and self.view.labels == (a, b)
        name = (
            f" {'•' if here else ' '} {fit(f'{a} → {b}', max(10, width - 32))}",
            p.strong if here else p.text,
        )
        if known is None:
            return [name, ("        …", p.muted)]
        if known.problem:
            return [name, (fit(f" {known.problem}", 29), p.bad)]
        verdict = (
            f"  {VERDICTS.get(known.verdict or '', '')}",
            p.verdict(known.verdict),
        )
        return [name, (f" {number(known.mae):>9}", p.text), verdict]

    @background(group="pairs", exclusive=True)
    def _judge_pairs(self, picker: Picker, pairs: list[tuple[str, str]]) -> None:
        session, worker = self.session, get_current_worker()
        for index, (a, b) in enumerate(pairs):
            if worker.is_cancelled or not picker.is_attached:
                return
            self.post_message(PairJudged(picker, index, pair_row(session, a, b)))

    @on(PairJudged)
    def _on_pair_judged(self, message: PairJudged) -> None:
        message.picker.known[message.index] = message.row
        if message.picker.is_attached:
            message.picker.update()

    def _choose_pair(self, labels: tuple[str, str]) -> None:
        if (
            self.view is not None
            and self.view.labels == labels
            and self.view_state.pair == labels
        ):
            return
        try:
            pair = make_pair(self.session, *labels)
        except LogdriftError as error:
            self.logdrift.show_error(str(error))
            return
        self.take_pair(pair)

    def action_log(self) -> None:
        from logdrift.tui.screens.texts import Picker

        backends = list(dict.fromkeys(info.backend for info in self.session.captures))
        if not backends:
            self.say("this session has no backends", warn=True)
        elif len(backends) == 1:
            self._show_log(backends, 0)
        else:
            failed = {
                info.backend
                for info in self.session.captures
                if info.status == "failed"
            }
            p = self.palette

            def row(index: int, width: int) -> Row:
                bad: Style = p.bad if backends[index] in failed else p.text
                return [
                    (
                        (
                            f" {visible(backends[index])}{'  failed' if backends[index] in failed else ''}"
                        ),
                        bad,
                    )
                ]

            def answered(index: int | None) -> None:
                if index is not None:
                    self._show_log(backends, index)

            start = next((i for i, name in enumerate(backends) if name in failed), 0)
            self._ask(
                Picker("Logs", " backend", len(backends), row, start),
                answered,
            )

    def _show_log(self, backends: list[str], index: int) -> None:
        from logdrift.tui.screens.log import LogScreen

        self.app.push_screen(LogScreen(self.session, backends, index))
