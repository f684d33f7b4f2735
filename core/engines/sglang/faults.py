"""Faults that SGLang can be made to show, and how it is started for each.

A logit scale is none of them: SGLang takes it in the config of a Llama, and computes as
before (MAE 0.050 nats, as without).
"""

from __future__ import annotations

from logdrift.core.engines.faults import (
    COMMON_STATES,
    MEANING,
    ROPE,
    EngineFault,
    EngineState,
    common_faults,
)

STATES = {
    **COMMON_STATES,
    "head": EngineState(options={"enable_fp32_lm_head": True}),
    "rope": EngineState("float32", {"json_model_override_args": ROPE}),
    "code": EngineState(options={"model_impl": "transformers"}),
}

FAULTS = (
    *common_faults("sglang"),
    EngineFault(
        engine="sglang",
        name="temperature 0.7",
        state="clean",
        causes=("temperature",),
        telling="data",
        facts=MEANING,
        session="temperature",
    ),
    EngineFault(
        engine="sglang",
        name="penalty 1.1",
        state="clean",
        causes=("processed",),
        telling="data",
        facts=MEANING,
        session="penalty",
    ),
)
