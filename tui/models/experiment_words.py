"""What the change of an experiment does, in plain words, and what it can tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from logdrift.core.diagnose.causes import BY_CODE, NOISE
from logdrift.core.diagnose.experiments import Experiment

_HEAD = "the head computes its logits in float32"
_ON_DISK = "the engine takes the model's configuration as it is on disk"
_ATTENTION = "attention is computed by another kernel"
_PLAIN = "nothing is compiled: every operation runs by itself"
_NO_GRAPHS = "no CUDA graphs are replayed"
_INVARIANT = "kernels whose results do not depend on the batch"
_UNCHUNKED = "each prompt is computed in one pass, not in chunks"
_ONE_GPU = "one GPU computes the whole model"
_NO_DRAFT = "no draft model proposes tokens"
_NO_TF32 = "matrix products in full float32, not in TF32"

CHANGES: Mapping[str, str] = {
    "logprobs_mode": "log-probabilities of the raw logits, not of the sampler's",
    "path=prefill": "the same ids are scored in one pass, not token by token",
    "path=forced_decode": "the same ids are decoded one by one, not in one pass",
    "hf_overrides": _ON_DISK,
    "json_model_override_args": _ON_DISK,
    'hf_overrides={"head_dtype": "float32"}': _HEAD,
    "enable_fp32_lm_head": _HEAD,
    "head_dtype": _HEAD,
    "model_impl": "the engine runs Transformers' code of the model",
    "dtype=float32": "weights and arithmetic in float32",
    "dtype=float16": "weights and arithmetic in float16",
    "attention_backend": _ATTENTION,
    "attn_implementation": _ATTENTION,
    "attn_implementation=eager": "attention in plain PyTorch operations, one by one",
    'compilation_config={"mode": 0}': _PLAIN,
    "enforce_eager=true": _PLAIN,
    "enforce_eager=false": "the model is compiled by inductor",
    "enable_torch_compile": _PLAIN,
    "compile=false": _PLAIN,
    "compile=true": "the model is compiled by inductor",
    "SGLANG_FORCE_FUSED_OP_BACKEND": "fused operations in plain PyTorch",
    "use_kernels": "no kernels from the hub",
    'compilation_config={"cudagraph_mode": "NONE"}': _NO_GRAPHS,
    "disable_cuda_graph": _NO_GRAPHS,
    "alone=true": "each sequence in a batch of its own: it has no neighbours",
    "alone=false": "the sequences of a part together in one batch",
    "VLLM_BATCH_INVARIANT": _INVARIANT,
    "enable_deterministic_inference": _INVARIANT,
    "batch_tokens": "the scorer computes fewer rows at a time",
    "oom_rows": "the scorer behaves as if more rows did not fit into memory",
    "hidden_states": "hidden states go to main memory and back",
    "device_map": "the layers lie on several devices",
    "enable_chunked_prefill": _UNCHUNKED,
    "chunked_prefill_size": _UNCHUNKED,
    "warm_prefix_cache": "each prompt is in the prefix cache before it is scored",
    "kv_cache_dtype": "the KV cache is kept in the compute dtype",
    "tensor_parallel_size": _ONE_GPU,
    "tp_size": _ONE_GPU,
    'compilation_config={"custom_ops": ["none"]}': "norms and RoPE in plain PyTorch",
    "rl_on_policy_target": "head, norms and RoPE as a trainer computes them",
    "VLLM_FLOAT32_MATMUL_PRECISION": _NO_TF32,
    "enable_tf32_matmul": _NO_TF32,
    "speculative_config": _NO_DRAFT,
    "speculative_algorithm": _NO_DRAFT,
}
"""By an option with its value, or by the option alone for all of its values."""


def change_words(name: str, value: Any) -> str:
    """What setting an option does; "" for one that is not known."""
    text = value
    if not isinstance(value, str):
        text = json.dumps(value)
    return CHANGES.get(f"{name}={text}") or CHANGES.get(name, "")


def what_it_does(experiment: Experiment) -> str:
    """A sentence for the changes of all sides; "" where none is known."""
    words: dict[str, None] = {}
    for side in experiment.sides:
        for name, value in side.changes.items():
            words[change_words(name, value)] = None
    sentence = "; ".join(filter(None, words))
    if not sentence:
        return ""
    return f"{sentence[:1].upper()}{sentence[1:]}."


def what_it_tells(experiment: Experiment) -> str:
    """What its outcome can show."""
    if experiment.still:
        return "No number may move: one that does is a fault of the scorer."
    cause = cause_title(experiment.proves or experiment.cause)
    if experiment.combined:
        return f"More than one thing changes, so it is a hint at most: {cause}."
    return f"If the gap goes, {cause} is proven; if it stays, it is refuted."


def cause_title(code: str) -> str:
    """The name of a cause as the why screen has it."""
    if code == NOISE:
        return "numerical noise"
    cause = BY_CODE.get(code)
    if cause is None:
        return code
    return cause.title
