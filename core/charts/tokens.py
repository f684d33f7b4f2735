"""What charts of values (not of positions) share: the counted tokens within reach."""

from __future__ import annotations

import numpy as np

from logdrift.core.charts.base import Array, Chart
from logdrift.core.charts.data import NothingToDraw
from logdrift.core.charts.reduce import count_true, nan_outside


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
        return f"{self.what}, {self.scope_words}: {self.number:,} tokens"

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
