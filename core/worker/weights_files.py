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

UNITS = {
    torch.bfloat16: 2.0**-8,
    torch.float16: 2.0**-11,
    torch.float32: 2.0**-24,
    torch.float64: 2.0**-53,
}
"""The largest relative error of rounding to a dtype once: half the step from 1 to the
next number.
"""
FLOATS = tuple(UNITS)
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
                shape = opened.get_slice(name).get_shape()
                self._files[name] = opened
                self.shapes[name] = tuple(shape)

    def tensor(self, name: str) -> Tensor:
        """The stored tensor, on the CPU."""
        file = self._files[name]
        return file.get_tensor(name)

    def config(self) -> dict[str, Any]:
        """``config.json``; empty where it cannot be read."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return {}
        if isinstance(config, dict):
            return config
        return {}


def digest(tensor: Tensor) -> str:
    """``sha256:`` and 64 hex digits of the canonical form."""
    form = [dtype_name(tensor.dtype), list(tensor.shape)]
    hasher = hashlib.sha256(json.dumps(form).encode())
    flat = _flat(tensor.detach())
    for block in _block_slices(len(flat)):
        entries = flat[block].cpu()
        as_bytes = entries.view(torch.uint8).numpy()
        hasher.update(as_bytes.data)
    return f"sha256:{hasher.hexdigest()}"


def dtype_name(dtype: Any) -> str:
    """``bfloat16`` for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def equal_bits(a: Tensor, b: Tensor) -> bool:
    """Whether both have one shape and the same bytes."""
    if a.shape != b.shape:
        return False
    for block_a, block_b in _blocks(a, b):
        bytes_a = block_a.view(torch.uint8)
        bytes_b = block_b.view(torch.uint8)
        if not torch.equal(bytes_a, bytes_b):
            return False
    return True


def difference(loaded: Tensor, expected: Tensor) -> tuple[float, float]:
    """Relative L2 of ``loaded`` - ``expected``, and the share of entries that are
    another number. Both of one shape.
    """
    gap_energy = 0.0
    energy = 0.0
    differing = 0.0
    for x, y in _blocks(loaded, expected):
        wide = y.double()
        gap = x.double() - wide
        gap_energy += energy_of(gap)
        energy += energy_of(wide)
        both_nan = x.isnan() & y.isnan()
        differs = (x != y) & ~both_nan
        differing += float(differs.sum())
    share = differing / max(1, loaded.numel())
    if not energy:
        has_gap = gap_energy > 0
        return float(has_gap), share
    relative_energy = gap_energy / energy
    return relative_energy**0.5, share


def energy_of(values: Tensor) -> float:
    """The squared L2."""
    return float(values.square().sum())


def _blocks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both tensors, flat and on the CPU, `_BLOCK` entries at a time."""
    flat_a = _flat(a)
    flat_b = _flat(b)
    for block in _block_slices(len(flat_a)):
        yield flat_a[block].cpu(), flat_b[block].cpu()


def _flat(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1)


def _block_slices(entries: int) -> Iterator[slice]:
    """Slices of `_BLOCK` entries, the last one shorter; none where there are none."""
    for start in range(0, entries, _BLOCK):
        yield slice(start, start + _BLOCK)
