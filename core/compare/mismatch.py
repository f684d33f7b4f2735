"""What the gap means for reinforcement learning: KL estimates, importance ratios, and
what a correction would drop.

delta = log p_A - log p_B in nats; with A the trainer and B the rollout, r = exp(delta)
is the importance ratio. Everything is float64 and **unclamped**: verl, slime and SkyRL
clamp log r to +-20 before the exponential, NeMo-RL turns an infinite ratio into 0. A
number beyond float64 is None here, never infinity, and weights of whole sequences,
whose log ratios are sums over thousands of tokens, are shifted by their largest before
the exponential.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Level = Literal["token", "sequence", "geometric"]

CLIP_BOUNDS = (0.1, 0.2, 0.3)
"""Half widths c of the interval [1 - c, 1 + c] that PPO keeps ratios in; 0.2 is what
most frameworks ship.
"""

EXTREME_BOUNDS = (2.0, 5.0, 10.0)
"""Factors tau of the extreme-token fraction F(tau) = P(max(r, 1/r) > tau) (R3, arXiv
2510.11370).
"""

VERL_CLAMP = (0.5, 2.0)
"""Where verl holds ratios before it computes their spread: 1 / threshold and its
default threshold.
"""

BLOCK = 1 << 13  # a block's ten float64 rows stay in the second-level cache
# exp(2 * 300) is still a float64; beyond it, second moments are computed shifted
_LARGE = 300.0
_HUGE = 1e17  # exp|d| from which log cosh(d/2) is |d|/2 - log 2 to the last digit
_LOG_MAX = math.log(np.finfo(np.float64).max)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`mismatch` of the JSON schema. KL estimates and log ratios in nats, the others
    without unit.

    Over tokens with finite delta (a token that one side alone calls impossible would
    make every number infinite; `errors.infinite` counts those). With r = exp(delta), E
    the mean over tokens, and over the sequences that have a token in the scope:

    - ``k1`` = E[-delta], ``k2`` = E[delta^2 / 2], ``k3`` = E[r - delta - 1] (Schulman):
      estimates of KL(B || A), unbiased only if B sampled the tokens (``sampled_by_b``).
      verl ``kl`` and ``k3_kl``, prime-rl ``mismatch_kl`` (k3), NeMo-RL ``gen_kl_error``
      (k3), OpenRLHF ``vllm_kl`` (k1). ``k3_reverse`` = E[1/r + delta - 1]: NeMo-RL
      ``policy_kl_error``. ``k3_std`` (n - 1) and ``k3_max`` are of r - delta - 1 per
      token: prime-rl ``mismatch_kl/all/std`` and ``max``.
    - ``chi2_token`` = E[r^2] - 1, ``chi2_sequence`` the same of sequence ratios R =
      exp(sum of delta) (verl, slime).
    - ``ess_token``, ``ess_sequence``: (sum w)^2 / (n sum w^2), in (0, 1], of r and R.
      ``ess_token_clamped`` and ``ratio_std_clamped`` are of r held within [1/2, 2], as
      verl's ``rollout_is_eff_sample_size`` and ``rollout_is_std``.
    - ``ppl_a``, ``ppl_b``: mean over sequences of exp(-mean log p); ``log_ppl_diff``
      and ``log_ppl_abs_diff``: mean over sequences of mean log p_B - mean log p_A and
      of its size, ``log_ppl_diff_max`` and ``_min`` its largest and smallest;
      ``log_ppl_a``, ``log_ppl_b``: mean over sequences of -mean log p; ``ppl_ratio``:
      mean over sequences of the difference's exponential (verl, slime; above 1: A is
      the less certain). Tokens that both sides call impossible count in none of these.
    - ``ratio_*`` of r per token; p99 is linear between neighbours, std divides by n -
      1. SkyRL ``is_ratio_*`` and verl ``rollout_is_mean``, ``_min``, ``_max``; TRL's
      ``importance_sampling_ratio`` is of the ratio *after* masking.
    - ``sequence_mae``: mean over sequences of their mean |delta| (slime, miles
      ``train_rollout_logprob_abs_diff``).
    - ``log_ratio_sequence_*``: log R = sum of delta of a sequence; std divides by the
      number of sequences - 1.
    - ``sequence_mult_prob_error_*``: E[exp |delta|] within each sequence, then mean,
      largest and smallest (NeMo-RL ``seq_mult_prob_error``).
    - ``clip_fraction[c]``: share of tokens with r outside [1 - c, 1 + c];
      ``extreme_fraction[tau]``: share with max(r, 1/r) > tau.
    - ``js``: E[log cosh(delta / 2)], which is NeMo-RL's ``js_divergence_error``: both
      of its KL terms are k3 estimates against the mixture (p + q) / 2 on the chosen
      token, and their mean is log((p + q) / (2 sqrt(p q))).
    """

    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    k3_reverse: float | None = None
    k3_std: float | None = None
    k3_max: float | None = None
    chi2_token: float | None = None
    chi2_sequence: float | None = None
    ess_token: float | None = None
    ess_sequence: float | None = None
    ess_token_clamped: float | None = None
    ppl_a: float | None = None
    ppl_b: float | None = None
    ppl_ratio: float | None = None
    log_ppl_a: float | None = None
    log_ppl_b: float | None = None
    log_ppl_diff: float | None = None
    log_ppl_abs_diff: float | None = None
    log_ppl_diff_max: float | None = None
    log_ppl_diff_min: float | None = None
    ratio_mean: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    ratio_p99: float | None = None
    ratio_std: float | None = None
    ratio_std_clamped: float | None = None
    sequence_mae: float | None = None
    log_ratio_sequence_mean: float | None = None
    log_ratio_sequence_std: float | None = None
    log_ratio_sequence_max_abs: float | None = None
    sequence_mult_prob_error_mean: float | None = None
    sequence_mult_prob_error_max: float | None = None
    sequence_mult_prob_error_min: float | None = None
    clip_fraction: dict[str, float | None] = field(default_factory=dict)
    extreme_fraction: dict[str, float | None] = field(default_factory=dict)
    js: float | None = None
    sampled_by_b: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def mismatch_stats(
    delta: Array,
    logprob_a: Array,
    logprob_b: Array,
    lengths: Array,
    sampled_by_b: bool | None,
    *,
    clip_bounds: Sequence[float] = CLIP_BOUNDS,
    extreme_bounds: Sequence[float] = EXTREME_BOUNDS,
) -> Mismatch:
    """The numbers of `Mismatch` for n tokens in the order of their sequences.

    ``delta``, ``logprob_a`` and ``logprob_b`` are float[n] in nats (NaN deltas are left
    out), ``lengths`` int[S] says how many of them each sequence has; a sequence with
    none counts nowhere. ``sampled_by_b`` says whether B sampled the tokens, None if
    that is unknown. Without a finite delta everything is None. ValueError if lengths do
    not add up.
    """
    _check(delta, lengths)
    if not len(delta) == len(logprob_a) == len(logprob_b):
        raise ValueError(
            f"{len(delta)} deltas for {len(logprob_a)} and {len(logprob_b)}"
            " log-probabilities"
        )
    lowest, highest = (
        (float(delta.min()), float(delta.max())) if len(delta) else (math.nan, math.nan)
    )
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        finite = np.isfinite(delta)
        lengths = _kept(finite, lengths)
        delta, logprob_a, logprob_b = (
            delta[finite],
            logprob_a[finite],
            logprob_b[finite],
        )
    if len(delta) == 0:
        nothing = (
            {f"{bound:g}": None for bound in clip_bounds},
            {f"{bound:g}": None for bound in extreme_bounds},
        )
        return Mismatch(
            clip_fraction=dict(nothing[0]),
            extreme_fraction=dict(nothing[1]),
            sampled_by_b=sampled_by_b,
        )
    values = delta.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        errors, tokens = _token_numbers(values)
        return Mismatch(
            **tokens,
            **_sequence_numbers(values, errors, lengths),
            **_perplexities(values, logprob_a, logprob_b, lengths),
            ratio_p99=_ratio_quantile(delta, 0.99),
            clip_fraction={
                f"{c:g}": _outside(values, 1 - c, 1 + c) for c in clip_bounds
            },
            extreme_fraction={
                f"{tau:g}": _outside(values, 1 / tau, tau) for tau in extreme_bounds
            },
            sampled_by_b=sampled_by_b,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One correction: ratios outside [``low``, ``high``] are cut (``tis``) or masked
    (``mis``, ``icepop``, ``veto``).

    ``level`` says whose ratio: of each token, of the sequence (exp of the sum of delta)
    or its geometric mean (exp of the mean). A ``veto`` drops the whole sequence for one
    token. None is no bound. ``name`` says who ships these bounds. ValueError for bounds
    that keep nothing or everything.
    """

    rule: Literal["tis", "mis", "icepop", "veto"]
    name: str
    low: float | None
    high: float | None
    level: Level

    def __post_init__(self) -> None:
        low, high = (
            0.0 if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )
        if not 0 <= low < high or (low == 0 and high == math.inf):
            raise ValueError(
                f"{self.name}: bounds {self.low} to {self.high} of a ratio: give 0 <="
                " low < high"
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "tis",
        "verl rollout_is=token, slime --use-tis, SkyRL tis_ratio_type=token",
        None,
        2.0,
        "token",
    ),
    Rule("tis", "OpenRLHF is_correction_type=tis", 0.5, 5.0, "token"),
    Rule("icepop", "IcePop: NeMo-RL (documented bounds), OpenRLHF", 0.5, 5.0, "token"),
    Rule("mis", "slime mis.yaml use_rs", 0.5, 2.0, "token"),
    Rule(
        "veto",
        "slime mis.yaml rs_veto_threshold, SkyRL outlier_token_is_threshold_low"
        " (suggested)",
        1e-4,
        None,
        "token",
    ),
    Rule("tis", "verl rollout_is=sequence", None, 2.0, "sequence"),
    Rule("tis", "SkyRL tis_ratio_type=sequence", None, 5.0, "sequence"),
    Rule(
        "mis", "TRL vllm_importance_sampling_mode=sequence_mask", None, 3.0, "sequence"
    ),
    Rule(
        "mis",
        "verl rollout_rs=seq_sum_k1, SkyRL sequence_mask_metric=product",
        0.5,
        2.0,
        "sequence",
    ),
    Rule("mis", "verl rollout_rs=seq_mean_k1", 0.999, 1.001, "geometric"),
    Rule("mis", "NeMo-RL seq-mask-tis (documented bounds)", 0.999, 1.002, "geometric"),
    Rule("mis", "SkyRL sequence_mask_metric=geometric", 0.99, 1.01, "geometric"),
    Rule("mis", "OpenRLHF is_correction_type=seq-mask-tis", 0.5, 5.0, "geometric"),
)
"""The corrections of the frameworks on the importance ratio, with the bounds that each
ships: read from the sources of verl (2026-01), TRL (2026-07), OpenRLHF, slime, SkyRL
and NeMo-RL (2026-08). prime-rl masks on p_A - p_B and the sign of the advantage, which
no ratio tells.
"""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What one `Rule` would do: ``tokens`` and ``sequences`` are the shares, 0 to 1,
    cut or masked; None if there are none.

    At token level ``sequences`` is the share with at least one such token; at the
    others, and for a veto, ``tokens`` is the share of tokens that lie in such
    sequences.
    """

    rule: str
    name: str
    low: float | None
    high: float | None
    level: Level
    tokens: float | None
    sequences: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def what_if(
    delta: Array, lengths: Array, rules: Sequence[Rule] = RULES
) -> tuple[WhatIf, ...]:
    """The shares that each rule would cut or mask, for float[n] deltas in nats and
    int[S] tokens per sequence.

    Unlike in `mismatch_stats`, infinite deltas count: r is infinity or 0, and lies
    outside of any bound on that side. A sequence with both has no ratio, and counts as
    outside. NaN deltas and sequences without tokens count nowhere. ValueError if
    lengths do not add up.
    """
    _check(delta, lengths)
    if len(delta) and np.isnan(delta.min()):
        known = ~np.isnan(delta)
        lengths, delta = _kept(known, lengths), delta[known]
    values = delta.astype(np.float64)
    counts, starts = _segments(lengths)
    if len(values) == 0:
        return tuple(
            WhatIf(r.rule, r.name, r.low, r.high, r.level, None, None) for r in rules
        )
    lowest, highest = (
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
    )
    with np.errstate(invalid="ignore"):
        total = np.add.reduceat(values, starts)
    found = []
    for rule in rules:
        low, high = (
            _log(rule.low or 0.0),
            _log(math.inf if rule.high is None else rule.high),
        )
        if rule.level == "token":
            hit = (lowest < low) | (highest > high)
        else:
            ratio = total if rule.level == "sequence" else total / counts
            hit = ~((ratio >= low) & (ratio <= high))
        if rule.level == "token" and rule.rule != "veto":
            tokens = int(np.count_nonzero(values < low)) + int(
                np.count_nonzero(values > high)
            )
        else:
            tokens = int(counts[hit].sum())
        shares = tokens / len(values), int(np.count_nonzero(hit)) / len(counts)
        found.append(
            WhatIf(rule.rule, rule.name, rule.low, rule.high, rule.level, *shares)
        )
    return tuple(found)


def finite_or_none(value: float) -> float | None:
    """``value`` as float, None where float64 has no number for it."""
    return float(value) if math.isfinite(value) else None


def _check(delta: Array, lengths: Array) -> None:
    if int(lengths.sum()) != len(delta) or (len(lengths) and int(lengths.min()) < 0):
        raise ValueError(
            f"sequences of {int(lengths.sum())} tokens for {len(delta)} deltas"
        )


def _segments(lengths: Array) -> tuple[Array, Array]:
    """Lengths and starts of the sequences that are not empty: reduceat has no empty
    segments.
    """
    counts = lengths[lengths > 0]
    return counts, np.cumsum(counts) - counts


def _kept(mask: Array, lengths: Array) -> Array:
    """How many tokens of each sequence the mask keeps."""
    before = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
    ends = np.cumsum(lengths)
    counts: Array = before[ends] - before[ends - lengths]
    return counts


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf


def _outside(values: Array, low: float, high: float) -> float:
    beyond = np.count_nonzero(values < _log(low)) + np.count_nonzero(
        values > _log(high)
    )
    return int(beyond) / len(values)


def _token_numbers(values: Array) -> tuple[Array, dict[str, float | None]]:
    """exp|delta| - 1 of each token, f64[n], and the numbers that are means over
    tokens.
    """
    n = len(values)
    errors = np.empty(n)
    starts = range(0, n, BLOCK)
    parts = np.array(
        [_block_sums(values[s : s + BLOCK], errors[s : s + BLOCK]) for s in starts]
    )
    # Pairwise sums within blocks, exact over blocks.
    total, square, k3, k3_reverse, chi2, above, js = (
        exact_sum(column) / n for column in parts.T[:7]
    )
    lowest, highest = float(values.min()), float(values.max())
    if (
        max(highest, -lowest) > _LARGE or above < -0.5
    ):  # overflow, or r too small to be told from 0 in r - 1
        weights = _weight_numbers(values)
    else:
        counts = np.minimum(n - np.arange(len(parts)) * BLOCK, BLOCK)
        around = exact_sum(parts[:, 7]) + exact_sum(
            counts * (parts[:, 5] / counts - above) ** 2
        )
        std = math.sqrt(around / (n - 1)) if n > 1 else None
        weights = _Weights(
            1 + above,
            0.0 if std and lowest == highest else std,
            _ess(1 + above, around / n),
            chi2,
        )
    return errors, {
        "k1": -total + 0.0,
        "k2": finite_or_none(square / 2),
        "k3": finite_or_none(
            max(k3, 0.0)
        ),  # an expm1 that rounds down would take almost equal sides below 0
        "k3_reverse": finite_or_none(max(k3_reverse, 0.0)),
        "k3_std": _k3_std(values, parts, k3, lowest, highest),
        "k3_max": finite_or_none(
            max(_k3(lowest), _k3(highest))
        ),  # it grows to both sides of 0
        "chi2_token": weights.chi2,
        "ess_token": weights.ess,
        "ratio_mean": weights.mean,
        "ratio_min": _exp(lowest),
        "ratio_max": _exp(highest),
        "ratio_std": weights.std,
        "js": finite_or_none(js),
        **_clamped(values),
    }


def _k3(delta: float) -> float:
    """r - delta - 1 of one token, nats; infinity where it overflows."""
    return max(0.0, math.expm1(delta) - delta) if delta < _LOG_MAX else math.inf


def _k3_std(
    values: Array, parts: Array, mean: float, lowest: float, highest: float
) -> float | None:
    """Standard deviation (n - 1) of k3 over tokens, from the blocks' sums (column 2)
    and squares around them (column 8).
    """
    n = len(values)
    if n < 2:
        return None
    if lowest == highest:
        return 0.0
    counts = np.minimum(n - np.arange(len(parts)) * BLOCK, BLOCK)
    around = exact_sum(parts[:, 8]) + exact_sum(
        counts * (parts[:, 2] / counts - mean) ** 2
    )
    return finite_or_none(math.sqrt(around / (n - 1)))


def _clamped(values: Array) -> dict[str, float | None]:
    """ESS and standard deviation (by n) of r held within `VERL_CLAMP`."""
    low, high = (_log(bound) for bound in VERL_CLAMP)
    held = values.clip(low, high)
    above = np.expm1(held, out=held)
    mean = float(above.mean())
    above -= mean
    variance = float(above @ above) / len(above)
    return {
        "ess_token_clamped": _ess(1 + mean, variance),
        "ratio_std_clamped": math.sqrt(variance),
    }


def _block_sums(d: Array, errors: Array) -> tuple[float, ...]:
    """Sums over one block: d, d^2, k3, k3 reversed, r^2 - 1, r - 1, js; squares of r
    and of k3 around the block's means.

    ``errors`` receives exp|d| - 1. Everything comes from r - 1 and 1/r - 1: exp(d) - d
    - 1 of a delta of 1e-6 would lose 4 digits, and all of them of 1e-8.
    """
    above, below = np.expm1(d), np.expm1(-d)  # r - 1, 1/r - 1
    np.maximum(above, below, out=errors)
    js = 0.5 * np.log1p(
        -0.25 * above * below
    )  # log cosh(d/2) = log(1 + sinh(d/2)^2) / 2
    huge = errors > _HUGE
    if huge.any():
        js[huge] = 0.5 * np.abs(d[huge]) - math.log(2)
    k3 = above - d
    sums = (
        d.sum(),
        (d * d).sum(),
        k3.sum(),
        (below + d).sum(),
        (above * (above + 2)).sum(),
        above.sum(),
        js.sum(),
    )
    above -= sums[5] / len(d)
    k3 -= sums[2] / len(d)
    return (
        *(float(value) for value in sums),
        float((above * above).sum()),
        float((k3 * k3).sum()),
    )


def _sequence_numbers(
    values: Array, errors: Array, lengths: Array
) -> dict[str, float | None]:
    counts, starts = _segments(lengths)
    total = np.add.reduceat(values, starts)
    errors_of = 1 + np.add.reduceat(errors, starts) / counts
    weights = _weight_numbers(total)
    sizes = np.add.reduceat(np.abs(values), starts) / counts
    return {
        "sequence_mae": finite_or_none(float(sizes.mean())),
        "chi2_sequence": weights.chi2,
        "ess_sequence": weights.ess,
        "log_ratio_sequence_mean": finite_or_none(float(total.mean())),
        "log_ratio_sequence_std": _std(total),
        "log_ratio_sequence_max_abs": finite_or_none(float(np.abs(total).max())),
        "sequence_mult_prob_error_mean": finite_or_none(float(errors_of.mean())),
        "sequence_mult_prob_error_max": finite_or_none(float(errors_of.max())),
        "sequence_mult_prob_error_min": finite_or_none(float(errors_of.min())),
    }


@dataclass(frozen=True, slots=True)
class _Weights:
    mean: float | None
    std: float | None
    ess: float
    chi2: float | None


def _weight_numbers(log_ratio: Array) -> _Weights:
    """Mean, standard deviation, ESS and chi2 of the weights exp(log_ratio), f64[n],
    whatever their size.
    """
    highest = float(log_ratio.max())
    weights = np.exp(log_ratio - highest)
    mean, std = float(weights.mean()), _std(weights)
    spread = float(((weights - mean) ** 2).mean())
    chi2: float | None = finite_or_none(float(np.expm1(2 * log_ratio).mean()))
    if chi2 is None:
        chi2 = _exp(
            2 * highest + math.log(mean * mean + spread)
        )  # the 1 is far below its rounding
    unscaled = _exp(math.log(std) + highest) if std else std
    return _Weights(_exp(math.log(mean) + highest), unscaled, _ess(mean, spread), chi2)


def _ess(mean: float, variance: float) -> float:
    """(sum w)^2 / (n sum w^2) by the weights' mean and variance."""
    return mean * mean / (mean * mean + variance)


def _perplexities(
    values: Array, logprob_a: Array, logprob_b: Array, lengths: Array
) -> dict[str, float | None]:
    counts, starts = _segments(lengths)
    sums = [
        np.add.reduceat(side, starts, dtype=np.float64)
        for side in (logprob_a, logprob_b)
    ]
    if not all(np.isfinite(total).all() for total in sums):
        possible = np.isfinite(logprob_a) & np.isfinite(logprob_b)
        if not possible.all():
            return (
                _perplexities(
                    values[possible],
                    logprob_a[possible],
                    logprob_b[possible],
                    _kept(possible, lengths),
                )
                if possible.any()
                else {}
            )
    difference = -np.add.reduceat(values, starts) / counts
    log_a, log_b = (-total / counts for total in sums)
    return {
        "ppl_a": finite_or_none(float(np.exp(log_a).mean())),
        "ppl_b": finite_or_none(float(np.exp(log_b).mean())),
        "log_ppl_a": finite_or_none(float(log_a.mean()) + 0.0),
        "log_ppl_b": finite_or_none(float(log_b.mean()) + 0.0),
        "log_ppl_diff_max": finite_or_none(float(difference.max()) + 0.0),
        "log_ppl_diff_min": finite_or_none(float(difference.min()) + 0.0),
        "ppl_ratio": finite_or_none(float(np.exp(difference).mean())),
        "log_ppl_diff": finite_or_none(float(difference.mean()) + 0.0),
        "log_ppl_abs_diff": finite_or_none(float(np.abs(difference).mean())),
    }


def _ratio_quantile(delta: Array, q: float) -> float | None:
    """Quantile of exp(delta), linear between neighbours: the exponential keeps the
    order, so two of them suffice.
    """
    at = q * (len(delta) - 1)
    low = math.floor(at)
    wanted = len(delta) - low
    # Only the upper tail is put in order; where it begins is read off every 64th value.
    sample = np.sort(delta[::64])
    tail = delta[delta >= sample[int(max(0.0, q - 0.01) * (len(sample) - 1))]]
    if len(tail) < wanted:
        tail = delta
    ordered = np.partition(tail, len(tail) - wanted)[len(tail) - wanted :]
    first = float(ordered[0])
    second = float(ordered[1:].min()) if wanted > 1 else first
    a, b = _exp(first), _exp(second)
    return None if a is None or b is None else a + (b - a) * (at - low)


def _exp(value: float) -> float | None:
    return math.exp(value) if value < _LOG_MAX else None


def _std(values: Array) -> float | None:
    """Standard deviation with n - 1, as torch.std; None for fewer than two values."""
    if len(values) < 2:
        return None
    return (
        0.0
        if values.min() == values.max()
        else finite_or_none(float(values.std(ddof=1)))
    )


def exact_sum(values: Array) -> float:
    """Sum without rounding between the terms; infinity if one is or the sum
    overflows.
    """
    try:
        return math.fsum(values.tolist())
    except (OverflowError, ValueError):
        return math.inf
