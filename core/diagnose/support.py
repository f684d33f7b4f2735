"""How much evidence a signature needs before it may call a cause likely or certain.

One token can look like anything, so no score counts for more than its evidence bears:
below ``likely`` units of evidence a cause stays *possible*, below ``certain`` units it
stays *likely*.

The counts come from two sides. From above, `logdrift.core.planted.healthy` draws
healthy pairs of 1 to 1,024 tokens and counts the causes that are wrongly called likely:
with these counts fewer than 1 in 1,000 are, at every length. From below, the planted
faults of `logdrift doctor --self-test` must stay named in sequences of 40 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from logdrift.core.diagnose.evidence import CERTAIN, LIKELY

POSSIBLE_AT_MOST = LIKELY - 0.01
LIKELY_AT_MOST = CERTAIN - 0.01


@dataclass(frozen=True, slots=True)
class Support:
    """Units of evidence (tokens, rows of top-k lists or sequences) from which a
    signature may say *likely* and *certain*.
    """

    likely: int
    certain: int

    def ceiling(self, units: int) -> float:
        """The largest score that ``units`` bear. It grows with every unit, and reaches
        1 at ``certain``.
        """
        if units >= self.certain:
            return 1.0
        if units >= self.likely:
            share = (units - self.likely) / (self.certain - self.likely)
            return LIKELY + share * (LIKELY_AT_MOST - LIKELY)
        return POSSIBLE_AT_MOST * units / self.likely


TOKENS = Support(likely=32, certain=128)
"""Of tokens that both sides scored. The relative standard error of an MAE is at most
1.3 / sqrt(n) for the heavy-tailed noise of 16-bit engines: 23% at 32 tokens, 11% at
128.
"""
ROWS = Support(likely=32, certain=96)
"""Of tokens with top-k lists on both sides: each row holds several alternatives, so
fewer are needed than tokens.
"""
SEQUENCES = Support(likely=4, certain=8)
"""Of sequences, where each must show the sign by itself (a sign test over four has a
chance of 6%, over eight of 0.4%, and the signatures ask for a size too).
"""
PROOF = Support(likely=8, certain=32)
"""Of tokens, where a single one contradicts itself: a value that its own list denies,
one number that stands everywhere.
"""
