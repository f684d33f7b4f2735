"""The tensors of a model folder, and how a loaded tensor is compared with one: digest,
equality, size of a difference.

The canonical form of a tensor is its dtype by torch's name, its shape, and its bytes,
contiguous and little-endian; its digest is SHA-256 over the JSON list of the first two
and then the bytes. Large tensors are gone through in blocks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from logdrift.core.worker.weights_map import weight_files

Tensor = Any

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_BLOCK = 1 << 24


class Files:
    """The safetensors of a folder: shapes by name, and tensors when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path in weight_files(folder):
            opened: Any = safe_open(str(path), framework="pt")
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                self._files[name] = opened
                self.shapes[name] = tuple(opened.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """The stored tensor, on the CPU."""
        return self._files[name].get_tensor(name)

    def config(self) -> dict[str, Any]:
        """``config.json``; empty where it cannot be read."""
        try:
            found = json.loads((self.folder / "config.json").read_bytes())
        except (OSError, ValueError):
            return {}
        if isinstance(found, dict):
            return found
        return {}


def digest(tensor: Tensor) -> str:
    """``sha256:`` and 64 hex digits of the canonical form."""
    head = json.dumps([dtype_name(tensor.dtype), list(tensor.shape)])
    hasher = hashlib.sha256(head.encode())
    flat = tensor.detach().contiguous().reshape(-1)
    for start in range(0, flat.numel(), _BLOCK):
        block = flat[start : start + _BLOCK].cpu()
        hasher.update(block.view(torch.uint8).numpy().data)
    return f"sha256:{hasher.hexdigest()}"


def dtype_name(dtype: Any) -> str:
    """``bfloat16`` for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def equal_bits(a: Tensor, b: Tensor) -> bool:
    """Whether both have one shape and the same bytes."""
    if a.shape != b.shape:
        return False
    for x, y in _blocks(a, b):
        if not torch.equal(x.view(torch.uint8), y.view(torch.uint8)):
            return False
    return True


def difference(loaded: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Relative L2 of ``loaded`` - ``wanted``, and the share of entries that are another
    number. Both of one shape.
    """
    gap_energy = 0.0
    energy = 0.0
    differing = 0.0
    for x, y in _blocks(loaded, wanted):
        gap = x.double() - y.double()
        gap_energy += float(gap.square().sum())
        energy += float(y.double().square().sum())
        both_nan = x.isnan() & y.isnan()
        differing += float(((x != y) & ~both_nan).sum())
    share = differing / max(1, loaded.numel())
    if not energy:
        return float(gap_energy > 0), share
    return (gap_energy / energy) ** 0.5, share


def _blocks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both tensors, flat and on the CPU, `_BLOCK` entries at a time."""
    flat_a = a.contiguous().reshape(-1)
    flat_b = b.contiguous().reshape(-1)
    for start in range(0, max(1, a.numel()), _BLOCK):
        block = slice(start, start + _BLOCK)
        yield flat_a[block].cpu(), flat_b[block].cpu()
