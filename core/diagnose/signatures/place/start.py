"""Large at a sequence's first tokens, fading with the context: another beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.needs import LONG
from logdrift.core.diagnose.noise import judge_size
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import (
    SENT_ALIKE,
    Array,
    order,
    scored_tokens,
    sums,
    usual_size,
)

_FIRST = 4
"""Scored tokens that are a sequence's beginning."""
_LARGER = Ramp(starts=2.3, full=3.2)
"""How many times what equally surprising tokens have the first ones must have. In tiny
Llama and Qwen 2 models other weights, quantised ones and rounding gave up to 2.33,
other beginnings 2.7 to 50 (a start token that the model was never trained with 2.0).
"""
_LARGER_IN_FEW = Ramp(starts=5.0, full=12.0)
"""The same where fewer than `_SEQUENCES` can show it: beyond what the beginning of any
text does. By judgement.
"""
_SEQUENCES = 4
"""Sequences that must all show it, for a sign test to mean something."""
_UNEVEN = Ramp(starts=0.55, full=0.62)
_LARGER_IF_UNEVEN = Ramp(starts=1.4, full=2.2)
"""A smaller ratio will do where few tokens have most of the gap (`_evenness`). In the
same models other weights gave an evenness of 0.63 and more, other beginnings up to
0.57.
"""
_LOUD = Ramp(starts=0.1, full=0.3)
"""|delta| at the first tokens in nats. In the same models other beginnings moved them
by 0.53 to 3.3, a tensor that matters most to them by 0.05.
"""
_SHARED = Ramp(starts=0.55, full=0.8)
"""Share of the sequences whose ratio is above `_LARGER_HERE`. By judgement."""
_LARGER_HERE = 1.5
_QUIET = 2.0
"""How many times larger the ratio must be where the whole gap is of the size of
rounding. By judgement.
"""
_MOST = 0.95
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


@dataclass(frozen=True, slots=True)
class _Beginnings:
    """First tokens of the long sequences against equally surprising later ones.

    ``ratio`` is the median over sequences of how many times as large they are,
    ``share`` that of the sequences that show it; ``size`` and ``expected`` are in nats.
    """

    sequences: int
    ratio: float
    share: float
    size: float
    expected: float
    evenness: float


def start(case: Case) -> Iterator[Evidence]:
    """Large at a sequence's first tokens, fading with the context: another start token,
    prefix or cut.

    The first tokens of a text are its least predictable ones, and noise is larger on
    such tokens. So what the first four scored tokens are held against is what equally
    surprising tokens have in the second half of the sequences: the median over
    sequences of that ratio, and the share of sequences that show it.
    """
    beginnings = _beginnings(case)
    if beginnings is None:
        return
    score = _MOST * _shape(case, beginnings) * _LOUD.score(beginnings.size)
    if case.sent_alike:
        score *= SENT_ALIKE
    if score <= _LEAST:
        return
    is_first = order(case)[0] < _FIRST
    yield Evidence(
        cause="ids",
        score=score,
        signature="start",
        sentence=(
            f"at the first {_FIRST} scored tokens the gap is {beginnings.ratio:.1f}"
            " times as large as at equally surprising tokens in the second half of the"
            f" sequences (in {beginnings.share:.0%} of {beginnings.sequences:,}"
            " sequences), and fades: the sides saw different beginnings (start token,"
            " template, cut)."
        ),
        numbers={
            "ratio": beginnings.ratio,
            "share": beginnings.share,
            "sequences": beginnings.sequences,
            "evenness": beginnings.evenness,
            "mae_start": beginnings.size,
            "mae_expected": beginnings.expected,
        },
        positions=worst(case, is_first),
    )


def _beginnings(case: Case) -> _Beginnings | None:
    """None without a sequence of `LONG` tokens."""
    number, count = order(case)
    long = scored_tokens(case) >= LONG
    if not long.any():
        return None
    is_first = number < _FIRST
    usual = usual_size(case, number >= count // 2)
    first = sums(case, case.view.size * is_first)[long]
    expected = sums(case, usual * is_first)[long]
    ratios = (first + 1e-9) / (expected + 1e-9)
    return _Beginnings(
        sequences=len(ratios),
        ratio=float(np.median(ratios)),
        share=float(np.mean(ratios > _LARGER_HERE)),
        size=float(first.mean()) / _FIRST,
        expected=float(expected.mean()) / _FIRST,
        evenness=_evenness(case.view.size, usual),
    )


def _shape(case: Case, beginnings: _Beginnings) -> float:
    """How much the beginnings look like other ones, 0 to 1, whatever their size."""
    if judge_size(case).verdict == "noise":
        quiet = _QUIET
    else:
        quiet = 1.0
    ratio = beginnings.ratio / quiet
    if beginnings.sequences < _SEQUENCES:
        larger = _LARGER_IN_FEW.score(ratio)
    else:
        uneven = 1 - _UNEVEN.score(beginnings.evenness)
        larger = max(_LARGER.score(ratio), uneven * _LARGER_IF_UNEVEN.score(ratio))
    return larger * _SHARED.score(beginnings.share)


def _evenness(size: Array, usual: Array) -> float:
    """Median over mean of |delta| f64[n], in units of what tokens as surprising have
    (``usual`` f64[n]).

    0.85 for normal noise, less where few tokens have most of it. Other weights move
    every token a little, another context moves few tokens much.
    """
    scaled = size / np.maximum(usual, 1e-12)
    mean = float(scaled.mean())
    if mean > 0:
        return float(np.median(scaled)) / mean
    return 1.0
