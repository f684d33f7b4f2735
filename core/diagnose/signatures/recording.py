"""Faults of recording: the numbers themselves are sound or senseless, but they do not
belong where they stand.

In dumps these are the usual causes, and they look like anything else once they are
averaged: so they are judged before anything is said about the model, and the tokens
that they explain are left out of what is judged after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.usual import USUAL
from logdrift.core.diagnose.case import SHOWN, Case, clip, place_of
from logdrift.core.diagnose.evidence import LIKELY, Evidence
from logdrift.core.diagnose.fits import correlation
from logdrift.core.diagnose.support import PROOF

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

FAR = 0.5
"""Nats by which two sides must miss each other before a token counts as far off: eight
times the usual MAE of bfloat16.
"""
_LAGS = (1, -1, 2, -2, 3, -3)
_SHORTEST = 8
"""Tokens of a stretch that must fit once it is moved. Values of a text vary by 2 nats
and more, so eight tokens that fit to 0.1 by chance have a probability below 1e-8.
"""
_SIGNS = 2.8
"""Standard errors of a sign test: all of eight tokens."""
_FITS = 0.35
"""A stretch fits where it lies when it is this much closer there than in its own place.
Independent values of one text are as far from each other in any place: their ratio is 1
with a standard error of 0.3 over eight tokens.
"""
_NEAR_ZERO = 0.02
"""Nats below which values of certain tokens repeat by themselves."""
_OUTERMOST = 0.1
"""Share of the other side's remaining values that may lie further out than those at a
bound: rounding and noise change their order.
"""
_IN_PLACE = 0.5
"""Correlation of both sides' values, token by token, below which they are not of the
same tokens: scores of one text are above it at any temperature, neighbours of a text
reach 0.3.
"""
_LIKE = 0.8
"""Correlation of a row with the other row that it is said to be of: of 16 independent
values it is 0 with a deviation of 0.25.
"""
_FINGERPRINT = 64
_SUSPECTS, _CANDIDATES = 256, 4096
"""Rows that are compared with all others, and how many others: bounds of the time it
takes (0.1 s).
"""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Evidence of a fault of recording with all tokens that it explains, flat positions
    i64[m].
    """

    evidence: Evidence
    at: Array


@dataclass(frozen=True, eq=False)
class _Side:
    """One side's values under suspicion, f64[n] nats over the case's tokens, beside the
    other side's.
    """

    label: str
    values: Values
    other_label: str
    other: Values

    @property
    def gap(self) -> Values:
        """|delta|, f64[n]."""
        return np.abs(self.values - self.other)


def recording_faults(case: Case) -> list[Recorded]:
    """Every fault of recording that the numbers show, the clearest first.

    Each is looked for in the tokens that those before it leave: values in another place
    also repeat where nothing was filled in.
    """
    found: list[Recorded] = []
    left = case
    for detect in (
        _units,
        _one_for_each,
        _moved,
        _other_rows,
        _repeated_stretches,
        _filled,
    ):
        if len(left.view.at) < 3 or left.view.mae == 0:
            break
        new = list(detect(left))
        found += new
        explained = [each.at for each in found if each.evidence.score >= LIKELY]
        if new and explained:
            left = case.without(np.concatenate(explained))
    return sorted(found, key=lambda each: -each.evidence.score)


def _sides(case: Case) -> Iterator[_Side]:
    """Both sides, B first: as a rule the rollout's numbers were recorded and the
    trainer's computed.
    """
    a = case.pair.logprob_a[case.view.at].astype(np.float64)
    b = case.pair.logprob_b[case.view.at].astype(np.float64)
    yield _Side(label=case.labels[1], values=b, other_label=case.labels[0], other=a)
    yield _Side(label=case.labels[0], values=a, other_label=case.labels[1], other=b)


def _recorded(case: Case, mask: Bools, evidence: Evidence) -> Recorded:
    return Recorded(evidence, case.view.at[mask])


# Units: log10, log2, probabilities, negated values, sums.


Convert = Callable[[Values, Array], Values]
"""(values f64[n], sequence i64[n]) -> natural log-probabilities f64[n], not finite
where there is none.
"""


def _log10(values: Values, sequence: Array) -> Values:
    converted: Values = values * np.log(10)
    return converted


def _log2(values: Values, sequence: Array) -> Values:
    converted: Values = values * np.log(2)
    return converted


def _log_of_probability(values: Values, sequence: Array) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        converted: Values = np.log(values)
    return converted


def _negated(values: Values, sequence: Array) -> Values:
    return -values


def _log_of_percent(values: Values, sequence: Array) -> Values:
    return _log_of_probability(values / 100, sequence)


def _differences(values: Values, sequence: Array) -> Values:
    """The first value of a sequence stays: nothing is added to it yet."""
    return np.where(_begins(sequence), values, np.diff(values, prepend=0.0))


def _times_length(values: Values, sequence: Array) -> Values:
    scored = np.bincount(sequence)
    converted: Values = values * scored[sequence]
    return converted


_UNITS: tuple[tuple[str, Convert, str], ...] = (
    ("log10 of the probability", _log10, "multiply by ln 10 = 2.302585"),
    ("log2 of the probability", _log2, "multiply by ln 2 = 0.693147"),
    ("probabilities", _log_of_probability, "take their natural logarithm"),
    (
        "probabilities in percent",
        _log_of_percent,
        "divide by 100 and take the natural logarithm",
    ),
    ("negated log-probabilities", _negated, "negate them"),
    (
        "running sums of log-probabilities",
        _differences,
        "take the difference to the token before",
    ),
    (
        "log-probabilities divided by the length of their sequence",
        _times_length,
        "multiply by that length",
    ),
)
_CONVERTED = 0.95
"""Share of the values that must have a logarithm: a probability that was rounded to 0
has none.
"""
_SURPRISING = 0.5
"""Nats from which a token tells units apart: what is certain is 0 in any."""


def _units(case: Case) -> Iterator[Recorded]:
    """Values that agree with the other side once they are converted to natural
    logarithms.

    Medians over surprising tokens are compared: rows that have another fault too do not
    hide the unit of all.
    """
    bound = USUAL["bfloat16"].broken
    for side in _sides(case):
        telling = np.abs(side.other) > _SURPRISING
        if np.count_nonzero(telling) < _SHORTEST or float(side.gap.mean()) < FAR:
            continue
        for name, convert, fix in _UNITS:
            converted = convert(side.values, case.view.sequence)
            known = np.isfinite(converted)
            if known.mean() < _CONVERTED:
                continue
            before = float(np.median(side.gap[telling & known]))
            after = float(np.median(np.abs(converted - side.other)[telling & known]))
            if after > bound or after > 0.2 * before:
                continue
            n = len(side.values)
            evidence = Evidence(
                cause="units",
                score=min(0.99, PROOF.ceiling(n)),
                signature="units",
                sentence=(
                    f"{side.label} holds {name} in place of natural log-probabilities:"
                    f" converted, its {n:,} values differ from {side.other_label} by"
                    f" {after:.2g} nats (median of surprising tokens), as they are by"
                    f" {before:.2g}: {fix}."
                ),
                numbers={
                    "side": side.label,
                    "unit": name,
                    "mae_converted": after,
                    "mae": before,
                },
                positions=tuple(int(i) for i in case.view.at[:SHOWN]),
            )
            yield _recorded(case, np.ones(n, bool), evidence)
            return


# One number for a whole sequence: its sum or mean stands at every token.


def _one_for_each(case: Case) -> Iterator[Recorded]:
    """Sequences in which one side has one number at every token, another one in each,
    where the other side's values vary.
    """
    sequence = case.view.sequence
    starts = np.flatnonzero(_begins(sequence))
    lengths = np.diff(np.append(starts, len(sequence)))
    long = lengths >= _SHORTEST
    for side in _sides(case):
        low, high = (
            edge.reduceat(side.values, starts) for edge in (np.minimum, np.maximum)
        )
        far = np.add.reduceat((side.gap > FAR).astype(np.int64), starts)
        flat = long & (low == high) & (far >= 3)
        different = len(np.unique(low[flat]))
        if (
            np.count_nonzero(flat) < 2
            or different < 2
            or 2 * different < np.count_nonzero(flat)
        ):
            continue
        mask = np.repeat(flat, lengths)
        many, n = int(np.count_nonzero(mask)), len(sequence)
        evidence = Evidence(
            cause="filled",
            score=0.99 * PROOF.ceiling(many),
            signature="one value for each sequence",
            sentence=(
                f"{side.label} has one number at all tokens of a sequence in"
                f" {int(flat.sum()):,} of {len(starts):,} sequences (first"
                f" {low[flat][0]:.4g}), where {side.other_label} has different ones: a"
                " sum or a mean over the sequence. Record one value for each token."
            ),
            numbers={
                "side": side.label,
                "sequences": int(flat.sum()),
                "tokens": many,
                "share": many / n,
            },
            positions=tuple(int(i) for i in case.view.at[mask][:SHOWN]),
        )
        yield _recorded(case, mask, evidence)
        return


# One number in place of many: filled up, or cut at a bound.


def _filled(case: Case) -> Iterator[Recorded]:
    """A number that one side repeats exactly where the other side has many different
    ones.
    """
    everything = (
        _sides(Case(case.session, case.pair))
        if case.left_out is not None
        else _sides(case)
    )
    for side, whole in zip(_sides(case), everything, strict=True):
        values, counts = np.unique(side.values, return_counts=True)
        for at in np.argsort(-counts)[:3]:
            value = float(values[at])
            mask = _implausible(side, whole, value, case.view.context)
            if mask is not None:
                yield _recorded(case, mask, _of_filled(case, side, value, mask))


def _implausible(
    side: _Side, whole: _Side, value: float, context: Array
) -> Bools | None:
    """Tokens at which ``side`` holds ``value`` and the other side something else; None
    where that may be chance.

    Equal values do occur: log-probabilities of certain tokens round to 0, and rounded
    or 16-bit values have few steps. So the value must stand far off far more often than
    others of that side do; tokens in one ``context`` (u64[n]) are one measurement,
    however many sequences share it. Where the side has few steps it must also stand
    more often than the other side comes near it; where the other values do not stand in
    their places either, that is asked of all tokens (``whole``: what is left here was
    chosen because it fits badly).
    """
    here: Bools = side.values == value
    far = len(np.unique(context[here & (np.abs(side.other - value) > FAR)]))
    others, counts = _counted_once(
        side.values, context, ~here & (np.abs(side.values) > _NEAR_ZERO)
    )
    usual = float(np.quantile(counts, 0.99)) if len(counts) else 1.0
    if far < max(3.0, 4 * usual):
        return None
    few_steps = len(others) < 0.8 * counts.sum()
    misplaced = (
        not here.all()
        and correlation(side.values[~here], side.other[~here]) < _IN_PLACE
    )
    if few_steps or misplaced:
        base = whole if misplaced else side
        near = min(max(abs(value) * 2**-7, _NEAR_ZERO), FAR)
        natural = int(np.count_nonzero(np.abs(base.other - value) <= near))
        if np.count_nonzero(base.values == value) - natural < 3 + 3 * np.sqrt(natural):
            return None
    return here


def _counted_once(values: Values, context: Array, among: Bools) -> tuple[Values, Array]:
    """The different ``values`` f64[n] at tokens ``among`` bool[n], and in how many
    contexts each stands.
    """
    order = np.lexsort((context[among], values[among]))
    sorted_values, sorted_contexts = values[among][order], context[among][order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(sorted_values) != 0) | (
        sorted_contexts[1:] != sorted_contexts[:-1]
    )
    different, counts = np.unique(sorted_values[new], return_counts=True)
    return different, counts


def _of_filled(case: Case, side: _Side, value: float, mask: Bools) -> Evidence:
    count, n = int(np.count_nonzero(mask)), len(mask)
    far = int(np.count_nonzero(mask & (side.gap > FAR)))
    cut = _is_bound(side, value, mask)
    where = _pattern(case, mask)
    share = f"{count:,} of {n:,} values of {side.label} are exactly {value:g}"
    if cut:
        said = (
            f"{share}, the {'lowest' if cut < 0 else 'highest'} that it has, where"
            f" {side.other_label} goes beyond: its values were cut there. Record them"
            " uncut."
        )
    elif value == 0.0:
        said = (
            f"{share}, probability 1, where {side.other_label} is up to"
            f" {float(side.gap[mask].max()):.2g} nats away ({where}):"
            f" {_zeros(where, count == n)}."
        )
    else:
        said = (
            f"{share}, where {side.other_label} has other values throughout ({where}):"
            " the number was filled in. Leave such tokens out of the mask, or record"
            " null."
        )
    return Evidence(
        cause="cut" if cut else "filled",
        score=0.99 * min(clip(far, 2, 8), PROOF.ceiling(n)),
        signature="bound" if cut else "repeated value",
        sentence=said,
        numbers={
            "side": side.label,
            "value": value,
            "tokens": count,
            "far": far,
            "share": count / n,
            "where": where,
        },
        positions=tuple(int(i) for i in case.view.at[mask][:SHOWN]),
    )


def _zeros(where: str, everywhere: bool) -> str:
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


def _is_bound(side: _Side, value: float, mask: Bools) -> int:
    """-1 where ``value`` is the lowest that the side has and the other side's values
    there are its lowest too, 1 for the highest.
    """
    if mask.all():
        return 0
    # The other side's values there are its lowest (highest) ones, at whatever
    # temperature it gives them.
    other, rest = side.other[mask], side.other[~mask]
    if (
        value == float(side.values.min())
        and value < 0
        and np.mean(other <= np.quantile(rest, _OUTERMOST)) > 0.9
    ):
        return -1
    if (
        value == float(side.values.max())
        and value < 0
        and np.mean(other >= np.quantile(rest, 1 - _OUTERMOST)) > 0.9
    ):
        return 1
    return 0


def _pattern(case: Case, mask: Bools) -> str:
    """Where the tokens of ``mask`` (bool[n] over the case's tokens) lie in their
    sequences.
    """
    sequence, count = case.view.sequence, case.pair.count
    scored = np.bincount(sequence, minlength=count)
    hit = np.bincount(sequence[mask], minlength=count)
    touched = hit > 0
    if hit.sum() == scored.sum():
        return "everywhere"
    if (hit[touched] == scored[touched]).all():
        return f"in {int(touched.sum()):,} whole sequences"
    last = np.zeros(count, np.int64)
    np.maximum.at(last, sequence, np.arange(len(mask)))
    runs = np.diff(np.concatenate([[False], mask]).astype(np.int8)) == 1
    stretches = int(np.count_nonzero(runs | (mask & _begins(sequence))))
    at_end = int(np.count_nonzero(mask[last[touched]]))
    if at_end >= 0.8 * touched.sum() and stretches <= 1.2 * touched.sum():
        return "at the ends of sequences"
    if hit.sum() / max(stretches, 1) >= 4:
        return f"in {stretches:,} stretches"
    return (
        "scattered within completions"
        if case.view.in_completion[mask].all()
        else "scattered"
    )


def _begins(sequence: Array) -> Bools:
    """bool[n]: the first token of its sequence among the case's tokens."""
    first: Bools = np.concatenate([[True], np.diff(sequence) != 0])
    return first


# Stretches that stand twice: chunks of a stream that were joined with what they repeat.


def _repeated_stretches(case: Case) -> Iterator[Recorded]:
    """A run of values that one side has twice in a sequence while the other side has it
    once.
    """
    width = 4
    for side in _sides(case):
        n = len(side.values)
        if n < 2 * width:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(side.values, width)
        sequence = case.view.sequence
        inside = (sequence[: n - width + 1] == sequence[width - 1 :]) & (
            windows.max(axis=1) < -0.02
        )
        inside &= np.ptp(windows, axis=1) > FAR
        rows = np.flatnonzero(inside)
        if len(rows) < 2:
            continue
        keys = np.column_stack([sequence[rows].astype(np.float64), windows[rows]])
        _, first, which = np.unique(
            keys, axis=0, return_index=True, return_inverse=True
        )
        origin = rows[first[which.ravel()]]
        again = rows > origin
        gap = np.abs(
            np.lib.stride_tricks.sliding_window_view(side.other, width)[rows]
            - np.lib.stride_tricks.sliding_window_view(side.other, width)[origin]
        ).mean(axis=1)
        repeated = rows[again & (gap > FAR)]
        twice = np.zeros(n, bool)
        for step in range(width):
            twice[repeated + step] = True
        count = int(np.count_nonzero(twice))
        if count < _SHORTEST:
            continue
        mask = _from_first(twice, sequence)
        first_at = int(case.view.at[np.flatnonzero(mask)[0]])
        evidence = Evidence(
            cause="chunks",
            score=0.98
            * min(clip(count, _SHORTEST - 1, 2 * _SHORTEST), PROOF.ceiling(n)),
            signature="repeated stretch",
            sentence=(
                f"{count:,} values of {side.label} repeat, to the last digit, what"
                " stands earlier in their sequence (first at"
                f" {place_of(case, first_at)}), where {side.other_label} repeats"
                " nothing: chunks of a stream were joined with what they hold already."
                " Keep the new values of each chunk alone."
            ),
            numbers={"side": side.label, "tokens": count, "share": count / n},
            positions=tuple(int(i) for i in case.view.at[mask][:SHOWN]),
        )
        yield _recorded(case, mask, evidence)


def _from_first(mask: Bools, sequence: Array) -> Bools:
    """bool[n]: every token from the first of ``mask`` in its sequence on: what repeats
    pushes the rest away.
    """
    seen = np.cumsum(mask)
    starts = np.flatnonzero(_begins(sequence))
    before = np.repeat(
        np.concatenate([[0], seen])[starts], np.diff(np.append(starts, len(sequence)))
    )
    behind: Bools = seen > before
    return behind


# Values in another place of their sequence.


def _moved(case: Case) -> Iterator[Recorded]:
    """Stretches that fit the other side once they are moved by some tokens: as a rule
    they run to their sequence's end.
    """
    best: tuple[float, int, Bools] | None = None
    for lag in _LAGS:
        here, there = _in_place_and_moved(case, lag)
        mask = _stretches(case, here, there)
        if mask is None:
            continue
        gain = float((here[mask] - there[mask]).sum())
        if best is None or gain > best[0]:
            best = (gain, lag, mask)
    if best is None:
        return
    _, lag, mask = best
    yield _recorded(case, mask, _of_moved(case, lag, mask))


def _in_place_and_moved(case: Case, lag: int) -> tuple[Values, Values]:
    """|A - B| of each token, and |A - B at the token ``lag`` further on|, f64[n]; both
    NaN where there is none.
    """
    view, pair = case.view, case.pair
    moved = view.at + lag
    inside = (moved >= 0) & (moved < pair.tokens)
    place = np.clip(moved, 0, max(pair.tokens - 1, 0))
    owner = (
        np.searchsorted(pair.sequences.offsets[: pair.count + 1], place, "right") - 1
    )
    values = pair.logprob_b[place].astype(np.float64)
    inside &= (owner == view.sequence) & np.isfinite(values)
    a = pair.logprob_a[view.at].astype(np.float64)
    here = np.where(inside, view.size, np.nan)
    there = np.where(inside, np.abs(a - values), np.nan)
    return here, there


def _stretches(case: Case, here: Values, there: Values) -> Bools | None:
    """bool[n]: tokens of the stretches, one at most in each sequence, that gain by
    being moved. None without any.
    """
    sequence = case.view.sequence
    gain = np.nan_to_num(here - there, nan=0.0)
    before = np.cumsum(gain) - gain
    starts = np.flatnonzero(_begins(sequence))
    lowest = np.minimum.reduceat(before, starts)
    rank = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(sequence))))
    is_lowest = before == lowest[rank]
    numbers = np.arange(len(sequence))
    begin = np.full(len(starts), len(sequence))
    np.minimum.at(begin, rank[is_lowest], numbers[is_lowest])
    behind = numbers >= begin[rank]
    level = np.where(behind, before + gain, -np.inf)
    highest = np.maximum.reduceat(level, starts)
    end = np.full(len(starts), -1)
    at_top = behind & (level == highest[rank])
    np.maximum.at(end, rank[at_top], numbers[at_top])
    mask = behind & (numbers <= end[rank])
    known = mask & np.isfinite(here)
    length = np.bincount(rank[known], minlength=len(starts))
    gap = np.bincount(rank[known], here[known], len(starts))
    moved_gap = np.bincount(rank[known], there[known], len(starts))
    closer = np.bincount(rank[known], (here > there)[known], len(starts))
    # Each stretch by itself: long enough, far off in its place, close where it belongs,
    # and so at most of its tokens (sign test: values are heavy-tailed, so one of them
    # could carry any mean).
    signs = (2 * closer - length) / np.sqrt(np.maximum(length, 1))
    far, near = gap > FAR * length, moved_gap < np.minimum(_FITS * gap, FAR * length)
    good = (length >= _SHORTEST) & far & near & (signs > _SIGNS)
    if not good.any():
        return None
    chosen: Bools = mask & good[rank]
    return chosen


def _of_moved(case: Case, lag: int, mask: Bools) -> Evidence:
    view = case.view
    rows = np.unique(view.sequence[mask])
    scored = np.bincount(view.sequence, minlength=case.pair.count)
    moved = np.bincount(view.sequence[mask], minlength=case.pair.count)
    whole = bool((moved[rows] >= scored[rows] - 2 * abs(lag)).all())
    side, way = case.labels[1], "late" if lag > 0 else "early"
    steps = f"{abs(lag)} token{'s' if abs(lag) > 1 else ''} {way}"
    here, there = _in_place_and_moved(case, lag)
    known = mask & np.isfinite(here)
    in_place, after = float(here[known].mean()), float(there[known].mean())
    first = [
        int(view.at[np.flatnonzero(mask & (view.sequence == row))[0]])
        for row in rows[:SHOWN]
    ]
    if whole and len(rows) == len(np.unique(view.sequence)):
        where = "in all sequences"
    elif whole:
        where = f"in {_rows(rows)}"
    else:
        begun = ", ".join(f"{place_of(case, at)} on" for at in first[:3])
        where = f"in {_rows(rows)} (from {begun}{', ...' if len(first) > 3 else ''})"
    return Evidence(
        cause="alignment",
        score=0.99 * PROOF.ceiling(int(np.count_nonzero(known))),
        signature="moved stretch",
        sentence=(
            f"{side} is {steps} {where}: moved, its values differ from those of"
            f" {case.labels[0]} by {after:.2g} nats on average, in place by"
            f" {in_place:.2g}. Record one value for each token, from the first on."
        ),
        numbers={
            "lag": lag,
            "sequences": len(rows),
            "tokens": int(np.count_nonzero(mask)),
            "moved": after,
            "in_place": in_place,
        },
        positions=tuple(first),
    )


def _rows(rows: Array) -> str:
    """``sequences 3 and 11``, ``sequence 3``, ``12 sequences``."""
    if len(rows) == 1:
        return f"sequence {int(rows[0])}"
    if len(rows) == 2:
        return f"sequences {int(rows[0])} and {int(rows[1])}"
    return (
        f"{len(rows):,} sequences (first {int(rows[0])}, {int(rows[1])},"
        f" {int(rows[2])})"
    )


# Rows of other sequences.


def _other_rows(case: Case) -> Iterator[Recorded]:
    """Sequences whose values fit another sequence of the other side, and not their
    own.
    """
    starts, table_a, table_b, contexts = _fingerprints(case)
    if len(starts) < 2:
        return
    own = _distance(table_a, table_b)
    suspects = np.flatnonzero(own > FAR)
    if not len(suspects):
        return
    suspects = suspects[
        np.linspace(0, len(suspects) - 1, min(len(suspects), _SUSPECTS)).astype(
            np.int64
        )
    ]
    candidates = np.arange(min(len(starts), _CANDIDATES))
    swapped: dict[int, int] = {}
    for row in suspects:
        # Where two sequences have one text, the scores of one are those of the other.
        other_text = contexts[candidates] != contexts[row][None, :]
        theirs = np.where(other_text, table_a[candidates], np.nan)
        distances = _distance(theirs, table_b[row][None, :])
        at = int(np.argmin(distances))
        alike = correlation(theirs[at], table_b[row]) > _LIKE
        if alike and distances[at] < min(
            _FITS * own[row], _FITS * _spread(theirs[at]), FAR
        ):
            swapped[int(row)] = int(candidates[at])
    if not swapped:
        return
    numbers = np.array([case.view.sequence[starts[row]] for row in swapped])
    others = np.array([case.view.sequence[starts[row]] for row in swapped.values()])
    mask = np.isin(case.view.sequence, numbers)
    shown = ", ".join(
        f"{a} holds those of {b}" for a, b in zip(numbers[:3], others[:3], strict=True)
    )
    evidence = Evidence(
        cause="other_rows",
        score=0.99 * PROOF.ceiling(int(np.count_nonzero(mask))),
        signature="other sequence",
        sentence=(
            f"{case.labels[1]} has the scores of other sequences in {len(numbers):,} of"
            f" {len(starts):,} sequences"
            f" ({shown}{', ...' if len(numbers) > 3 else ''}): rows were shuffled"
            " between the sides. Join them by an id, not by their order."
        ),
        numbers={
            "sequences": len(numbers),
            "of": len(starts),
            "own": float(own[list(swapped)].mean()),
        },
        positions=tuple(
            int(case.view.at[starts[row]]) for row in list(swapped)[:SHOWN]
        ),
    )
    yield _recorded(case, mask, evidence)


def _spread(values: Values) -> float:
    """Mean distance of ``values`` from their median, those that are NaN aside: what
    fits no better than one number fits nothing.
    """
    known = values[np.isfinite(values)]
    return float(np.abs(known - np.median(known)).mean()) if len(known) else 0.0


def _fingerprints(case: Case) -> tuple[Array, Values, Values, Array]:
    """For sequences of at least `_SHORTEST` tokens: the number of their first token
    among the case's, the first values of A and of B from there, f64[r, `_FINGERPRINT`],
    NaN behind the end, and the contexts of those tokens, u64 of that shape.
    """
    sequence = case.view.sequence
    starts = np.flatnonzero(_begins(sequence))
    lengths = np.diff(np.append(starts, len(sequence)))
    keep = lengths >= 2 * _SHORTEST
    starts, lengths = starts[keep], lengths[keep]
    column = np.arange(_FINGERPRINT)
    inside = column[None, :] < lengths[:, None]
    place = np.minimum(starts[:, None] + column[None, :], max(len(sequence) - 1, 0))
    a = case.pair.logprob_a[case.view.at].astype(np.float64)
    b = case.pair.logprob_b[case.view.at].astype(np.float64)
    contexts = case.view.context[place]
    return (
        starts,
        np.where(inside, a[place], np.nan),
        np.where(inside, b[place], np.nan),
        contexts,
    )


def _distance(a: Values, b: Values) -> Values:
    """Mean |a - b| over the columns that both have, f64[r]; inf where those are fewer
    than two `_SHORTEST`.
    """
    gap = np.abs(a - b)
    known = np.isfinite(gap)
    count = known.sum(axis=1)
    total = np.where(known, gap, 0.0).sum(axis=1)
    distance: Values = np.where(
        count >= 2 * _SHORTEST, total / np.maximum(count, 1), np.inf
    )
    return distance
