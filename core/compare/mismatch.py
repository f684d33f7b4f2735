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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.segments import count_kept, filled_segments
from logdrift.core.compare.sums import (
    check_lengths,
    check_same_length,
    finite_or_none,
    log_or_minus_infinity,
)
from logdrift.core.compare.token_sums import TokenSums
from logdrift.core.compare.weights import (
    ImportanceWeights,
    effective_share,
    exp_or_none,
    importance_weights,
    standard_deviation,
)

Array = npt.NDArray[Any]
MismatchFields = dict[str, float | None]
"""Fields of `Mismatch` by name."""

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

_LARGE = 300.0
"""exp(2 * 300) is still a float64; beyond it, second moments are computed shifted."""

_SMALLEST_MEAN = -0.5
"""Of r - 1: below it, r may be too small to be seen beside the 1 in r - 1."""


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
    clip_fraction: Mapping[str, float | None] = field(default_factory=dict)
    extreme_fraction: Mapping[str, float | None] = field(default_factory=dict)
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
    check_lengths(delta, lengths)
    check_same_length(delta, logprob_a, logprob_b)
    if not _all_finite(delta):
        finite = np.isfinite(delta)
        lengths = count_kept(finite, lengths)
        delta = delta[finite]
        logprob_a = logprob_a[finite]
        logprob_b = logprob_b[finite]
    if len(delta) == 0:
        return _nothing(clip_bounds, extreme_bounds, sampled_by_b)
    values = delta.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        tokens = TokenSums(values)
        return Mismatch(
            **_token_numbers(tokens),
            **_clamped(values),
            **_sequence_numbers(values, tokens.errors, lengths),
            **_perplexities(values, logprob_a, logprob_b, lengths),
            ratio_p99=_ratio_quantile(delta, 0.99),
            clip_fraction=_clip_fractions(values, clip_bounds),
            extreme_fraction=_extreme_fractions(values, extreme_bounds),
            sampled_by_b=sampled_by_b,
        )


def _all_finite(delta: Array) -> bool:
    """Whether no delta is NaN or infinite: their ends tell, without a mask."""
    if len(delta) == 0:
        return True
    lowest = float(delta.min())
    highest = float(delta.max())
    return math.isfinite(lowest) and math.isfinite(highest)


def _nothing(
    clip_bounds: Sequence[float],
    extreme_bounds: Sequence[float],
    sampled_by_b: bool | None,
) -> Mismatch:
    clip_keys = map(_bound_key, clip_bounds)
    extreme_keys = map(_bound_key, extreme_bounds)
    return Mismatch(
        clip_fraction=dict.fromkeys(clip_keys),
        extreme_fraction=dict.fromkeys(extreme_keys),
        sampled_by_b=sampled_by_b,
    )


def _bound_key(bound: float) -> str:
    return f"{bound:g}"


def _clip_fractions(delta: Array, bounds: Sequence[float]) -> MismatchFields:
    fractions: MismatchFields = {}
    for width in bounds:
        key = _bound_key(width)
        low = 1 - width
        high = 1 + width
        fractions[key] = _share_outside(delta, low, high)
    return fractions


def _extreme_fractions(delta: Array, bounds: Sequence[float]) -> MismatchFields:
    fractions: MismatchFields = {}
    for factor in bounds:
        key = _bound_key(factor)
        low = 1 / factor
        fractions[key] = _share_outside(delta, low, factor)
    return fractions


def _share_outside(delta: Array, low: float, high: float) -> float:
    """The share of tokens whose ratio is outside of [low, high]."""
    log_low = log_or_minus_infinity(low)
    log_high = log_or_minus_infinity(high)
    below = np.count_nonzero(delta < log_low)
    above = np.count_nonzero(delta > log_high)
    outside = int(below) + int(above)
    return outside / len(delta)


# ---- means over tokens


def _token_numbers(tokens: TokenSums) -> MismatchFields:
    mean_delta = tokens.mean("delta")
    half_square = tokens.mean("square") / 2
    k3 = tokens.mean("k3")
    k3_reverse = tokens.mean("k3_reverse")
    k3_of_lowest = estimators.k3_of_token(tokens.lowest)
    k3_of_highest = estimators.k3_of_token(tokens.highest)
    k3_max = max(k3_of_lowest, k3_of_highest)
    weights = _token_weights(tokens)
    return {
        "k1": -mean_delta + 0.0,
        "k2": finite_or_none(half_square),
        # An expm1 that rounds down would take almost equal sides below 0.
        "k3": finite_or_none(max(k3, 0.0)),
        "k3_reverse": finite_or_none(max(k3_reverse, 0.0)),
        "k3_std": _k3_std(tokens, k3),
        "k3_max": finite_or_none(k3_max),
        "chi2_token": weights.chi2,
        "ess_token": weights.ess,
        "ratio_mean": weights.mean,
        "ratio_min": exp_or_none(tokens.lowest),
        "ratio_max": exp_or_none(tokens.highest),
        "ratio_std": weights.std,
        "js": finite_or_none(tokens.mean("js")),
    }


def _k3_std(tokens: TokenSums, mean: float) -> float | None:
    """Standard deviation (n - 1) of k3 over tokens; None for fewer than two."""
    if tokens.count < 2:
        return None
    if tokens.constant:
        return 0.0
    around = tokens.squares_around("k3", mean)
    variance = around / (tokens.count - 1)
    return finite_or_none(math.sqrt(variance))


def _token_weights(tokens: TokenSums) -> ImportanceWeights:
    """Of the ratios of tokens: from sums of r - 1 where that loses no digits."""
    mean = tokens.mean("excess")
    largest = max(tokens.highest, -tokens.lowest)
    if largest > _LARGE or mean < _SMALLEST_MEAN:
        return importance_weights(tokens.delta)
    around = tokens.squares_around("excess", mean)
    variance = around / tokens.count
    mean_ratio = 1 + mean
    return ImportanceWeights(
        mean=mean_ratio,
        std=_std_of_squares(around, tokens),
        ess=effective_share(mean_ratio, variance),
        chi2=tokens.mean("chi2"),
    )


def _std_of_squares(around: float, tokens: TokenSums) -> float | None:
    if tokens.count < 2:
        return None
    if tokens.constant:
        return 0.0
    variance = around / (tokens.count - 1)
    return math.sqrt(variance)


def _clamped(delta: Array) -> MismatchFields:
    """ESS and standard deviation (by n) of r held within `VERL_CLAMP`."""
    low, high = VERL_CLAMP
    log_low = math.log(low)
    log_high = math.log(high)
    held = delta.clip(log_low, log_high)
    above = np.expm1(held, out=held)
    mean = float(above.mean())
    above -= mean
    squares = float(above @ above)
    variance = squares / len(above)
    mean_ratio = 1 + mean
    return {
        "ess_token_clamped": effective_share(mean_ratio, variance),
        "ratio_std_clamped": math.sqrt(variance),
    }


def _ratio_quantile(delta: Array, q: float) -> float | None:
    """Quantile of exp(delta), linear between neighbours; None where one overflows.

    The exponential keeps the order, so two deltas suffice.
    """
    count = len(delta)
    at = q * (count - 1)
    below = math.floor(at)
    share = at - below
    rank = count - below
    delta_below, delta_above = _two_from_the_top(delta, rank, q)
    low = exp_or_none(delta_below)
    high = exp_or_none(delta_above)
    if low is None or high is None:
        return None
    return low + (high - low) * share


def _two_from_the_top(delta: Array, rank: int, q: float) -> tuple[float, float]:
    """The ``rank``-th largest delta and the one above it (itself for the largest).

    Only the upper tail is put in order; where it begins is read off every 64th value.
    """
    sample = np.sort(delta[::64])
    begin_share = max(0.0, q - 0.01)
    last = len(sample) - 1
    begin_place = int(begin_share * last)
    begin = sample[begin_place]
    is_in_tail = delta >= begin
    tail = delta[is_in_tail]
    if len(tail) < rank:
        tail = delta
    place = len(tail) - rank
    in_order = np.partition(tail, place)
    largest = in_order[place:]
    at_rank = float(largest[0])
    if rank == 1:
        return at_rank, at_rank
    above = largest[1:]
    return at_rank, float(above.min())


# ---- numbers of whole sequences


def _sequence_numbers(delta: Array, errors: Array, lengths: Array) -> MismatchFields:
    """``delta`` and ``errors`` (exp|delta| - 1) are f64[n], ``lengths`` int[S]."""
    counts, starts = filled_segments(lengths)
    size = np.abs(delta)
    log_ratio = np.add.reduceat(delta, starts)
    sum_of_errors = np.add.reduceat(errors, starts)
    sum_of_sizes = np.add.reduceat(size, starts)
    mult_error = 1 + sum_of_errors / counts
    mae = sum_of_sizes / counts
    weights = importance_weights(log_ratio)
    farthest = np.abs(log_ratio).max()
    return {
        "sequence_mae": _finite(mae.mean()),
        "chi2_sequence": weights.chi2,
        "ess_sequence": weights.ess,
        "log_ratio_sequence_mean": _finite(log_ratio.mean()),
        "log_ratio_sequence_std": standard_deviation(log_ratio),
        "log_ratio_sequence_max_abs": _finite(farthest),
        "sequence_mult_prob_error_mean": _finite(mult_error.mean()),
        "sequence_mult_prob_error_max": _finite(mult_error.max()),
        "sequence_mult_prob_error_min": _finite(mult_error.min()),
    }


def _finite(value: np.floating[Any]) -> float | None:
    return finite_or_none(float(value))


def _perplexities(
    delta: Array, logprob_a: Array, logprob_b: Array, lengths: Array
) -> MismatchFields:
    """Without the tokens that both sides call impossible; {} where there is no
    other.
    """
    possible_to_a = np.isfinite(logprob_a)
    possible_to_b = np.isfinite(logprob_b)
    possible = possible_to_a & possible_to_b
    if not possible.any():
        return {}
    if not possible.all():
        lengths = count_kept(possible, lengths)
        delta = delta[possible]
        logprob_a = logprob_a[possible]
        logprob_b = logprob_b[possible]
    counts, starts = filled_segments(lengths)
    sum_a = np.add.reduceat(logprob_a, starts, dtype=np.float64)
    sum_b = np.add.reduceat(logprob_b, starts, dtype=np.float64)
    sum_of_deltas = np.add.reduceat(delta, starts)
    log_a = -sum_a / counts
    log_b = -sum_b / counts
    difference = -sum_of_deltas / counts
    size = np.abs(difference)
    perplexity_a = np.exp(log_a)
    perplexity_b = np.exp(log_b)
    ratio = np.exp(difference)
    # Adding 0.0 turns -0.0 into 0.0.
    return {
        "ppl_a": _finite(perplexity_a.mean()),
        "ppl_b": _finite(perplexity_b.mean()),
        "log_ppl_a": _finite(log_a.mean() + 0.0),
        "log_ppl_b": _finite(log_b.mean() + 0.0),
        "log_ppl_diff_max": _finite(difference.max() + 0.0),
        "log_ppl_diff_min": _finite(difference.min() + 0.0),
        "ppl_ratio": _finite(ratio.mean()),
        "log_ppl_diff": _finite(difference.mean() + 0.0),
        "log_ppl_abs_diff": _finite(size.mean()),
    }
