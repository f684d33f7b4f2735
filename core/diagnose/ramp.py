"""How a measured value becomes a score between 0 and 1.

Every ramp and every weight of a signature stands beside it with its origin. *By
judgement* means that no measurement set it. All of them together are held by what is
measured: `logdrift doctor --false-alarms` counts the healthy pairs that are given a
wrong cause (tests/test_false_alarms.py), and the planted faults count what is named
(tests/test_planted.py, docs/why.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ramp:
    """A score of 0 up to ``starts`` and of 1 from ``full`` on, straight between."""

    starts: float
    full: float

    def score(self, value: float) -> float:
        """The score of ``value``, which has the unit of ``starts`` and ``full``."""
        share = (value - self.starts) / (self.full - self.starts)
        return float(min(1.0, max(0.0, share)))
