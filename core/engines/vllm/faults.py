"""Faults that vLLM can be made to show, and how it is started for each."""

from __future__ import annotations

from logdrift.core.engines.faults import (
    COMMON_STATES,
    CONFIG,
    MEANING,
    ROPE,
    EngineFault,
    EngineState,
    common_faults,
)

_WINDOW = {"sliding_window": 256, "layer_types": ["sliding_attention"] * 30}

STATES = {
    **COMMON_STATES,
    "head": EngineState(options={"hf_overrides": {"head_dtype": "float32"}}),
    "rope": EngineState("float32", {"hf_overrides": ROPE}),
    "window": EngineState(options={"hf_overrides": _WINDOW}),
    "scale": EngineState(options={"hf_overrides": {"logit_scale": 0.9}}),
    "code": EngineState(options={"model_impl": "transformers"}),
    "compiled": EngineState(options={"enforce_eager": False}, seconds=110),
    "processed": EngineState(options={"logprobs_mode": "processed_logprobs"}),
}

FAULTS = (
    *common_faults("vllm"),
    EngineFault(
        engine="vllm",
        name="logit scale 0.9",
        state="scale",
        causes=("config", "temperature"),
        telling="data",
        facts=CONFIG,
    ),
    EngineFault(
        engine="vllm",
        name="sliding window 256",
        state="window",
        causes=("config",),
        telling="data",
        facts=CONFIG,
    ),
    EngineFault(
        engine="vllm",
        name="inductor",
        state="compiled",
        causes=("noise",),
        telling="none",
    ),
    EngineFault(
        engine="vllm",
        name="temperature 0.7",
        state="processed",
        causes=("temperature",),
        telling="data",
        facts=MEANING,
        session="temperature",
    ),
    EngineFault(
        engine="vllm",
        name="top-p 0.8, processed",
        state="processed",
        causes=("processed",),
        telling="data",
        facts=MEANING,
        session="top-p",
    ),
)
