"""Numbers of the likeliest alternatives of tokens, for `tests.recompute`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.common import Fields
from tests.recompute_numbers import INF, mean, quantile

Top = Sequence[tuple[int, float]]


def token_topk(a: Top, b: Top, target: int, p: float, q: float) -> Fields | None:
    """What two lists, best first, say of one token whose log-probabilities are ``p``
    and ``q``; None without both.
    """
    some_a, some_b = ([(i, v) for i, v in side if v > -INF] for side in (a, b))
    k = min(len(some_a), len(some_b))
    if k == 0:
        return None
    first_a, first_b = ({i for i, _ in side[:k]} for side in (some_a, some_b))
    best_a, best_b = (
        {i for i, v in [*side, (target, x)] if v >= side[0][1]}
        for side, x in ((a, p), (b, q))
    )
    (low_a, high_a), (low_b, high_b) = rank_range(a, p), rank_range(b, q)
    return {
        "k": k,
        "overlap": len(first_a & first_b) / k,
        "same_top1": bool(best_a & best_b),
        "ranked": min(low_a, low_b) <= k,
        "flipped": min(low_a, low_b) <= k and (high_a < low_b or high_b < low_a),
        "kl": kl_bound(a, b, target, p, q),
        "tail_a": max(0.0, 1 - math.fsum(math.exp(v) for _, v in some_a[:k])),
        "tail_b": max(0.0, 1 - math.fsum(math.exp(v) for _, v in some_b[:k])),
    }


def rank_range(side: Top, logprob: float) -> tuple[int, float]:
    """From 1 + the more likely to the at least as likely; without an end where that
    reaches the end of the list.
    """
    more = sum(v > logprob for _, v in side)
    least = sum(v >= logprob for _, v in side)
    return more + 1, INF if least == len(side) else max(more + 1, least)


def kl_bound(a: Top, b: Top, target: int, p: float, q: float) -> float:
    """KL(B || A) of the cells known on both sides and the rest, as `kl_lower_bounds`
    documents it.
    """
    of_a = dict(a) | {target: p}
    of_b = dict(b) | {target: q}
    cells = {i: (of_a[i], of_b[i]) for i in of_a.keys() & of_b.keys()}
    if any(y > -INF and x == -INF for x, y in cells.values()):
        return INF
    terms = [math.exp(y) * (y - x) for x, y in cells.values() if y > -INF]
    rest_a = 1 - math.fsum(math.exp(x) for x, _ in cells.values())
    rest_b = 1 - math.fsum(math.exp(y) for _, y in cells.values())
    noise_a = noise(a, [x for x, _ in cells.values()])
    noise_b = noise(b, [y for _, y in cells.values()])
    most_a = max(rest_a, 0.0) + noise_a
    low = max(rest_b - noise_b, 0.0)
    high = max(rest_b, 0.0) + noise_b
    rest = min(max(most_a / math.e, low), high)
    return max(0.0, math.fsum([*terms, rest * math.log(rest / most_a)]))


def noise(side: Top, cells: Sequence[float]) -> float:
    """2^-20, and u sum p |log p| where the whole list was rounded to bfloat16 (u =
    2^-8) or float16 (2^-11).
    """
    mantissa = {v: int(np.float32(v).view(np.uint32)) for _, v in side}.values()
    u = 0.0
    if all(m % 2**16 == 0 for m in mantissa):
        u = 2.0**-8
    elif all(m % 2**13 == 0 for m in mantissa):
        u = 2.0**-11
    return 2.0**-20 + u * math.fsum(math.exp(x) * abs(x) for x in cells if x > -INF)


def topk(rows: Sequence[Fields | None]) -> Fields | None:
    some = [row for row in rows if row is not None]
    if not some:
        return None
    kl = [row["kl"] for row in some if row["kl"] < INF]
    ranked = sum(row["ranked"] for row in some)
    return {
        "k": max(row["k"] for row in some),
        "tokens": len(some),
        "same_top1": mean([r["same_top1"] for r in some]),
        "overlap": mean([r["overlap"] for r in some]),
        "ranked": ranked,
        "rank_flips": sum(row["flipped"] for row in some) / ranked if ranked else None,
        "kl_lower_bound_mean": mean(kl) if kl else None,
        "kl_lower_bound_p99": quantile(kl, 0.99) if kl else None,
        "kl_lower_bound_max": max(kl, default=None),
        "kl_infinite": len(some) - len(kl),
        "tail_mass_a": mean([r["tail_a"] for r in some]),
        "tail_mass_b": mean([r["tail_b"] for r in some]),
    }
