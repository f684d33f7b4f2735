"""Facts of a running `sgl.Engine`: what its scheduler says of itself, and what this
process resolved for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from logdrift.core.engines import ENGINES
from logdrift.core.facts import Facts, LogprobSemantics
from logdrift.core.plan import SamplingSpec
from logdrift.core.worker import observe

EXTRA = (
    "sampling_backend",
    "disable_overlap_schedule",
    "max_total_num_tokens",
    "max_prefill_tokens",
    "random_seed",
    "rl_on_policy_target",
    "enable_mixed_chunk",
    "enable_tf32_matmul",
    "model_impl",
    "speculative_algorithm",
    "page_size",
    "dp_size",
    "pp_size",
    "enable_dp_attention",
    "load_format",
)


def facts_of(
    state: Mapping[str, Any],
    config: Any,
    sampling: SamplingSpec,
    limit: int,
    *,
    decodes: bool,
) -> Facts:
    """``state`` is `get_server_info` with the scheduler's internal state over it,
    ``config`` SGLang's resolved ModelConfig, ``limit`` the longest sequence it scores,
    ``decodes`` whether the plan samples with this engine.
    """
    versions = observe.versions("sglang", ENGINES["sglang"].distributions)
    device = observe.device(state["device"])
    device["threads"] = None  # those of the scheduler, which does not show them
    environment = observe.environment()
    environment.pop("SGLANG_RUN_ID", None)  # drawn at random on each start
    facts = Facts(
        **versions,
        **device,
        model_class=_model_class(config),
        max_length=limit,
        vocab_size=int(config.vocab_size),
        config_overrides=_overrides(state.get("json_model_override_args")),
        environment=environment,
    )
    dtype = observe.dtype_name(config.dtype)
    quantization = config.quantization or "none"
    facts = with_numerics(facts, state, dtype, quantization)
    facts = with_scheduling(facts, state)
    extra: dict[str, Any] = {name: state[name] for name in EXTRA if name in state}
    extra["cache_flushed"] = "before each part"
    extra["seeding"] = seeding_of(state) if decodes else None
    facts = facts._replace(prefill_logprobs="raw", rank_counts="strict", extra=extra)
    if not decodes:
        return facts
    return facts._replace(
        decode_logprobs=_decode_semantics(sampling, environment),
        temperature=sampling.temperature,
    )


def with_numerics(
    facts: Facts,
    state: Mapping[str, Any],
    dtype: str | None,
    quantization: str | None,
) -> Facts:
    """``facts`` with what the numbers are computed and kept in; ``dtype`` and
    ``quantization`` (``none`` where there is none) are None where they are not known.
    """
    rounded = _logits_dtype(state, dtype, quantization)
    kv_cache = state.get("kv_cache_dtype")
    return facts._replace(
        dtype=dtype,
        head_dtype=rounded,
        logits_dtype=rounded,
        quantization=quantization,
        kv_cache_dtype=_kv_dtype(kv_cache, dtype, quantization),
        attention_backend=_attention(state),
        execution_mode=_execution(state),
        batch_invariant=state.get("enable_deterministic_inference"),
    )


def with_scheduling(facts: Facts, state: Mapping[str, Any]) -> Facts:
    """``facts`` with how sequences are cached, cut and put together."""
    chunk = state.get("chunked_prefill_size")
    chunked_prefill = None
    chunk_size = None
    if isinstance(chunk, int):
        chunked_prefill = chunk > 0
        chunk_size = chunk if chunked_prefill else None
    return facts._replace(
        prefix_cache=_inverted(state.get("disable_radix_cache")),
        chunked_prefill=chunked_prefill,
        chunk_size=chunk_size,
        padding="none",
        max_batch_sequences=state.get("effective_max_running_requests_per_dp"),
        tensor_parallel=state.get("tp_size"),
    )


def _logits_dtype(
    state: Mapping[str, Any], dtype: str | None, quantization: str | None
) -> str | None:
    """The dtype to which the head rounds (layers/logits_processor.py): float32 only
    where asked; logits are widened after that. None: not known.
    """
    if quantization != "none" or state.get("rl_on_policy_target"):
        return None  # that mode has rounding of its own
    if state.get("enable_fp32_lm_head"):
        return "float32"
    return dtype


def _decode_semantics(
    sampling: SamplingSpec, environment: Mapping[str, str]
) -> LogprobSemantics:
    """layers/sampler.py: penalties enter whatever the mode, temperature unless greedy
    or switched off.
    """
    if sampling.repetition_penalty != 1.0:
        return "processed"
    is_greedy = sampling.temperature == 0.0 or sampling.top_k == 1
    has_temperature = not is_greedy and sampling.temperature != 1.0
    switch = environment.get("SGLANG_RETURN_ORIGINAL_LOGPROB", "")
    is_switched_off = switch.lower() in ("1", "true")
    if has_temperature and not is_switched_off:
        return "temperature_scaled"
    return "raw"


def context_length(arguments: Mapping[str, Any]) -> int | None:
    """How many positions the model has, as SGLang will read its config; None where that
    cannot be known beforehand.
    """
    try:
        from sglang.srt.utils.hf_transformers import (  # type: ignore[import-not-found,unused-ignore]
            get_config,
            get_context_length,
            get_hf_text_config,
        )

        config = get_config(
            arguments["model_path"],
            trust_remote_code=bool(arguments["trust_remote_code"]),
            revision=arguments["revision"],
        )
        return int(get_context_length(get_hf_text_config(config)))
    # SGLang will report what is wrong itself, or its version has other functions.
    except Exception as error:
        print(
            "logdrift: the model's positions are not known before the start:"
            f" {error!r}",
            flush=True,
        )
        return None


def seeds_itself(state: Mapping[str, Any]) -> bool:
    """Whether SGLang heeds `sampling_seed`, from its arguments or its state."""
    is_deterministic = state.get("enable_deterministic_inference")
    return bool(is_deterministic or state.get("rl_on_policy_target"))


def seeding_of(state: Mapping[str, Any]) -> str | None:
    """How a part is made to sample the same tokens again; None: it is not."""
    if seeds_itself(state):
        return "sampling_seed"
    if state.get("enable_custom_logit_processor"):
        return "generator"
    return None


def _kv_dtype(asked: Any, dtype: str | None, quantization: str | None) -> str | None:
    """``auto`` is the model's dtype, except where a quantised checkpoint names
    another.
    """
    if not asked:
        return None
    if asked != "auto":
        return str(asked)
    return dtype if quantization == "none" else None


def _attention(state: Mapping[str, Any]) -> str | None:
    general = state.get("attention_backend")
    prefill = state.get("prefill_attention_backend") or general
    decode = state.get("decode_attention_backend") or general
    if prefill == decode:
        return prefill
    return f"prefill {prefill}, decode {decode}"


def _execution(state: Mapping[str, Any]) -> str | None:
    """``eager``, or which phases run through graphs or torch.compile."""
    graphs = state.get("cuda_graph_config")
    if not isinstance(graphs, Mapping):
        return None
    modes = []
    for phase, settings in graphs.items():
        backend = settings["backend"]
        if backend != "disabled":
            modes.append(f"{phase} graph {backend}")
    if state.get("enable_torch_compile"):
        modes.append("torch.compile")
    return ", ".join(modes) or "eager"


def _overrides(overrides: Any) -> dict[str, Any] | None:
    """The config's overrides, given as a table or as its JSON; None where they cannot
    be read.
    """
    if isinstance(overrides, str):
        try:
            overrides = json.loads(overrides)
        except ValueError:
            return None
    if isinstance(overrides, Mapping):
        return dict(overrides)
    return None


def _model_class(config: Any) -> str | None:
    """The class that SGLang's loader takes for this config."""
    try:
        from sglang.srt.model_loader.utils import (  # type: ignore[import-not-found,unused-ignore]
            get_model_architecture,
        )

        model_class, *_ = get_model_architecture(config)
        return str(model_class.__name__)
    except (ImportError, ValueError, AttributeError):
        return None


def _inverted(value: Any) -> bool | None:
    if value is None:
        return None
    return not value
