"""The faults as data: what is planted, what it is called in the cause table, and
whether numbers alone can tell it.

Read by the worker inside the engine's interpreter and by the program that judges the
diagnosis: standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from logdrift.core.engines.faults import Telling


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, planted in the ``rollout`` side; the ``trainer`` stays clean.

    ``size`` is its strength on the small model, ``other_size`` on models held out.
    ``facts`` are what an engine that runs this way shows of itself ("{size}" stands for
    the size). ``backgrounds`` are the dtypes in which both sides compute when nothing
    is planted. ``causes`` are codes of `logdrift.core.diagnose.causes`; the first is
    the one that must be named. ``long``: short sequences do not show it.
    """

    name: str
    causes: tuple[str, ...]
    telling: Telling
    size: float = 0.0
    other_size: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    backgrounds: tuple[str, ...] = ("float32", "bfloat16")
    long: bool = False


_OTHER_WEIGHTS = {"weights_digest": "sha256:" + "e" * 64}


FAULTS: tuple[Fault, ...] = (
    Fault(
        "temperature",
        ("temperature",),
        "data",
        0.7,
        0.8,
        {"prefill_logprobs": "temperature_scaled", "temperature": "{size}"},
    ),
    Fault(
        "temperature-small",
        ("temperature",),
        "data",
        0.95,
        1.1,
        {"prefill_logprobs": "temperature_scaled", "temperature": "{size}"},
    ),
    Fault("top-p", ("processed",), "data", 0.8, 0.9, {"prefill_logprobs": "processed"}),
    Fault(
        "repetition-penalty",
        ("processed",),
        "data",
        1.1,
        1.3,
        {"prefill_logprobs": "processed"},
    ),
    Fault("bos", ("ids",), "data", 0, 0, {"ids_digest": True}),
    Fault("template-twice", ("ids",), "data", 0, 0, {"ids_digest": True}),
    Fault("id-edited", ("ids",), "data", 0.5, 0.3, {"ids_digest": True}),
    Fault("ids-swapped", ("ids",), "data", 0.5, 0.3, {"ids_digest": True}),
    Fault("off-by-one", ("alignment",), "data", 1, -1),
    Fault("truncated-context", ("ids",), "data", 0.5, 0.3, {"ids_digest": True}),
    Fault("left-padding", ("padding",), "none", 0, 0, {"padding": "left"}),
    Fault("pads-attended", ("padding",), "data", 0, 0, {"padding": "left"}),
    Fault(
        "rope-theta",
        ("config",),
        "data",
        1.5,
        2.5,
        {"config_overrides": {"rope_theta": "{size}"}},
        long=True,
    ),
    Fault(
        "sliding-window",
        ("config",),
        "data",
        256,
        48,
        {"config_overrides": {"sliding_window": "{size}"}},
        long=True,
    ),
    Fault(
        "softcap",
        ("config",),
        "data",
        30,
        4,
        {"config_overrides": {"final_logit_softcapping": "{size}"}},
    ),
    Fault(
        "logit-scale",
        ("config", "temperature"),
        "data",
        0.9,
        1.15,
        {"config_overrides": {"logit_scale": "{size}"}},
    ),
    Fault("other-head", ("weights",), "data", 0, 0, _OTHER_WEIGHTS),
    Fault("initial-layer", ("weights",), "data", 0, 0, _OTHER_WEIGHTS),
    Fault("scaled-tensor", ("weights",), "facts", 1.02, 1.05, _OTHER_WEIGHTS),
    Fault("stale-weights", ("weights",), "facts", 0.005, 0.02, _OTHER_WEIGHTS),
    Fault("int8-weights", ("weights",), "facts", 0, 0, {"quantization": "int8"}),
    Fault("fp8-weights", ("weights",), "facts", 0, 0, {"quantization": "fp8"}),
    Fault(
        "compute-dtype",
        ("compute_dtype",),
        "data",
        0,
        0,
        {"dtype": "{other}", "head_dtype": "{other}", "logits_dtype": "{other}"},
    ),
    Fault(
        "float16",
        ("compute_dtype",),
        "data",
        0,
        0,
        {"dtype": "float16", "head_dtype": "float16", "logits_dtype": "float16"},
    ),
    Fault("bf16-log-softmax", ("log_softmax_dtype",), "data", 0, 0),
    Fault(
        "head-dtype",
        ("head_dtype",),
        "data",
        0,
        0,
        {"head_dtype": "{other}", "logits_dtype": "{other}"},
    ),
    Fault("kv-rounding", ("kv_cache",), "facts", 0, 0, {"kv_cache_dtype": "fp8_e4m3"}),
    Fault(
        "attention",
        ("noise", "attention"),
        "none",
        0,
        0,
        {"attention_backend": "eager"},
    ),
    Fault("clean", ("noise",), "none", 0, 0, {"attention_backend": "eager"}),
    Fault("same-twice", ("noise",), "none", 0, 0),
    Fault("batch-shape", ("noise",), "none", 0, 0, {"padding": "right"}),
)


BY_NAME = {fault.name: fault for fault in FAULTS}
CLEAN = ("attention", "clean", "same-twice", "batch-shape")


def told(fault: Fault, size: float, background: str) -> dict[str, Any]:
    """What the faulty side's facts say, with the size and the other dtype put in."""
    other = "bfloat16" if background == "float32" else "float32"

    def fill(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: fill(each) for name, each in value.items()}
        return (
            {"{size}": size, "{other}": other}.get(value, value)
            if isinstance(value, str)
            else value
        )

    return {name: fill(value) for name, value in fault.facts.items()}
