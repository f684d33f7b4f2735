"""Whether a loaded tensor is the stored one rounded to a grid of 8 bits, with one of
the usual scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from logdrift.core.worker.weights_tensors import ComparedTensors

Tensor = Any

_EIGHT_BITS = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, "int8": 127.0}
"""Grids of 8 bits, and the largest number in each, which scales are made for."""
_BLOCK = 128
"""Rows and columns that share a scale in block formats (DeepSeek's; vLLM and SGLang
quantise with it as well).
"""


@dataclass(frozen=True)
class _BlockScale:
    """A block format: ``height`` rows share a scale, which may be rounded up to a power
    of two.
    """

    height: int
    power_of_two: bool


_BLOCK_SCALES = {
    "one for each 1 x 128": _BlockScale(1, power_of_two=False),
    "one for each 1 x 128, a power of two": _BlockScale(1, power_of_two=True),
    "one for each 128 x 128": _BlockScale(_BLOCK, power_of_two=False),
    "one for each 128 x 128, a power of two": _BlockScale(_BLOCK, power_of_two=True),
}
_SCALES = ("none", "one for the tensor", "one a row", "one a column", *_BLOCK_SCALES)
_SAMPLE = 1 << 18
"""Entries of the first rows, about, that are looked at before a whole tensor is."""
_EXACT = 0.999
"""Share of entries that a grid must give within one rounding of the loaded dtype: the
rest is for scales that were rounded.
"""


class ScaledGrid(NamedTuple):
    """A ``grid`` of 8 bits by torch's name, and which entries share one of its
    ``scales``.
    """

    grid: str
    scales: str


def find_grid(tensors: ComparedTensors) -> ScaledGrid | None:
    """The grid that the stored numbers were rounded to; None where none fits."""
    is_matrix = tensors.stored.ndim == 2
    scales_tried = _SCALES if is_matrix else _SCALES[:2]
    for grid in _EIGHT_BITS:
        is_float = grid != "int8"
        if is_float and not hasattr(torch, grid):
            continue
        for scales in scales_tried:
            if scales == "none" and not is_float:
                continue
            if _is_on_grid(tensors, grid, scales):
                return ScaledGrid(grid, scales)
    return None


def _is_on_grid(tensors: ComparedTensors, grid: str, scales: str) -> bool:
    """Whether the loaded tensor is the stored one on a grid with such scales. Its first
    rows are looked at before all of them are.
    """
    stored = tensors.stored
    largest = _EIGHT_BITS[grid]
    rows = len(stored) if stored.ndim == 2 else 1
    sampled_rows = _SAMPLE * rows // stored.numel()
    whole_blocks = sampled_rows // _BLOCK
    first_rows = max(1, whole_blocks) * _BLOCK
    sampled = min(first_rows, rows)
    for count in sorted({sampled, rows}):
        scale = _scale(stored, scales, count, largest)
        is_rounded = _is_rounded(tensors, grid, scale, count)
        if not is_rounded:
            return False
    return True


def _is_rounded(tensors: ComparedTensors, grid: str, scale: Tensor, rows: int) -> bool:
    """Whether the first ``rows`` rows of the loaded tensor lie on the grid, nowhere
    further from the stored ones than the nearest point (in a tie there are two).
    """
    loaded = tensors.loaded
    stored = tensors.stored
    if stored.ndim == 2:
        loaded = loaded[:rows]
        stored = stored[:rows]
    nearest = _on_grid(stored / scale, grid) * scale
    own_nearest = _on_grid(loaded / scale, grid) * scale
    size = nearest.abs()
    slack = 1.01 * tensors.unit * size + 1e-30
    from_grid = (loaded - own_nearest).abs()
    from_stored = (loaded - stored).abs()
    least = (nearest - stored).abs()
    is_on_grid = from_grid <= slack
    nearest_limit = 1.01 * least + slack
    is_near = from_stored <= nearest_limit
    is_rounded = is_on_grid & is_near
    share_rounded = is_rounded.double().mean()
    share = float(share_rounded)
    return share >= _EXACT


def _scale(stored: Tensor, scales: str, rows: int, largest: float) -> Tensor:
    """What brings the largest number of each group to ``largest``, for the first
    ``rows`` rows.
    """
    if scales == "none":
        return torch.ones((), dtype=stored.dtype)
    maxima = _group_maxima(stored, scales, rows)
    scale = maxima / largest
    ones = torch.ones_like(scale)
    is_positive = scale > 0
    scale = torch.where(is_positive, scale, ones)
    block = _BLOCK_SCALES.get(scales)
    if block is not None and block.power_of_two:
        exponent = torch.log2(scale).ceil()
        return torch.exp2(exponent)
    return scale


def _group_maxima(stored: Tensor, scales: str, rows: int) -> Tensor:
    """The largest number of each group of entries that share a scale, in the first
    ``rows`` rows; it broadcasts against these.
    """
    magnitudes = stored.abs()
    if scales == "one for the tensor":
        return magnitudes.amax()
    if scales == "one a column":
        return magnitudes.amax(0, keepdim=True)
    magnitudes = magnitudes[:rows]
    if scales == "one a row":
        return magnitudes.amax(1, keepdim=True)
    block = _BLOCK_SCALES[scales]
    return _block_maxima(magnitudes, block.height)


def _block_maxima(magnitudes: Tensor, height: int) -> Tensor:
    """[rows, columns]: the largest number of the block of ``height`` rows and `_BLOCK`
    columns that each entry is in.
    """
    rows, columns = magnitudes.shape
    missing_columns = -columns % _BLOCK
    missing_rows = -rows % height
    padding = (0, missing_columns, 0, missing_rows)
    padded = torch.nn.functional.pad(magnitudes, padding)
    blocks_down = padded.shape[0] // height
    blocks_across = padded.shape[1] // _BLOCK
    blocks = padded.reshape(blocks_down, height, blocks_across, _BLOCK)
    maxima = blocks.amax((1, 3), keepdim=True)
    by_entry = maxima.expand_as(blocks)
    spread = by_entry.reshape(padded.shape)
    return spread[:rows, :columns]


def _on_grid(values: Tensor, grid: str) -> Tensor:
    """The nearest points of ``grid``, float64 (int8: in the dtype of ``values``)."""
    if grid == "int8":
        whole = values.round()
        return whole.clamp(-128, 127)
    largest = _EIGHT_BITS[grid]
    dtype = getattr(torch, grid)
    in_range = values.clamp(-largest, largest)
    nearest = in_range.float().to(dtype)
    return nearest.double()
