"""Quiet up to one token and loud from there on: other ids, or a cache that is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.case import Case, place_of, positions_of
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.needs import LONG, shared_rows
from logdrift.core.diagnose.noise import judge_size
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import (
    LARGE_JUMP,
    SENT_ALIKE,
    SIDE,
    Array,
    jumps,
)
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST
from logdrift.core.diagnose.view import count_of

_SHARP = Ramp(starts=LARGE_JUMP, full=3.8)
"""The largest jump; e^3.8 is 45 times as loud."""
_ABOVE_NOISE = Ramp(starts=5, full=15)
"""The peak over what rounding of that dtype leaves, where the whole gap is of the size
of rounding: far beyond what rounding does to one token. By judgement.
"""
_ABOVE_ALL = Ramp(starts=3, full=10)
"""The peak over the MAE: an edited id is loud among quiet tokens. By judgement."""
_BLOCK = 16
"""Tokens of a block of vLLM's cache; blocks of other sizes are multiples of it, and
SGLang's pages may be.
"""
_CHANCE = 1e-3
"""Probability below which onsets at blocks are no chance: one pair in 1,000."""
_OTHER_IDS_TOO = 0.4
"""What is left for other ids where the onsets are at blocks of a cache. By
judgement.
"""
_MOST = 0.95
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


@dataclass(frozen=True, eq=False)
class _Onsets:
    """The sequences that are quiet up to one token: ``at`` i64[k] are those tokens,
    numbers among the case's tokens, the largest jump first. ``judged`` sequences were
    long enough; ``peak`` in nats is the largest |delta| just behind the first.
    """

    at: Array
    judged: int
    jump: float
    peak: float


def onset(case: Case) -> Iterator[Evidence]:
    """Quiet up to one token of a sequence and loud from there on, at other places in
    other sequences: other ids there.

    The mean of log |delta| over eight tokens is held against that of the eight before.
    """
    onsets = _onsets(case)
    if onsets is None:
        return
    view = case.view
    sharp = _MOST * _SHARP.score(onsets.jump) * _beyond_rounding(case, onsets.peak)
    times_mae = onsets.peak / (view.mae + 1e-12)
    score = sharp * _ABOVE_ALL.score(times_mae)
    on_blocks = _on_blocks(case, view.position[onsets.at])
    of_cache = sharp if on_blocks else 0.0
    if max(score, of_cache) <= _LEAST:
        return
    if on_blocks:
        # Where they are is evidence enough: a wrong cache stays, an edited id fades.
        yield _of_cache(case, onsets, sharp, on_blocks)
        score *= _OTHER_IDS_TOO
    if case.sent_alike:
        score *= SENT_ALIKE
    lists_are_lacking = shared_rows(LONG).lacking(case) is not None
    if lists_are_lacking and _one_place(case, onsets):
        # No lists could tell other ids from a loud stretch.
        score = min(score, POSSIBLE_AT_MOST)
    yield _of_ids(case, onsets, score)


def _onsets(case: Case) -> _Onsets | None:
    view = case.view
    if len(view.at) < 2 * LONG:
        return None
    jump = jumps(case)
    largest = np.full(case.pair.count, -np.inf)
    np.maximum.at(largest, view.sequence, jump)
    rows = np.flatnonzero(largest > LARGE_JUMP)
    if not len(rows):
        return None
    is_largest = jump == largest[view.sequence]
    is_onset = np.isin(view.sequence, rows) & is_largest
    at = np.flatnonzero(is_onset)
    _, first = np.unique(view.sequence[at], return_index=True)
    at = at[first]
    largest_first = np.argsort(-jump[at])
    at = at[largest_first]
    sharpest = at[0]
    just_behind = view.size[sharpest : sharpest + SIDE]
    return _Onsets(
        at=at,
        judged=count_of(np.isfinite(largest)),
        jump=float(jump[sharpest]),
        peak=float(just_behind.max()),
    )


def _beyond_rounding(case: Case, peak: float) -> float:
    size = judge_size(case)
    if size.verdict == "noise":
        return _ABOVE_NOISE.score(peak / size.limit)
    return 1.0


def _one_place(case: Case, onsets: _Onsets) -> bool:
    """Whether all onsets have one context, so that they are one measurement."""
    contexts = np.unique(case.view.context[onsets.at])
    return len(contexts) == 1


def _of_cache(case: Case, onsets: _Onsets, score: float, on_blocks: int) -> Evidence:
    description = _described(case, onsets)
    return Evidence(
        cause="prefix_cache",
        score=score,
        signature="onset",
        sentence=(
            f"{description}, {on_blocks:,} of them at a block of {_BLOCK}"
            " tokens: what comes before was read from a cache."
        ),
        numbers={**_numbers(onsets), "on_blocks": on_blocks},
        positions=_positions(case, onsets),
    )


def _of_ids(case: Case, onsets: _Onsets, score: float) -> Evidence:
    return Evidence(
        cause="ids",
        score=score,
        signature="onset",
        sentence=f"{_described(case, onsets)}: the ids differ there.",
        numbers=_numbers(onsets),
        positions=_positions(case, onsets),
    )


def _described(case: Case, onsets: _Onsets) -> str:
    number = len(onsets.at)
    louder = np.exp(min(onsets.jump, 20))
    first_at = case.view.at[onsets.at[0]]
    first = place_of(case, int(first_at))
    return (
        f"{number:,} of {onsets.judged:,} sequences agree up to one token and"
        f" differ {louder:.0f} times as much from there on (first at {first},"
        f" {onsets.peak:.2g} nats)"
    )


def _numbers(onsets: _Onsets) -> dict[str, Number]:
    return {
        "sequences": len(onsets.at),
        "judged": onsets.judged,
        "jump": onsets.jump,
        "peak": onsets.peak,
    }


def _positions(case: Case, onsets: _Onsets) -> tuple[int, ...]:
    return positions_of(case.view.at[onsets.at])


def _on_blocks(case: Case, position: Array) -> int:
    """How many onsets are at the first or second token of a block, where chance would
    not put them; else 0. ``position`` i64[k] is theirs within their sequences.

    A token behind a cached block is the first that is computed anew, and the next the
    first that it predicts: 2 of 16 places, so four onsets there have a chance of 0.02%
    (upper tail of the binomial distribution). One and the same place in every sequence
    is a `step`.
    """
    no_cache = all(facts.prefix_cache is False for facts in case.facts)
    places = np.unique(position)
    if no_cache or len(places) < 2:
        return 0
    at_block = (position % _BLOCK <= 1) & (position >= _BLOCK)
    hits = count_of(at_block)
    if _chance_of(hits, len(position)) < _CHANCE:
        return hits
    return 0


def _chance_of(hits: int, onsets: int) -> float:
    """The chance of so many hits or more, 0 to 1."""
    share = 2 / _BLOCK
    chance = 0.0
    for i in range(hits, onsets + 1):
        ways = math.comb(onsets, i)
        chance += ways * share**i * (1 - share) ** (onsets - i)
    return chance
