"""Knobs: one change to one engine, which proves or removes a cause of a gap.

What each engine can change stands in its own folder (``core/engines/NAME/knobs.py``),
by the code of the cause. Here is what a knob is, and the states and knobs that several
engines share. Standard library only: every part of logdrift may import it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Needs = Literal["", "any", "gpu", "gpus"]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Knob:
    """One change to one engine: ``setting`` is the option (or variable, or request
    field) exactly as that engine takes it.

    ``combined``: it changes more than the cause that it stands for, so what it removes
    is not that cause's share alone. The rest is for
    `logdrift.core.diagnose.experiments`, which turns a knob into a run: ``run`` says
    where that makes sense (``any`` machine, a ``gpu``, several ``gpus``; empty: by hand
    alone); ``both`` that it is turned on both sides at once, where they lack it;
    ``unless`` and ``only`` are states of a side (facts by name, ``path``, ``batch``,
    ``overrides``, ``kv_differs``, ``option.NAME``) in which it would change nothing, or
    has something to change; a tuple means any of its values. ``refused``: states in
    which the engine is known not to start with it. ``confounded``: states in which it
    would change another cause as well, which it would then be proof for. ``still``: no
    number may move, so a run that shows one moving is a finding.
    """

    setting: str
    effect: str = ""
    combined: bool = False
    run: Needs = ""
    both: bool = False
    unless: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    only: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    refused: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    confounded: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    still: bool = False

    @property
    def change(self) -> dict[str, Any]:
        """``setting`` as one key and its value, read as JSON where it is JSON; None
        where it has no value: leave it out.
        """
        name, equals, text = self.setting.partition("=")
        if not equals:
            return {name: None}
        try:
            return {name: json.loads(text)}
        except ValueError:
            return {name: text}


KnobTable = Mapping[str, tuple[Knob, ...]]
"""Code of a cause -> the knobs of one engine, the best one first."""

State = Mapping[str, Any]
"""Facts of one side by name, with the values that a condition of a knob names."""

DECODING = ("decode", "forced_decode")
NOT_RAW: State = {"decode_logprobs": ("temperature_scaled", "processed")}
EAGER: State = {"execution_mode": "eager"}
WIDE_HEAD: State = {"head_dtype": "float32"}
TRANSFORMERS_CODE: State = {
    "model_class": ("TransformersForCausalLM", "TransformersMoEForCausalLM")
}
BATCH_INVARIANT: State = {"batch_invariant": True}
FLOAT32: State = {"dtype": "float32"}
SIXTEEN_BIT_WEIGHTS = (
    "fp8",
    "awq",
    "awq_marlin",
    "gptq",
    "gptq_marlin",
    "compressed-tensors",
)
"""Quantisations that take 16-bit activations only."""

PREFILL_IS_RAW = Knob(
    "path=prefill",
    "prefill is raw, whatever was sampled with",
    combined=True,
    run="any",
    only={**NOT_RAW, "path": "decode"},
)
COMPANY = (
    Knob(
        "alone=true",
        "each sequence in a batch of its own",
        run="any",
        unless={"batch": "alone", "max_batch_sequences": 1},
    ),
    Knob(
        "alone=false",
        "the sequences of a part in one batch",
        run="any",
        only={"batch": "alone"},
        unless={"max_batch_sequences": 1},
    ),
)
CACHE_DTYPE = (Knob("kv_cache_dtype=auto", run="any", only={"kv_differs": True}),)
WIDER_RANGE = (
    Knob("dtype=bfloat16", "the range of float32"),
    Knob("dtype=float32"),
)


def precisions(**attention: Any) -> tuple[Knob, ...]:
    """The compute dtypes to try. ``attention`` is the option of an engine that chooses
    flash attention, which takes 16-bit activations only; where the engine chose its
    kernel itself, it chooses again.
    """
    sixteen_bits_only = {
        **{f"option.{name}": value for name, value in attention.items()},
        "quantization": SIXTEEN_BIT_WEIGHTS,
    }
    return (
        Knob(
            "dtype=float32",
            run="any",
            both=True,
            unless=FLOAT32,
            refused=sixteen_bits_only,
        ),
        Knob("dtype=float16", run="gpu", both=True, unless={"dtype": "float16"}),
    )
