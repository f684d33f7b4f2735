"""Run in Transformers' interpreter: write tiny models of the families that engines
take, and each with one tensor changed.

    python weights_models.py MODEL OUT.json {"folder":, "families": [...]}

The model of a family goes to ``folder/FAMILY``, the changed one to
``folder/FAMILY-changed``; OUT.json names the tensor.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from transformers_common import build

import torch  # isort: skip
from safetensors.torch import load_file, save_file

CHANGED = {
    "gpt2-tied": "transformer.h.1.attn.c_attn.weight",
    "qwen3-moe-untied": "model.layers.1.mlp.experts.2.up_proj.weight",
    "mixtral-untied": "model.layers.0.block_sparse_moe.experts.1.w2.weight",
}
ELSE = "model.layers.1.self_attn.k_proj.weight"
"""In the middle of a tensor that engines fuse with its neighbours."""
NOISE = 0.01


def main(out: Path, wish: dict[str, Any]) -> None:
    folder = Path(wish["folder"])
    for family in wish["families"]:
        build(family, folder / family, "bfloat16")
        change(folder / family, folder / f"{family}-changed", CHANGED.get(family, ELSE))
    out.write_text(
        json.dumps({family: CHANGED.get(family, ELSE) for family in wish["families"]})
    )


def change(model: Path, changed: Path, name: str) -> None:
    changed.mkdir()
    shutil.copy(model / "config.json", changed)
    tensors = load_file(model / "model.safetensors")
    old = tensors[name]
    noise = torch.randn(old.shape, generator=torch.Generator().manual_seed(3)).double()
    tensors[name] = (old.double() * (1 + NOISE * noise)).to(old.dtype)
    save_file(tensors, changed / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main(Path(sys.argv[2]), json.loads(sys.argv[3]))
