"""What RL frameworks call the numbers of a pair: one table for `logdrift check`, which
takes their names, and for `logdrift.record`, which gives them.

Every spelling was read in the framework's source, at the commits that
`logdrift.core.compare.published` names, and of TRL at f2cd577. ``differs`` says where a
framework computes the number in another way: on one device, over tokens of one step,
the two are then not the same to the last digit. docs/metrics.md has the definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logdrift.core.errors import InputError


@dataclass(frozen=True, slots=True)
class FrameworkName:
    """``name``, in the spelling of ``framework``, is the metric at the path ``metric``
    (`logdrift.core.compare.metric`).
    """

    framework: str
    name: str
    metric: str
    differs: str = ""


_CLAMPED = "holds log ratios within 20 nats"
_TOKENS = "of tokens, before any truncation (rollout_is=token)"
_DEVICES = "averages over devices, so shorter batches weigh more"
_BATCH = "averages over micro-batches where there are several"


def _verl(name: str, metric: str, differs: str = "") -> FrameworkName:
    return FrameworkName("verl", name, metric, differs)


def _nemo(name: str, metric: str, differs: str = _BATCH) -> FrameworkName:
    return FrameworkName("NeMo-RL", name, metric, differs)


def _trl(name: str, metric: str, differs: str = _DEVICES) -> FrameworkName:
    return FrameworkName("TRL", f"sampling/{name}", metric, differs)


def _prime(name: str, metric: str, differs: str = "") -> FrameworkName:
    return FrameworkName("prime-rl", f"mismatch_kl/all/{name}", metric, differs)


def _skyrl(name: str, metric: str, differs: str = "") -> FrameworkName:
    path = f"policy/rollout_train_logprobs_abs_diff_{name}"
    return FrameworkName("SkyRL", path, metric, differs)


FRAMEWORK_NAMES: tuple[FrameworkName, ...] = (
    _verl("training/rollout_probs_diff_mean", "probability.mae"),
    _verl("training/rollout_probs_diff_max", "probability.max"),
    _verl("training/rollout_probs_diff_std", "probability.std"),
    _verl("training/rollout_actor_probs_pearson_corr", "probability.pearson"),
    _verl("rollout_corr/kl", "mismatch.k1"),
    _verl("rollout_corr/k3_kl", "mismatch.k3"),
    _verl("rollout_corr/training_ppl", "mismatch.ppl_a"),
    _verl("rollout_corr/rollout_ppl", "mismatch.ppl_b"),
    _verl("rollout_corr/training_log_ppl", "mismatch.log_ppl_a"),
    _verl("rollout_corr/rollout_log_ppl", "mismatch.log_ppl_b"),
    _verl("rollout_corr/log_ppl_diff", "mismatch.log_ppl_diff"),
    _verl("rollout_corr/log_ppl_abs_diff", "mismatch.log_ppl_abs_diff"),
    _verl("rollout_corr/log_ppl_diff_max", "mismatch.log_ppl_diff_max"),
    _verl("rollout_corr/log_ppl_diff_min", "mismatch.log_ppl_diff_min"),
    _verl("rollout_corr/ppl_ratio", "mismatch.ppl_ratio"),
    _verl("rollout_corr/chi2_token", "mismatch.chi2_token", _CLAMPED),
    _verl("rollout_corr/chi2_seq", "mismatch.chi2_sequence", _CLAMPED),
    _verl("rollout_corr/rollout_is_mean", "mismatch.ratio_mean", _TOKENS),
    _verl("rollout_corr/rollout_is_min", "mismatch.ratio_min", _TOKENS),
    _verl("rollout_corr/rollout_is_max", "mismatch.ratio_max", _TOKENS),
    _verl(
        "rollout_corr/rollout_is_std",
        "mismatch.ratio_std_clamped",
        "of tokens, and with its default threshold of 2",
    ),
    _verl(
        "rollout_corr/rollout_is_eff_sample_size",
        "mismatch.ess_token_clamped",
        "of tokens, and with its default threshold of 2",
    ),
    _nemo("token_mult_prob_error", "probability.mult_prob_error"),
    _nemo("gen_kl_error", "mismatch.k3", "k3, its default: k1 and k2 can be chosen"),
    _nemo("policy_kl_error", "mismatch.k3_reverse"),
    _nemo("js_divergence_error", "mismatch.js"),
    _nemo(
        "sampling_importance_ratio",
        "mismatch.ratio_mean",
        "before any correction is applied",
    ),
    _nemo("mean_seq_mult_prob_error", "mismatch.sequence_mult_prob_error_mean"),
    _nemo("max_seq_mult_prob_error", "mismatch.sequence_mult_prob_error_max"),
    _nemo("min_seq_mult_prob_error", "mismatch.sequence_mult_prob_error_min"),
    _trl("sampling_logp_difference/mean", "errors.mae"),
    _trl("sampling_logp_difference/max", "errors.max_abs", ""),
    _trl(
        "importance_sampling_ratio/mean",
        "mismatch.ratio_mean",
        "of tokens, before clipping: TRL prints it after, and of whole sequences by"
        " default",
    ),
    _prime("mean", "mismatch.k3"),
    _prime("std", "mismatch.k3_std"),
    _prime("max", "mismatch.k3_max"),
    _skyrl("mean", "errors.mae"),
    _skyrl("std", "errors.std_abs"),
    _skyrl("max", "errors.max_abs"),
    _skyrl("min", "errors.min_abs"),
    FrameworkName(
        framework="slime",
        name="train/train_rollout_logprob_abs_diff",
        metric="mismatch.sequence_mae",
        differs="over tokens with --calculate-per-token-loss",
    ),
    FrameworkName(
        framework="OpenRLHF",
        name="vllm_kl",
        metric="mismatch.k1",
    ),
    FrameworkName(
        framework="torchtitan",
        name="bit_wise/logprob_diff/mean",
        metric="errors.mean",
    ),
    FrameworkName(
        framework="torchtitan",
        name="bit_wise/logprob_diff/max",
        metric="errors.max_abs",
    ),
)

FRAMEWORKS: tuple[str, ...] = tuple(
    dict.fromkeys(row.framework for row in FRAMEWORK_NAMES)
)


_SHORT = {
    "mismatch_kl": "mismatch_kl/all/mean",
    "sampling_logp_difference": "sampling/sampling_logp_difference/mean",
    "rollout_train_logprobs_abs_diff": "policy/rollout_train_logprobs_abs_diff_mean",
}
"""What people say for the mean."""


def plain_name(framework: str) -> str:
    """A framework's name by its letters and digits: `nemo_rl` and `NeMo-RL` are one."""
    letters = filter(str.isalnum, framework.lower())
    return "".join(letters)


def names_of(framework: str) -> Sequence[FrameworkName]:
    """The names of one framework. InputError for one that is not in the table."""
    plain = plain_name(framework)
    rows = [row for row in FRAMEWORK_NAMES if plain_name(row.framework) == plain]
    if rows:
        return rows
    known = ", ".join(FRAMEWORKS)
    raise InputError(f"framework {framework!r} is unknown", remedy=f"use {known}")


def framework_name(text: str) -> FrameworkName | None:
    """The row that ``text`` means: a full name, its last part, or either behind
    ``FRAMEWORK:``; None where no framework has such a name. A last part of one word
    (`kl`, `mean`) means too many things: it needs its framework.

    W&B shows NeMo-RL's below ``train/``: that is left out. Raises InputError where two
    frameworks mean two numbers by it.
    """
    framework, colon, name = text.rpartition(":")
    rows: Sequence[FrameworkName] = FRAMEWORK_NAMES
    if colon:
        rows = names_of(framework)
    name = name.strip()
    found = _called(name, rows, any_word=bool(colon))
    metrics = {row.metric for row in found}
    if len(metrics) > 1:
        choices = [f"{row.framework}:{row.name}" for row in found]
        raise InputError(f"{text!r} is ambiguous: write {' or '.join(choices)}")
    if found:
        return found[0]
    if colon:
        names = ", ".join(row.name for row in rows)
        raise InputError(f"{framework} has no number {name!r}", remedy=f"use {names}")
    return None


def _called(
    name: str, rows: Sequence[FrameworkName], *, any_word: bool
) -> Sequence[FrameworkName]:
    full = _SHORT.get(name, name)
    found = [row for row in rows if row.name == full]
    if found:
        return found
    last = name.removeprefix("train/")
    if "_" not in last and not any_word:
        return ()
    return [row for row in rows if _ends_in(row, last)]


def _ends_in(row: FrameworkName, last: str) -> bool:
    if row.name == last:
        return True
    return row.name.endswith(f"/{last}")
