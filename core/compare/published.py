"""Published limits: what each framework calls normal, on that framework's own
definition of its metric.

Every limit was read in the source that it names, at the commit in brackets. None of
them agree, and few measure the same thing: docs/metrics.md says which number equals
which. A new limit is one entry of `PUBLISHED`.
"""

from __future__ import annotations

from logdrift.core.compare.limits import Limit

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
        framework="verl",
        name="training/rollout_probs_diff_mean",
        metric="probability.mae",
        low=None,
        high=0.005,
        level="normal",
        meaning=(
            "Mean absolute difference of probabilities, not of log-probabilities:"
            " normally below 0.005."
        ),
        source=_VERL_FAQ,
    ),
    Limit(
        framework="verl",
        name="training/rollout_probs_diff_mean",
        metric="probability.mae",
        low=None,
        high=0.01,
        level="fault",
        meaning=(
            "The same number: above 0.01 it is a precision problem of the inference"
            " engine."
        ),
        source=_VERL_FAQ,
    ),
    Limit(
        framework="verl",
        name="rollout_corr/rollout_is_mean",
        metric="mismatch.ratio_mean",
        low=0.5,
        high=2.0,
        level="fault",
        meaning=(
            "Mean importance ratio over tokens: outside 0.5 to 2 the rollout is far"
            " off-policy."
        ),
        source=_VERL_CORR,
    ),
    Limit(
        framework="verl",
        name="rollout_corr/rollout_is_eff_sample_size",
        metric="mismatch.ess_token_clamped",
        low=0.3,
        high=None,
        level="fault",
        meaning=(
            "Effective sample size of ratios clamped to 0.5 to 2 (the default"
            " threshold); so clamped it cannot fail."
        ),
        source=_VERL_CORR,
    ),
    Limit(
        framework="verl",
        name="rollout_corr/rollout_is_std",
        metric="mismatch.ratio_std_clamped",
        low=None,
        high=1.0,
        level="fault",
        meaning=(
            "Standard deviation of ratios clamped to 0.5 to 2 (the default threshold);"
            " so clamped it cannot fail."
        ),
        source=_VERL_CORR,
    ),
    Limit(
        framework="verl",
        name="rollout_corr/kl",
        metric="mismatch.k1",
        low=-0.1,
        high=0.1,
        level="fault",
        meaning=(
            "Mean of log p rollout - log p trainer, signed: beyond 0.1 either way the"
            " gap is significant."
        ),
        source=_VERL_CORR,
    ),
    Limit(
        framework="verl",
        name="rollout_corr/chi2_token",
        metric="mismatch.chi2_token",
        low=None,
        high=1.0,
        level="fault",
        meaning=(
            "Mean squared ratio less 1: above 1 the distributions are severely apart."
        ),
        source=_VERL_CORR,
    ),
    Limit(
        framework="slime",
        name="train/train_rollout_logprob_abs_diff",
        metric="mismatch.sequence_mae",
        low=None,
        high=0.1,
        level="fault",
        meaning=(
            "Mean over sequences of their mean |delta|: the runs of its own tests fail"
            " above 0.1."
        ),
        source=(
            "THUDM/slime: slime/backends/megatron_utils/model.py, loss.py,"
            " slime/utils/arguments.py (624b824)"
        ),
    ),
    Limit(
        framework="slime",
        name="train/train_rollout_logprob_abs_diff",
        metric="mismatch.sequence_mae",
        low=None,
        high=1e-6,
        level="exact",
        meaning=(
            "The same number where trainer and engine are deterministic: below 1e-6."
        ),
        source="THUDM/slime: docs/en/advanced/reproducibility.md (624b824)",
    ),
    Limit(
        framework="miles",
        name="rollout/rollout_log_probs - rollout/log_probs",
        metric="mismatch.log_ppl_diff",
        low=-0.03,
        high=0.03,
        level="fault",
        meaning=(
            "Difference of the two means over sequences, signed, no mean of |delta|:"
            " its tests fail beyond 0.03."
        ),
        source=(
            "radixark/miles: docs/developer/debug.md,"
            " miles/backends/training_utils/log_utils.py (31f1ca9)"
        ),
    ),
    Limit(
        framework="miles",
        name="train/train_rollout_logprob_abs_diff",
        metric="mismatch.sequence_mae",
        low=0.0,
        high=0.0,
        level="exact",
        meaning=(
            "Mean over sequences of their mean |delta|: exactly 0 in its true on-policy"
            " mode."
        ),
        source=(
            "radixark/miles: docs/examples/infra-features/true-on-policy.md,"
            f" {_MILES_LOSS} (31f1ca9)"
        ),
    ),
    Limit(
        framework="miles",
        name="KL at step 1, jitter",
        metric="mismatch.k1",
        low=None,
        high=1e-4,
        level="other",
        meaning=(
            "Actor against reference model with equal weights, both in the trainer:"
            " below 1e-4 is jitter of kernels."
        ),
        source="radixark/miles: docs/developer/debug.md (31f1ca9)",
    ),
    Limit(
        framework="miles",
        name="KL at step 1, configuration",
        metric="mismatch.k1",
        low=None,
        high=1.0,
        level="other",
        meaning=(
            "Actor against reference model with equal weights: above 1 is an error of"
            " configuration."
        ),
        source="radixark/miles: docs/developer/debug.md (31f1ca9)",
    ),
    Limit(
        framework="NeMo-RL",
        name="token_mult_prob_error",
        metric="probability.mult_prob_error",
        low=None,
        high=1.05,
        level="fault",
        meaning=(
            "Mean of exp(|delta|) over tokens: above 1.05 it asks for an investigation,"
            " and its tests fail."
        ),
        source=(
            "NVIDIA-NeMo/RL: docs/adding-new-models.md,"
            " nemo_rl/algorithms/loss/loss_functions.py (7ea279a)"
        ),
    ),
    Limit(
        framework="NeMo-RL",
        name="gen_kl_error",
        metric="mismatch.k3",
        low=None,
        high=1e-3,
        level="normal",
        meaning="k3 of KL(rollout||trainer) over tokens: below 0.001 is acceptable.",
        source=_NEMO_GRPO,
    ),
    Limit(
        framework="NeMo-RL",
        name="policy_kl_error",
        metric="mismatch.k3_reverse",
        low=None,
        high=1e-3,
        level="normal",
        meaning=(
            "k3 with trainer and rollout exchanged, on the same tokens: below 0.001 is"
            " acceptable."
        ),
        source=_NEMO_GRPO,
    ),
    Limit(
        framework="NeMo-RL",
        name="js_divergence_error",
        metric="mismatch.js",
        low=None,
        high=1e-3,
        level="normal",
        meaning=(
            "Jensen-Shannon divergence, estimated from the sampled tokens: below 0.001"
            " is acceptable."
        ),
        source=_NEMO_GRPO,
    ),
    Limit(
        framework="prime-rl",
        name="mismatch_kl/all/mean",
        metric="mismatch.k3",
        low=None,
        high=0.015,
        level="fault",
        meaning=(
            "k3 of KL(rollout||trainer) over tokens: a new model is merged only if it"
            " stays below 0.015 for 20 steps."
        ),
        source=(
            "PrimeIntellect-ai/prime-rl: docs/development.md,"
            " src/prime_rl/trainer/rl/loss.py (559b447)"
        ),
    ),
    Limit(
        framework="SkyRL",
        name="logprob diff mean, Megatron against vLLM",
        metric="errors.mae",
        low=None,
        high=0.05,
        level="fault",
        meaning=(
            "Mean |delta| over tokens: its tests of models with real weights fail from"
            " 0.05."
        ),
        source=(
            "NovaSky-AI/SkyRL:"
            " tests/backends/skyrl_train/gpu/gpu_ci/megatron/test_megatron_models.py"
            " (a956457)"
        ),
    ),
    Limit(
        framework="torchtitan",
        name="bit_wise/logprob_diff/max",
        metric="errors.max_abs",
        low=0.0,
        high=0.0,
        level="exact",
        meaning="Largest |delta|: exactly 0 in its batch-invariant mode.",
        source=(
            "pytorch/torchtitan: torchtitan/experiments/rl/docs/bitwise_parity.md,"
            " losses/dapo.py (b5bcd76)"
        ),
    ),
    Limit(
        framework="torchtitan",
        name="test_bitwise_parity",
        metric="errors.exact_fraction",
        low=1.0,
        high=None,
        level="exact",
        meaning="All log-probabilities bitwise equal, in its batch-invariant mode.",
        source=(
            "pytorch/torchtitan: torchtitan/experiments/rl/tests/test_bitwise_parity.py"
            " (b5bcd76)"
        ),
    ),
)
