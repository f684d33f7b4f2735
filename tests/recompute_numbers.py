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
from typing import Any

NAN = math.nan
INF = math.inf
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


class Words:
    """A text that the definitions do not fix: any that is not empty."""


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
    mx = mean(x)
    my = mean(y)
    dx = [v - mx for v in x]
    dy = [v - my for v in y]
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
    term = d * d / 2
    terms = []
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
    x = [math.exp(v) for v in p]
    y = [math.exp(v) for v in q]
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
CLIPS = ("0.1", "0.2", "0.3")
EXTREMES = ("2", "5", "10")


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
        bottom = low or 0.0
        top = INF if high is None else high

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
                "measure": "ratio",
                "at_most": False,
            }
        )
    return out


MASKS = (
    (
        "dppo",
        "prime-rl's default loss, verl loss_mode=dppo_tv, open-instruct dppo tv",
        "tv",
        -0.2,
        0.2,
    ),
    ("ipo", "prime-rl loss type=ipo", "tv", -0.1, 0.1),
    ("dppo", "open-instruct dppo kl (proposed default)", "kl", None, 0.05),
    ("dppo", "verl loss_mode=dppo_kl", "kl", None, 0.2),
)


def masked(
    sequences: Sequence[Sequence[tuple[float, float, float]]],
) -> list[dict[str, Any]]:
    """The shares that each mask by divergence drops, from (delta, log p, log q)."""
    rows = [row for row in sequences if row]
    count = sum(len(row) for row in rows)
    out = []
    for rule, name, measure, low, high in MASKS:
        divergence = {"tv": probability_gap, "kl": kl_of_two}[measure]
        bottom = -INF if low is None else low
        hits = [
            [not bottom <= divergence(log_p, log_q) <= high for _, log_p, log_q in row]
            for row in rows
        ]
        out.append(
            {
                "rule": rule,
                "name": name,
                "low": low,
                "high": high,
                "level": "token",
                "tokens": sum(sum(row) for row in hits) / count if count else None,
                "sequences": sum(map(any, hits)) / len(rows) if count else None,
                "measure": measure,
                "at_most": rule == "dppo",
            }
        )
    return out


def probability_gap(log_p: float, log_q: float) -> float:
    return math.exp(log_p) - math.exp(log_q)


def kl_of_two(log_p: float, log_q: float) -> float:
    """KL(q || p) of the two outcomes "this token" and "another one"."""
    p, q = math.exp(log_p), math.exp(log_q)
    rest_p, rest_q = max(0.0, -math.expm1(log_p)), max(0.0, -math.expm1(log_q))
    if (q > 0 and p == 0) or (rest_q > 0 and rest_p == 0):
        return INF
    this = q * (log_q - log_p) if q > 0 else 0.0
    other = rest_q * math.log(rest_q / rest_p) if rest_q > 0 else 0.0
    return this + other


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
