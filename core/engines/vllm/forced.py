"""What vLLM imports by name inside its own processes: forced decode for model runner
V1, and an observer.

vLLM loads both from ``module:class`` strings in whichever process computes, so this
module must be importable there. It imports vLLM at module level and is therefore never
imported outside an interpreter that holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from logdrift.core.engines.about import resolve

FORCED_IDS = "logdrift_forced_ids"
"""Key in ``SamplingParams.extra_args`` under which a request carries the ids it must
produce.
"""


class ForcedIds(AdapterLogitsProcessor):  # type: ignore[misc]
    """Leaves a request that carries `FORCED_IDS` one choice per step: the next of its
    ids.

    vLLM takes raw logprobs from the logits before any processor runs
    (v1/sample/sampler.py), so what it returns for the forced token is the model's own
    number. With ``processed_*`` logprobs it would be 0.0.
    """

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(
        self, params: Any
    ) -> Callable[[list[int], torch.Tensor], torch.Tensor] | None:
        ids = (params.extra_args or {}).get(FORCED_IDS)
        if ids is None:
            return None

        def force(output_ids: list[int], logits: torch.Tensor) -> torch.Tensor:
            if len(output_ids) < len(ids):
                logits.fill_(float("-inf"))
                logits[ids[len(output_ids)]] = 0.0
            return logits

        return force


class Observer:
    """Mixed into vLLM's worker (``worker_extension_cls``): says how the model really
    runs there.
    """

    vllm_config: Any
    model_runner: Any
    device: Any

    def logdrift_observe(self) -> dict[str, Any]:
        """Plain values only, since they may cross a process border. What cannot be seen
        is None.
        """
        config = self.vllm_config
        runner = self.model_runner
        model = runner.get_model()
        head = _head_of(model)
        head_dtype = None
        if head is not None:
            head_dtype = str(head.head_dtype or config.model_config.dtype)
        logits = self._logdrift_logits(model)
        return {
            "model_class": type(model).__name__,
            "runner": f"{type(runner).__module__}.{type(runner).__name__}",
            "dtype": str(config.model_config.dtype),
            "head_dtype": head_dtype,
            "logit_scale": None if head is None else head.scale,
            "soft_cap": None if head is None else head.soft_cap,
            "logits_dtype": None if logits is None else str(logits.dtype),
            "logits_size": None if logits is None else int(logits.shape[-1]),
            "attention": self._logdrift_attention(),
            "kv_cache_dtype": self._logdrift_kv_dtype(),
            "compilation_mode": config.compilation_config.mode.name,
            "cudagraph_mode": config.compilation_config.cudagraph_mode.name,
            "device": self.device.type,
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
        }

    def logdrift_inspect(
        self, function: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What ``module:function`` says of the model, where it is
        (`logdrift.core.worker.questions`).
        """
        with torch.inference_mode():
            return dict(resolve(function)(self.model_runner.get_model(), arguments))

    def _logdrift_logits(self, model: Any) -> torch.Tensor | None:
        """The head applied to one zero row: its dtype and width before the sampler
        casts to float32.
        """
        config = self.vllm_config.model_config
        with torch.inference_mode():
            try:
                row = torch.zeros(
                    1, config.get_hidden_size(), dtype=config.dtype, device=self.device
                )
                logits: torch.Tensor | None = model.compute_logits(row)
                return logits
            # Any model code may fail here: not known, but no reason not to start.
            except Exception:
                return None

    def _logdrift_attention(self) -> list[str]:
        names = set()
        layers = self.vllm_config.compilation_config.static_forward_context
        for layer in layers.values():
            backend = getattr(layer, "attn_backend", None)
            if backend is not None:
                names.add(str(backend.get_name()))
        return sorted(names)

    def _logdrift_kv_dtype(self) -> str | None:
        asked = self.vllm_config.cache_config.cache_dtype
        if asked != "auto":
            return str(asked)
        caches = getattr(self.model_runner, "kv_caches", None) or []
        for cache in caches:
            if isinstance(cache, torch.Tensor):
                return str(cache.dtype)
        return None


def _head_of(model: Any) -> Any:
    """The module that makes logits of hidden states; None where there is none."""
    for module in model.modules():
        if type(module).__name__ == "LogitsProcessor":
            return module
    return None
