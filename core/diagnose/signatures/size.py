"""What is left when nothing has a shape: rounding, or more than rounding."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose.case import Case, clip, worst
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.exclusion import temperature_told, truncation_told
from logdrift.core.diagnose.fits import correlation, middle
from logdrift.core.diagnose.needs import long_sequences, shared_rows
from logdrift.core.diagnose.noise import Size, judge_size
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

_WIDTH = 3
"""Alternatives from which a list is wide enough to be compared as a set."""
_FITTED = 32
"""Tokens with shared alternatives from which the fit of a line means anything: one
token's R2 is any number.
"""
_APART = (0.5, 0.85)
"""Share of alternatives that the other list lacks. Drawn healthy pairs in bfloat16 lack
up to 0.25 of lists of three, another tensor 0.9 and more (planted: other head, layer at
its initial values).
"""
_SOME_APART = (0.05, 0.2)
"""Share that must be missing where a line fits badly: a penalty moves what both lists
hold, another tensor also other ids into them.
"""
_FEW = 0.05
"""Share of the tokens, the loudest ones, without which other weights still leave a gap:
they move every token.
"""
_LONG = 24
"""Scored tokens of a sequence whose start is told from its end."""
_EXPERTS = re.compile(r"moe|mixtral|deepseek|expert", re.IGNORECASE)
_SHAPELESS = (("weights", 0.8), ("kv_cache", 0.45), ("attention", 0.1))
"""What noise that is too large has been found to be, and how often next to the others:
an order, not a measurement.
"""


def size(case: Case) -> Iterator[Evidence]:
    """Rounding leaves a gap of a known size; one that is larger and has no shape is of
    weights, cache or kernels.

    That it has no shape can be said only where temperature and truncation were looked
    for: until then these stay *possible*.
    """
    found = judge_size(case)
    numbers = {
        "mae": case.view.mae,
        "limit": found.limit,
        "dtype": found.dtype,
        "suspect": found.suspect,
        "times": found.times,
        **_moments(case),
    }
    if found.verdict in ("identical", "noise"):
        yield Evidence(
            cause=NOISE,
            score=found.sure,
            signature="size",
            sentence=found.sentence,
            numbers=numbers,
        )
        return
    if found.verdict not in ("excess", "unclear"):
        return
    sure = (
        _shapeless(case) and found.verdict == "excess" and _in_most_tokens(case, found)
    )
    most = 1.0 if sure else POSSIBLE_AT_MOST
    for code, prior in _SHAPELESS:
        score = min(prior * found.sure, most * prior)
        yield Evidence(
            cause=code,
            score=score,
            signature="size",
            sentence=found.sentence,
            numbers=numbers,
            positions=worst(case),
        )


def _shapeless(case: Case) -> bool:
    """Whether a shape was looked for: what the numbers mean, and where in the sequences
    the gap is.
    """
    return meaning_checked(case) and long_sequences(1, _LONG).lacking(case) is None


def _in_most_tokens(case: Case, found: Size) -> bool:
    """Whether the gap is half of itself, or more than half of what is usual, without
    the loudest `_FEW` tokens and in the middle sequence too: a fault of single tokens
    or sequences is not of weights.
    """
    size = np.sort(case.view.size)
    rest = size[: max(len(size) - int(np.ceil(_FEW * len(size))), 1)]
    tokens = np.bincount(case.view.sequence)
    scored = tokens > 0
    by_sequence = (
        np.bincount(case.view.sequence, case.view.size)[scored] / tokens[scored]
    )
    smaller = min(float(rest.mean()), middle(by_sequence, tokens[scored]))
    return smaller > min(USUAL[found.dtype or "bfloat16"].high, case.view.mae) / 2


def meaning_checked(case: Case) -> bool:
    """Whether temperature and truncation were looked for: in the lists, or in what both
    sides are known to give.
    """
    if temperature_told(case) and truncation_told(case):
        return True
    return shared_rows(30).lacking(case) is None


def _moments(case: Case) -> dict[str, float | None]:
    """Mean, skew and what |delta| goes with; None where there is too little."""
    view = case.view
    d = view.delta
    if len(d) < 3 or view.mae == 0:
        return {}
    spread = float(d.std())
    position = view.position.astype(np.float64)
    return {
        "mean_over_mae": float(d.mean()) / view.mae,
        "skew": float((((d - d.mean()) / spread) ** 3).mean()) if spread > 0 else None,
        "r_position": correlation(position, view.size),
        "r_surprise": correlation(
            -case.pair.logprob_a[view.at].astype(np.float64), view.size
        ),
        "r_next": _persistence(case),
    }


def _persistence(case: Case) -> float:
    """Correlation of |delta| (as ranks, so that one token decides nothing) with that of
    the token before.
    """
    view = case.view
    follows = (np.diff(view.sequence) == 0) & (np.diff(view.at) == 1)
    log = np.log(view.size + 1e-9)
    return correlation(log[1:][follows], log[:-1][follows])


def unlike(case: Case) -> Iterator[Evidence]:
    """No likeness between both sides' alternatives: a wrong tensor, not noise on a
    right one.

    Two things are asked, each of lists that could show it: how much of the narrower
    list stands in the other one, over tokens with `_WIDTH` alternatives and more; and
    how well a line fits the shared ones, where enough tokens share enough of them.
    """
    view = case.view
    wide = view.list_width >= _WIDTH
    overlap = float(np.nanmean(view.overlap[wide]))
    line = case.line if len(view.shared.at) >= _FITTED else None
    apart = clip(1 - overlap, *_APART)
    if line is not None:
        apart = max(
            apart, clip(1 - line.r2, 0.35, 0.7) * clip(1 - overlap, *_SOME_APART)
        )
    score = 0.93 * apart
    if score <= 0.02:
        return
    fit = (
        ""
        if line is None
        else f", and a line through those that are shared fits with R2 {line.r2:.2f}"
    )
    yield Evidence(
        cause="weights",
        score=score,
        signature="no likeness",
        sentence=(
            f"of the alternatives of one side {overlap:.0%} stand in the other side's"
            f" lists too ({int(wide.sum()):,} tokens){fit}: one side runs a wrong or"
            " uninitialised tensor, or another model."
        ),
        numbers={
            "overlap": overlap,
            "rows": int(wide.sum()),
            "r2": None if line is None else line.r2,
        },
        positions=worst(case),
    )


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
    far = size > 1.0
    share, middle = float(far.mean()), float(np.median(size))
    if 0 < share < 0.02 and middle < 0.1:
        yield Evidence(
            cause="routing",
            score=0.75,
            signature="heavy tail",
            sentence=f"{share:.2%} of the tokens differ by more than 1 nat and half of them by"
            f" less than {middle:.2g}, in a mixture of experts: rounding sends tokens"
            " to other experts.",
            numbers={
                "share": share,
                "median": middle,
                "persistence": _persistence(case),
            },
            positions=worst(case, far),
        )
