"""Tokens that were sampled with older weights than those that scored them: the gap
grows with their age, and jumps where the weights change inside a sequence.
"""

from __future__ import annotations

import math
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
    sequences = case.view.sequence[known]
    different = np.unique(sequences)
    return len(different)


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
        times = ratio(self.loud, self.quiet)
        louder = _LOUDER.score(times)
        trend = _TREND.score(self.z)
        return _MOST * trend * louder


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
    mean = float(falls.mean())
    spread = float(falls.std(ddof=1))
    places = len(falls)
    error = (spread + 1e-9) / np.sqrt(places)
    z = mean / float(error)
    times = float(np.exp(mean))
    jump = _JUMP.score(z)
    score = _MOST * jump * _LOUDER.score(times)
    if score <= _LEAST:
        return
    yield Evidence(
        cause=CAUSE,
        score=score,
        signature="change of weights",
        sentence=(
            f"|delta| falls by {times:.2g} times where newer weights take over inside a"
            f" sequence ({places:,} places, {z:.0f} standard errors)."
        ),
        numbers={"z": z, "times": times, "places": places},
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
    large = _large_groups(ages[known])
    if len(large) < 2:
        return None
    z = _slope(case, ages, known)
    if z is None:
        return None
    size = case.view.size
    newest, *_, oldest = large
    old: Bools = ages == oldest
    new: Bools = ages == newest
    loud = size[old].mean()
    quiet = size[new].mean()
    return _Age(
        z=z,
        loud=float(loud),
        quiet=float(quiet),
        oldest=_name_of(case, oldest),
        newest=_name_of(case, newest),
        old=old,
    )


def _large_groups(ages: Array) -> list[int]:
    """The ages that enough tokens have, ascending."""
    different, counts = np.unique(ages, return_counts=True)
    is_large = counts >= LONG
    large: list[int] = different[is_large].tolist()
    return large


def _ages(case: Case) -> Array:
    """The age of the weights of each token of the view, i64[n], -1 where unknown: how
    many versions they are behind, or where versions are no numbers, how many of them
    came later.
    """
    versions = case.pair.versions
    assert versions is not None
    at = case.view.at
    if versions.lags is not None:
        return versions.lags[at]
    place = versions.of_token[at]
    last = len(versions.names) - 1
    came_later = last - place
    return np.where(place < 0, -1, came_later)


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
    in_usual = _in_usual(case, known)
    ranks = np.zeros(len(ages))
    ranks[known] = standard_ranks(in_usual[known])
    # Classes of places that grow twice as long, as those of `by_position`.
    _, place = np.frexp(case.view.position + 1.0)
    x = _centred(ages, place, known)
    y = _centred(ranks, place, known)
    weight = float(x @ x)
    if weight <= 0:
        return None
    slope = float(x @ y) / weight
    residual = y - slope * x
    by_sequence = sums(case, x * residual)
    squares = float(by_sequence @ by_sequence)
    error = math.sqrt(squares) / weight
    return slope / (error + 1e-12)


def _in_usual(case: Case, among: Bools) -> Array:
    """|delta| of each token over that of tokens of ``among`` that are about as
    surprising, f64[n].
    """
    usual = usual_size(case, among)
    return case.view.size / np.maximum(usual, 1e-7)


def _centred(values: Array, place: Array, known: Bools) -> Array:
    """``values`` less their mean over the known ones of the same ``place``; 0 where
    unknown.
    """
    known_places = place[known]
    known_values = values[known]
    number = np.bincount(known_places)
    total = np.bincount(known_places, known_values)
    mean = total / np.maximum(number, 1)
    centred = np.zeros(len(values))
    centred[known] = known_values - mean[known_places]
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
    tokens = len(case.view.at)
    everything = np.ones(tokens, np.bool_)
    in_usual = _in_usual(case, everything)
    level = np.log(in_usual + _NEVER_ZERO)
    jumps = []
    for sequence in range(case.pair.count):
        start, stop = case.pair.sequences.bounds(sequence)
        for index in version_changes(versions.of_token, start, stop):
            before, after = _around(case, start, start + index, stop)
            levels_before = level[before]
            levels_after = level[after]
            fewest = min(len(levels_before), len(levels_after))
            if fewest >= _SIDE // 2:
                jump = levels_after.mean() - levels_before.mean()
                jumps.append(jump)
    return np.array(jumps)


def _around(case: Case, start: int, change: int, stop: int) -> tuple[slice, slice]:
    """The tokens of the view just before and just behind the flat position ``change``
    of the sequence from ``start`` to ``stop``.
    """
    borders = [start, change, stop]
    first, at, end = np.searchsorted(case.view.at, borders)
    begin = max(first, at - _SIDE)
    behind = min(end, at + _SIDE)
    return slice(begin, at), slice(at, behind)
