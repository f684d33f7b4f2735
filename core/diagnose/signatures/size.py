"""What is left when nothing has a shape: rounding, or more than rounding."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.exclusion import temperature_told, truncation_told
from logdrift.core.diagnose.fits import FittedLine, correlation, middle
from logdrift.core.diagnose.needs import LINE_ROWS, LONG, long_sequences, shared_rows
from logdrift.core.diagnose.noise import Size, judge_size
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST
from logdrift.core.diagnose.view import count_of

_SHAPELESS = (("weights", 0.8), ("kv_cache", 0.45), ("attention", 0.1))
"""What noise that is too large has been found to be, and how often next to the others:
an order, not a measurement.
"""
_FEW = 0.05
"""Share of the tokens, the loudest ones, without which other weights still leave a gap:
they move every token. By judgement.
"""


def size(case: Case) -> Iterator[Evidence]:
    """Rounding leaves a gap of a known size; one that is larger and has no shape is of
    weights, cache or kernels.

    That it has no shape can be said only where temperature and truncation were looked
    for: until then these stay *possible*.
    """
    judged = judge_size(case)
    numbers = {
        "mae": case.view.mae,
        "limit": judged.limit,
        "dtype": judged.dtype,
        "suspect": judged.suspect,
        "times": judged.times,
        **_moments(case),
    }
    if judged.verdict in ("identical", "noise"):
        yield Evidence(
            cause=NOISE,
            score=judged.sure,
            signature="size",
            sentence=judged.sentence,
            numbers=numbers,
        )
    if judged.verdict not in ("excess", "unclear"):
        return
    most = 1.0 if _is_shapeless(case, judged) else POSSIBLE_AT_MOST
    for code, prior in _SHAPELESS:
        yield Evidence(
            cause=code,
            score=min(prior * judged.sure, most * prior),
            signature="size",
            sentence=judged.sentence,
            numbers=numbers,
            positions=worst(case),
        )


def _is_shapeless(case: Case, judged: Size) -> bool:
    """Whether the gap is larger than rounding and has no shape, though one was looked
    for: in what the numbers mean, and in where in the sequences the gap is.
    """
    if judged.verdict != "excess" or not meaning_checked(case):
        return False
    too_short = long_sequences(1, LONG).lacking(case)
    return too_short is None and _in_most_tokens(case, judged)


def _in_most_tokens(case: Case, judged: Size) -> bool:
    """Whether the gap is half of itself, or more than half of what is usual, without
    the loudest `_FEW` tokens and in the middle sequence too: a fault of single tokens
    or sequences is not of weights.
    """
    view = case.view
    quietest_first = np.sort(view.size)
    count = len(quietest_first)
    loudest = int(np.ceil(_FEW * count))
    rest = quietest_first[: max(count - loudest, 1)]
    tokens = np.bincount(view.sequence)
    total = np.bincount(view.sequence, view.size)
    has_tokens = tokens > 0
    tokens = tokens[has_tokens]
    by_sequence = total[has_tokens] / tokens
    of_middle_sequence = middle(by_sequence, tokens)
    smaller = min(float(rest.mean()), of_middle_sequence)
    usual = USUAL[judged.dtype or "bfloat16"]
    return smaller > min(usual.high, view.mae) / 2


def meaning_checked(case: Case) -> bool:
    """Whether temperature and truncation were looked for: in the lists, or in what both
    sides are known to give.
    """
    if temperature_told(case) and truncation_told(case):
        return True
    return shared_rows(LINE_ROWS).lacking(case) is None


def _moments(case: Case) -> dict[str, float | None]:
    """Mean, skew and what |delta| goes with; None where there is too little."""
    view = case.view
    delta = view.delta
    if len(delta) < 3 or view.mae == 0:
        return {}
    spread = float(delta.std())
    mean = delta.mean()
    skew = None
    if spread > 0:
        cubes = ((delta - mean) / spread) ** 3
        skew = float(cubes.mean())
    position = view.position.astype(np.float64)
    return {
        "mean_over_mae": float(mean) / view.mae,
        "skew": skew,
        "r_position": correlation(position, view.size),
        "r_surprise": correlation(-view.a, view.size),
        "r_next": _persistence(case),
    }


def _persistence(case: Case) -> float:
    """Correlation of log |delta| (so that one token decides nothing) with that of the
    token before.
    """
    view = case.view
    same_sequence = np.diff(view.sequence) == 0
    follows = same_sequence & (np.diff(view.at) == 1)
    log = np.log(view.size + 1e-9)
    token = log[1:][follows]
    before = log[:-1][follows]
    return correlation(token, before)


_WIDE = 3
"""Alternatives from which a list is wide enough to be compared as a set."""
_FITTED = 32
"""Tokens with shared alternatives from which the fit of a line means anything: one
token's R2 is any number. By judgement.
"""
_LACKED = Ramp(starts=0.5, full=0.85)
"""Share of alternatives that the other list lacks. Drawn healthy pairs in bfloat16 lack
up to 0.25 of lists of three, another tensor 0.9 and more (planted: other head, layer at
its initial values).
"""
_SOME_LACKED = Ramp(starts=0.05, full=0.2)
"""Share that must be missing where a line fits badly: a penalty moves what both lists
hold, another tensor also other ids into them. By judgement.
"""
_BAD_FIT = Ramp(starts=0.35, full=0.7)
"""1 - R2 of the line. By judgement."""
_UNLIKE_MOST = 0.93
_UNLIKE_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


def unlike(case: Case) -> Iterator[Evidence]:
    """No likeness between both sides' alternatives: a wrong tensor, not noise on a
    right one.

    Two things are asked, each of lists that could show it: how much of the narrower
    list stands in the other one, over tokens with `_WIDE` alternatives and more; and
    how well a line fits the shared ones, where enough tokens share enough of them.
    """
    view = case.view
    wide = view.list_width >= _WIDE
    overlap = float(np.nanmean(view.overlap[wide]))
    rows = count_of(wide)
    line = None
    if len(view.shared.at) >= _FITTED:
        line = case.line
    score = _UNLIKE_MOST * _apart(1 - overlap, line)
    if score <= _UNLIKE_LEAST:
        return
    r2 = None
    fit = ""
    if line is not None:
        r2 = line.r2
        fit = f", and a line through those that are shared fits with R2 {r2:.2f}"
    yield Evidence(
        cause="weights",
        score=score,
        signature="no likeness",
        sentence=(
            f"{overlap:.0%} of one side's alternatives stand in the other side's lists"
            f" too ({rows:,} tokens){fit}: one side runs a wrong or"
            " uninitialised tensor, or another model."
        ),
        numbers={
            "overlap": overlap,
            "rows": rows,
            "r2": r2,
        },
        positions=worst(case),
    )


def _apart(lacked: float, line: FittedLine | None) -> float:
    """How unlike both sides are, 0 to 1: by what the lists lack, and by the line."""
    if line is None:
        return _LACKED.score(lacked)
    bad_fit = _BAD_FIT.score(1 - line.r2)
    by_line = bad_fit * _SOME_LACKED.score(lacked)
    return max(_LACKED.score(lacked), by_line)


_EXPERTS = re.compile(r"moe|mixtral|deepseek|expert", re.IGNORECASE)
_FAR = 1.0
"""Nats from which a token is far out."""
_RARE = 0.02
_QUIET = 0.1
"""Share of such tokens, and nats of the median |delta|, below which the picture is that
of flipped experts: the published one (https://arxiv.org/abs/2510.11370).
"""
_ROUTING = 0.75
"""Score of that picture. By judgement."""


def has_experts(case: Case) -> bool:
    """Whether a side is known to be a mixture of experts."""
    return any(
        facts.model_class and _EXPERTS.search(facts.model_class) for facts in case.facts
    )


def routing(case: Case) -> Iterator[Evidence]:
    """Rare tokens far out, the others as in a dense model: experts that flip. Said of
    mixtures of experts alone.
    """
    size = case.view.size
    far = size > _FAR
    share = float(far.mean())
    median = float(np.median(size))
    if not 0 < share < _RARE or median >= _QUIET:
        return
    yield Evidence(
        cause="routing",
        score=_ROUTING,
        signature="heavy tail",
        sentence=(
            f"{share:.2%} of the tokens differ by more than 1 nat and half of them by"
            f" less than {median:.2g}, in a mixture of experts: rounding sends tokens"
            " to other experts."
        ),
        numbers={
            "share": share,
            "median": median,
            "persistence": _persistence(case),
        },
        positions=worst(case, far),
    )
