"""Signatures: one function each, from a case to evidence, without running anything
again.

Adding one is adding a row to `SIGNATURES`: what it tells, what it needs, how much
evidence it wants. They come in the order of the cause table: what makes the numbers
another quantity first, what only rounds last. Faults of recording come before all of
them (`recording`), since they decide which tokens are looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from logdrift.core.diagnose.case import Case, Judge
from logdrift.core.diagnose.evidence import Evidence, Unchecked
from logdrift.core.diagnose.needs import (
    BATCHES,
    GAPS,
    PROMPTS_AND_COMPLETIONS,
    START,
    Need,
    listed_rows,
    long_sequences,
    shared_rows,
    tokens,
)
from logdrift.core.diagnose.signatures import (
    chosen,
    facts,
    place,
    precision,
    scale,
    semantic,
    size,
)
from logdrift.core.diagnose.support import (
    LIKELY_AT_MOST,
    PROOF,
    ROWS,
    SEQUENCES,
    TOKENS,
    Support,
)

__all__ = ["SIGNATURES", "Case", "Signature", "judged"]

_LONG = 24
"""Scored tokens of a sequence whose start is told from its end (`place`)."""


def _tokens(case: Case) -> int:
    return len(case.view.at)


def _listed(case: Case) -> int:
    return int(np.count_nonzero(case.view.list_width >= 2))


def _shared(case: Case) -> int:
    return len(case.view.shared.at)


def _long(case: Case) -> int:
    return int(np.count_nonzero(np.bincount(case.view.sequence, minlength=1) >= _LONG))


@dataclass(frozen=True, slots=True)
class Signature:
    """One row of the table.

    ``causes`` are those that it can speak for, ``needs`` what must be there before it
    may; without it the first of the causes is *not checked*. ``units`` counts the
    evidence that ``support`` asks for. ``wanted`` says in which cases it means anything
    at all.
    """

    name: str
    causes: tuple[str, ...]
    judge: Judge
    needs: tuple[Need, ...] = ()
    support: Support = TOKENS
    units: Callable[[Case], int] = _tokens
    wanted: Callable[[Case], bool] = lambda case: True
    of_place: bool = False
    """It looks at where the gap is, which temperature, truncation and penalties shape
    as well: no cause is certain by it while those are unchecked.
    """

    def evidence(self, case: Case) -> Iterator[Evidence]:
        """What it finds, each score within what the evidence bears."""
        ceiling = self.support.ceiling(self.units(case))
        if self.of_place and not size.meaning_checked(case):
            ceiling = min(ceiling, LIKELY_AT_MOST)
        for each in self.judge(case):
            yield replace(each, score=min(each.score, ceiling))

    def lacking(self, case: Case) -> Unchecked | None:
        """What it misses in this case, None where it has all that it needs."""
        for need in self.needs:
            lack = need.lacking(case)
            if lack is not None:
                return Unchecked(
                    cause=self.causes[0], why=f"{self.name}: {lack.why}", fix=lack.fix
                )
        return None


def judged(case: Case) -> tuple[list[Evidence], list[Unchecked]]:
    """Evidence of every signature that has what it needs, and what the others lack."""
    found: list[Evidence] = []
    unchecked: list[Unchecked] = []
    for signature in SIGNATURES:
        if not signature.wanted(case):
            continue
        lack = signature.lacking(case)
        if lack is None:
            found += signature.evidence(case)
        else:
            unchecked.append(lack)
    return found, unchecked


SIGNATURES: tuple[Signature, ...] = (
    Signature("own list", ("ids",), semantic.own_list, (listed_rows(1, 2),), PROOF),
    Signature(
        "correlation with neighbours", ("alignment",), semantic.alignment, (tokens(32),)
    ),
    Signature(
        "truncated support",
        ("processed",),
        semantic.truncated,
        (listed_rows(10, 2),),
        ROWS,
        _listed,
    ),
    Signature(
        "ids seen before",
        ("processed",),
        semantic.seen_before,
        (shared_rows(30),),
        ROWS,
        _shared,
    ),
    Signature(
        "common shift",
        ("processed",),
        semantic.common_shift,
        (shared_rows(30),),
        ROWS,
        _shared,
    ),
    Signature(
        "slope and bend",
        ("temperature", "config"),
        scale.slope,
        (shared_rows(30),),
        ROWS,
        _shared,
    ),
    Signature("turn with log p", ("temperature", "config"), chosen.bend, (tokens(64),)),
    Signature("common lift", ("processed",), chosen.lift, (tokens(64),)),
    Signature(
        "tokens that occurred before", ("processed",), chosen.repeats, (tokens(64),)
    ),
    Signature(
        "padded rows",
        ("padding",),
        place.padding,
        (BATCHES,),
        SEQUENCES,
        _long,
        wanted=place.may_be_padded,
    ),
    Signature(
        "start",
        ("ids",),
        place.start,
        (long_sequences(1, _LONG),),
        SEQUENCES,
        _long,
        of_place=True,
    ),
    Signature(
        "onset",
        ("ids", "prefix_cache"),
        place.onset,
        (tokens(2 * _LONG),),
        of_place=True,
    ),
    Signature(
        "step",
        ("config", "chunked_prefill"),
        place.step,
        (tokens(4 * _LONG),),
        of_place=True,
    ),
    Signature(
        "growth", ("config",), place.growth, (tokens(4 * _LONG), START), of_place=True
    ),
    Signature(
        "completion",
        ("decode_path",),
        place.completion,
        (PROMPTS_AND_COMPLETIONS,),
        of_place=True,
    ),
    Signature("value grid", ("log_softmax_dtype",), precision.grid, (tokens(50),)),
    Signature("few digits", ("cut",), precision.rounded, (tokens(32),)),
    Signature(
        "lattice",
        ("head_dtype", "compute_dtype"),
        precision.lattice,
        (GAPS,),
        ROWS,
        _listed,
    ),
    Signature(
        "no likeness", ("weights",), size.unlike, (listed_rows(32, 3),), ROWS, _listed
    ),
    Signature(
        "heavy tail",
        ("routing",),
        size.routing,
        (tokens(500),),
        wanted=size.has_experts,
    ),
    Signature("size", ("noise", "weights", "kv_cache"), size.size),
)
IDENTICAL = SIGNATURES[-1]
"""All that is asked of equal numbers, which have no shape."""

FACTS: Judge = facts.facts
"""What the gate observed: no number, so no support is asked for."""
