"""Run by Transformers' interpreter: tiny models, edited copies of them, and what
question ``layers`` says of each.

    python transformers_layers.py OUT

Writes for each family ``OUT/FAMILY/CASE`` (`logdrift.core.worker.layers.FILE`) and
``OUT/FAMILY/reference`` (that of the unedited float32 model, and ``CASE.safetensors``
of its replays), and ``OUT/models/FAMILY``. tests/test_layers.py judges them.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / "core" / "worker" / "launch.py"))
sys.path.insert(0, str(ROOT))

FAMILIES = ("qwen3", "gemma2")
"""Held out: the thresholds of `logdrift.core.diagnose.layers` were fit on other
families.
"""
TOKENS = 60
HEAD_IDS = list(range(0, 1031, 4))


def _scaled(name: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def edit(tensors: dict[str, Any]) -> None:
        tensors[name] = (tensors[name].float() * factor).to(tensors[name].dtype)

    return edit


def _noisy(name: str, share: float) -> Callable[[dict[str, Any]], None]:
    """Normal noise of ``share`` of the tensor's own spread."""

    def edit(tensors: dict[str, Any]) -> None:
        import torch

        torch.manual_seed(3)
        old = tensors[name].float()
        tensors[name] = (old + torch.randn_like(old) * old.std() * share).to(
            tensors[name].dtype
        )

    return edit


def _stale(tensors: dict[str, Any]) -> None:
    """Every matrix of every layer 5% off."""
    for name in sorted(tensors):
        if ".layers." in name and tensors[name].ndim == 2:
            _noisy(name, 0.05)(tensors)


def _other_head(tensors: dict[str, Any]) -> None:
    import torch

    torch.manual_seed(4)
    tensors["lm_head.weight"] = (
        torch.randn_like(tensors["model.embed_tokens.weight"].float())
        .mul(0.2)
        .bfloat16()
    )


DOWN = "model.layers.1.mlp.down_proj.weight"
CASES: dict[str, tuple[Callable[[dict[str, Any]], None] | None, dict[str, Any]]] = {
    "clean": (None, {}),
    "eager": (None, {"attn_implementation": "eager"}),
    "down": (_scaled(DOWN, 1.3), {}),
    "noisy-down": (_noisy(DOWN, 0.2), {}),
    "embedding": (_noisy("model.embed_tokens.weight", 0.02), {}),
    "norm": (_scaled("model.norm.weight", 1.1), {}),
    "head": (_other_head, {"tie_word_embeddings": False}),
    "everywhere": (_stale, {}),
    "rope": (None, {"rope_parameters": {"rope_type": "default", "rope_theta": 37.0}}),
}


def main(out: Path) -> None:
    from tests.tiny_models import build

    for family in FAMILIES:
        model = build(family, out / "models" / family, "bfloat16")
        reference = _opened(model, "float32")
        replays = {}
        for case, (edit, options) in CASES.items():
            folder = (
                model
                if edit is None
                else _edited(model, out / "models" / f"{family}-{case}", edit)
            )
            if case == "norm" and family == "gemma2":
                _gemma_norm(folder)
            _ask(_opened(folder, "bfloat16", options), out / family / case, {})
            replays[case] = str(out / family / case / "layers.safetensors")
        _ask(reference, out / family / "reference", replays)


def _gemma_norm(folder: Path) -> None:
    """Gemma multiplies by 1 + weight, and the weight of a fresh one is 0: 1.1 times
    that is nothing.
    """
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] += 0.1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _edited(model: Path, folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _opened(model: Path, dtype: str, options: dict[str, Any] | None = None) -> Any:
    from logdrift.core.engines.transformers.backend import TransformersBackend
    from logdrift.core.plan import BackendSpec, SamplingSpec
    from logdrift.core.worker.base import BackendSettings

    spec = BackendSpec(
        "t", "transformers", dtype=dtype, paths=("prefill",), options=options or {}
    )
    backend = TransformersBackend(
        BackendSettings(
            str(model), None, spec, SamplingSpec(), ("prefill",), 5, 200, 8, asked=True
        )
    )
    backend.open()
    return backend


def _ask(backend: Any, out: Path, replays: dict[str, str]) -> None:
    import numpy as np

    from logdrift.core.worker import questions

    ids = np.random.default_rng(1).integers(3, 1031, TOKENS).tolist()
    arguments = {
        "token_ids": ids,
        "first": 0,
        "last": TOKENS - 1,
        "prefix": True,
        "head_ids": HEAD_IDS,
    }
    questions.answer(
        "transformers", "layers", backend, {**arguments, "replay": replays}, out
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
