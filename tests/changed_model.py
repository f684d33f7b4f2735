"""The small real model with one tensor changed, as a trainer's checkpoint is after one
step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

TENSOR = "model.norm.weight"
NOISY_TENSOR = "model.layers.7.mlp.down_proj.weight"


def changed_model(
    source: Path, folder: Path, *, factor: float = 1.0625, tokenizer: bool = True
) -> Path:
    """Copy a bfloat16 model folder and multiply its last norm by ``factor``; without
    its tokenizer where asked.
    """
    folder.mkdir(parents=True)
    for file in source.iterdir():
        if tokenizer or file.name in (
            "config.json",
            "generation_config.json",
            "model.safetensors",
        ):
            shutil.copyfile(file, folder / file.name)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as stored:
        size = int.from_bytes(stored.read(8), "little")
        entry = json.loads(stored.read(size))[TENSOR]
        assert entry["dtype"] == "BF16"
        start, stop = (8 + size + offset for offset in entry["data_offsets"])
        stored.seek(start)
        upper = np.frombuffer(stored.read(stop - start), "<u2").astype(np.uint32)
        scaled = (upper << 16).view(np.float32) * np.float32(factor)
        stored.seek(start)
        stored.write((scaled.view(np.uint32) >> 16).astype("<u2").tobytes())
    return folder


def noisy_model(
    source: Path, folder: Path, tensor: str, *, noise: float = 0.005
) -> Path:
    """Copy a bfloat16 model folder and multiply every entry of ``tensor`` by 1 +
    ``noise`` times a standard normal number.

    Rounded to nearest, so that entries change as in a checkpoint of a few steps later:
    some not at all.
    """
    shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        start, stop = (
            8 + size + offset
            for offset in json.loads(file.read(size))[tensor]["data_offsets"]
        )
        file.seek(start)
        values = (
            np.frombuffer(file.read(stop - start), "<u2").astype(np.uint32) << 16
        ).view(np.float32)
        noisy = values * (
            1
            + noise
            * np.random.default_rng(0).standard_normal(len(values)).astype(np.float32)
        )
        bits = noisy.view(np.uint32)
        file.seek(start)
        file.write(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes())
    return folder
