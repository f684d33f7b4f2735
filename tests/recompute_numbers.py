"""Numbers of lists of tokens for `tests.recompute`: loops, `math.fsum` and the
definitions of docs/metrics.md.

Nothing of the product is imported. Lists are Python's, deltas nats, and a number that
cannot be computed is None.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

NAN, INF = math.nan, math.inf
PROBABILITY_EDGES = (0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
ENTROPY_EDGES = (0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, INF)
RESAMPLES = 2000
RULES = (
    (
        "tis",
        "verl rollout_is=token, slime --use-tis, SkyRL tis_ratio_type=token",
        None,
        2.0,
        "token",
    ),
    ("tis", "OpenRLHF is_correction_type=tis", 0.5, 5.0, "token"),
    ("icepop", "IcePop: NeMo-RL (documented bounds), OpenRLHF", 0.5, 5.0, "token"),
    ("mis", "slime mis.yaml use_rs", 0.5, 2.0, "token"),
    (
        "veto",
        (
            "slime mis.yaml rs_veto_threshold, SkyRL outlier_token_is_threshold_low"
            " (suggested)"
        ),
        1e-4,
        None,
        "token",
    ),
    ("tis", "verl rollout_is=sequence", None, 2.0, "sequence"),
    ("tis", "SkyRL tis_ratio_type=sequence", None, 5.0, "sequence"),
    ("mis", "TRL vllm_importance_sampling_mode=sequence_mask", None, 3.0, "sequence"),
    (
        "mis",
        "verl rollout_rs=seq_sum_k1, SkyRL sequence_mask_metric=product",
        0.5,
        2.0,
        "sequence",
    ),
    ("mis", "verl rollout_rs=seq_mean_k1", 0.999, 1.001, "geometric"),
    ("mis", "NeMo-RL seq-mask-tis (documented bounds)", 0.999, 1.002, "geometric"),
    ("mis", "SkyRL sequence_mask_metric=geometric", 0.99, 1.01, "geometric"),
    ("mis", "OpenRLHF is_correction_type=seq-mask-tis", 0.5, 5.0, "geometric"),
)


@dataclass(frozen=True)
class Signed:
    """A number whose terms cancel. Rounding is relative to ``terms``, the mean (or sum)
    of their sizes, not to it.
    """

    value: float
    terms: float


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def signed_mean(values: Sequence[float]) -> Signed:
    return Signed(mean(values), mean([abs(x) for x in values]))


def rms(values: Sequence[float]) -> float:
    return math.sqrt(mean([x * x for x in values]))


def std(values: Sequence[float], less: int = 1) -> float | None:
    if len(values) <= less:
        return None
    middle = mean(values)
    return math.sqrt(
        math.fsum((x - middle) ** 2 for x in values) / (len(values) - less)
    )


def quantile(values: Iterable[float], q: float) -> float:
    """Linear between neighbours."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def correlation(x: Sequence[float], y: Sequence[float]) -> Signed | None:
    if len(x) < 2 or min(x) == max(x) or min(y) == max(y):
        return None
    mx, my = mean(x), mean(y)
    dx, dy = [v - mx for v in x], [v - my for v in y]
    spread = math.sqrt(math.fsum(v * v for v in dx)) * math.sqrt(
        math.fsum(v * v for v in dy)
    )
    products = [u * v for u, v in zip(dx, dy, strict=True)]
    return Signed(
        math.fsum(products) / spread, math.fsum(abs(p) for p in products) / spread
    )


def k3_of(d: float) -> float:
    """e^d - d - 1, by its series where the three terms cancel."""
    if abs(d) > 0.5:
        return math.exp(d) - d - 1
    term, terms = d * d / 2, []
    for n in range(3, 24):
        terms.append(term)
        term *= d / n
    return math.fsum(terms)


def js_of(d: float) -> float:
    """log((p + q) / (2 sqrt(p q))) = log cosh(d/2), by cosh x - 1 = 2 sinh(x/2)^2."""
    return math.log1p(2 * math.sinh(d / 4) ** 2)


def errors(
    delta: Sequence[float], p: Sequence[float], q: Sequence[float]
) -> dict[str, Any]:
    names = (
        "mean",
        "mae",
        "rmse",
        "pearson",
        "max_abs",
        "min_abs",
        "std_abs",
        "p50",
        "p90",
        "p99",
        "p999",
        "exact_fraction",
        "infinite",
    )
    out: dict[str, Any] = dict.fromkeys(names)
    if not delta:
        return out
    kept = [i for i, d in enumerate(delta) if math.isfinite(d)]
    out |= {
        "exact_fraction": sum(d == 0 for d in delta) / len(delta),
        "infinite": len(delta) - len(kept),
    }
    if not kept:
        return out
    d = [delta[i] for i in kept]
    size = [abs(x) for x in d]
    possible = [i for i in kept if math.isfinite(p[i]) and math.isfinite(q[i])]
    quantiles = {
        name: quantile(size, x)
        for name, x in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
    }
    return (
        out
        | quantiles
        | {
            "mean": signed_mean(d),
            "mae": mean(size),
            "rmse": rms(d),
            "max_abs": max(size),
            "min_abs": min(size),
            "std_abs": std(size),
            "pearson": correlation([p[i] for i in possible], [q[i] for i in possible]),
        }
    )


def probability(
    delta: Sequence[float], p: Sequence[float], q: Sequence[float]
) -> dict[str, Any]:
    if not delta:
        return dict.fromkeys(
            ("mean", "mae", "max", "std", "rmse", "pearson", "mult_prob_error")
        )
    x, y = [math.exp(v) for v in p], [math.exp(v) for v in q]
    signed = [u - v for u, v in zip(x, y, strict=True)]
    gap = [abs(v) for v in signed]
    finite = [math.exp(abs(d)) for d in delta if math.isfinite(d)]
    return {
        "mean": signed_mean(signed),
        "mae": mean(gap),
        "max": max(gap),
        "std": std(gap),
        "rmse": rms(gap),
        "pearson": correlation(x, y),
        "mult_prob_error": mean(finite) if finite else None,
    }


def k3_mean(delta: Iterable[float]) -> float | None:
    kept = [k3_of(d) for d in delta if math.isfinite(d)]
    return mean(kept) if kept else None


def ess(weights: Sequence[float]) -> float:
    return math.fsum(weights) ** 2 / (len(weights) * math.fsum(w * w for w in weights))


TOKEN_NAMES = (
    "k1",
    "k2",
    "k3",
    "k3_reverse",
    "k3_std",
    "k3_max",
    "chi2_token",
    "ess_token",
    "ess_token_clamped",
    "ratio_mean",
    "ratio_min",
    "ratio_max",
    "ratio_p99",
    "ratio_std",
    "ratio_std_clamped",
    "js",
)
SEQUENCE_NAMES = (
    "chi2_sequence",
    "ess_sequence",
    "ppl_a",
    "ppl_b",
    "ppl_ratio",
    "log_ppl_a",
    "log_ppl_b",
    "log_ppl_diff",
    "log_ppl_abs_diff",
    "log_ppl_diff_max",
    "log_ppl_diff_min",
    "sequence_mae",
    "log_ratio_sequence_mean",
    "log_ratio_sequence_std",
    "log_ratio_sequence_max_abs",
    "sequence_mult_prob_error_mean",
    "sequence_mult_prob_error_max",
    "sequence_mult_prob_error_min",
)
CLIPS, EXTREMES = ("0.1", "0.2", "0.3"), ("2", "5", "10")


def mismatch(
    sequences: Sequence[Sequence[tuple[float, float, float]]], sampled: bool | None
) -> dict[str, Any]:
    """``sequences`` have (delta, log p, log q) of each token; infinite deltas are left
    out.
    """
    kept = [
        row for row in ([t for t in s if math.isfinite(t[0])] for s in sequences) if row
    ]
    d = [t[0] for row in kept for t in row]
    if not d:
        out: dict[str, Any] = dict.fromkeys(TOKEN_NAMES + SEQUENCE_NAMES)
        fractions = {
            "clip_fraction": dict.fromkeys(CLIPS),
            "extreme_fraction": dict.fromkeys(EXTREMES),
        }
        return out | fractions | {"sampled_by_b": sampled}
    r = [math.exp(x) for x in d]
    held = [min(max(x, 0.5), 2.0) for x in r]
    each = [k3_of(x) for x in d]
    return {
        "k1": signed_mean([-x for x in d]),
        "k2": mean([x * x / 2 for x in d]),
        "k3": k3_mean(d),
        "k3_reverse": k3_mean([-x for x in d]),
        "k3_std": std(each),
        "k3_max": max(each),
        "chi2_token": signed_mean([math.expm1(2 * x) for x in d]),
        "ess_token": ess(r),
        "ess_token_clamped": ess(held),
        "ratio_mean": mean(r),
        "ratio_min": min(r),
        "ratio_max": max(r),
        "ratio_p99": quantile(r, 0.99),
        "ratio_std": std(r),
        "ratio_std_clamped": std(held, 0),
        "js": mean([js_of(x) for x in d]),
        "sampled_by_b": sampled,
        "clip_fraction": {
            c: mean([not 1 - float(c) <= x <= 1 + float(c) for x in r]) for c in CLIPS
        },
        "extreme_fraction": {
            tau: mean([max(x, 1 / x) > float(tau) for x in r]) for tau in EXTREMES
        },
        **sequence_numbers(kept),
    }


def sequence_numbers(
    kept: Sequence[Sequence[tuple[float, float, float]]],
) -> dict[str, Any]:
    log_ratio = [math.fsum(t[0] for t in row) for row in kept]
    factor = [mean([math.exp(abs(t[0])) for t in row]) for row in kept]
    # Tokens that both sides call impossible have no perplexity.
    possible = [
        row
        for row in ([t for t in s if t[1] > -INF and t[2] > -INF] for s in kept)
        if row
    ]
    gap = [-mean([t[0] for t in row]) for row in possible]
    return {
        "chi2_sequence": signed_mean([math.expm1(2 * x) for x in log_ratio]),
        "ess_sequence": ess([math.exp(x) for x in log_ratio]),
        "ppl_a": (
            mean([math.exp(-mean([t[1] for t in row])) for row in possible])
            if possible
            else None
        ),
        "ppl_b": (
            mean([math.exp(-mean([t[2] for t in row])) for row in possible])
            if possible
            else None
        ),
        "ppl_ratio": mean([math.exp(x) for x in gap]) if possible else None,
        "log_ppl_a": (
            -mean([mean([t[1] for t in row]) for row in possible]) if possible else None
        ),
        "log_ppl_b": (
            -mean([mean([t[2] for t in row]) for row in possible]) if possible else None
        ),
        "log_ppl_diff_max": max(gap) if possible else None,
        "log_ppl_diff_min": min(gap) if possible else None,
        "log_ppl_diff": signed_mean(gap) if possible else None,
        "log_ppl_abs_diff": mean([abs(x) for x in gap]) if possible else None,
        "sequence_mae": mean([mean([abs(t[0]) for t in row]) for row in kept]),
        "log_ratio_sequence_mean": signed_mean(log_ratio),
        "log_ratio_sequence_std": std(log_ratio),
        "log_ratio_sequence_max_abs": max(abs(x) for x in log_ratio),
        "sequence_mult_prob_error_mean": mean(factor),
        "sequence_mult_prob_error_max": max(factor),
        "sequence_mult_prob_error_min": min(factor),
    }


def what_if(sequences: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """The shares that each rule cuts or masks; infinite deltas count, and a sequence
    without a ratio is outside.
    """
    rows = [row for row in sequences if row]
    count = sum(len(row) for row in rows)
    out = []
    for rule, name, low, high, level in RULES:
        bottom, top = low or 0.0, INF if high is None else high

        def outside(log_ratio: float, bottom: float = bottom, top: float = top) -> bool:
            return (
                not bottom <= (INF if log_ratio > 700 else math.exp(log_ratio)) <= top
            )

        each = [[outside(d) for d in row] for row in rows]
        if level != "token":
            # inf - inf in one sequence has no sum.
            sums = [
                NAN if INF in row and -INF in row else math.fsum(row) for row in rows
            ]
            means = [
                x if level == "sequence" else x / len(row)
                for x, row in zip(sums, rows, strict=True)
            ]
            each = [[outside(x)] * len(row) for x, row in zip(means, rows, strict=True)]
        hit = [any(row) for row in each]
        if rule == "veto":
            each = [[h] * len(row) for h, row in zip(hit, rows, strict=True)]
        out.append(
            {
                "rule": rule,
                "name": name,
                "low": low,
                "high": high,
                "level": level,
                "tokens": sum(sum(row) for row in each) / count if count else None,
                "sequences": sum(hit) / len(rows) if count else None,
            }
        )
    return out


def divide(
    values: Sequence[tuple[float, float]], edges: Sequence[float]
) -> list[dict[str, Any]]:
    """Buckets of (value, delta): low <= value < high, and nothing is behind the last
    one.
    """
    rows: list[list[float]] = [[] for _ in edges[1:]]
    for value, delta in values:
        rows[min(bisect.bisect_right(edges, value) - 1, len(rows) - 1)].append(delta)
    out = []
    for low, high, row in zip(edges, edges[1:], rows, strict=False):
        kept = [d for d in row if math.isfinite(d)]
        out.append(
            {
                "low": low,
                "high": None if high == INF else high,
                "tokens": len(row),
                "mean": signed_mean(kept) if kept else None,
                "mae": mean([abs(d) for d in kept]) if kept else None,
                "rmse": rms(kept) if kept else None,
                "max_abs": max(abs(d) for d in kept) if kept else None,
            }
        )
    return out


Top = Sequence[tuple[int, float]]


def token_topk(
    a: Top, b: Top, target: int, p: float, q: float
) -> dict[str, Any] | None:
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
    more, least = sum(v > logprob for _, v in side), sum(v >= logprob for _, v in side)
    return more + 1, INF if least == len(side) else max(more + 1, least)


def kl_bound(a: Top, b: Top, target: int, p: float, q: float) -> float:
    """KL(B || A) of the cells known on both sides and the rest, as `kl_lower_bounds`
    documents it.
    """
    of_a, of_b = dict(a) | {target: p}, dict(b) | {target: q}
    cells = {i: (of_a[i], of_b[i]) for i in of_a.keys() & of_b.keys()}
    if any(y > -INF and x == -INF for x, y in cells.values()):
        return INF
    terms = [math.exp(y) * (y - x) for x, y in cells.values() if y > -INF]
    rest_a = 1 - math.fsum(math.exp(x) for x, _ in cells.values())
    rest_b = 1 - math.fsum(math.exp(y) for _, y in cells.values())
    noise_a, noise_b = (
        noise(a, [x for x, _ in cells.values()]),
        noise(b, [y for _, y in cells.values()]),
    )
    most_a = max(rest_a, 0.0) + noise_a
    low, high = max(rest_b - noise_b, 0.0), max(rest_b, 0.0) + noise_b
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


def topk(rows: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
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


# --- Intervals ----------------------------------------------------------------------


def intervals(sequences: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Bootstrap-t as core/compare/uncertainty.py documents it, draw by draw and unit by
    unit.
    """
    units, method = cut([[d for d in row if math.isfinite(d)] for row in sequences])
    if method is None:
        return dict.fromkeys(("mae", "rmse", "mean", "k3", "method")) | {
            "units": 0,
            "resamples": 0,
        }
    sums = [
        (
            len(u),
            math.fsum(u),
            math.fsum(abs(d) for d in u),
            math.fsum(d * d for d in u),
            math.fsum(k3_of(d) for d in u),
        )
        for u in units
    ]
    # In this order the draws are the same whatever the order of the sequences and the
    # sign of delta are.
    weights = (0.7548776662, 0.5698402910, 0.8191725134, 0.6710436067)
    sums.sort(
        key=lambda row: (
            sum(w * abs(x) for w, x in zip(weights, row, strict=False)),
            row[1],
        )
    )
    picks = (
        np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums))).tolist()
    )
    signed, mae, square, k3 = (
        interval([(row[0], row[column]) for row in sums], picks, column > 1)
        for column in (1, 2, 3, 4)
    )
    rmse = None if square is None else [math.sqrt(end) for end in square]
    size = mean([abs(d) for u in units for d in u])
    return {
        "mae": mae,
        "rmse": rmse,
        "mean": None if signed is None else [Signed(end, size) for end in signed],
        "k3": k3,
        "method": method,
        "units": len(sums),
        "resamples": RESAMPLES,
    }


def cut(
    sequences: Sequence[Sequence[float]],
) -> tuple[list[Sequence[float]], str | None]:
    """Sequences; blocks of tokens where these are fewer than 8 or one has more than
    half; nothing below 128 tokens.
    """
    rows = [row for row in sequences if row]
    total = sum(map(len, rows))
    if len(rows) >= 8 and 2 * max(map(len, rows)) <= total:
        assert len(rows) <= 512, "more units are drawn in groups: not recomputed here"
        return list(rows), "sequences"
    if total < 128:
        return [], None
    blocks = min(max(total // 32, 8), 16)
    out: list[Sequence[float]] = []
    for row in rows:
        parts = math.ceil(len(row) * blocks / total)
        borders = [i * len(row) // parts for i in range(parts + 1)]
        out += [row[low:high] for low, high in pairwise(borders)]
    return out, "blocks"


def ratio(rows: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """sum(y) / sum(n) of rows (n, y), and its linearised standard error."""
    total = math.fsum(n for n, _ in rows)
    value = math.fsum(y for _, y in rows) / total
    square = math.fsum((y - value * n) ** 2 for n, y in rows)
    return value, math.sqrt(len(rows) / (len(rows) - 1) * square) / total


def interval(
    rows: Sequence[tuple[float, float]], picks: Sequence[Sequence[int]], positive: bool
) -> list[float] | None:
    value, error = ratio(rows)
    if error <= 1e-12 * math.fsum(abs(y) for _, y in rows) / math.fsum(
        n for n, _ in rows
    ):
        return [value, value]
    distances = []
    for drawn in picks:
        again, spread = ratio([rows[i] for i in drawn])
        # A draw of units that are all alike has no spread.
        if spread <= 1e-7 * error or (positive and again <= 0):
            distances.append(INF)
        elif positive:
            distances.append(abs(math.log(again / value)) * again / spread)
        else:
            distances.append(abs(again - value) / spread)
    t = sorted(distances)[min(math.ceil(0.95 * (len(picks) + 1)), len(picks)) - 1]
    if t == INF:
        return None
    wide = widening(len(rows) - 1)
    t = min(t, 1.5 * Z * wide)
    if not positive:
        return [value - t * error, value + t * error]
    factor = math.exp(t * wide * error / value)
    return [value / factor, value * factor]


Z = 1.959963984540054
"""The normal quantile at 0.975."""


def widening(n: int) -> float:
    """Student's quantile over the normal one, by Abramowitz and Stegun 26.7.5."""
    g1 = (Z**3 + Z) / 4
    g2 = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    g3 = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    g4 = (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160
    return (Z + g1 / n + g2 / n**2 + g3 / n**3 + g4 / n**4) / Z
