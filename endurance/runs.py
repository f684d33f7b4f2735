"""What every kind of fault has in common: how many runs are ordered, and what became of
them.

A run is made by the seed and its number alone, so that a loss is seen again with
`--first NUMBER --runs 1`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Order:
    """``runs`` runs from number ``first`` on, in ``folder``, which is empty."""

    runs: int
    seed: int
    folder: Path
    first: int = 0

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.runs)

    def chance(self, number: int) -> random.Random:
        """All that is random in one run."""
        return random.Random(f"{self.seed} {number}")


@dataclass(frozen=True)
class Loss:
    """What must not have been: in which run, of what, and what was seen."""

    number: int
    subject: str
    what: str


@dataclass
class Tally:
    """How often each outcome was seen, by what was done, and every loss.

    ``told`` is called with each loss at once: a full form takes an hour.
    """

    told: Callable[[Loss], None] | None = None
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)

    def count(self, subject: str, outcome: str, times: int = 1) -> None:
        """``subject`` is a row of the table, ``outcome`` a column of it."""
        of_subject = self.outcomes.setdefault(subject, Counter())
        of_subject[outcome] += times

    def lose(self, number: int, subject: str, what: str) -> None:
        loss = Loss(number, subject, what)
        self.losses.append(loss)
        self.outcomes.setdefault(subject, Counter())
        if self.told is not None:
            self.told(loss)


@dataclass(frozen=True)
class Kind:
    """A kind of fault. ``full`` is how many runs its full form has."""

    name: str
    help: str
    full: int
    run: Callable[[Order, Tally], None]
