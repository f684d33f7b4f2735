"""The faults as data: what is planted, what it is called in the cause table, and
whether numbers alone can show it.

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
        name="temperature",
        causes=("temperature",),
        telling="data",
        size=0.7,
        other_size=0.8,
        facts={"prefill_logprobs": "temperature_scaled", "temperature": "{size}"},
    ),
    Fault(
        name="temperature-small",
        causes=("temperature",),
        telling="data",
        size=0.95,
        other_size=1.1,
        facts={"prefill_logprobs": "temperature_scaled", "temperature": "{size}"},
    ),
    Fault(
        name="top-p",
        causes=("processed",),
        telling="data",
        size=0.8,
        other_size=0.9,
        facts={"prefill_logprobs": "processed"},
    ),
    Fault(
        name="repetition-penalty",
        causes=("processed",),
        telling="data",
        size=1.1,
        other_size=1.3,
        facts={"prefill_logprobs": "processed"},
    ),
    Fault(name="bos", causes=("ids",), telling="data", facts={"ids_digest": True}),
    Fault(
        name="template-twice",
        causes=("ids",),
        telling="data",
        facts={"ids_digest": True},
    ),
    Fault(
        name="id-edited",
        causes=("ids",),
        telling="data",
        size=0.5,
        other_size=0.3,
        facts={"ids_digest": True},
    ),
    Fault(
        name="ids-swapped",
        causes=("ids",),
        telling="data",
        size=0.5,
        other_size=0.3,
        facts={"ids_digest": True},
    ),
    Fault(
        name="off-by-one", causes=("alignment",), telling="data", size=1, other_size=-1
    ),
    Fault(
        name="truncated-context",
        causes=("ids",),
        telling="data",
        size=0.5,
        other_size=0.3,
        facts={"ids_digest": True},
    ),
    Fault(
        name="left-padding",
        causes=("padding",),
        telling="none",
        facts={"padding": "left"},
    ),
    Fault(
        name="pads-attended",
        causes=("padding",),
        telling="data",
        facts={"padding": "left"},
    ),
    Fault(
        name="rope-theta",
        causes=("config",),
        telling="data",
        size=1.5,
        other_size=2.5,
        facts={"config_overrides": {"rope_theta": "{size}"}},
        long=True,
    ),
    Fault(
        name="sliding-window",
        causes=("config",),
        telling="data",
        size=256,
        other_size=48,
        facts={"config_overrides": {"sliding_window": "{size}"}},
        long=True,
    ),
    Fault(
        name="softcap",
        causes=("config",),
        telling="data",
        size=30,
        other_size=4,
        facts={"config_overrides": {"final_logit_softcapping": "{size}"}},
    ),
    Fault(
        name="logit-scale",
        causes=("config", "temperature"),
        telling="data",
        size=0.9,
        other_size=1.15,
        facts={"config_overrides": {"logit_scale": "{size}"}},
    ),
    Fault(name="other-head", causes=("weights",), telling="data", facts=_OTHER_WEIGHTS),
    Fault(
        name="initial-layer", causes=("weights",), telling="data", facts=_OTHER_WEIGHTS
    ),
    Fault(
        name="scaled-tensor",
        causes=("weights",),
        telling="facts",
        size=1.02,
        other_size=1.05,
        facts=_OTHER_WEIGHTS,
    ),
    Fault(
        name="stale-weights",
        causes=("weights",),
        telling="facts",
        size=0.005,
        other_size=0.02,
        facts=_OTHER_WEIGHTS,
    ),
    Fault(
        name="int8-weights",
        causes=("weights",),
        telling="facts",
        facts={"quantization": "int8"},
    ),
    Fault(
        name="fp8-weights",
        causes=("weights",),
        telling="facts",
        facts={"quantization": "fp8"},
    ),
    Fault(
        name="compute-dtype",
        causes=("compute_dtype",),
        telling="data",
        facts={"dtype": "{other}", "head_dtype": "{other}", "logits_dtype": "{other}"},
    ),
    Fault(
        name="float16",
        causes=("compute_dtype",),
        telling="data",
        facts={"dtype": "float16", "head_dtype": "float16", "logits_dtype": "float16"},
    ),
    Fault(name="bf16-log-softmax", causes=("log_softmax_dtype",), telling="data"),
    Fault(
        name="head-dtype",
        causes=("head_dtype",),
        telling="data",
        facts={"head_dtype": "{other}", "logits_dtype": "{other}"},
    ),
    Fault(
        name="kv-rounding",
        causes=("kv_cache",),
        telling="facts",
        facts={"kv_cache_dtype": "fp8_e4m3"},
    ),
    Fault(
        name="attention",
        causes=("noise", "attention"),
        telling="none",
        facts={"attention_backend": "eager"},
    ),
    Fault(
        name="clean",
        causes=("noise",),
        telling="none",
        facts={"attention_backend": "eager"},
    ),
    Fault(name="same-twice", causes=("noise",), telling="none"),
    Fault(
        name="batch-shape",
        causes=("noise",),
        telling="none",
        facts={"padding": "right"},
    ),
)


BY_NAME = {fault.name: fault for fault in FAULTS}
CLEAN = ("attention", "clean", "same-twice", "batch-shape")


def facts_shown(fault: Fault, size: float, background: str) -> dict[str, Any]:
    """What the faulty side's facts say, with the size and the other dtype put in."""
    other = "bfloat16" if background == "float32" else "float32"
    values: Mapping[str, Any] = {"{size}": size, "{other}": other}

    def fill(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: fill(inner) for name, inner in value.items()}
        if isinstance(value, str):
            return values.get(value, value)
        return value

    return {name: fill(value) for name, value in fault.facts.items()}
