"""Signatures of other ids, other places, truncated or penalised logits: the numbers are
of something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import SHOWN, Case, clip, place_of
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.exclusion import penalty_possible, truncation_possible
from logdrift.core.diagnose.fits import correlation, middle
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST, PROOF
from logdrift.core.session.reader import Capture

_OWN_LIST = 0.1
"""Nats by which a scored value must miss the value of its own list. Both come from one
softmax; rounding the list and the target to bfloat16 by different ways moves a value of
-16 by 0.06.
"""
_LAGS = (-2, -1, 1, 2)


def own_list(case: Case) -> Iterator[Evidence]:
    """Values that are not the ones which the same capture's lists have for their ids:
    they are of other ids, or of other places.

    A value that another id of the list has is that id's. One below the whole list may
    be of any id outside of it. What is neither belongs to no id of that list, so that
    it says nothing about ids: it is of another place, of another softmax, or filled in.
    """
    for side, label, logprob in (
        (case.pair.a, case.labels[0], case.pair.logprob_a),
        (case.pair.b, case.labels[1], case.pair.logprob_b),
    ):
        found = _own_mismatches(case, side, logprob)
        if len(found.at):
            yield from _of_own_list(case, label, found)


@dataclass(frozen=True, eq=False)
class _Mismatches:
    """Tokens whose value is not that of their own list.

    at i64[m] flat positions, of ``checked`` tokens; off f64[m] nats; owner i64[m]: the
    id of the list that has the value, -1 for none or several; outside bool[m]: the
    value is below the list, as any id outside of it is; ``chance``: the share of this
    side's values, of whatever token, that are below those lists.
    """

    at: npt.NDArray[np.int64]
    checked: int
    off: npt.NDArray[np.float64]
    owner: npt.NDArray[np.int64]
    outside: npt.NDArray[np.bool_]
    chance: float


_SAME_VALUE = 1e-3
"""Nats within which a value is that of a list's entry."""
_CERTAIN = -0.02
"""Nats above which values of any tokens are alike, since they are certain."""
_OF_IDS = (0.5, 0.8)
"""Share, beyond chance, of the values that miss their lists which are of other ids of
those lists or outside of them.
"""
_PROVEN_BY, _HINTED_BY = 8, 4
"""Tokens that one value counts for: one that is exactly that of another id of its list,
as no other place or setting gives it; and one below its list, less the chance that a
value of any other place is. Two of the latter are by chance below lists of 20 once in
100 times.
"""
_NEIGHBOURS = (-1, 1, -2, 2, -3, 3)


def _of_own_list(case: Case, label: str, found: _Mismatches) -> Iterator[Evidence]:
    at, several = found.at, len(found.at)
    known = found.owner >= 0
    of_ids = max(float(np.mean(known | found.outside)) - found.chance, 0.0) / max(
        1 - found.chance, 1e-9
    )
    lag, of_neighbour = _neighbour(case, found)
    place = int(at[np.flatnonzero(known)[0]]) if known.any() else int(at[0])
    said = (
        f"{label} has {several:,} of {found.checked:,} values that are not what its own"
        f" list gives for that token: at {place_of(case, place)} its value is not the"
        f" one of {_named(case, int(case.pair.sequences.token_ids[place]))}"
    )
    numbers: dict[str, Number] = {
        "side": label,
        "tokens": several,
        "checked": found.checked,
        "largest": float(found.off.max()),
        "share": several / found.checked,
        "of_an_id": of_ids,
    }
    if known.any():
        said += f", but the one of {_named(case, int(found.owner[known][0]))}"
    positions = tuple(int(i) for i in at[:SHOWN])
    if of_neighbour > _MOSTLY:
        way = "before" if lag < 0 else "behind"
        steps = f"{abs(lag)} token{'s' if abs(lag) > 1 else ''} {way}"
        yield Evidence(
            cause="alignment",
            score=0.98 * PROOF.ceiling(several),
            signature="own list",
            sentence=(
                f"{said}, which stands {steps} it: values and lists stand beside"
                " another token than their own."
            ),
            numbers={**numbers, "lag": lag},
            positions=positions,
        )
        return
    hints = _HINTED_BY * (1 - found.chance) * np.count_nonzero(found.outside & ~known)
    units = _PROVEN_BY * int(np.count_nonzero(known)) + int(hints)
    of_other_ids = 0.98 * clip(of_ids, *_OF_IDS) * PROOF.ceiling(units)
    more = (
        ""
        if of_ids > _OF_IDS[0]
        else (
            "; most of them are of no id of their lists, as values of another place or"
            " setting"
        )
    )
    yield Evidence(
        cause="ids",
        score=max(of_other_ids, POSSIBLE_AT_MOST * PROOF.ceiling(several)),
        signature="own list",
        sentence=f"{said}{more}.",
        numbers=numbers,
        positions=positions,
        explains=None if of_ids > _OF_IDS[0] else 0.0,
    )


_MOSTLY = 0.5
"""Share of the values that must be of the id of one neighbour: by chance it is that one
in twenty times.
"""


def _neighbour(case: Case, found: _Mismatches) -> tuple[int, float]:
    """The lag at which most of the values' ids stand in the same sequence, and the
    share of all mismatches.
    """
    ids, offsets = case.pair.sequences.token_ids, case.pair.sequences.offsets
    row = np.searchsorted(offsets, found.at, "right") - 1
    best, lag = 0.0, 0
    for step in _NEIGHBOURS:
        there = found.at + step
        inside = (
            (there >= offsets[row])
            & (there < offsets[row + 1])
            & (there < case.pair.tokens)
        )
        same = (
            inside
            & (ids[np.clip(there, 0, case.pair.tokens - 1)] == found.owner)
            & (found.owner >= 0)
        )
        share = float(np.mean(same))
        if share > best:
            best, lag = share, step
    return lag, best


def _named(case: Case, token: int) -> str:
    return f"{case.session.pieces.text(token)!r} (id {token})"


def _own_mismatches(case: Case, side: Capture, logprob: Any) -> _Mismatches:
    at = case.view.at
    if side.top_k < 2 or not len(at):
        none = np.empty(0, np.int64)
        return _Mismatches(none, 0, np.empty(0), none, np.empty(0, bool), 0.0)
    ids, values = side.top_ids.whole()[at], side.top_logprobs.whole()[at]
    targets = case.pair.sequences.token_ids[at]
    given = logprob[at]
    same = (ids == targets[:, None]) & np.isfinite(values)
    listed = same.any(axis=1)
    value = np.where(same, values, -np.inf).max(axis=1)
    last = np.where((ids >= 0) & np.isfinite(values), values, np.inf).min(axis=1)
    with np.errstate(invalid="ignore"):
        # Not in the list, so it can be no more likely than the list's last.
        off = np.where(
            listed,
            np.abs(given - value),
            np.where(np.isfinite(last), given - last, 0.0),
        )
    wrong = off > _OWN_LIST
    with np.errstate(invalid="ignore"):
        equal = (np.abs(values[wrong] - given[wrong][:, None]) < _SAME_VALUE) & (
            ids[wrong] >= 0
        )
        equal &= given[wrong][:, None] < _CERTAIN
    owner = np.where(
        equal.sum(axis=1) == 1, np.where(equal, ids[wrong], 0).sum(axis=1), -1
    )
    below = np.searchsorted(np.sort(given), last[wrong] + _OWN_LIST, "right") / len(
        given
    )
    return _Mismatches(
        at=at[wrong],
        checked=len(at),
        off=off[wrong].astype(np.float64),
        owner=owner.astype(np.int64),
        outside=given[wrong] <= last[wrong] + _OWN_LIST,
        chance=float(below.mean()) if wrong.any() else 0.0,
    )


def alignment(case: Case) -> Iterator[Evidence]:
    """Values that agree with the other side's neighbours better than with the same
    token.

    Two scores of one text correlate above 0.9 unless something is badly wrong; a text's
    log-probabilities correlate with their neighbours' at 0.0 to 0.3 (0.5 for bytes);
    the gain that is asked for is five standard errors at 1,000 tokens, the correlation
    half of the way.
    """
    view, pair = case.view, case.pair
    zero = correlation(
        pair.logprob_a[view.at].astype(np.float64),
        pair.logprob_b[view.at].astype(np.float64),
    )
    best, lag = zero, 0
    for shift in _LAGS:
        moved = view.at + shift
        inside = (moved >= 0) & (moved < pair.tokens)
        inside &= view.keep[np.clip(moved, 0, pair.tokens - 1)]
        offsets = pair.sequences.offsets
        inside &= (moved >= offsets[view.sequence]) & (
            moved < offsets[view.sequence + 1]
        )
        here = view.at[inside]
        r = correlation(
            pair.logprob_a[here].astype(np.float64),
            pair.logprob_b[here + shift].astype(np.float64),
        )
        if r > best:
            best, lag = r, shift
    # Fisher's z of both correlations: their difference has a standard error of sqrt(2 /
    # (n - 3)).
    gain = (_fisher(best) - _fisher(zero)) * float(
        np.sqrt(max(len(view.at) - 3, 1) / 2)
    )
    if lag:
        side, way = case.labels[1], "late" if lag > 0 else "early"
        yield Evidence(
            cause="alignment",
            score=0.99
            * clip(best - zero, 0.15, 0.3)
            * clip(best, 0.4, 0.7)
            * clip(gain, 3, 5),
            signature="cross-correlation",
            sentence=f"{side} is {abs(lag)} token{'s' if abs(lag) > 1 else ''} {way}: its values"
            f" correlate with those of {case.labels[0]} at {best:.3f} when moved, at"
            f" {zero:.3f} in place.",
            numbers={"lag": lag, "moved": best, "in_place": zero},
        )


def _fisher(r: float) -> float:
    """Fisher's transform of a correlation."""
    return float(np.arctanh(np.clip(r, -0.9999, 0.9999)))


_ABRUPT = 1e-3
"""Probability of a list's last entry from which something must lie outside of the list:
the next id is about as likely, and none of the 10,000 lists of 20 that were looked at
left less outside than a tenth of its last entry.
"""
_NOTHING = 1e-4
"""Probability outside of a list that counts as none: a float32 softmax leaves 1e-6,
values with four decimals 2e-5.
"""


def truncated(case: Case) -> Iterator[Evidence]:
    """One side's lists end abruptly: their last entry is likely, and nothing at all is
    left outside.

    A low temperature also leaves nothing outside, but fades out: its last entries are
    unlikely.
    """
    view = case.view
    lists = (view.lists_a, view.lists_b)
    rest = [_rest(values, ids) for ids, values in lists]
    for side in (0, 1):
        if not truncation_possible(case, side):
            continue
        other = 1 - side
        ids, values = lists[side]
        open_rows = rest[other] > 0.01
        ends = _last(values, ids) > np.log(_ABRUPT)
        rows = open_rows & ends & (np.abs(rest[side]) < _NOTHING)
        count = int(np.count_nonzero(open_rows))
        share = float(np.count_nonzero(rows)) / max(count, 1)
        if count < 10 or share <= 0.02:
            continue
        logprob = case.pair.logprob_a if side == 0 else case.pair.logprob_b
        impossible = int(np.count_nonzero(np.isneginf(logprob[view.scored])))
        shift = view.shared.shift * (1 if side == 0 else -1)
        yield Evidence(
            cause="processed",
            score=0.98 * clip(share, 0.02, 0.2),
            signature="truncated support",
            sentence=(
                f"{case.labels[side]} gives its list all of the probability in"
                f" {share:.0%} of the rows where {case.labels[other]} leaves more than"
                " 1% outside, though the list's last entry is still likely, and calls"
                f" {impossible:,} of the tokens impossible: its logits were truncated"
                " (top-p, top-k or min-p) before the log-softmax."
            ),
            numbers={
                "side": case.labels[side],
                "rows": int(rows.sum()),
                "share": share,
                "impossible": impossible,
                "shift_max": float(shift.max()) if len(shift) else None,
            },
            positions=tuple(int(i) for i in view.sample[rows][:SHOWN]),
        )


def _last(values: Any, ids: Any) -> npt.NDArray[np.float64]:
    """The smallest finite log-probability of each list, f64[n]; -inf for an empty
    one.
    """
    good = (ids >= 0) & np.isfinite(values)
    smallest: npt.NDArray[np.float64] = np.where(
        good, values.astype(np.float64), np.inf
    ).min(axis=1, initial=np.inf)
    smallest[~good.any(axis=1)] = -np.inf
    return smallest


def _rest(values: Any, ids: Any) -> npt.NDArray[np.float64]:
    """Probability outside of each list, f64[n]."""
    good = (ids >= 0) & np.isfinite(values)
    # A value above 0 is no log-probability, and one far above it has no exponential: it
    # counts as all of the probability.
    inside = np.where(
        good,
        np.exp(np.minimum(np.where(good, values, 0.0).astype(np.float64), 0.0)),
        0.0,
    )
    mass: npt.NDArray[np.float64] = 1.0 - inside.sum(axis=1)
    return mass


def seen_before(case: Case) -> Iterator[Evidence]:
    """Ids that occurred before in the sequence are shifted against those that did not:
    a penalty.

    Within a row, the mean gap of ids seen before minus that of the others, after the
    common slope; rows are the units.
    """
    shared = case.view.shared
    seen = _seen(case, shared.at, shared.ids) & shared.present
    fresh = shared.present & ~seen
    rows = seen.any(axis=1) & (fresh.sum(axis=1) >= 3)
    if np.count_nonzero(rows) < 20:
        return
    # Ids that occurred before are the more likely ones: a factor on all logits must not
    # look like a penalty on them.
    root = float(np.sqrt(case.line.slope)) if case.line is not None else 1.0
    gap = np.where(shared.present, shared.x * root - shared.y / root, 0.0).astype(
        np.float64
    )[rows]
    old, new = seen[rows], fresh[rows]
    means = [(gap * m).sum(axis=1) / np.maximum(m.sum(axis=1), 1) for m in (old, new)]
    effect = means[0] - means[1]
    z = float(effect.mean() / (effect.std() / np.sqrt(len(effect)) + 1e-12))
    spread = gap - np.where(
        old, means[0][:, None], np.where(new, means[1][:, None], 0.0)
    )
    total = float((gap**2).sum())
    explained = (
        1 - float((np.where(old | new, spread, 0.0) ** 2).sum()) / total
        if total > 0
        else 0.0
    )
    # Splitting a row of k gaps into two groups by chance takes away 1 / (k - 1) of its
    # squares.
    chance = float(np.mean(1 / (shared.count[rows] - 1)))
    material = (explained - chance) / max(1 - chance, 1e-9)
    if abs(z) < 5 or material <= 0.05:
        return
    lower = 1 if effect.mean() > 0 else 0
    if not penalty_possible(case, lower):
        return
    side = case.labels[lower]
    yield Evidence(
        cause="processed",
        score=0.98 * clip(abs(z), 4, 10) * clip(material, 0.05, 0.4),
        signature="seen before",
        sentence=f"{side} puts ids that occurred before {abs(float(effect.mean())):.3f} nats"
        " lower against the others than the other side does"
        f" ({np.count_nonzero(rows):,} rows, {abs(z):.0f} standard errors): a"
        " repetition, presence or frequency penalty.",
        numbers={
            "side": side,
            "effect": float(effect.mean()),
            "z": z,
            "explained": material,
            "rows": int(np.count_nonzero(rows)),
        },
        positions=tuple(
            int(i) for i in shared.at[rows][np.argsort(-np.abs(effect))[:SHOWN]]
        ),
    )


def _seen(case: Case, at: npt.NDArray[np.int64], ids: Any) -> npt.NDArray[np.bool_]:
    """bool[n, K]: the id occurs in the same sequence before the row's token."""
    sequences = case.pair.sequences
    tokens = case.pair.tokens
    width = (
        int(max(sequences.token_ids[:tokens].max(initial=0), ids.max(initial=0))) + 2
    )
    owner = np.searchsorted(sequences.offsets, np.arange(tokens), "right") - 1
    keys, first = np.unique(
        owner * width + sequences.token_ids[:tokens], return_index=True
    )
    wanted = (owner[at] * width)[:, None] + ids
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: npt.NDArray[np.bool_] = (
        (keys[place] == wanted) & (first[place] < at[:, None]) & (ids >= 0)
    )
    return found


def common_shift(case: Case) -> Iterator[Evidence]:
    """All alternatives shifted by one amount and nothing else: only the normaliser
    differs.
    """
    shared = case.view.shared
    rest = np.where(shared.present, shared.x - shared.y, 0.0).astype(np.float64)
    rest_rms = float(np.sqrt((rest**2).sum() / shared.count.sum()))
    shift = shared.shift
    rms = float(np.sqrt((shift**2).mean()))
    if rms < 1e-4:
        return
    one_way = (
        abs(float(np.sign(shift[np.abs(shift) > 1e-5]).mean()))
        if (np.abs(shift) > 1e-5).any()
        else 0.0
    )
    usual = _usual_ratio(case, shift, rest)
    lower = case.labels[0] if shift.mean() < 0 else case.labels[1]
    yield Evidence(
        cause="processed",
        score=0.8
        * clip(min(rms / (rest_rms + 1e-12), usual), 1.5, 6)
        * clip(one_way, 0.7, 0.95),
        signature="common shift",
        sentence=f"all alternatives of a token are shifted together (by {rms:.3g} nats,"
        f" differences between them by {rest_rms:.2g}), {lower} below the other: the"
        " normaliser differs, by truncation, a bias or another vocabulary size.",
        numbers={
            "shift_rms": rms,
            "rest_rms": rest_rms,
            "one_way": one_way,
            "mean": float(shift.mean()),
        },
        positions=tuple(int(i) for i in shared.at[np.argsort(-np.abs(shift))[:SHOWN]]),
    )


def _usual_ratio(
    case: Case, shift: npt.NDArray[np.float64], rest: npt.NDArray[np.float64]
) -> float:
    """The shift over what is left beside it in the middle sequence: one sequence alone
    cannot carry it.
    """
    shared, count = case.view.shared, case.pair.count
    row = (
        np.searchsorted(case.pair.sequences.offsets[: count + 1], shared.at, "right")
        - 1
    )
    rows = np.bincount(row, minlength=count)
    told = rows > 0
    together = np.sqrt(np.bincount(row, shift**2, count)[told] / rows[told])
    alone = (
        np.bincount(row, (rest**2).sum(axis=1), count)[told]
        / np.bincount(row, shared.count, count)[told]
    )
    return middle(together / (np.sqrt(alone) + 1e-12), rows[told])
