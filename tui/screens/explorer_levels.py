"""What tokens are coloured by in the explorer: the mode, its threshold, and which
tokens lie beyond it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.numbers import percent
from logdrift.core.session.reader import Session
from logdrift.tui.models.state import THRESHOLDS, ViewState
from logdrift.tui.modes import MODES, Legend, Mode, legend, mode_of
from logdrift.tui.screens.explorer_jobs import Counted
from logdrift.tui.screens.explorer_list import ExplorerList

if TYPE_CHECKING:
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]

AT_ONCE = 200_000
"""Tokens up to which those beyond a threshold are counted without a thread: some
milliseconds.
"""
_KEPT_COUNTS = 12


class ExplorerLevels(ExplorerList, inherit_bindings=False):
    """The commands that change colours; the screen repaints."""

    def __init__(
        self, session: Session, view_state: ViewState, *, classes: str
    ) -> None:
        super().__init__(session, view_state, classes=classes)
        self._beyond: dict[tuple[str, float], Positions] = {}

    @property
    def mode(self) -> Mode:
        """What tokens are coloured by."""
        return mode_of(self.view_state.mode)

    @property
    def level_threshold(self) -> float:
        """The threshold of the mode, in its own unit."""
        mode = self.mode
        return (
            dict(self.view_state.thresholds).get(mode.name, mode.default)
            if mode.thresholds
            else self.threshold
        )

    def level_text(self) -> str:
        """The threshold as the legend writes it."""
        return f"{self.mode.head} {self.mode.step(self.level_threshold)}"

    def stretch(self, pair: Pair, start: int, stop: int) -> Stretch:
        """Tokens of a pair, with its floor."""
        return Stretch(
            pair, start, stop, self.numbers.floor if self.numbers is not None else None
        )

    def beyond(self, threshold: float | None = None) -> Positions:
        """Flat positions of the tokens of the pair with a level, ascending."""
        pair, mode = self.pair, self.mode
        if pair is None or self.missing() is not None:  # not kept: the numbers may come
            return np.empty(0, np.int64)
        wanted = self.level_threshold if threshold is None else threshold
        if not mode.thresholds:
            return pair.divergences(wanted)
        key = (mode.name, wanted)
        if key not in self._beyond:
            self._keep_beyond(
                key, mode.beyond(self.stretch(pair, 0, pair.tokens), wanted)
            )
        return self._beyond[key]

    def missing(self) -> str | None:
        """Why the pair has no numbers for the mode."""
        if self.pair is None:
            return "no pair to compare yet"
        if self.numbers is None:
            return (
                "the floor is not measured yet"
                if self.mode.name == "floor"
                else self.mode.missing(self.pair, 0.0)
            )
        return self.mode.missing(self.pair, self.numbers.floor)

    def legend_now(self) -> Legend:
        """The legend of what is shown."""
        missing, pair = self.missing(), self.pair
        # Counted once judging has made what it takes: not for the first screen.
        count = None
        if (
            pair is not None
            and missing is None
            and (self.view is None or self.view.stats is not None)
        ):
            count = self._count(pair)
        scored = self.mode.tokens(pair) if count is not None and pair is not None else 0
        broken = (
            int(np.count_nonzero(pair.broken))
            if count is not None and pair is not None
            else 0
        )
        return legend(self.mode, self.level_threshold, count, scored, missing, broken)

    def _count(self, pair: Pair) -> int | None:
        """How many tokens have a level; None while a thread finds out."""
        mode, threshold = self.mode, self.level_threshold
        if (
            mode.thresholds
            and (mode.name, threshold) not in self._beyond
            and pair.tokens > AT_ONCE
        ):
            self.count_beyond(self.stretch(pair, 0, pair.tokens), mode, threshold)
            return None
        return len(self.beyond())

    def counted(self, message: Counted) -> None:
        """The tokens beyond a threshold are known."""
        self._keep_beyond(message.key, message.positions)
        if message.key == (self.mode.name, self.level_threshold):
            self.tokens.show_legend(self.legend_now())

    def _keep_beyond(self, key: tuple[str, float], positions: Positions) -> None:
        if len(self._beyond) >= _KEPT_COUNTS:
            del self._beyond[next(iter(self._beyond))]
        self._beyond[key] = positions

    def action_next_mode(self) -> None:
        names = [mode.name for mode in MODES]
        self.set_mode(names[(names.index(self.mode.name) + 1) % len(names)])

    def set_mode(self, name: str) -> None:
        """Colour tokens by another number."""
        if name != self.view_state.mode:
            self.view_state = replace(self.view_state, mode=name)
            self.repaint_passage()
        missing = self.missing()
        self.say(
            f"{self.mode.title}: {missing or self.mode.words}", warn=missing is not None
        )

    def action_threshold_up(self) -> None:
        self._step_threshold(1)

    def action_threshold_down(self) -> None:
        self._step_threshold(-1)

    def _step_threshold(self, step: int) -> None:
        choices, now = self.mode.thresholds or THRESHOLDS, self.level_threshold
        if step > 0:
            new = next((t for t in choices if t > now * 1.0001), choices[-1])
        else:
            new = next((t for t in reversed(choices) if t < now * 0.9999), choices[0])
        self.set_threshold(new)
        count = (
            self._count(self.pair)
            if self.pair is not None and self.missing() is None
            else None
        )
        if self.pair is not None and count is not None:
            scored = self.mode.tokens(self.pair)
            self.say(
                f"threshold {self.level_text()}: {count:,} of {scored:,} tokens beyond"
                f" ({percent(count, scored)})"
            )

    def set_threshold(self, threshold: float) -> None:
        """What counts as divergent, in the unit of the mode."""
        if threshold == self.level_threshold:
            return
        name = self.mode.name
        if self.mode.thresholds:
            others = tuple(
                entry for entry in self.view_state.thresholds if entry[0] != name
            )
            self.view_state = replace(
                self.view_state, thresholds=(*others, (name, threshold))
            )
        else:
            self.view_state = replace(self.view_state, threshold=threshold)
            if self.view_state.sort == "beyond":
                self.show_list()
            if self.view_state.filter == ">":
                self.refresh_filter()
        self.repaint_passage()
