"""What is true of SGLang, for every part of logdrift. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import (
    Engine,
    Loading,
    Numerics,
    Process,
    RunningServer,
)
from logdrift.core.engines.sglang.faults import FAULTS, STATES
from logdrift.core.engines.sglang.knobs import KNOBS

ABOUT = Engine(
    name="sglang",
    backend="logdrift.core.engines.sglang.backend:SglangBackend",
    package="sglang",
    distributions=("sglang",),
    paths=("decode", "prefill"),
    default_role="rollout",
    server=RunningServer(
        backend="logdrift.core.engines.sglang.server:SglangServer",
        paths=("decode", "prefill"),
        key_variable="SGLANG_API_KEY",
    ),
    process=Process(
        imports=("sglang.srt.entrypoints.engine", "sglang.srt.managers.scheduler"),
        # outlines-core 0.1.26, which the GPU release pins, has no wheel for Python
        # 3.13.
        newest_python={"cuda": (3, 12)},
        cpu_variables={"SGLANG_USE_CPU_ENGINE": "1"},
    ),
    answers={
        "weights": "logdrift.core.worker.weights:weights",
        "layers": "logdrift.core.engines.sglang.layers:layers",
    },
    debuggers="logdrift.core.engines.sglang.debuggers:debugger_commands",
    hook_options={"disable_cuda_graph": True, "enable_torch_compile": False},
    numbers=Numerics(
        prefixes=("SGLANG_",),
        variables={
            "SGLANG_FORCE_FUSED_OP_BACKEND": (),
            "SGLANG_ENABLE_FAST_INPUT_LOGPROBS": ("1", "true"),
            "SGLANG_ROPE_CACHE_FP32": ("0", "false"),
            "SGLANG_SANITIZE_NAN_LOGITS": ("0", "false"),
        },
        settings=(
            "model_impl",
            "rl_on_policy_target",
            "enable_mixed_chunk",
            "enable_dp_attention",
            "dp_size",
            "pp_size",
        ),
        tf32=("enable_tf32_matmul",),
        speculative=("speculative_algorithm",),
        batch_invariant=True,
        cache_dtype=True,
    ),
    loading=Loading(
        elsewhere=(
            "download_dir",
            "model_weights",
            "model_loader_extra_config",
            "custom_weight_loader",
        ),
        plain=("auto", "safetensors", "hf"),
        random=("load_format=dummy",),
        config=("json_model_override_args",),
    ),
    knobs=KNOBS,
    faults=FAULTS,
    states=STATES,
)
