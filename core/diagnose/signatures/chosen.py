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
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import SHOWN, Case, clip, worst
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.support import LIKELY_AT_MOST, POSSIBLE_AT_MOST

Values = npt.NDArray[np.float64]
_BINS = 8
_PER_BIN = 16
_CURVE = (0.2, 0.4)
"""Share of the squared gap that a curve over log p takes away. Planted in SmolLM2-135M:
temperatures 0.7 and 0.95, scale 0.9 and cap 30 gave 0.40 to 0.65; other weights, ids
and rounding up to 0.16 (and more only with all tokens on one side).
"""
_OPPOSITE = (3.0, 6.0)
"""Standard errors by which the likely and the unlikely tokens must both leave 0, in
opposite directions.
"""
_ONE_WAY = (0.85, 0.97)
_PLATEAU = 0.35
"""How far the lift of unlikely tokens may be from that of likelier ones, as a share: a
normaliser lifts both alike, a temperature turns the sign.
"""
_REACH = (1.5, 3.0)
"""Nats of log p between the most and the least likely tokens (the most certain ones
aside) over which a lift must stay alike: over less a temperature looks the same.
"""
_MOST_LIFT = 1.6
"""-log of the smallest share that truncation usually keeps, 0.2: a lift beyond that is
of something else.
"""


@dataclass(frozen=True, eq=False)
class Curve:
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


def curve_of(case: Case) -> Curve | None:
    """The curve of a case; None with fewer than two bins of `_PER_BIN` tokens. Computed
    once.
    """
    if "curve" not in case.memo:
        case.memo["curve"] = _curve(case)
    found: Curve | None = case.memo["curve"]
    return found


def _curve(case: Case) -> Curve | None:
    view = case.view
    n = len(view.at)
    bins = min(_BINS, n // _PER_BIN)
    if bins < 2:
        return None
    a = case.pair.logprob_a[view.at].astype(np.float64)
    b = case.pair.logprob_b[view.at].astype(np.float64)
    # The mean of both sides: against one side alone, noise on that side would tilt the
    # curve.
    order = np.argsort((a + b) / 2, kind="stable")
    chunks = np.array_split(order, bins)
    level = np.array([float((a[c] + b[c]).mean() / 2) for c in chunks])
    delta = np.array([float(view.delta[c].mean()) for c in chunks])
    spread = np.array([float(view.delta[c].std(ddof=1)) for c in chunks])
    sizes = np.array([len(c) for c in chunks])
    within = sum(
        float(((view.delta[c] - mean) ** 2).sum())
        for c, mean in zip(chunks, delta, strict=True)
    )
    total = float((view.delta**2).sum())
    explained = 1 - (within / (n - bins)) / (total / n) if total > 0 else 0.0
    return Curve(
        level=level, delta=delta, error=spread / np.sqrt(sizes), explained=explained
    )


def bend(case: Case) -> Iterator[Evidence]:
    """Delta follows log p: it turns its sign between likely and unlikely tokens, or
    lifts the likely ones all alike.

    The logits of one side are scaled, or (where nothing turns) it renormalised over a
    part of the vocabulary.
    """
    curve = curve_of(case)
    if curve is None or (
        float(np.abs(curve.delta).max()) > _MOST_LIFT and not _turns(curve)
    ):
        return
    turn = _turn(curve)
    steady = _steady(curve)
    score = clip(curve.explained, *_CURVE) * max(
        clip(turn, *_OPPOSITE), clip(steady, *_OPPOSITE)
    )
    if score <= 0.05:
        return
    half = len(curve.z) // 2
    sharper = case.labels[1] if float(curve.delta[half:].mean()) < 0 else case.labels[0]
    share = float(case.view.delta.mean()) / case.view.mae
    shape = (
        "and lower on unlikely ones"
        if turn > _OPPOSITE[0]
        else f"(mean delta {share:+.2f} of the MAE)"
    )
    also = "" if turn > _OPPOSITE[0] else ", or truncation (top-p, top-k, min-p)"
    said = (
        f"{curve.explained:.0%} of the squared gap follows log p: {sharper} is higher"
        f" on likely tokens {shape}: a temperature, a logit scale or a soft cap{also},"
        " which chosen tokens alone cannot tell apart."
    )
    numbers: dict[str, Number] = {
        "explained": curve.explained,
        "turn": turn,
        "sharper": sharper,
    }
    # One of three causes, so none of them can be more than possible.
    shares = (
        {"temperature": 1.0, "config": 0.7}
        if not also
        else {"temperature": 1.0, "processed": 0.8, "config": 0.6}
    )
    for cause, part in shares.items():
        yield Evidence(
            cause=cause,
            score=part * POSSIBLE_AT_MOST * score,
            signature="turn with log p",
            sentence=said,
            numbers=numbers,
            positions=worst(case),
            explains=0.95 * score,
        )


def _turn(curve: Curve) -> float:
    """The smaller of how many standard errors the unlikely and the likely tokens leave
    0 by, where they do so in opposite directions; else 0.
    """
    half = len(curve.z) // 2
    unlikely, likely = curve.z[: max(half // 2, 1)], curve.z[half:]
    low = float(unlikely[np.argmax(np.abs(unlikely))])
    high = float(np.median(likely))
    return min(abs(low), abs(high)) if low * high < 0 else 0.0


def _turns(curve: Curve) -> bool:
    return _turn(curve) > _OPPOSITE[0]


def _steady(curve: Curve) -> float:
    """The fewest standard errors by which the likely half leaves 0, the most certain
    tokens aside, where all of it does so in one direction; else 0.
    """
    likely = curve.z[len(curve.z) // 2 : -1] if len(curve.z) > 2 else curve.z[-1:]
    return (
        float(np.abs(likely).min())
        if (np.sign(likely) == np.sign(likely[0])).all()
        else 0.0
    )


def lift(case: Case) -> Iterator[Evidence]:
    """Every token is lifted on one side, by up to one amount: a normaliser over a part
    of the vocabulary.
    """
    curve = curve_of(case)
    if curve is None or len(curve.delta) < 4:
        return
    view = case.view
    moved = view.delta[view.size > 1e-6]
    if not len(moved):
        return
    one_way = abs(float(np.sign(moved).mean()))
    unlikely, likelier = (
        curve.delta[: len(curve.delta) // 2].mean(),
        curve.delta[len(curve.delta) // 2 : -1].mean(),
    )
    height = abs(float(unlikely))
    alike = abs(unlikely - likelier) / max(abs(unlikely), abs(likelier), 1e-12)
    steady = float(np.abs(curve.z[:-1]).min())
    reach = float(curve.level[-2] - curve.level[0])
    score = (
        clip(one_way, *_ONE_WAY)
        * clip(steady, 4, 8)
        * (1 - clip(alike, _PLATEAU, 2 * _PLATEAU))
        * clip(reach, *_REACH)
    )
    if height > _MOST_LIFT or score <= 0.05:
        return
    higher = case.labels[1] if unlikely < 0 else case.labels[0]
    impossible = view.impossible
    sure = LIKELY_AT_MOST if impossible else 0.7
    more = (
        f", and calls {impossible:,} tokens impossible for one side alone"
        if impossible
        else ""
    )
    yield Evidence(
        cause="processed",
        score=sure * score,
        signature="common lift",
        sentence=(
            f"{higher} is higher on {(1 + one_way) / 2:.0%} of the tokens, by"
            f" {height:.2g} nats whether they are likely or not{more}: it renormalised"
            " over a part of the vocabulary (top-p, top-k or min-p) that holds"
            f" {np.exp(-height):.0%} of the probability."
        ),
        numbers={
            "one_way": one_way,
            "lift": height,
            "impossible": impossible,
            "side": higher,
        },
        positions=tuple(int(i) for i in view.at[:SHOWN]),
    )


def repeats(case: Case) -> Iterator[Evidence]:
    """Chosen tokens that occurred before in their sequence against those that did not,
    of the same likelihood: a penalty.
    """
    view = case.view
    seen = _occurred_before(case)
    if min(int(seen.sum()), int((~seen).sum())) < 2 * _PER_BIN:
        return
    a = case.pair.logprob_a[view.at].astype(np.float64)
    b = case.pair.logprob_b[view.at].astype(np.float64)
    order = np.argsort((a + b) / 2, kind="stable")
    effects, weights = [], []
    for chunk in np.array_split(order, min(_BINS, len(order) // (2 * _PER_BIN))):
        old, new = chunk[seen[chunk]], chunk[~seen[chunk]]
        if min(len(old), len(new)) < 4:
            continue
        variance = view.delta[old].var(ddof=1) / len(old) + view.delta[new].var(
            ddof=1
        ) / len(new)
        effects.append(float(view.delta[old].mean() - view.delta[new].mean()))
        weights.append(1 / max(float(variance), 1e-18))
    if len(effects) < 2:
        return
    effect = float(np.average(effects, weights=weights))
    z = abs(effect) * float(np.sqrt(np.sum(weights)))
    size = abs(effect) / max(view.mae, 1e-12)
    strength = clip(z, 5, 9) * clip(size, 0.3, 0.8)
    if strength <= 0.1:
        return
    lower = case.labels[1] if effect > 0 else case.labels[0]
    yield Evidence(
        cause="processed",
        score=POSSIBLE_AT_MOST * strength,
        signature="tokens that occurred before",
        sentence=(
            f"{lower} puts tokens that occurred before in their sequence"
            f" {abs(effect):.2g} nats lower than the other side does, against tokens"
            f" just as likely that did not ({z:.0f} standard errors): perhaps a"
            " repetition, presence or frequency penalty."
        ),
        numbers={"effect": effect, "z": z, "seen": int(seen.sum())},
        positions=worst(case, seen),
        explains=0.95 * strength,
    )


def _occurred_before(case: Case) -> npt.NDArray[np.bool_]:
    """bool[n]: the token's id stands earlier in its sequence."""
    sequences, tokens = case.pair.sequences, case.pair.tokens
    owner: Any = np.searchsorted(sequences.offsets, np.arange(tokens), "right") - 1
    ids = sequences.token_ids[:tokens].astype(np.int64)
    keys = owner * (int(ids.max(initial=0)) + 1) + ids
    _, first = np.unique(keys, return_index=True)
    fresh = np.zeros(tokens, bool)
    fresh[first] = True
    seen: npt.NDArray[np.bool_] = ~fresh[case.view.at]
    return seen
