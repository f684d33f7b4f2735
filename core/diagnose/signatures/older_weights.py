"""Tokens that were sampled with older weights than those that scored them: the gap
grows with their age, and jumps where the weights change inside a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.versions import TokenVersions, version_changes
from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import standard_ranks
from logdrift.core.diagnose.needs import LONG
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import ratio, sums, usual_size
from logdrift.core.diagnose.support import TOKENS

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

CAUSE = "stale"
_TREND = Ramp(starts=3, full=6)
"""The slope of |delta| on the age in its standard errors, sequences being the units. By
judgement, as that of `growth`.
"""
_LOUDER = Ramp(starts=1.1, full=1.5)
"""|delta| of the oldest weights over that of the newest. By judgement: drawn groups of
some hundred tokens of one size are within 1.1 of each other.
"""
_JUMP = Ramp(starts=3, full=6)
"""The mean change of log |delta| where the weights change, in its standard errors over
these places. By judgement.
"""
_MOST = 0.95
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""
_INNOCENT = 0.1
"""What is left of the mere difference of versions where |delta| does not grow with it.
By judgement.
"""
_SIDE = 8
"""Tokens on each side of a place where the weights change."""
_NEVER_ZERO = 0.02
"""Added to |delta| in usual units before its logarithm (`measures.jumps`)."""
_FEWEST_CHANGES = 3


def has_versions(case: Case) -> bool:
    """Whether tokens of the pair are known to be of several versions."""
    versions = case.pair.versions
    return versions is not None and not versions.is_single


def sequences_with_versions(case: Case) -> int:
    """Sequences in which both sides scored a token whose version is known."""
    known = _ages(case) >= 0
    return len(np.unique(case.view.sequence[known]))


def changes(case: Case) -> int:
    """Places where the weights change inside a sequence, with scored tokens around."""
    return len(_jumps(case))


@dataclass(frozen=True, eq=False)
class _Age:
    """How |delta| goes with the age of the weights.

    ``z`` is the slope of its ranks in standard errors, ``loud`` and ``quiet`` are means
    of |delta| in nats of the oldest and the newest group of tokens, by name. ``old``
    bool[n]: the tokens of the oldest.
    """

    z: float
    loud: float
    quiet: float
    oldest: str
    newest: str
    old: Bools

    @property
    def score(self) -> float:
        """How much the gap looks like that of older weights, 0 to 1."""
        louder = ratio(self.loud, self.quiet)
        return _MOST * _TREND.score(self.z) * _LOUDER.score(louder)


def by_age(case: Case) -> Iterator[Evidence]:
    """|delta| grows with how many versions the weights of a token were behind.

    Slope of the standardised ranks of |delta|, in units of what tokens as surprising
    have, on the age; both without their means at equal places of the sequences, since
    weights only get newer along one. Sequences are the units of its error.
    """
    age = _age(case)
    if age is None or age.score <= _LEAST:
        return
    yield Evidence(
        cause=CAUSE,
        score=age.score,
        signature="age of weights",
        sentence=(
            f"|delta| is {age.loud:.2g} nats where tokens were sampled with weights"
            f" {age.oldest} and {age.quiet:.2g} with {age.newest}, and grows with the"
            f" age in between ({age.z:.0f} standard errors)."
        ),
        numbers={"z": age.z, "oldest": age.loud, "newest": age.quiet},
        positions=worst(case, age.old),
    )


def at_changes(case: Case) -> Iterator[Evidence]:
    """|delta| falls where the weights change inside a sequence: the tokens just behind
    such a place against those just before it, which nothing else tells apart.
    """
    falls = -_jumps(case)
    if len(falls) < _FEWEST_CHANGES:
        return
    spread = float(falls.std(ddof=1)) + 1e-9
    z = float(falls.mean()) / spread * float(np.sqrt(len(falls)))
    times = float(np.exp(falls.mean()))
    score = _MOST * _JUMP.score(z) * _LOUDER.score(times)
    if score <= _LEAST:
        return
    yield Evidence(
        cause=CAUSE,
        score=score,
        signature="change of weights",
        sentence=(
            f"|delta| falls by {times:.2g} times where newer weights take over inside a"
            f" sequence ({len(falls):,} places, {z:.0f} standard errors)."
        ),
        numbers={"z": z, "times": times, "places": len(falls)},
    )


def difference_weighs(case: Case) -> float:
    """What is left of the mere fact that both sides are of other versions, 0 to 1:
    little where the numbers could show it and do not.
    """
    if not has_versions(case) or len(case.view.at) < TOKENS.certain:
        return 1.0
    age = _age(case)
    if age is None or age.score > _LEAST:
        return 1.0
    return _INNOCENT


def _age(case: Case) -> _Age | None:
    """None where ages do not differ at equal places, or groups are too small."""
    if "age" not in case.memo:
        case.memo["age"] = _measured(case)
    age: _Age | None = case.memo["age"]
    return age


def _measured(case: Case) -> _Age | None:
    ages = _ages(case)
    known = ages >= 0
    groups = [int(age) for age in np.unique(ages[known])]
    large = [age for age in groups if np.count_nonzero(ages == age) >= LONG]
    if len(large) < 2:
        return None
    z = _slope(case, ages, known)
    if z is None:
        return None
    view = case.view
    newest, *_, oldest = large
    old: Bools = ages == oldest
    new: Bools = ages == newest
    return _Age(
        z=z,
        loud=float(view.size[old].mean()),
        quiet=float(view.size[new].mean()),
        oldest=_name_of(case, oldest),
        newest=_name_of(case, newest),
        old=old,
    )


def _ages(case: Case) -> Array:
    """The age of the weights of each token of the view, i64[n], -1 where unknown: how
    many versions they are behind, or where versions are no numbers, how many of them
    came later.
    """
    versions = case.pair.versions
    assert versions is not None
    if versions.lags is not None:
        return versions.lags[case.view.at]
    place = versions.of_token[case.view.at].astype(np.int64)
    last = len(versions.names) - 1
    return np.where(place < 0, -1, last - place)


def _name_of(case: Case, age: int) -> str:
    """The version of an age."""
    versions = case.pair.versions
    assert versions is not None
    return _names_by_age(versions)[age]


def _names_by_age(versions: TokenVersions) -> dict[int, str]:
    last = len(versions.names) - 1
    names = {}
    for place, name in enumerate(versions.names):
        age = last - place
        if versions.numbers is not None and versions.newest is not None:
            age = versions.newest - int(versions.numbers[place])
        names[age] = name
    return names


def _slope(case: Case, ages: Array, known: Bools) -> float | None:
    """The slope in its standard errors, sequences being the units; None where the age
    is the same at equal places of all sequences.
    """
    view = case.view
    ranks = np.zeros(len(ages))
    in_usual = view.size / np.maximum(usual_size(case, known), 1e-7)
    ranks[known] = standard_ranks(in_usual[known])
    place = np.frexp(view.position + 1.0)[1]
    x = _centred(ages.astype(np.float64), place, known)
    y = _centred(ranks, place, known)
    weight = float((x * x).sum())
    if weight <= 0:
        return None
    slope = float((x * y).sum()) / weight
    by_sequence = sums(case, x * (y - slope * x))
    error = float(np.sqrt((by_sequence**2).sum())) / weight
    return slope / (error + 1e-12)


def _centred(values: Array, place: Array, known: Bools) -> Array:
    """``values`` less their mean over the known ones of the same ``place``; 0 where
    unknown.
    """
    number = np.bincount(place[known])
    total = np.bincount(place[known], values[known], len(number))
    mean = total / np.maximum(number, 1)
    centred = np.zeros(len(values))
    centred[known] = values[known] - mean[place[known]]
    return centred


def _jumps(case: Case) -> Array:
    """The mean log |delta| of the tokens behind each change of the weights less that of
    those before it, f64[m].
    """
    if "version jumps" not in case.memo:
        case.memo["version jumps"] = _measured_jumps(case)
    jumps: Array = case.memo["version jumps"]
    return jumps


def _measured_jumps(case: Case) -> Array:
    versions = case.pair.versions
    assert versions is not None
    view = case.view
    everything = np.ones(len(view.at), np.bool_)
    in_usual = view.size / np.maximum(usual_size(case, everything), 1e-7)
    level = np.log(in_usual + _NEVER_ZERO)
    jumps = []
    for sequence in range(case.pair.count):
        start, stop = case.pair.sequences.bounds(sequence)
        for index in version_changes(versions.of_token, start, stop):
            at, behind = np.searchsorted(view.at, [start + index, stop])
            first = np.searchsorted(view.at, start)
            before = level[max(first, at - _SIDE) : at]
            after = level[at : min(behind, at + _SIDE)]
            if min(len(before), len(after)) >= _SIDE // 2:
                jumps.append(float(after.mean() - before.mean()))
    return np.array(jumps)
