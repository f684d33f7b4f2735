"""What a signature is: one test of the captured tokens, with what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from logdrift.core.diagnose.case import Case, Judge
from logdrift.core.diagnose.evidence import Evidence, Unchecked
from logdrift.core.diagnose.needs import LONG, Need
from logdrift.core.diagnose.signatures.size import meaning_checked
from logdrift.core.diagnose.support import LIKELY_AT_MOST, TOKENS, Support
from logdrift.core.diagnose.view import count_of


def all_tokens(case: Case) -> int:
    """Tokens of the case."""
    return len(case.view.at)


def listed_tokens(case: Case) -> int:
    """Tokens with two alternatives or more on both sides."""
    return count_of(case.view.list_width >= 2)


def shared_tokens(case: Case) -> int:
    """Tokens whose lists share enough alternatives for a fit."""
    return len(case.view.shared.at)


def long_sequences(case: Case) -> int:
    """Sequences whose start can be told from their end."""
    scored = np.bincount(case.view.sequence, minlength=1)
    return count_of(scored >= LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One row of the table.

    ``causes`` are those that it can speak for, ``needs`` what must be there before it
    may; without it the first of the causes is *not checked*. ``units`` counts the
    evidence that ``support`` asks for. ``applies`` says in which cases it means
    anything at all. ``of_place``: it looks at where the gap is, which temperature,
    truncation and penalties shape as well: no cause is certain by it while those are
    unchecked.
    """

    name: str
    causes: tuple[str, ...]
    judge: Judge
    needs: tuple[Need, ...] = ()
    support: Support = TOKENS
    units: Callable[[Case], int] = all_tokens
    applies: Callable[[Case], bool] = lambda case: True
    of_place: bool = False

    def evidence(self, case: Case) -> Iterator[Evidence]:
        """What it finds, each score within what the evidence bears."""
        units = self.units(case)
        ceiling = self.support.ceiling(units)
        if self.of_place and not meaning_checked(case):
            ceiling = min(ceiling, LIKELY_AT_MOST)
        for evidence in self.judge(case):
            score = min(evidence.score, ceiling)
            yield replace(evidence, score=score)

    def lacking(self, case: Case) -> Unchecked | None:
        """What it misses in this case, None where it has all that it needs."""
        for need in self.needs:
            lack = need.lacking(case)
            if lack is not None:
                why = f"{self.name}: {lack.why}"
                return Unchecked(cause=self.causes[0], why=why, fix=lack.fix)
        return None
