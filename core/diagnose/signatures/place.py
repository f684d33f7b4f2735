"""Where the gap is: from the start and fading, in padded rows alone, from one position
on, growing, in completions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import SHOWN, Case, clip, place_of, worst
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.exclusion import penalty_possible
from logdrift.core.diagnose.fits import standard_ranks
from logdrift.core.diagnose.needs import shared_rows
from logdrift.core.diagnose.noise import judge_size
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

Array = npt.NDArray[Any]

_HEAD = 4
_BINS = 12
_START = (2.3, 3.2)
"""`start`, from tiny Llama and Qwen 2 models: other weights, quantised ones and
rounding gave ratios up to 2.33, other beginnings 2.7 to 50 (a start token that the
model was never trained with 2.0).
"""
_FEW, _WITH_FEW = (0.55, 0.62), (1.4, 2.2)
"""`start`, where few tokens have most of the gap: in the same models other weights gave
an evenness of 0.63 and more, other beginnings up to 0.57, and then a smaller ratio will
do.
"""
_LOUD = (0.1, 0.3)
"""`start`: |delta| at the first tokens in nats. In the same models other beginnings
moved them by 0.53 to 3.3, a tensor that matters most to them by 0.05.
"""
_SIDE = 8
_JUMP = (2.5, 3.8)
"""`onset`: a jump of noise is at most 2.4; e^3.8 is 45 times as loud."""
_SHORTEST = 24
"""Scored tokens that a sequence needs before its start can be told from its end."""
_BLOCK = 16
"""Tokens of a block of vLLM's cache; blocks of other sizes are multiples of it, and
SGLang's pages may be.
"""
_CHANCE = 1e-3
_SENT = 0.5
"""`start` and `onset`, where both engines are known to have been given the same ids:
then only an engine that adds or cuts ids by itself is left, and a tensor that matters
most to the first tokens looks like that too.
"""
_CHUNKS = (512, 1024, 2048, 4096, 8192, 16384, 32768)


def _sums(case: Case, values: Array) -> Array:
    """Sum of ``values`` f64[n] over the view's tokens of each sequence, f64[S]."""
    return np.bincount(case.view.sequence, values, case.pair.count)


def _order(case: Case) -> tuple[Array, Array]:
    """Number of each token among the scored ones of its sequence, and how many those
    are, i64[n] each.
    """
    counts = np.bincount(case.view.sequence, minlength=case.pair.count)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return (
        np.arange(len(case.view.at)) - starts[case.view.sequence],
        counts[case.view.sequence],
    )


def _audible(case: Case) -> float:
    """Rounding noise too is uneven: it grows with length (attention) and with surprise
    (first tokens).
    """
    found = judge_size(case)
    return 1 - 0.9 * found.sure if found.verdict == "noise" else 1.0


def start(case: Case) -> Iterator[Evidence]:
    """Large at a sequence's first tokens, fading with the context: another start token,
    prefix or cut.

    The first tokens of a text are its least predictable ones, and noise is larger on
    such tokens. So what the first four scored tokens are held against is what tokens
    just as surprising have in the second half of the sequences: the median over
    sequences of that ratio, and the share of sequences that show it.
    """
    number, count = _order(case)
    head, tail = number < _HEAD, number >= count // 2
    wide = np.bincount(case.view.sequence, minlength=case.pair.count) >= _SHORTEST
    if not wide.any():
        return
    size = case.view.size
    usual = _usual(case, tail)
    first = _sums(case, size * head)[wide]
    expected = _sums(case, usual * head)[wide]
    ratios = (first + 1e-9) / (expected + 1e-9)
    ratio, share, units = (
        float(np.median(ratios)),
        float(np.mean(ratios > 1.5)),
        len(ratios),
    )
    # A few sequences must all show it (sign test), and one alone must be beyond any
    # text.
    needed = _START if units >= 4 else (5.0, 12.0)
    quiet = 2.0 if judge_size(case).verdict == "noise" else 1.0
    spread = _evenness(size, usual)
    few = (
        (1 - clip(spread, *_FEW)) * clip(ratio / quiet, *_WITH_FEW)
        if units >= 4
        else 0.0
    )
    size_at_start = float(first.mean()) / _HEAD
    shape = max(clip(ratio / quiet, *needed), few) * clip(share, 0.55, 0.8)
    score = (
        0.95 * shape * clip(size_at_start, *_LOUD) * (_SENT if case.sent_alike else 1.0)
    )
    if score > 0.02:
        yield Evidence(
            cause="ids",
            score=score,
            signature="start",
            sentence=f"at the first {_HEAD} scored tokens the gap is {ratio:.1f} times as large"
            " as at tokens just as surprising in the second half of the sequences (in"
            f" {share:.0%} of {units:,} sequences), and fades: the sides have seen"
            " another beginning (start token, template, cut).",
            numbers={
                "ratio": ratio,
                "share": share,
                "sequences": units,
                "evenness": spread,
                "mae_start": size_at_start,
                "mae_expected": float(expected.mean()) / _HEAD,
            },
            positions=worst(case, head),
        )


def _evenness(size: Array, usual: Array) -> float:
    """Median over mean of |delta|, in units of what tokens as surprising have: 0.85 for
    normal noise, less where few tokens have most of it. Other weights move every token
    a little, another context moves few tokens much.
    """
    scaled = size / np.maximum(usual, 1e-12)
    mean = float(scaled.mean())
    return float(np.median(scaled)) / mean if mean > 0 else 1.0


def _usual(case: Case, among: npt.NDArray[np.bool_]) -> Array:
    """For each token the mean |delta| of tokens ``among`` (bool[n]) that are as
    surprising to both sides, f64[n].
    """
    view = case.view
    surprise = -np.minimum(
        case.pair.logprob_a[view.at], case.pair.logprob_b[view.at]
    ).astype(np.float64)
    edges = np.quantile(surprise[among], np.linspace(0, 1, _BINS + 1)[1:-1])
    bins = np.searchsorted(edges, surprise)
    number = np.bincount(bins[among], minlength=_BINS)
    mean = np.bincount(bins[among], view.size[among], _BINS) / np.maximum(number, 1)
    found: Array = mean[bins]
    return found


def may_be_padded(case: Case) -> bool:
    """Whether some side is not known to compute real tokens alone."""
    return any(facts.padding != "none" for facts in case.facts)


def padding(case: Case) -> Iterator[Evidence]:
    """Only sequences shorter than the longest of their batch differ, compared over the
    same first tokens.
    """
    pair = case.pair
    lengths = np.diff(pair.sequences.offsets[: pair.count + 1])
    needed = (4.0, 10.0) if judge_size(case).verdict == "noise" else (2.0, 5.0)
    best: Evidence | None = None
    for info in case.infos:
        longest = np.zeros(pair.count, np.int64)
        for part in info.parts:
            rows = slice(
                part.first_sequence,
                min(part.first_sequence + part.sequences, pair.count),
            )
            longest[rows] = lengths[rows].max(initial=0)
        padded = lengths < longest
        enough = np.bincount(case.view.sequence, minlength=pair.count) >= 8
        short, full = padded & enough, ~padded & enough
        if short.sum() < 3 or not full.any():
            continue
        reach = case.view.position < int(np.quantile(lengths[short], 0.25))
        within = _sums(case, reach)
        short, full = short & (within >= 8), full & (within >= 8)
        if short.sum() < 3 or not full.any():
            continue
        mean = _sums(case, case.view.size * reach) / np.maximum(within, 1)
        low, high = float(np.quantile(mean[short], 0.1)), float(np.max(mean[full]))
        ratio = (low + 1e-9) / (high + 1e-9)
        few = 0.8 if full.sum() == 1 else 1.0
        score = 0.97 * few * clip(ratio, *needed)
        if score > 0.02 and (best is None or score > best.score):
            best = Evidence(
                cause="padding",
                score=score,
                signature="padded rows",
                sentence=f"the {int(short.sum()):,} sequences that a batch fills up differ by"
                f" {float(mean[short].mean()):.2g} nats, the {int(full.sum()):,} that"
                f" it does not by {high:.2g} over the same first tokens: padding is"
                " seen or counted.",
                numbers={
                    "ratio": ratio,
                    "padded": int(short.sum()),
                    "unpadded": int(full.sum()),
                },
                positions=worst(case, padded[case.view.sequence]),
            )
    if best is not None:
        yield best


def onset(case: Case) -> Iterator[Evidence]:
    """Quiet up to one token of a sequence and loud from there on, at other places in
    other sequences: other ids there.

    The mean of log |delta| over eight tokens against that of the eight before. Of
    normal noise log |delta| has a standard deviation of 1.1, a difference of such means
    0.55, and the largest of 100,000 of them is 2.4.
    """
    view = case.view
    if len(view.at) < 2 * _SHORTEST:
        return
    jumps = _jumps(case)
    most = np.full(case.pair.count, -np.inf)
    np.maximum.at(most, view.sequence, jumps)
    found = np.flatnonzero(most > _JUMP[0])
    judged = int(np.count_nonzero(np.isfinite(most)))
    if not len(found):
        return
    at = np.flatnonzero(np.isin(view.sequence, found) & (jumps == most[view.sequence]))
    _, first = np.unique(view.sequence[at], return_index=True)
    at = at[first]
    at = at[np.argsort(-jumps[at])]
    top, peak = float(jumps[at[0]]), _peak(case, int(at[0]))
    found_size = judge_size(case)
    # Where the whole gap is of the size of rounding, the peak must be far beyond what
    # rounding does to one token.
    beyond = (
        clip(peak / found_size.limit, 5, 15) if found_size.verdict == "noise" else 1.0
    )
    sharp = 0.95 * clip(top, *_JUMP) * beyond
    score = sharp * clip(peak / (view.mae + 1e-12), 3, 10)
    on_blocks = _on_blocks(case, view.position[at])
    if max(score, sharp if on_blocks else 0.0) <= 0.02:
        return
    places = tuple(int(view.at[i]) for i in at[:SHOWN])
    numbers = {"sequences": len(found), "judged": judged, "jump": top, "peak": peak}
    said = (
        f"{len(found):,} of {judged:,} sequences agree up to one token and differ"
        f" {np.exp(min(top, 20)):.0f} times as much from there on (first at"
        f" {place_of(case, int(view.at[at[0]]))}, {peak:.2g} nats)"
    )
    if (
        on_blocks
    ):  # where they are is evidence enough: a wrong cache stays, an edited id fades
        text = (
            f"{said}, {on_blocks:,} of them at a block of {_BLOCK} tokens: what lies"
            " before came from a cache."
        )
        yield Evidence(
            cause="prefix_cache",
            score=sharp,
            signature="onset",
            sentence=text,
            numbers={**numbers, "on_blocks": on_blocks},
            positions=places,
        )
        score *= 0.4
    score *= _SENT if case.sent_alike else 1.0
    if (
        len(np.unique(view.context[at])) == 1
        and shared_rows(_SHORTEST).lacking(case) is not None
    ):
        score = min(
            score, POSSIBLE_AT_MOST
        )  # one place, and no lists that tell other ids from a loud stretch
    yield Evidence(
        cause="ids",
        score=score,
        signature="onset",
        sentence=f"{said}: the ids differ there.",
        numbers=numbers,
        positions=places,
    )


def _on_blocks(case: Case, position: Array) -> int:
    """How many onsets are at the first or second token of a block, where chance would
    not put them; else 0.

    A token behind a cached block is the first that is computed anew, and the next the
    first that it predicts: 2 of 16 places, so four onsets there have a chance of 0.02%.
    One and the same place in every sequence is a `step`.
    """
    if (
        all(facts.prefix_cache is False for facts in case.facts)
        or len(np.unique(position)) < 2
    ):
        return 0
    n, k = (
        len(position),
        int(np.count_nonzero((position % _BLOCK <= 1) & (position >= _BLOCK))),
    )
    share = 2 / _BLOCK
    chance = sum(
        math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1)
    )
    return k if chance < _CHANCE else 0


def _peak(case: Case, at: int) -> float:
    """The largest |delta| of the tokens just behind entry ``at`` of the view."""
    return float(case.view.size[at : at + _SIDE].max())


def _jumps(case: Case) -> Array:
    """Mean log |delta| of the `_SIDE` tokens from each one on minus that of those
    before; -inf near a sequence's ends.

    |delta| is taken in units of what tokens as surprising have, or every certain word
    would look quiet.
    """
    view = case.view
    usual = _usual(case, np.ones(len(view.at), bool))
    level = np.log(view.size / np.maximum(usual, 1e-7) + 0.02)
    total = np.concatenate([[0.0], np.cumsum(level)])
    number, count = _order(case)
    here = np.arange(len(level))
    inside = (number >= _SIDE) & (number <= count - _SIDE)
    after = total[np.minimum(here + _SIDE, len(level))] - total[here]
    before = total[here] - total[np.maximum(here - _SIDE, 0)]
    jumps: Array = np.where(inside, (after - before) / _SIDE, -np.inf)
    return jumps


def step(case: Case) -> Iterator[Evidence]:
    """From one position on in all sequences that reach it: a sliding window, or a
    boundary between chunks.

    The largest two-sample statistic of the ranks of |delta| over all split positions; a
    step must also be sharp: the tokens just behind it against those just before.
    """
    view = case.view
    last = int(view.position.max(initial=0))
    if last < 2 * _SHORTEST or len(view.at) < 4 * _SHORTEST:
        return
    ranks = standard_ranks(view.size)
    total = np.bincount(view.position, ranks, last + 1)
    number = np.bincount(view.position, minlength=last + 1)
    after_sum, after = np.cumsum(total[::-1])[::-1], np.cumsum(number[::-1])[::-1]
    before = number.sum() - after
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = after_sum / after - (total.sum() - after_sum) / before
        z = mean * np.sqrt(after * before / number.sum())
    z[(after < _SHORTEST // 2) | (before < _SHORTEST // 2) | (number == 0)] = -np.inf
    split = int(np.argmax(z))
    if not np.isfinite(z[split]):
        return
    split = _sharpest(view.position, view.size, split)
    beyond = view.position >= split
    reach = np.unique(view.sequence[beyond])
    jumps = _jumps(case)
    here = np.abs(view.position - split) <= 2
    shown = np.full(case.pair.count, -np.inf)
    np.maximum.at(shown, view.sequence[here], jumps[here])
    alike = float(np.mean(shown[reach] > _JUMP[0])) if len(reach) else 0.0
    near = (np.abs(view.position - split + 0.5) < 12) & np.isin(view.sequence, reach)
    quiet, loud = _median(view.size[near & ~beyond]), _median(view.size[near & beyond])
    ratio = (loud + 1e-9) / (quiet + 1e-9)
    number_of, count = _order(case)
    late = beyond & (
        number_of
        >= count
        - (count - _first_of(number_of, beyond, view.sequence, case.pair.count)) // 3
    )
    stays = (_median(view.size[late]) + 1e-9) / (loud + 1e-9)
    score = (
        0.97
        * clip(ratio, 3, 10)
        * clip(float(z[split]) if np.isfinite(z[split]) else 0.0, 5, 12)
        * clip(stays, 0.1, 0.4)
        * clip(alike, 0.5, 0.9)
    )
    if score <= 0.02:
        return
    chunk = _boundary(case, split)
    code, kind = (
        ("chunked_prefill", "a boundary between pieces of a prompt")
        if chunk
        else ("config", "a sliding window or a limit of the positions")
    )
    yield Evidence(
        cause=code,
        score=score,
        signature="step",
        sentence=f"the gap begins at token {split} of every sequence that is so long"
        f" ({len(reach):,}): {quiet:.2g} nats just before, {loud:.2g} just behind, and"
        f" it stays: {kind}.",
        numbers={
            "position": split,
            "before": quiet,
            "behind": loud,
            "z": float(z[split]),
            "sequences": len(reach),
            "kind": "window",
        },
        positions=worst(case, beyond),
    )


def _first_of(
    number: Array, beyond: npt.NDArray[np.bool_], sequence: Array, count: int
) -> Array:
    """For each token, the number of its sequence's first token ``beyond``."""
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, sequence[beyond], number[beyond])
    found: Array = np.where(first == np.iinfo(np.int64).max, 0, first)[sequence]
    return found


def _sharpest(position: Array, size: Array, split: int) -> int:
    """The position near ``split`` at which the log of |delta| jumps most."""
    level = np.log(size + 1e-7)
    best, found = -np.inf, split
    for at in range(max(2, split - 16), split + 17):
        below = level[(position >= at - 8) & (position < at)]
        above = level[(position >= at) & (position < at + 8)]
        if len(below) >= 4 and len(above) >= 4:
            jump = float(above.mean() - below.mean())
            if jump > best:
                best, found = jump, at
    return found


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _boundary(case: Case, split: int) -> int | None:
    """The chunk that the position is a multiple of: one that a side was observed to
    have, else a usual one.
    """
    sizes = [
        f.chunk_size
        for f in case.facts
        if f.chunk_size and f.chunked_prefill is not False
    ]
    return next(
        (size for size in [*sizes, *_CHUNKS] if size and split % size == 0), None
    )


def growth(case: Case) -> Iterator[Evidence]:
    """Grows with the position, from almost nothing at the first token: RoPE.

    Slope of the standardised ranks of |delta| on log2 of the position, sequences being
    the units of its error; and the first tokens, which no rotation can touch much,
    against all.
    """
    view = case.view
    if len(view.at) < 4 * _SHORTEST or view.mae == 0:
        return
    ranks = standard_ranks(view.size)
    place = np.log2(view.position + 1.0)
    centred = place - place.mean()
    weight = float((centred**2).sum())
    trend = float((centred * ranks).sum()) / weight
    scores = _sums(case, centred * (ranks - trend * centred))
    z = trend / (float(np.sqrt((scores**2).sum())) / weight + 1e-12)
    r = trend * float(np.sqrt(weight / len(place)))
    early = view.position <= 3
    if not early.any():
        # a rotation leaves the first tokens alone: where they are not scored, any
        # growth looks like one
        return
    begin = _above_rounding(case, float(view.size[early].mean()))
    calm = 1 - clip(begin, 0.35, 0.7)
    score = 0.9 * clip(r, 0.06, 0.16) * clip(z, 3, 6) * calm * _audible(case)
    if not _penalties_checked(case):
        score = min(
            score, POSSIBLE_AT_MOST
        )  # they grow as well: the longer a text, the more of its tokens occurred before
    if score > 0.02:
        yield Evidence(
            cause="config",
            score=score,
            signature="growth",
            sentence=f"|delta| grows with the position (rank correlation {r:.2f}, {z:.0f}"
            f" standard errors), and is {begin:.2f} of its mean at the first three"
            " tokens: another RoPE base or scaling, or other positions.",
            numbers={"r": r, "z": z, "first_tokens": begin, "kind": "rope"},
            positions=worst(case),
        )


def _penalties_checked(case: Case) -> bool:
    """Whether penalties were looked for in the lists, or neither side can give them."""
    if not any(penalty_possible(case, side) for side in (0, 1)):
        return True
    return shared_rows(30).lacking(case) is None


def _above_rounding(case: Case, early: float) -> float:
    """``early`` over the MAE, both without what the better side's distance from the
    float32 reference explains.

    Two sides with independent errors of that size are sqrt(2) times it apart; squares
    add up.
    """
    rounding = 2 * min(case.errors) ** 2 if case.errors is not None else 0.0
    whole = case.view.mae**2 - rounding
    return (
        float(np.sqrt(max(early**2 - rounding, 0.0) / whole))
        if whole > 0.1 * case.view.mae**2
        else early / case.view.mae
    )


def completion(case: Case) -> Iterator[Evidence]:
    """Prompts agree and generated tokens do not: the path of decoding, or what only a
    sampler does.
    """
    view = case.view
    inside = view.in_completion
    if min(inside.sum(), (~inside).sum()) < _SHORTEST:
        return
    prompt, rest = _median(view.size[~inside]), _median(view.size[inside])
    ratio = (rest + 1e-9) / (prompt + 1e-9)
    one_path = case.infos[0].path == case.infos[1].path
    # On one path for both sides a prompt is only earlier text: growth and onsets say
    # that better.
    score = (0.1 if one_path else 0.7) * clip(ratio, 4, 20)
    if score > 0.02:
        yield Evidence(
            cause="decode_path",
            score=score,
            signature="completion",
            sentence=f"generated tokens differ by {rest:.2g} nats (median), prompts by"
            f" {prompt:.2g}: decode steps against one pass.",
            numbers={"prompt": prompt, "completion": rest},
            positions=worst(case, inside),
        )
