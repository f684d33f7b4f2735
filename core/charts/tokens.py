"""What charts of values (not of positions) share: the counted tokens within reach."""

from __future__ import annotations

import numpy as np

from logdrift.core.charts.base import Array, Chart, Table
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.reduce import count_true, nan_outside
from logdrift.core.numbers import counted


class TokenChart(Chart):
    """Of the counted tokens within reach: their values, NaN for all others."""

    def prepare(self) -> None:
        data = self.data
        self.counted = data.counted[self.part]
        if not self.counted.any():
            raise NothingToDraw(
                f"no token within reach is scored on both sides ({self.scope_words})"
            )
        delta = data.delta[self.part]
        self.delta = nan_outside(self.counted, delta)
        self.size = np.abs(self.delta)

    @property
    def number(self) -> int:
        """How many tokens count."""
        return count_true(self.counted)

    @property
    def reach_words(self) -> str:
        """Which tokens these are, in words."""
        return f"{self.what}, {self.scope_words}: {counted(self.number, 'token')}"

    def tokens_table(self) -> dict[str, Array]:
        """Counted tokens by sequence and position."""
        offsets = self.data.offsets
        token_ids = self.data.pair.sequences.token_ids
        flat = np.flatnonzero(self.counted) + self.start
        sequence = np.searchsorted(offsets, flat, "right") - 1
        start = offsets[sequence]
        return {
            "sequence": sequence,
            "position": flat - start,
            "token_id": token_ids[flat],
        }


class PossibleChart(TokenChart):
    """Of the counted tokens that are possible on both sides: ``a`` and ``b`` are their
    log-probabilities f32[n], NaN for all others.
    """

    def prepare(self) -> None:
        super().prepare()
        pair = self.data.pair
        a = pair.logprob_a[self.part]
        b = pair.logprob_b[self.part]
        # Delta is 0 where both sides call the token impossible: it has no place either.
        possible_a = np.isfinite(a)
        possible_b = np.isfinite(b)
        possible = possible_a & possible_b
        finite = self.counted & possible
        if not finite.any():
            raise NothingToDraw("no token within reach is possible on both sides")
        self.a = nan_outside(finite, a)
        self.b = nan_outside(finite, b)
        self.drawn = count_true(finite)

    @property
    def hidden_words(self) -> list[str]:
        """How many tokens have no place, for a legend."""
        hidden = self.number - self.drawn
        if hidden:
            return [f"{hidden} impossible on a side, not drawn"]
        return []

    def table(self) -> Table:
        counted = np.flatnonzero(self.counted)
        flat = counted + self.start
        pair = self.data.pair
        return {
            **self.tokens_table(),
            "logprob_a": pair.logprob_a[flat],
            "logprob_b": pair.logprob_b[flat],
            "delta": self.delta[counted],
        }
