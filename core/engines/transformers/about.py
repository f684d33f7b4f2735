"""What is true of Transformers, for every part of logdrift. Standard library only."""

from __future__ import annotations

from logdrift.core.engines.about import Engine, Loading, Numerics, Process
from logdrift.core.engines.transformers.knobs import KNOBS

ABOUT = Engine(
    name="transformers",
    backend="logdrift.core.engines.transformers.backend:TransformersBackend",
    package="transformers",
    distributions=("transformers",),
    paths=("decode", "prefill"),
    default_role="trainer",
    process=Process(
        imports=("transformers.models.auto.modeling_auto", "accelerate"),
    ),
    answers={
        "weights": "logdrift.core.worker.weights:weights",
        "layers": "logdrift.core.engines.transformers.layers:layers",
    },
    replays=True,
    numbers=Numerics(
        prefixes=("TRANSFORMERS_",),
        variables={"TRANSFORMERS_DISABLE_FLASH_ATTN": ("0",)},
        settings=("experts_implementation",),
    ),
    loading=Loading(
        elsewhere=(
            "gguf_file",
            "subfolder",
            "variant",
            "state_dict",
            "use_safetensors",
        ),
        config=("config_overrides",),
    ),
    knobs=KNOBS,
)
