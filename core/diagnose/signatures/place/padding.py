"""Only sequences that a batch fills up differ: padding is seen or counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.case import Case, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.noise import judge_size
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.place.measures import (
    Array,
    Bools,
    ratio,
    scored_tokens,
    sums,
)
from logdrift.core.facts import FILLED_BEHIND
from logdrift.core.session.layout import CaptureInfo

_LARGER = Ramp(starts=2.0, full=5.0)
_LARGER_THAN_NOISE = Ramp(starts=4.0, full=10.0)
"""How many times the largest of the full sequences nearly every padded one must have;
the second where the whole gap is of the size of rounding. By judgement.
"""
_ONE_FULL = 0.8
"""What is left where a single sequence is full. By judgement."""
_TOKENS = 8
"""Scored tokens that a sequence needs, in all and in the stretch that is compared."""
_PADDED = 3
"""Padded sequences that are needed. By judgement."""
_NEARLY_ALL = 0.1
"""Share of the padded sequences that may differ by less."""
_REACH = 0.25
"""Share of the padded sequences that may end within the stretch that is compared."""
_MOST = 0.97
_LEAST = 0.02
"""The largest score, and the smallest that is worth saying. By judgement."""


@dataclass(frozen=True, eq=False)
class _Batches:
    """How padded and full sequences of one capture's batches differ.

    ``mean`` f64[S] nats: MAE over the same first tokens; ``padded`` and ``full``
    bool[S] are those that were compared, ``shorter`` bool[S] all that a batch fills up.
    """

    mean: Array
    padded: Bools
    full: Bools
    shorter: Bools

    @property
    def ratio(self) -> float:
        """What nearly every padded sequence has over the largest of the full ones."""
        low = np.quantile(self.mean[self.padded], _NEARLY_ALL)
        largest_full = np.max(self.mean[self.full])
        return ratio(float(low), float(largest_full))


def may_be_padded(case: Case) -> bool:
    """Whether some side is not known to compute real tokens alone, or to fill up where
    none of them looks.
    """
    harmless = ("none", FILLED_BEHIND)
    return any(facts.padding not in harmless for facts in case.facts)


def padding(case: Case) -> Iterator[Evidence]:
    """Only sequences shorter than the longest of their batch differ, compared over the
    same first tokens.
    """
    noisy = judge_size(case).verdict == "noise"
    larger = _LARGER_THAN_NOISE if noisy else _LARGER
    best: Evidence | None = None
    for info in case.infos:
        batches = _batches(case, info)
        if batches is None:
            continue
        score = _score(batches, larger)
        least = _LEAST if best is None else best.score
        if score > least:
            best = _of_padding(case, batches, score)
    if best is not None:
        yield best


def _score(batches: _Batches, larger: Ramp) -> float:
    if batches.full.sum() == 1:
        few = _ONE_FULL
    else:
        few = 1.0
    return _MOST * few * larger.score(batches.ratio)


def _of_padding(case: Case, batches: _Batches, score: float) -> Evidence:
    padded = int(batches.padded.sum())
    full = int(batches.full.sum())
    average = float(batches.mean[batches.padded].mean())
    largest = float(np.max(batches.mean[batches.full]))
    in_shorter = batches.shorter[case.view.sequence]
    return Evidence(
        cause="padding",
        score=score,
        signature="padded rows",
        sentence=(
            f"the {padded:,} sequences that a batch pads differ by {average:.2g} nats,"
            f" the {full:,} that it does not pad by {largest:.2g} over the same first"
            " tokens: padding is seen or counted."
        ),
        numbers={"ratio": batches.ratio, "padded": padded, "unpadded": full},
        positions=worst(case, in_shorter),
    )


def _batches(case: Case, info: CaptureInfo) -> _Batches | None:
    """The batches of one capture, whose parts they are; None where too few sequences
    are padded, or all of them.
    """
    pair = case.pair
    view = case.view
    lengths = np.diff(pair.offsets)
    shorter = lengths < _longest_of_batch(info, lengths)
    enough = scored_tokens(case) >= _TOKENS
    padded = shorter & enough
    full = ~shorter & enough
    if not _comparable(padded, full):
        return None
    end = np.quantile(lengths[padded], _REACH)
    reach = view.position < int(end)
    within = sums(case, reach)
    enough_within = within >= _TOKENS
    padded = padded & enough_within
    full = full & enough_within
    if not _comparable(padded, full):
        return None
    total = sums(case, view.size * reach)
    mean = total / np.maximum(within, 1)
    return _Batches(mean=mean, padded=padded, full=full, shorter=shorter)


def _comparable(padded: Bools, full: Bools) -> bool:
    enough_padded = padded.sum() >= _PADDED
    return bool(enough_padded and full.any())


def _longest_of_batch(info: CaptureInfo, lengths: Array) -> Array:
    """Tokens of the longest sequence in each sequence's batch, i64[S]; a part is a
    batch.
    """
    longest = np.zeros(len(lengths), np.int64)
    for part in info.parts:
        first = part.first_sequence
        end = min(first + part.sequences, len(lengths))
        rows = slice(first, end)
        longest[rows] = lengths[rows].max(initial=0)
    return longest
