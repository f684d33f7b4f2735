"""Facts that a vLLM server in development mode tells with ``/server_info``: its config
as it was resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.facts import Facts

_NO_COMPILATION = 0
"""Of ``compilation_config.mode`` and ``cudagraph_mode`` (config/compilation.py)."""


def with_config(facts: Facts, info: Any) -> Facts:
    """``facts`` with what the server's answer says; unchanged where it says nothing
    that is known here.
    """
    if not isinstance(info, Mapping):
        return facts
    config = _table(info, "vllm_config")
    facts = _with_numerics(facts, config)
    facts = _with_scheduling(facts, config)
    return _with_system(facts, _table(info, "system_env"), _table(info, "vllm_env"))


def logprobs_mode(info: Any) -> str | None:
    """``raw_logprobs``, ``processed_logprobs`` or one of the modes that give logits;
    None: not told.
    """
    if not isinstance(info, Mapping):
        return None
    model = _table(_table(info, "vllm_config"), "model_config")
    return _text(model.get("logprobs_mode"))


def _with_numerics(facts: Facts, config: Mapping[str, Any]) -> Facts:
    model = _table(config, "model_config")
    cache = _table(config, "cache_config")
    dtype = _dtype(model.get("dtype"))
    quantization = None
    if model:
        quantization = _text(model.get("quantization")) or "none"
    return facts._replace(
        dtype=dtype,
        quantization=quantization,
        kv_cache_dtype=_cache_dtype(cache, dtype, quantization),
        config_overrides=_overrides(model),
        execution_mode=_execution(_table(config, "compilation_config")),
    )


def _with_scheduling(facts: Facts, config: Mapping[str, Any]) -> Facts:
    scheduler = _table(config, "scheduler_config")
    cache = _table(config, "cache_config")
    parallel = _table(config, "parallel_config")
    return facts._replace(
        prefix_cache=_switch(cache.get("enable_prefix_caching")),
        chunked_prefill=_switch(scheduler.get("enable_chunked_prefill")),
        chunk_size=_number(scheduler.get("max_num_batched_tokens")),
        max_batch_sequences=_number(scheduler.get("max_num_seqs")),
        tensor_parallel=_number(parallel.get("tensor_parallel_size")),
        device=_text(_table(config, "device_config").get("device")),
    )


def _with_system(
    facts: Facts, system: Mapping[str, Any], variables: Mapping[str, Any]
) -> Facts:
    return facts._replace(
        torch_version=_text(system.get("torch_version")),
        cuda_version=_text(system.get("cuda_compiled_version")),
        driver_version=_text(system.get("nvidia_driver_version")),
        batch_invariant=_switch(variables.get("VLLM_BATCH_INVARIANT")),
    )


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The table of that name; empty where there is none."""
    found = data.get(name)
    if isinstance(found, Mapping):
        return found
    return {}


def _text(value: Any) -> str | None:
    if isinstance(value, str) and value and value not in ("N/A", "None"):
        return value[:100]
    return None


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return None


def _switch(value: Any) -> bool | None:
    if isinstance(value, bool | int):
        return bool(value)
    return None


def _dtype(value: Any) -> str | None:
    text = _text(value)
    if text is None:
        return None
    return text.removeprefix("torch.")


def _cache_dtype(
    cache: Mapping[str, Any], dtype: str | None, quantization: str | None
) -> str | None:
    """``auto`` is the model's dtype, unless a quantised checkpoint names another."""
    asked = _text(cache.get("cache_dtype"))
    if asked != "auto":
        return asked
    if quantization == "none":
        return dtype
    return None


def _overrides(model: Mapping[str, Any]) -> dict[str, Any] | None:
    overrides = model.get("hf_overrides")
    if isinstance(overrides, Mapping):
        return dict(overrides)
    return None


def _execution(compilation: Mapping[str, Any]) -> str | None:
    modes = (compilation.get("mode"), compilation.get("cudagraph_mode"))
    if modes == (_NO_COMPILATION, _NO_COMPILATION):
        return "eager"
    return None
