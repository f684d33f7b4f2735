"""How fast captures go, and how long they will still take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

_EVENT_SECONDS = 0.5
"""Between two events of progress of one capture."""


@dataclass
class Pace:
    """Finished sequences and tokens of one capture since its worker began it.

    ``before`` sequences were finished by an earlier worker, of ``planned`` in all.
    """

    label: str
    planned: int
    before: int
    begun: float
    sequences: int = 0
    tokens: int = 0
    _told: float = 0.0

    def add(self, sequences: int, tokens: int) -> dict[str, Any] | None:
        """Count what was finished; the event that tells it, None where the last one is
        recent.
        """
        self.sequences += sequences
        self.tokens += tokens
        now = time.monotonic()
        if now - self._told < _EVENT_SECONDS:
            return None
        self._told = now
        seconds = max(1e-9, now - self.begun)
        return self._event(seconds)

    def _event(self, seconds: float) -> dict[str, Any]:
        done = min(self.planned, self.before + self.sequences)
        seconds_left = None
        if self.sequences:
            sequences_left = self.planned - done
            seconds_left = round(sequences_left * seconds / self.sequences, 1)
        return {
            "type": "progress",
            "label": self.label,
            "sequences": done,
            "planned": self.planned,
            "tokens": self.tokens,
            "rate": round(self.tokens / seconds, 1),
            "left": seconds_left,
        }
