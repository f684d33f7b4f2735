"""The numbers of a pair's JSON by dotted path: what each means, its unit, and what a
good value looks like.

One registry for all that name a metric in text: limits in the config file, `logdrift
check`, the published thresholds, `logdrift diff` and docs/metrics.md. A new number of
the schema is one line in `_ROWS`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logdrift.core.compare.part_names import part_unit, part_value
from logdrift.core.compare.usual import USUAL
from logdrift.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Name:
    """One number. ``perfect`` is its value where both sides agree exactly; None where
    agreement says nothing of it.
    """

    path: str
    unit: str
    perfect: float | None
    meaning: str
    good: str


SECTIONS = ("errors", "mismatch", "probability", "topk", "ci95", "floor", "coverage")
"""In order of preference: `mae` alone is errors.mae, not probability.mae."""

_ROWS: tuple[tuple[str, str, float | None, str, str], ...] = (
    (
        "tokens",
        "tokens",
        None,
        "tokens of the scope that both sides scored",
        "thousands; 0 means nothing was compared",
    ),
    (
        "sequences",
        "sequences",
        None,
        "sequences that both sides finished",
        "30 and more for an interval",
    ),
    ("errors.mean", "nats", 0, "mean of delta, signed", "near 0, far below the MAE"),
    (
        "errors.mae",
        "nats",
        0,
        "mean of |delta|",
        f"bfloat16: {USUAL['bfloat16'].words}; float32: {USUAL['float32'].words}",
    ),
    (
        "errors.rmse",
        "nats",
        0,
        "root of the mean of delta squared",
        "1.3 to 3 times the MAE",
    ),
    (
        "errors.pearson",
        "-1 to 1",
        1,
        "correlation of log p_A and log p_B",
        "above 0.999; below 0.99 is no rounding",
    ),
    (
        "errors.max_abs",
        "nats",
        0,
        "largest |delta|",
        "below 1 for some thousand tokens; tens are a fault",
    ),
    ("errors.min_abs", "nats", 0, "smallest |delta|", "0 or near it"),
    (
        "errors.std_abs",
        "nats",
        0,
        "standard deviation of |delta|",
        "0.8 to 3 times the MAE",
    ),
    ("errors.p50", "nats", 0, "median of |delta|", "below the MAE"),
    (
        "errors.p90",
        "nats",
        0,
        "|delta| that 1 token in 10 exceeds",
        "2 to 3 times the MAE",
    ),
    (
        "errors.p99",
        "nats",
        0,
        "|delta| that 1 token in 100 exceeds",
        "below 10 times the MAE",
    ),
    (
        "errors.p999",
        "nats",
        0,
        "|delta| that 1 token in 1000 exceeds",
        "below 30 times the MAE",
    ),
    (
        "errors.exact_fraction",
        "0 to 1",
        1,
        "share of tokens with delta exactly 0",
        "1 between repeats; 0 between engines",
    ),
    (
        "errors.infinite",
        "tokens",
        0,
        "tokens that one side alone calls impossible",
        "0; any other is a fault",
    ),
    (
        "probability.mae",
        "probability",
        0,
        "mean of |p_A - p_B|",
        "below 0.01; above it look for the cause",
    ),
    (
        "probability.max",
        "probability",
        0,
        "largest |p_A - p_B|",
        "below 0.3 for some thousand tokens",
    ),
    (
        "probability.std",
        "probability",
        0,
        "standard deviation of |p_A - p_B|",
        "1 to 2 times probability.mae",
    ),
    (
        "probability.rmse",
        "probability",
        0,
        "root of the mean of (p_A - p_B) squared",
        "1 to 3 times probability.mae",
    ),
    (
        "probability.mean",
        "probability",
        0,
        "mean of p_A - p_B, signed",
        "near 0, far below probability.mae",
    ),
    (
        "probability.pearson",
        "-1 to 1",
        1,
        "correlation of p_A and p_B",
        "above 0.999; below 0.99 look for the cause",
    ),
    ("probability.mult_prob_error", "ratio", 1, "mean of exp(|delta|)", "1 to 1.05"),
    (
        "mismatch.k1",
        "nats",
        0,
        "mean of -delta: KL(B||A) if B sampled the tokens",
        "near 0, of either sign",
    ),
    ("mismatch.k2", "nats", 0, "mean of half delta squared", "close to k3"),
    (
        "mismatch.k3",
        "nats",
        0,
        "mean of r - delta - 1: KL(B||A) if B sampled the tokens",
        "below 0.003; above 0.015 bad",
    ),
    (
        "mismatch.k3_reverse",
        "nats",
        0,
        "mean of 1/r + delta - 1: k3 with A and B exchanged",
        "close to k3",
    ),
    (
        "mismatch.k3_std",
        "nats",
        0,
        "standard deviation of r - delta - 1 over tokens",
        "below 10 times k3",
    ),
    (
        "mismatch.k3_max",
        "nats",
        0,
        "largest r - delta - 1 of a token",
        "below 0.5 for some thousand tokens",
    ),
    (
        "mismatch.chi2_token",
        "none",
        0,
        "mean of r squared, less 1",
        "-0.02 to 0.02; above 1 bad",
    ),
    (
        "mismatch.chi2_sequence",
        "none",
        0,
        "the same of whole sequences' ratios",
        "below 2; grows with length",
    ),
    (
        "mismatch.ess_token",
        "0 to 1",
        1,
        "effective sample size of token weights, as a share",
        "above 0.99; below 0.3 bad",
    ),
    (
        "mismatch.ess_sequence",
        "0 to 1",
        1,
        "the same of whole sequences' ratios",
        "above 0.5; falls with length",
    ),
    (
        "mismatch.ess_token_clamped",
        "0 to 1",
        1,
        "ess_token with r held within 0.5 to 2; never below 0.64",
        "above 0.99",
    ),
    (
        "mismatch.ppl_a",
        "perplexity",
        None,
        "mean over sequences of exp of their mean -log p_A",
        "close to ppl_b",
    ),
    (
        "mismatch.ppl_b",
        "perplexity",
        None,
        "mean over sequences of exp of their mean -log p_B",
        "close to ppl_a",
    ),
    (
        "mismatch.ppl_ratio",
        "ratio",
        1,
        "mean over sequences of perplexity of A over that of B",
        "0.99 to 1.01",
    ),
    (
        "mismatch.log_ppl_a",
        "nats",
        None,
        "mean over sequences of their mean -log p_A",
        "close to log_ppl_b",
    ),
    (
        "mismatch.log_ppl_b",
        "nats",
        None,
        "mean over sequences of their mean -log p_B",
        "close to log_ppl_a",
    ),
    (
        "mismatch.log_ppl_diff",
        "nats",
        0,
        "mean over sequences of log perplexity of A less that of B",
        "near 0",
    ),
    (
        "mismatch.log_ppl_abs_diff",
        "nats",
        0,
        "the same, of absolute values",
        "below errors.mae",
    ),
    (
        "mismatch.log_ppl_diff_max",
        "nats",
        0,
        "largest log perplexity of A less that of B",
        "below 0.05",
    ),
    (
        "mismatch.log_ppl_diff_min",
        "nats",
        0,
        "smallest log perplexity of A less that of B",
        "above -0.05",
    ),
    (
        "mismatch.ratio_mean",
        "ratio",
        1,
        "mean of r = exp(delta)",
        "0.99 to 1.01; below 0.5 or above 2 bad",
    ),
    (
        "mismatch.ratio_min",
        "ratio",
        1,
        "smallest r",
        "above 0.1 for some thousand tokens",
    ),
    (
        "mismatch.ratio_max",
        "ratio",
        1,
        "largest r",
        "below 10 for some thousand tokens",
    ),
    ("mismatch.ratio_p99", "ratio", 1, "r that 1 token in 100 exceeds", "below 1.3"),
    (
        "mismatch.ratio_std",
        "ratio",
        0,
        "standard deviation of r",
        "close to errors.rmse",
    ),
    (
        "mismatch.ratio_std_clamped",
        "ratio",
        0,
        "standard deviation of r held within 0.5 to 2",
        "close to ratio_std",
    ),
    (
        "mismatch.sequence_mae",
        "nats",
        0,
        "mean over sequences of their mean of |delta|",
        "close to errors.mae",
    ),
    (
        "mismatch.log_ratio_sequence_mean",
        "nats",
        0,
        "mean over sequences of the sum of delta",
        "near 0",
    ),
    (
        "mismatch.log_ratio_sequence_std",
        "nats",
        0,
        "standard deviation over sequences of the sum of delta",
        "below 1",
    ),
    (
        "mismatch.log_ratio_sequence_max_abs",
        "nats",
        0,
        "largest |sum of delta| of a sequence",
        "below 3",
    ),
    (
        "mismatch.sequence_mult_prob_error_mean",
        "ratio",
        1,
        "mean over sequences of their mean of exp(|delta|)",
        "1 to 1.05",
    ),
    (
        "mismatch.sequence_mult_prob_error_max",
        "ratio",
        1,
        "the same, of the worst sequence",
        "1 to 1.1",
    ),
    (
        "mismatch.sequence_mult_prob_error_min",
        "ratio",
        1,
        "the same, of the best sequence",
        "1 to 1.05",
    ),
    (
        "mismatch.clip_fraction.0.1",
        "0 to 1",
        0,
        "share of tokens with r outside [0.9, 1.1]",
        "below 0.15",
    ),
    (
        "mismatch.clip_fraction.0.2",
        "0 to 1",
        0,
        "share of tokens with r outside [0.8, 1.2]",
        "below 0.03",
    ),
    (
        "mismatch.clip_fraction.0.3",
        "0 to 1",
        0,
        "share of tokens with r outside [0.7, 1.3]",
        "below 0.01",
    ),
    (
        "mismatch.extreme_fraction.2",
        "0 to 1",
        0,
        "share of tokens with r or 1/r above 2",
        "below 0.001",
    ),
    (
        "mismatch.extreme_fraction.5",
        "0 to 1",
        0,
        "share of tokens with r or 1/r above 5",
        "0",
    ),
    (
        "mismatch.extreme_fraction.10",
        "0 to 1",
        0,
        "share of tokens with r or 1/r above 10",
        "0; any other is a fault",
    ),
    (
        "mismatch.js",
        "nats",
        0,
        "Jensen-Shannon divergence, estimated from the sampled tokens",
        "below 0.001",
    ),
    ("topk.k", "tokens", None, "most alternatives compared at a token", "20 and more"),
    (
        "topk.tokens",
        "tokens",
        None,
        "tokens where both sides have alternatives",
        "as many as tokens",
    ),
    (
        "topk.same_top1",
        "0 to 1",
        1,
        "share of tokens where both sides rank the same id first",
        "above 0.97",
    ),
    (
        "topk.overlap",
        "0 to 1",
        1,
        "mean share of the k alternatives that both sides have",
        "above 0.95",
    ),
    (
        "topk.ranked",
        "tokens",
        None,
        "tokens whose ranks can be compared",
        "as many as topk.tokens",
    ),
    (
        "topk.rank_flips",
        "0 to 1",
        0,
        "share of topk.ranked with another rank that no tie explains",
        "below 0.1",
    ),
    (
        "topk.kl_lower_bound_mean",
        "nats",
        0,
        "mean over tokens of what KL(B||A) is at least",
        "below 0.003",
    ),
    (
        "topk.kl_lower_bound_p99",
        "nats",
        0,
        "the bound that 1 token in 100 exceeds",
        "below 0.03",
    ),
    ("topk.kl_lower_bound_max", "nats", 0, "the largest bound", "below 0.1"),
    (
        "topk.kl_infinite",
        "tokens",
        0,
        "tokens where A calls impossible what B does not",
        "0; any other is a fault",
    ),
    (
        "topk.tail_mass_a",
        "probability",
        None,
        "mean probability that A gives to ids outside of its k",
        "below 0.1",
    ),
    (
        "topk.tail_mass_b",
        "probability",
        None,
        "mean probability that B gives to ids outside of its k",
        "as A's",
    ),
    *(
        (
            f"ci95.{metric}.{end}",
            "nats",
            0.0,
            f"{end} end of the 95% interval of {full}",
            f"as {full}",
        )
        for metric, full in (
            ("mae", "errors.mae"),
            ("rmse", "errors.rmse"),
            ("mean", "errors.mean"),
            ("k3", "mismatch.k3"),
        )
        for end in ("low", "high")
    ),
    (
        "ci95.units",
        "units",
        None,
        "sequences or blocks that were drawn from",
        "30 and more",
    ),
    ("ci95.resamples", "draws", None, "bootstrap draws", "2000"),
    (
        "floor.mae",
        "nats",
        0,
        "MAE between repeats: the larger of both sides",
        "0, or far below errors.mae",
    ),
    (
        "floor.rmse",
        "nats",
        0,
        "RMSE between repeats: the larger of both sides",
        "0, or far below errors.rmse",
    ),
    *(
        (f"floor.{side}.{metric}", unit, perfect, f"{meaning} between {what}", good)
        for side, what in (
            ("a", "repeats of A"),
            ("b", "repeats of B"),
            ("batch_a", "A alone and in a batch"),
            ("batch_b", "B alone and in a batch"),
        )
        for metric, unit, perfect, meaning, good in (
            ("mae", "nats", 0.0, "MAE", "0, or far below errors.mae"),
            ("rmse", "nats", 0.0, "RMSE", "0, or far below errors.rmse"),
            (
                "max_abs",
                "nats",
                0.0,
                "largest |delta|",
                "0, or far below errors.max_abs",
            ),
            ("tokens", "tokens", None, "finite deltas", "as many as tokens, or more"),
            (
                "infinite",
                "tokens",
                0.0,
                "tokens impossible in one alone",
                "0; any other is a fault",
            ),
        )
    ),
    (
        "coverage.nan",
        "tokens",
        0,
        "tokens whose score is NaN on a side, of any scope",
        "0; any other is a fault",
    ),
    (
        "coverage.nan_a",
        "tokens",
        0,
        "tokens whose score is NaN in A, of any scope",
        "0; any other is a fault",
    ),
    (
        "coverage.nan_b",
        "tokens",
        0,
        "tokens whose score is NaN in B, of any scope",
        "0; any other is a fault",
    ),
    (
        "coverage.unscored",
        "tokens",
        0,
        "tokens of the scope that one side alone scored",
        "0",
    ),
    (
        "coverage.unscored_a",
        "tokens",
        0,
        "tokens of the scope that B scored and A did not",
        "0",
    ),
    (
        "coverage.unscored_b",
        "tokens",
        0,
        "tokens of the scope that A scored and B did not",
        "0",
    ),
    (
        "coverage.unscored_fraction",
        "0 to 1",
        0,
        "coverage.unscored as a share of the tokens that a side scored",
        "0",
    ),
)

NAMES: Mapping[str, Name] = {path: Name(path, *rest) for path, *rest in _ROWS}  # type: ignore[arg-type]
METRICS: tuple[str, ...] = tuple(NAMES)


def resolve(text: str) -> str:
    """The path that ``text`` means: a full path, or its last parts (`mae`, `k3`,
    `clip_fraction.0.2`, `a.mae`).

    Where several paths end so, the one with the fewest parts wins, then the section
    that stands first in `SECTIONS`: `mae` is errors.mae, `pearson` errors.pearson, `k3`
    mismatch.k3. Numbers of parts (`logdrift.core.compare.part_names`) are named in
    full. Raises InputError with the nearest names for an unknown one, and with all that
    it could mean where that leaves a choice (`high`).
    """
    wanted = text.strip()
    if wanted in NAMES or part_unit(wanted) is not None:
        return wanted
    found = [
        path for path in METRICS if wanted[:1].isalpha() and path.endswith("." + wanted)
    ]
    if not found:
        raise InputError(f"metric {text!r} is unknown: {_hint(wanted)}")
    order = {
        path: (path.count("."), SECTIONS.index(path.split(".")[0])) for path in found
    }
    first = min(order.values())
    best = [path for path in found if order[path] == first]
    if len(best) > 1:
        raise InputError(f"metric {text!r} is ambiguous: write {' or '.join(best)}")
    return best[0]


def unit_of(path: str) -> str:
    """The unit of a metric, "" for what is none."""
    return NAMES[path].unit if path in NAMES else part_unit(path) or ""


def value_of(pair: Mapping[str, Any], path: str) -> float | None:
    """The number at ``path`` in a pair's JSON; None where a part of the path is missing
    or null, or not a finite number.

    `low` and `high` are the ends of an interval, which the JSON holds as a list of two.
    """
    if part_unit(path) is not None:
        return part_value(pair, path)
    node: Any = pair
    rest = path
    while rest:
        if isinstance(node, list | tuple):
            node = (
                node[("low", "high").index(rest)]
                if rest in ("low", "high") and len(node) == 2
                else None
            )
            break
        if not isinstance(node, Mapping):
            return None
        # A key can hold a dot itself (clip_fraction has "0.2"): the whole rest is tried
        # first.
        key, rest = (
            (rest, "")
            if rest in node
            else (rest.partition(".")[0], rest.partition(".")[2])
        )
        node = node.get(key)
    if (
        isinstance(node, bool)
        or not isinstance(node, int | float)
        or not math.isfinite(node)
    ):
        return None
    return float(node)


def _hint(wanted: str) -> str:
    text = wanted.lower()
    last = {path.rpartition(".")[2]: path for path in reversed(METRICS)}
    near = [path for path in METRICS if text and f".{text}" in path][:3]
    near = near or difflib.get_close_matches(text, METRICS, n=3, cutoff=0.75)
    # By its last part: both `mea` and `error.mea` are near errors.mae.
    near = near or [
        last[key]
        for key in difflib.get_close_matches(
            text.rpartition(".")[2], last, n=3, cutoff=0.6
        )
    ]
    return (
        f"did you mean {' or '.join(near)}?"
        if near
        else "docs/metrics.md lists them all"
    )
