"""Published limits: what each framework calls normal, on that framework's own
definition of its metric.

Every limit was read in the source that it names, at the commit in brackets. None of
them agree, and few measure the same thing: docs/metrics.md says which number equals
which. A new limit is one entry of `PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from logdrift.core.compare.metric import SECTIONS, unit_of
from logdrift.core.compare.names import value_of
from logdrift.core.compare.part_names import leaves_out_infinite, part_unit

Level = Literal["normal", "fault", "exact", "other", "own"]
"""What a limit says of a value within and outside.

normal: within is what the framework calls normal. fault: outside, it speaks of a fault,
or its tests fail. exact: holds only where trainer and engine run in a bitwise or
deterministic mode. other: published for another comparison than A against B, so it is
shown and never judged. own: the user's.
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """One bar. ``low`` and ``high`` are in the unit of ``metric``, both ends allowed;
    None is open.

    ``name`` is the framework's own, ``metric`` a path of `logdrift.core.compare.names`.
    ``scope`` is what the framework computes it over; None judges every scope.
    """

    framework: str
    name: str
    metric: str
    low: float | None
    high: float | None
    level: Level
    meaning: str
    source: str
    scope: str | None = "completion"

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (
            self.high is None or value <= self.high
        )


def evaluate(
    pair: Mapping[str, Any], limits: Iterable[Limit] | None = None
) -> list[dict[str, Any]]:
    """`thresholds` of a pair's JSON, from the rest of that JSON; ``limits`` None means
    `PUBLISHED`.

    ``pair["decomposition"]`` is that of the pair, where a limit asks for it.

    ``ok`` is None where the limit cannot be judged, and ``note`` says why: the number
    or the scope is another, the gate says not comparable, or the number leaves
    impossible tokens or NaN out. ``limit`` is the upper end.
    """
    return [_judged(pair, limit) for limit in (PUBLISHED if limits is None else limits)]


def _judged(pair: Mapping[str, Any], limit: Limit) -> dict[str, Any]:
    value = value_of(pair, limit.metric)
    note = _why_not(pair, limit, value)
    return {
        "framework": limit.framework,
        "name": limit.name,
        "metric": limit.metric,
        "value": value,
        "low": limit.low,
        "limit": limit.high,
        "ok": limit.holds(value) if value is not None and note is None else None,
        "level": limit.level,
        "unit": unit_of(limit.metric),
        "meaning": limit.meaning,
        "source": limit.source,
        "note": note,
    }


def _why_not(pair: Mapping[str, Any], limit: Limit, value: float | None) -> str | None:
    if limit.level == "other":
        return "published for another comparison"
    if value is None:
        return "not computed for this pair"
    if (pair.get("gate") or {}).get("verdict") == "not_comparable":
        return "the pair is not comparable, so its numbers mean nothing"
    scope = pair.get("scope")
    if limit.scope is not None and scope != limit.scope:
        return f"published for the {limit.scope}; these are the tokens of scope {scope}"
    left_out = _left_out(pair, limit.metric)
    # A value within the limit then proves nothing; one outside is outside anyway.
    if left_out and limit.holds(value):
        return f"leaves out {left_out:.0f} tokens that one side calls impossible"
    broken = value_of(pair, "coverage.nan")
    # A check has a line of its own for these, as it has for the gate, and asks without
    # one.
    if (
        broken
        and pair.get("gate")
        and limit.holds(value)
        and not limit.metric.startswith("coverage.")
    ):
        return f"leaves out {broken:.0f} tokens that are NaN"
    return None


def _left_out(pair: Mapping[str, Any], metric: str) -> float | None:
    """How many tokens the metric says nothing about, because they would make it
    infinite.
    """
    section = metric.partition(".")[0]
    if part_unit(metric) is not None:
        return (
            value_of(pair, "errors.infinite") if leaves_out_infinite(metric) else None
        )
    if section == "topk":
        return (
            value_of(pair, "topk.kl_infinite") if "kl_lower_bound" in metric else None
        )
    if section == "probability" and metric != "probability.mult_prob_error":
        return None
    if (
        section not in SECTIONS
        or section == "coverage"
        or metric in ("errors.infinite", "errors.exact_fraction")
    ):
        return None
    return value_of(pair, "errors.infinite")


_VERL_FAQ = "volcengine/verl: docs/faq/faq.rst, verl/utils/debug/metrics.py (b178a3c)"
_VERL_CORR = (
    "volcengine/verl: docs/algo/rollout_corr.md,"
    " verl/trainer/ppo/rollout_corr_helper.py (b178a3c)"
)
_NEMO_GRPO = (
    "NVIDIA-NeMo/RL: docs/guides/grpo.md, nemo_rl/algorithms/loss/loss_functions.py"
    " (7ea279a)"
)
_MILES_LOSS = "miles/backends/training_utils/loss_hub/losses.py"

PUBLISHED: tuple[Limit, ...] = (
    Limit(
        "verl",
        "training/rollout_probs_diff_mean",
        "probability.mae",
        None,
        0.005,
        "normal",
        "Mean absolute difference of probabilities, not of log-probabilities: normally"
        " below 0.005.",
        _VERL_FAQ,
    ),
    Limit(
        "verl",
        "training/rollout_probs_diff_mean",
        "probability.mae",
        None,
        0.01,
        "fault",
        "The same number: above 0.01 it is a precision problem of the inference"
        " engine.",
        _VERL_FAQ,
    ),
    Limit(
        "verl",
        "rollout_corr/rollout_is_mean",
        "mismatch.ratio_mean",
        0.5,
        2.0,
        "fault",
        "Mean importance ratio over tokens: outside 0.5 to 2 the rollout is far"
        " off-policy.",
        _VERL_CORR,
    ),
    Limit(
        "verl",
        "rollout_corr/rollout_is_eff_sample_size",
        "mismatch.ess_token_clamped",
        0.3,
        None,
        "fault",
        "Effective sample size of ratios clamped to 0.5 to 2 (the default threshold);"
        " so clamped it cannot fail.",
        _VERL_CORR,
    ),
    Limit(
        "verl",
        "rollout_corr/rollout_is_std",
        "mismatch.ratio_std_clamped",
        None,
        1.0,
        "fault",
        "Standard deviation of ratios clamped to 0.5 to 2 (the default threshold); so"
        " clamped it cannot fail.",
        _VERL_CORR,
    ),
    Limit(
        "verl",
        "rollout_corr/kl",
        "mismatch.k1",
        -0.1,
        0.1,
        "fault",
        "Mean of log p rollout - log p trainer, signed: beyond 0.1 either way the gap"
        " is significant.",
        _VERL_CORR,
    ),
    Limit(
        "verl",
        "rollout_corr/chi2_token",
        "mismatch.chi2_token",
        None,
        1.0,
        "fault",
        "Mean squared ratio less 1: above 1 the distributions are severely apart.",
        _VERL_CORR,
    ),
    Limit(
        "slime",
        "train/train_rollout_logprob_abs_diff",
        "mismatch.sequence_mae",
        None,
        0.1,
        "fault",
        "Mean over sequences of their mean |delta|: the runs of its own tests fail"
        " above 0.1.",
        "THUDM/slime: slime/backends/megatron_utils/model.py, loss.py,"
        " slime/utils/arguments.py (624b824)",
    ),
    Limit(
        "slime",
        "train/train_rollout_logprob_abs_diff",
        "mismatch.sequence_mae",
        None,
        1e-6,
        "exact",
        "The same number where trainer and engine are deterministic: below 1e-6.",
        "THUDM/slime: docs/en/advanced/reproducibility.md (624b824)",
    ),
    Limit(
        "miles",
        "rollout/rollout_log_probs - rollout/log_probs",
        "mismatch.log_ppl_diff",
        -0.03,
        0.03,
        "fault",
        "Difference of the two means over sequences, signed, no mean of |delta|: its"
        " tests fail beyond 0.03.",
        "radixark/miles: docs/developer/debug.md,"
        " miles/backends/training_utils/log_utils.py (31f1ca9)",
    ),
    Limit(
        "miles",
        "train/train_rollout_logprob_abs_diff",
        "mismatch.sequence_mae",
        0.0,
        0.0,
        "exact",
        "Mean over sequences of their mean |delta|: exactly 0 in its true on-policy"
        " mode.",
        f"radixark/miles: docs/examples/infra-features/true-on-policy.md, {_MILES_LOSS}"
        " (31f1ca9)",
    ),
    Limit(
        "miles",
        "KL at step 1, jitter",
        "mismatch.k1",
        None,
        1e-4,
        "other",
        "Actor against reference model with equal weights, both in the trainer: below"
        " 1e-4 is jitter of kernels.",
        "radixark/miles: docs/developer/debug.md (31f1ca9)",
    ),
    Limit(
        "miles",
        "KL at step 1, configuration",
        "mismatch.k1",
        None,
        1.0,
        "other",
        "Actor against reference model with equal weights: above 1 is an error of"
        " configuration.",
        "radixark/miles: docs/developer/debug.md (31f1ca9)",
    ),
    Limit(
        "NeMo-RL",
        "token_mult_prob_error",
        "probability.mult_prob_error",
        None,
        1.05,
        "fault",
        "Mean of exp(|delta|) over tokens: above 1.05 it asks for an investigation, and"
        " its tests fail.",
        "NVIDIA-NeMo/RL: docs/adding-new-models.md,"
        " nemo_rl/algorithms/loss/loss_functions.py (7ea279a)",
    ),
    Limit(
        "NeMo-RL",
        "gen_kl_error",
        "mismatch.k3",
        None,
        1e-3,
        "normal",
        "k3 of KL(rollout||trainer) over tokens: below 0.001 is acceptable.",
        _NEMO_GRPO,
    ),
    Limit(
        "NeMo-RL",
        "policy_kl_error",
        "mismatch.k3_reverse",
        None,
        1e-3,
        "normal",
        "k3 with trainer and rollout exchanged, on the same tokens: below 0.001 is"
        " acceptable.",
        _NEMO_GRPO,
    ),
    Limit(
        "NeMo-RL",
        "js_divergence_error",
        "mismatch.js",
        None,
        1e-3,
        "normal",
        "Jensen-Shannon divergence, estimated from the sampled tokens: below 0.001 is"
        " acceptable.",
        _NEMO_GRPO,
    ),
    Limit(
        "prime-rl",
        "mismatch_kl/all/mean",
        "mismatch.k3",
        None,
        0.015,
        "fault",
        "k3 of KL(rollout||trainer) over tokens: a new model is merged only if it stays"
        " below 0.015 for 20 steps.",
        "PrimeIntellect-ai/prime-rl: docs/development.md,"
        " src/prime_rl/trainer/rl/loss.py (559b447)",
    ),
    Limit(
        "SkyRL",
        "logprob diff mean, Megatron against vLLM",
        "errors.mae",
        None,
        0.05,
        "fault",
        "Mean |delta| over tokens: its tests of models with real weights fail from"
        " 0.05.",
        "NovaSky-AI/SkyRL:"
        " tests/backends/skyrl_train/gpu/gpu_ci/megatron/test_megatron_models.py"
        " (a956457)",
    ),
    Limit(
        "torchtitan",
        "bit_wise/logprob_diff/max",
        "errors.max_abs",
        0.0,
        0.0,
        "exact",
        "Largest |delta|: exactly 0 in its batch-invariant mode.",
        "pytorch/torchtitan: torchtitan/experiments/rl/docs/bitwise_parity.md,"
        " losses/dapo.py (b5bcd76)",
    ),
    Limit(
        "torchtitan",
        "test_bitwise_parity",
        "errors.exact_fraction",
        1.0,
        None,
        "exact",
        "All log-probabilities bitwise equal, in its batch-invariant mode.",
        "pytorch/torchtitan: torchtitan/experiments/rl/tests/test_bitwise_parity.py"
        " (b5bcd76)",
    ),
)
