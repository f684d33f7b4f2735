"""Sequences whose ids their own text does not give: do they differ more there?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import ratio, usual_size
from logdrift.core.diagnose.view import Positions, count_of

Bools = npt.NDArray[np.bool_]
_LOUDER = Ramp(starts=3, full=10)
"""How many times what equally surprising tokens elsewhere have |delta| is at the first
ids that differ: another id moves it by nats. By judgement, as that of `step`.
"""
_LARGE = Ramp(starts=0.3, full=1.0)
"""|delta| at these tokens in nats. By judgement."""
_BEHIND = 2
"""Tokens from the first id that differs on: that one is another token on a side that
was sent text, and the next one stands behind another.
"""
_FEWEST = 4
_MOST = 0.8
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


def has_places(case: Case) -> bool:
    """Whether a tokenizer was asked, found other ids, and a side may have been sent
    text.
    """
    known = case.session.manifest.sequences.retokenised
    return known is not None and bool(known.places) and not case.sent_alike


def places(case: Case) -> int:
    """Sequences with scored tokens where their ids are first other ones."""
    begins = _begins(case)
    sequences = case.view.sequence[begins]
    different = np.unique(sequences)
    return len(different)


def retokenised(case: Case) -> Iterator[Evidence]:
    """|delta| at the ids that their text does not give, against equally surprising
    tokens elsewhere.
    """
    view = case.view
    begins = _begins(case)
    too_few = count_of(begins) < _FEWEST
    if too_few or begins.all():
        return
    size = view.size[begins]
    of_others = usual_size(case, ~begins)
    here = float(size.mean())
    usual = float(of_others[begins].mean())
    louder = _LOUDER.score(ratio(here, usual))
    score = _MOST * louder * _LARGE.score(here)
    if score <= _LEAST:
        return
    yield Evidence(
        cause="ids",
        score=score,
        signature="retokenised",
        sentence=(
            f"|delta| is {here:.2g} nats where ids are not those of their own text, and"
            f" {usual:.2g} at tokens as surprising elsewhere: a side was sent text."
        ),
        numbers={"here": here, "elsewhere": usual, "sequences": places(case)},
        positions=worst(case, begins),
    )


def _begins(case: Case) -> Bools:
    """bool[n]: the first tokens of the view that are other ids, of each sequence."""
    if "retokenised" not in case.memo:
        case.memo["retokenised"] = _found(case)
    found: Bools = case.memo["retokenised"]
    return found


def _found(case: Case) -> Bools:
    known: Any = case.session.manifest.sequences.retokenised
    pair = case.pair
    starts = []
    for place in known.places:
        if place.sequence < pair.count:
            first, _ = pair.sequences.bounds(place.sequence)
            starts.append(first + place.index)
    at: Positions = np.array(starts, np.int64)
    begins = np.zeros(pair.tokens + _BEHIND, np.bool_)
    for step in range(_BEHIND):
        begins[at + step] = True
    of_view: Bools = begins[case.view.at]
    return of_view
