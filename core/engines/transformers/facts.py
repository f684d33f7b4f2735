"""How a loaded Transformers model really runs, as Facts. What cannot be seen stays
None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from logdrift.core.engines import ENGINES, TRAINER
from logdrift.core.facts import Facts
from logdrift.core.worker import observe as common
from logdrift.core.worker.base import BackendSettings


def observe(
    model: Any,
    settings: BackendSettings,
    *,
    device: Any,
    vocab_size: int,
    max_length: int | None,
    head: Mapping[str, Any],
    pack: Mapping[str, Any],
) -> Facts:
    """``head``: dtype, logits_dtype, logits_size, method, rows, mode, hidden_states and
    oom_rows of `TransformersBackend`; ``pack``: tokens (0: none are made), sequences
    and padding of its packs.
    """
    dtypes = _parameter_dtypes(model)
    packs = bool(pack["tokens"])
    seen = {
        **common.device(device.type),
        "device": str(device),
        "device_count": _device_count(model),
    }
    kv_cache_dtype = None
    if "decode" in settings.paths:
        kv_cache_dtype = _cache_dtype(model, device)
    return Facts(
        **common.versions(TRAINER, ENGINES[TRAINER].distributions),
        **seen,
        dtype=next(iter(dtypes), None),
        head_dtype=head["dtype"],
        logits_dtype=_name(head["logits_dtype"]),
        quantization=_quantization(model),
        kv_cache_dtype=kv_cache_dtype,
        decode_logprobs="raw",
        prefill_logprobs="raw",
        temperature=settings.sampling.temperature,
        rank_counts="strict",
        attention_backend=_attention(model),
        execution_mode=head["mode"],
        model_class=type(model).__name__,
        prefix_cache=False,
        chunked_prefill=False,
        max_batch_sequences=pack["sequences"] if packs else 1,
        padding=pack["padding"] if packs else "none",
        max_length=max_length,
        tensor_parallel=getattr(model, "_tp_size", None) or 1,
        batch_invariant=not packs,
        vocab_size=vocab_size,
        logits_size=head["logits_size"],
        config_overrides=_overrides(model, settings.spec.options),
        environment=common.environment(),
        extra=_extra(model, head, dtypes) | {"pack_tokens": pack["tokens"]},
    )


def _extra(
    model: Any, head: Mapping[str, Any], dtypes: Mapping[str, int]
) -> dict[str, Any]:
    """What the fields of `Facts` have no place for."""
    experts = getattr(model.config, "_experts_implementation", None)
    return {
        "head_method": head["method"],
        "head_rows": head["rows"],
        "hidden_states": head["hidden_states"],
        "oom_rows": head["oom_rows"],
        "parameter_dtypes": dtypes,
        "experts_implementation": _text(experts),
        **_torch_flags(),
    }


def _overrides(model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the loaded config that options named (``from_pretrained`` writes them
    there), as they now stand.
    """
    written = model.config.to_dict()
    overrides = {}
    for name in sorted(options):
        if name in written:
            overrides[name] = common.plain(written[name])
    return overrides


def _parameter_dtypes(model: Any) -> dict[str, int]:
    """dtype -> number of parameters, most frequent first."""
    counts: Counter[str] = Counter()
    for parameter in model.parameters():
        counts[_name(parameter.dtype)] += parameter.numel()
    return dict(counts.most_common())


def _attention(model: Any) -> str | None:
    return _text(getattr(model.config, "_attn_implementation", None))


def _quantization(model: Any) -> str | None:
    """Method name, ``none`` where the model is not quantised."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return "none"
    if isinstance(config, Mapping):
        method = config.get("quant_method")
    else:
        method = getattr(config, "quant_method", None)
    name = getattr(method, "value", method)
    return _text(name) or type(config).__name__


def _cache_dtype(model: Any, device: Any) -> str | None:
    """dtype of the keys after a forward pass of two ids with the cache on."""
    ids = torch.zeros((1, 2), dtype=torch.int64, device=device)
    output = model(input_ids=ids, use_cache=True)
    cache = getattr(output, "past_key_values", None)
    for layer in getattr(cache, "layers", ()):
        keys = getattr(layer, "keys", None)
        if keys is not None:
            return _name(keys.dtype)
    return None


def _device_count(model: Any) -> int:
    return len({parameter.device for parameter in model.parameters()})


def _torch_flags() -> dict[str, Any]:
    """Switches of torch that change results, by the names under which torch has
    them.
    """
    matmul = torch.backends.cuda.matmul
    cudnn = torch.backends.cudnn
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cuda_allow_tf32": matmul.allow_tf32,
        "cuda_bf16_reduced_precision_reduction": _text(
            matmul.allow_bf16_reduced_precision_reduction
        ),
        "cuda_fp16_reduced_precision_reduction": _text(
            matmul.allow_fp16_reduced_precision_reduction
        ),
        "flash_sdp": torch.backends.cuda.flash_sdp_enabled(),
        "mem_efficient_sdp": torch.backends.cuda.mem_efficient_sdp_enabled(),
        "math_sdp": torch.backends.cuda.math_sdp_enabled(),
        "cudnn_sdp": torch.backends.cuda.cudnn_sdp_enabled(),
        "preferred_blas_library": _blas_library(),
        "cudnn_deterministic": cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "autocast_cpu": torch.is_autocast_enabled("cpu"),
        "autocast_cuda": torch.is_autocast_enabled("cuda"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _blas_library() -> str | None:
    if not torch.cuda.is_available():
        return None
    return str(torch.backends.cuda.preferred_blas_library())


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value)
