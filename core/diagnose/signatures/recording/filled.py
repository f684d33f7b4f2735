"""One number in place of many: filled in, or cut at a bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from logdrift.core.diagnose.case import Case, positions_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import correlation
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.signatures.recording.suspect import (
    FAR,
    NEAR_ZERO,
    Array,
    Bools,
    RecordingFault,
    Suspect,
    Values,
    begins,
    fault,
    suspects,
)
from logdrift.core.diagnose.support import PROOF
from logdrift.core.diagnose.view import count_of

_MOST_USUAL = 3
"""Numbers of a side that are looked at, the most frequent ones."""
_MORE_OFTEN = 4
"""How many times as often as the others (their 99th percentile) a number must stand far
off. By judgement.
"""
_USUAL_COUNT = 0.99
_FEWEST = 3
"""Contexts in which it must stand far off at least."""
_FEW_STEPS = 0.8
"""Different numbers over all of a side's, below which they have few steps (16 bits, or
decimals), so that equal ones are no surprise. By judgement.
"""
_BFLOAT16 = 2**-7
"""Relative step of bfloat16: within it the other side's value is the same number."""
_IN_PLACE = 0.5
"""Correlation of both sides' values, token by token, below which they are not of the
same tokens: scores of one text are above it at any temperature, neighbours of a text
reach 0.3.
"""
_OUTERMOST = 0.1
"""Share of the other side's remaining values that may lie further out than those at a
bound: rounding and noise change their order. By judgement.
"""
_AT_BOUND = 0.9
"""Share of the tokens at a bound where the other side's values are among its outermost.
By judgement.
"""
_FAR_TOKENS = Ramp(starts=2, full=8)
"""Tokens at which the number is far from the other side's. By judgement."""
_MOST = 0.99
"""The largest score. By judgement."""


def filled(case: Case) -> Iterator[RecordingFault]:
    """A number that one side repeats exactly where the other side has many different
    ones.
    """
    left_out = case.left_out is not None
    whole_case = Case(case.session, case.pair) if left_out else case
    for side, whole in zip(suspects(case), suspects(whole_case), strict=True):
        values, counts = np.unique(side.values, return_counts=True)
        most_usual = np.argsort(-counts)[:_MOST_USUAL]
        uncertain = np.abs(side.values) > NEAR_ZERO
        steps = _counted_once(side.values, case.view.context, uncertain)
        for value in values[most_usual].tolist():
            mask = _implausible(side, whole, value, case.view.context, steps)
            if mask is not None:
                evidence = _evidence(case, side, value, mask)
                yield fault(case, mask, evidence)


def _implausible(
    side: Suspect, whole: Suspect, value: float, context: Array, steps: _Steps
) -> Bools | None:
    """Tokens at which ``side`` holds ``value`` and the other side something else; None
    where that may be chance.

    Equal values do occur: log-probabilities of certain tokens round to 0, and rounded
    or 16-bit values have few steps. So the value must stand far off far more often than
    others of that side do; tokens in one ``context`` (u64[n]) are one measurement,
    however many sequences share it. Where the side has few steps it must also stand
    more often than the other side comes near it; where the other values do not stand in
    their places either, that is asked of all tokens (``whole``: what is left here was
    chosen because it fits badly). ``steps`` are those of all uncertain tokens.
    """
    mask: Bools = side.values == value
    gap = np.abs(side.other - value)
    far = mask & (gap > FAR)
    different, counts = steps.without(value)
    usual = 1.0
    if len(counts):
        usual = float(np.quantile(counts, _USUAL_COUNT))
    far_contexts = len(np.unique(context[far]))
    if far_contexts < max(_FEWEST, _MORE_OFTEN * usual):
        return None
    few_steps = len(different) < _FEW_STEPS * counts.sum()
    misplaced = _is_misplaced(side, ~mask)
    if few_steps or misplaced:
        base = whole if misplaced else side
        if not _stands_too_often(base, value):
            return None
    return mask


def _is_misplaced(side: Suspect, among: Bools) -> bool:
    """Whether the values of ``among`` bool[n] do not stand at their tokens either."""
    if not among.any():
        return False
    r = correlation(side.values[among], side.other[among])
    return r < _IN_PLACE


def _stands_too_often(side: Suspect, value: float) -> bool:
    """Whether the side has ``value`` more often than the other side comes near it, by
    three standard errors of a count.
    """
    rounding = max(abs(value) * _BFLOAT16, NEAR_ZERO)
    near = min(rounding, FAR)
    is_near = np.abs(side.other - value) <= near
    natural = count_of(is_near)
    times = count_of(side.values == value)
    surplus = times - natural
    return bool(surplus >= 3 + 3 * np.sqrt(natural))


class _Steps(NamedTuple):
    """The different ``values`` of some tokens, f64[m] in order, and the number of
    ``contexts`` in which each stands, int64[m].
    """

    values: Values
    contexts: Array

    def without(self, value: float) -> _Steps:
        """All but one value."""
        others = self.values != value
        return _Steps(self.values[others], self.contexts[others])


def _counted_once(values: Values, context: Array, among: Bools) -> _Steps:
    """The steps of ``values`` f64[n] at tokens ``among`` bool[n]."""
    order = np.lexsort((context[among], values[among]))
    sorted_values = values[among][order]
    sorted_contexts = context[among][order]
    other_value = np.diff(sorted_values) != 0
    other_context = sorted_contexts[1:] != sorted_contexts[:-1]
    new = np.ones(len(order), bool)
    new[1:] = other_value | other_context
    different, contexts = np.unique(sorted_values[new], return_counts=True)
    return _Steps(different, contexts)


def _evidence(case: Case, side: Suspect, value: float, mask: Bools) -> Evidence:
    tokens = count_of(mask)
    all_tokens = len(mask)
    far = count_of(mask & (side.gap > FAR))
    cut = _is_bound(side, value, mask)
    where = _pattern(case, mask)
    strength = min(_FAR_TOKENS.score(far), PROOF.ceiling(all_tokens))
    if cut:
        cause = "cut"
        signature = "bound"
        sentence = _of_cut(side, value, mask, cut)
    else:
        cause = "filled"
        signature = "repeated value"
        sentence = _of_filled(side, value, mask, where)
    return Evidence(
        cause=cause,
        score=_MOST * strength,
        signature=signature,
        sentence=sentence,
        numbers={
            "side": side.label,
            "value": value,
            "tokens": tokens,
            "far": far,
            "share": tokens / all_tokens,
            "where": where,
        },
        positions=positions_of(case.view.at[mask]),
    )


def _share(side: Suspect, value: float, mask: Bools) -> str:
    return (
        f"{count_of(mask):,} of {len(mask):,} values of {side.label} are"
        f" exactly {value:g}"
    )


def _of_cut(side: Suspect, value: float, mask: Bools, cut: int) -> str:
    extreme = "lowest" if cut < 0 else "highest"
    return (
        f"{_share(side, value, mask)}, the {extreme} that it has, where"
        f" {side.other_label} goes beyond: its values were cut there. Record them"
        " uncut."
    )


def _of_filled(side: Suspect, value: float, mask: Bools, where: str) -> str:
    share = _share(side, value, mask)
    if value != 0.0:
        return (
            f"{share}, where {side.other_label} has other values throughout ({where}):"
            " the number was filled in. Leave such tokens out of the mask, or record"
            " null."
        )
    largest = float(side.gap[mask].max())
    meaning = _of_zeros(where, everywhere=bool(mask.all()))
    return (
        f"{share}, probability 1, where {side.other_label} is up to {largest:.2g} nats"
        f" away ({where}): {meaning}."
    )


def _of_zeros(where: str, everywhere: bool) -> str:
    """What zeros are, by where they stand, and the fix."""
    if everywhere:
        return (
            "no log-probabilities of the model: greedy or top-k 1 'processed' values,"
            " or a field that was never filled. Record raw log-probabilities"
        )
    if where == "scattered within completions":
        return (
            "scores of accepted speculative drafts, or tokens that were never scored."
            " Record the target model's scores"
        )
    return (
        "filled in where nothing was scored. Leave such tokens out of the mask, or"
        " record null"
    )


def _is_bound(side: Suspect, value: float, mask: Bools) -> int:
    """-1 where ``value`` is the lowest that the side has and the other side's values
    there are its lowest too, 1 for the highest, 0 for neither.

    Those are its lowest at whatever temperature the other side gives them.
    """
    if mask.all() or value >= 0:
        return 0
    other = side.other[mask]
    rest = side.other[~mask]
    if value == float(side.values.min()):
        lowest = other <= np.quantile(rest, _OUTERMOST)
        if np.mean(lowest) > _AT_BOUND:
            return -1
    if value == float(side.values.max()):
        highest = other >= np.quantile(rest, 1 - _OUTERMOST)
        if np.mean(highest) > _AT_BOUND:
            return 1
    return 0


_ENDS = 0.8
_ONE_STRETCH = 1.2
"""Share of the touched sequences whose last token is one of them, and stretches for
each of these sequences, that make *at the ends*. By judgement.
"""
_STRETCH = 4
"""Tokens of a stretch on average. By judgement."""


def _pattern(case: Case, mask: Bools) -> str:
    """Where the tokens of ``mask`` (bool[n] over the case's tokens) lie in their
    sequences, in words.
    """
    sequence = case.view.sequence
    count = case.pair.count
    scored = np.bincount(sequence, minlength=count)
    hits = np.bincount(sequence[mask], minlength=count)
    touched = hits > 0
    rows = int(touched.sum())
    if hits.sum() == scored.sum():
        return "everywhere"
    if (hits[touched] == scored[touched]).all():
        return f"in {rows:,} whole sequences"
    stretches = _stretches(mask, sequence)
    last_tokens = _last_tokens(sequence, count)[touched]
    at_end = count_of(mask[last_tokens])
    if at_end >= _ENDS * rows and stretches <= _ONE_STRETCH * rows:
        return "at the ends of sequences"
    mean_length = hits.sum() / max(stretches, 1)
    if mean_length >= _STRETCH:
        return f"in {stretches:,} stretches"
    in_completions = case.view.in_completion[mask].all()
    if in_completions:
        return "scattered within completions"
    return "scattered"


def _stretches(mask: Bools, sequence: Array) -> int:
    """How many runs of ``mask`` bool[n] there are, none beyond its sequence."""
    before = np.concatenate([[False], mask[:-1]])
    may_open = begins(sequence) | ~before
    return count_of(mask & may_open)


def _last_tokens(sequence: Array, count: int) -> Array:
    """The number of the last token of each of ``count`` sequences, i64[count]."""
    last = np.zeros(count, np.int64)
    numbers = np.arange(len(sequence))
    np.maximum.at(last, sequence, numbers)
    return last
