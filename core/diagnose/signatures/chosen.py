"""What the chosen tokens' own log-probabilities tell, without any list of alternatives:
delta against log p.

A temperature, a logit scale and a soft cap bend delta: likely tokens rise on the
sharper side and unlikely ones fall. A normaliser over a part of the vocabulary (top-p,
top-k, min-p) lifts every token it keeps by up to one amount. Other weights and rounding
do neither. What remains possible is named, and nothing is certain from this alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case, positions_of, worst
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.support import LIKELY_AT_MOST, POSSIBLE_AT_MOST
from logdrift.core.diagnose.view import count_of

Values = npt.NDArray[np.float64]
_BINS = 8
_PER_BIN = 16
_EXPLAINED = Ramp(starts=0.2, full=0.4)
"""Share of the squared gap that a curve over log p takes away. Planted in SmolLM2-135M:
temperatures 0.7 and 0.95, scale 0.9 and cap 30 gave 0.40 to 0.65; other weights, ids
and rounding up to 0.16 (and more only with all tokens on one side).
"""
_OPPOSITE = Ramp(starts=3.0, full=6.0)
"""Standard errors by which the likely and the unlikely tokens must both leave 0, in
opposite directions. By judgement.
"""
_ONE_OF_THREE = {"temperature": 1.0, "config": 0.7}
_ONE_OF_FOUR = {"temperature": 1.0, "processed": 0.8, "config": 0.6}
"""What remains possible of each cause where the curve turns its sign, and where it does
not, most usual first: an order, not a measurement.
"""
_EXPLAINS = 0.95
"""How much of other findings a strong sign accounts for. By judgement."""

_ONE_WAY = Ramp(starts=0.85, full=0.97)
"""How much larger a share of the tokens is lifted than lowered. By judgement."""
_STEADY = Ramp(starts=4, full=8)
"""Standard errors by which every bin, the most certain tokens aside, leaves 0. By
judgement.
"""
_PLATEAU = Ramp(starts=0.35, full=0.7)
"""How far the lift of unlikely tokens is from that of likelier ones, as a share: a
normaliser lifts both alike, a temperature turns the sign. By judgement.
"""
_REACH = Ramp(starts=1.5, full=3.0)
"""Nats of log p between the most and the least likely tokens (the most certain ones
aside) over which a lift must stay alike: over less a temperature looks the same. By
judgement.
"""
_MOST_LIFT = 1.6
"""-log of the smallest share that truncation usually keeps, 0.2: a lift beyond that is
of something else.
"""
_LIFT_ALONE = 0.7
"""The largest score of a lift where no token is impossible for one side. By
judgement.
"""
_SOME = 0.05
"""The smallest score of a curve that is worth saying. By judgement."""

_PENALTY = Ramp(starts=5, full=9)
"""The effect of having occurred before, in its standard errors. By judgement."""
_MATERIAL = Ramp(starts=0.3, full=0.8)
"""The effect over the MAE. By judgement."""
_OF_A_KIND = 4
"""Tokens of each kind that a bin needs."""
_SOME_PENALTY = 0.1
"""The smallest strength of a penalty that is worth saying. By judgement."""


@dataclass(frozen=True, eq=False)
class DeltaCurve:
    """Mean delta over bins of the mean log-probability of both sides, unlikely tokens
    first.

    level f64[K] nats: mean log p of each bin; delta f64[K] nats; error f64[K], its
    standard error; ``explained`` is the share of the squared gap that these means take
    away, less what they do by chance.
    """

    level: Values
    delta: Values
    error: Values
    explained: float

    @cached_property
    def z(self) -> Values:
        """Standard errors of each bin's mean from 0, f64[K]."""
        return self.delta / np.maximum(self.error, 1e-12)

    @property
    def half(self) -> int:
        """The number of the first bin of likely tokens."""
        return len(self.z) // 2

    @cached_property
    def turn(self) -> float:
        """The smaller of how many standard errors the unlikely and the likely tokens
        leave 0 by, where they do so in opposite directions; else 0.
        """
        half = self.half
        least_likely = max(half // 2, 1)
        unlikely = self.z[:least_likely]
        likely = self.z[half:]
        farthest = np.argmax(np.abs(unlikely))
        low = float(unlikely[farthest])
        high = float(np.median(likely))
        if low * high < 0:
            return min(abs(low), abs(high))
        return 0.0

    @property
    def turns(self) -> bool:
        """Delta has opposite signs on likely and unlikely tokens."""
        return self.turn > _OPPOSITE.starts

    @property
    def steady(self) -> float:
        """The fewest standard errors by which the likely half leaves 0, the most
        certain tokens aside, where all of it does so in one direction; else 0.
        """
        if len(self.z) > 2:
            likely = self.z[self.half : -1]
        else:
            likely = self.z[-1:]
        signs = np.sign(likely)
        one_way = (signs == signs[0]).all()
        sizes = np.abs(likely)
        if one_way:
            return float(sizes.min())
        return 0.0


def curve_of(case: Case) -> DeltaCurve | None:
    """The curve of a case; None with fewer than two bins of `_PER_BIN` tokens. Computed
    once.
    """
    if "curve" not in case.memo:
        case.memo["curve"] = _curve(case)
    curve: DeltaCurve | None = case.memo["curve"]
    return curve


def _curve(case: Case) -> DeltaCurve | None:
    view = case.view
    tokens = len(view.at)
    bins = min(_BINS, tokens // _PER_BIN)
    if bins < 2:
        return None
    both = view.a + view.b
    level = []
    delta = []
    error = []
    within = 0.0
    for chunk in np.array_split(view.by_likelihood, bins):
        values = view.delta[chunk]
        mean = float(values.mean())
        mean_level = both[chunk].mean() / 2
        spread = float(values.std(ddof=1))
        squares = ((values - mean) ** 2).sum()
        level.append(float(mean_level))
        delta.append(mean)
        error.append(spread / np.sqrt(len(values)))
        within += float(squares)
    total = float((view.delta**2).sum())
    left = 1.0
    if total > 0:
        within_variance = within / (tokens - bins)
        left = within_variance / (total / tokens)
    return DeltaCurve(
        level=np.array(level),
        delta=np.array(delta),
        error=np.array(error),
        explained=1 - left,
    )


def bend(case: Case) -> Iterator[Evidence]:
    """Delta follows log p: it turns its sign between likely and unlikely tokens, or
    lifts the likely ones all alike.

    The logits of one side are scaled, or (where nothing turns) it renormalised over a
    part of the vocabulary.
    """
    curve = curve_of(case)
    if curve is None:
        return
    if _lifts_too_much(curve) and not curve.turns:
        return
    opposite = max(curve.turn, curve.steady)
    shape = _OPPOSITE.score(opposite)
    score = _EXPLAINED.score(curve.explained) * shape
    if score <= _SOME:
        return
    sharper = _sharper(case, curve)
    numbers: dict[str, Number] = {
        "explained": curve.explained,
        "turn": curve.turn,
        "sharper": sharper,
    }
    # One of several causes, so none of them can be more than possible.
    remaining = _ONE_OF_THREE if curve.turns else _ONE_OF_FOUR
    for cause, part in remaining.items():
        yield Evidence(
            cause=cause,
            score=part * POSSIBLE_AT_MOST * score,
            signature="turn with log p",
            sentence=_of_bend(case, curve, sharper),
            numbers=numbers,
            positions=worst(case),
            explains=_EXPLAINS * score,
        )


def _lifts_too_much(curve: DeltaCurve) -> bool:
    """Some bin moves by more than a normaliser does."""
    largest = np.abs(curve.delta).max()
    return float(largest) > _MOST_LIFT


def _sharper(case: Case, curve: DeltaCurve) -> str:
    """The label of the side that is higher on likely tokens."""
    likely = float(curve.delta[curve.half :].mean())
    if likely < 0:
        return case.labels[1]
    return case.labels[0]


def _of_bend(case: Case, curve: DeltaCurve, sharper: str) -> str:
    mean = float(case.view.delta.mean())
    share = mean / case.view.mae
    if curve.turns:
        shape = "and lower on unlikely ones"
        also = ""
    else:
        shape = f"(mean delta {share:+.2f} of the MAE)"
        also = ", or truncation (top-p, top-k, min-p)"
    return (
        f"{curve.explained:.0%} of the squared gap follows log p: {sharper} is higher"
        f" on likely tokens {shape}: a temperature, a logit scale or a soft cap{also},"
        " which chosen tokens alone cannot tell apart."
    )


def lift(case: Case) -> Iterator[Evidence]:
    """Every token is lifted on one side, by up to one amount: a normaliser over a part
    of the vocabulary.
    """
    curve = curve_of(case)
    view = case.view
    moved = view.delta[view.size > 1e-6]
    if curve is None or len(curve.delta) < 4 or not len(moved):
        return
    balance = float(np.sign(moved).mean())
    one_way = abs(balance)
    a_over_b = float(curve.delta[: curve.half].mean())
    height = abs(a_over_b)
    score = _lift_score(curve, one_way)
    if height > _MOST_LIFT or score <= _SOME:
        return
    label_a, label_b = case.labels
    higher = label_b if a_over_b < 0 else label_a
    impossible = view.impossible
    most = LIKELY_AT_MOST if impossible else _LIFT_ALONE
    yield Evidence(
        cause="processed",
        score=most * score,
        signature="common lift",
        sentence=_of_lift(higher, one_way, height, impossible),
        numbers={
            "one_way": one_way,
            "lift": height,
            "impossible": impossible,
            "side": higher,
        },
        positions=positions_of(case.view.at),
    )


def _lift_score(curve: DeltaCurve, one_way: float) -> float:
    """How much the curve looks like one lift of all tokens, 0 to 1; the most certain
    ones, which nothing lifts, aside.
    """
    half = curve.half
    unlikely = curve.delta[:half].mean()
    likelier = curve.delta[half:-1].mean()
    larger = max(abs(unlikely), abs(likelier), 1e-12)
    relative_difference = abs(unlikely - likelier) / larger
    alike = 1 - _PLATEAU.score(relative_difference)
    errors_from_0 = np.abs(curve.z[:-1])
    steady = float(errors_from_0.min())
    reach = float(curve.level[-2] - curve.level[0])
    lifted = _ONE_WAY.score(one_way) * _STEADY.score(steady)
    return lifted * alike * _REACH.score(reach)


def _of_lift(higher: str, one_way: float, height: float, impossible: int) -> str:
    if impossible:
        more = f", and calls {impossible:,} tokens impossible for one side alone"
    else:
        more = ""
    share = (1 + one_way) / 2
    kept = np.exp(-height)
    return (
        f"{higher} is higher on {share:.0%} of the tokens, by"
        f" {height:.2g} nats whether they are likely or not{more}: it renormalised"
        " over a part of the vocabulary (top-p, top-k or min-p) that holds"
        f" {kept:.0%} of the probability."
    )


def repeats(case: Case) -> Iterator[Evidence]:
    """Chosen tokens that occurred before in their sequence against those that did not,
    of the same likelihood: a penalty.
    """
    view = case.view
    seen = _occurred_before(case)
    repeated = count_of(seen)
    fresh = len(seen) - repeated
    if min(repeated, fresh) < 2 * _PER_BIN:
        return
    effect, z = _effect_of_repeating(case, seen)
    of_gap = abs(effect) / max(view.mae, 1e-12)
    strength = _PENALTY.score(z) * _MATERIAL.score(of_gap)
    if strength <= _SOME_PENALTY:
        return
    if effect > 0:
        lower = case.labels[1]
    else:
        lower = case.labels[0]
    yield Evidence(
        cause="processed",
        score=POSSIBLE_AT_MOST * strength,
        signature="tokens that occurred before",
        sentence=(
            f"{lower} scores tokens that occurred before in their sequence"
            f" {abs(effect):.2g} nats lower than the other side does, relative to"
            f" equally likely tokens that did not ({z:.0f} standard errors): perhaps a"
            " repetition, presence or frequency penalty."
        ),
        numbers={"effect": effect, "z": z, "seen": repeated},
        positions=worst(case, seen),
        explains=_EXPLAINS * strength,
    )


def _effect_of_repeating(
    case: Case, seen: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """By how many nats more A exceeds B at tokens that were ``seen`` (bool[n]) than at
    equally likely ones, and that in standard errors; 0 with fewer than two bins.

    Bins are weighted by the inverse of their variance.
    """
    order = case.view.by_likelihood
    bins = min(_BINS, len(order) // (2 * _PER_BIN))
    effects = []
    weights = []
    for chunk in np.array_split(order, bins):
        delta = case.view.delta[chunk]
        seen_here = seen[chunk]
        old = delta[seen_here]
        new = delta[~seen_here]
        if min(len(old), len(new)) < _OF_A_KIND:
            continue
        effect = old.mean() - new.mean()
        variance = _variance_of_mean(old) + _variance_of_mean(new)
        effects.append(float(effect))
        weights.append(1 / max(float(variance), 1e-18))
    if len(effects) < 2:
        return 0.0, 0.0
    mean_effect = float(np.average(effects, weights=weights))
    total_weight = np.sum(weights)
    precision = float(np.sqrt(total_weight))
    return mean_effect, abs(mean_effect) * precision


def _variance_of_mean(values: Values) -> np.float64:
    """The squared standard error of the mean of ``values`` f64[n]."""
    variance: np.float64 = values.var(ddof=1) / len(values)
    return variance


def _occurred_before(case: Case) -> npt.NDArray[np.bool_]:
    """bool[n]: the token's id stands earlier in its sequence."""
    tokens = case.pair.tokens
    ids = case.pair.sequences.token_ids[:tokens].astype(np.int64)
    # One number for each id in each sequence.
    largest = int(ids.max(initial=0))
    width = largest + 1
    keys = case.view.all_sequences * width + ids
    _, first = np.unique(keys, return_index=True)
    seen = np.ones(tokens, bool)
    seen[first] = False
    of_case: npt.NDArray[np.bool_] = seen[case.view.at]
    return of_case
