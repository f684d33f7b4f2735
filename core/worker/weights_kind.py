"""What kind of difference there is between a loaded tensor and the stored one, as far
as their numbers show.

Each kind is an explanation that is tried: it counts where the loaded numbers follow
from the stored ones by it, up to the rounding of the loaded dtype. The simplest one
that fits is the answer, else what the entries have in common.
`logdrift.core.diagnose.identity` makes sentences of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from logdrift.core.worker.weights_grids import find_grid
from logdrift.core.worker.weights_rank import WORK, LowRanks, RankSearch
from logdrift.core.worker.weights_tensors import (
    FEW,
    NOISE,
    ComparedTensors,
    rounding_of,
)

Tensor = Any
Kind = dict[str, Any]

_NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_FAR = 1.2
"""Relative L2 from which two tensors have nothing in common: unrelated ones of one size
are at 1.41.
"""
_LARGEST = 1 << 27
"""Entries of a tensor that is looked at: four copies of it in float32 are 2 GiB."""


class Kinds:
    """Finds kinds for the tensors of one model, within a budget for the costly one."""

    def __init__(self, work: float = WORK) -> None:
        self._ranks = LowRanks(work)

    def of(self, loaded: Tensor, expected: Tensor, file: Tensor) -> Kind | None:
        """``{"kind": ...}`` and its numbers, for ``loaded`` against ``expected``, which
        is ``file`` in the loaded dtype.

        All of one shape. None where there is nothing to say: a tensor that is too
        large, or not finite.
        """
        if not 0 < loaded.numel() <= _LARGEST:
            return None
        tensors = ComparedTensors.of(loaded, expected, file)
        if not tensors.are_finite:
            return None
        for explain in _EXPLANATIONS:
            kind = explain(tensors)
            if kind is not None:
                return kind
        search = self._ranks.search(tensors)
        if search.rank is not None:
            return {"kind": "low rank", "rank": search.rank}
        return _unexplained(tensors, search)


def _unexplained(tensors: ComparedTensors, search: RankSearch) -> Kind:
    """The kind of a difference that no explanation fits."""
    distance = float(tensors.gap.norm())
    size = float(tensors.expected.norm())
    if distance <= _FAR * size:
        return {"kind": "entries", "rank_looked_at": search.done}
    loaded = _sorted(tensors.loaded)
    expected = _sorted(tensors.expected)
    if torch.equal(loaded, expected):
        return {"kind": "order"}
    return {"kind": "unrelated"}


def _sorted(tensor: Tensor) -> Tensor:
    entries = tensor.reshape(-1)
    return entries.sort().values


# -- explanations, the simplest first


def _zeros(tensors: ComparedTensors) -> Kind | None:
    """Every loaded entry is zero."""
    if bool(tensors.loaded.any()):
        return None
    return {"kind": "zeros"}


def _scaled(tensors: ComparedTensors) -> Kind | None:
    """All entries are multiplied by one number."""
    if not _can_be_fitted(tensors):
        return None
    unit = tensors.unit
    loaded = tensors.loaded
    expected = tensors.expected
    product = (loaded * expected).sum()
    energy = expected.square().sum()
    scale = float(product / energy)
    is_seen = abs(scale - 1) > 2 * unit
    if not scale or not is_seen:
        return None
    scaled = scale * expected
    left = loaded - scaled
    limit = NOISE * rounding_of(loaded, scaled, unit)
    if float(left.norm()) > limit:
        return None
    return {"kind": "scale", "scale": scale}


def _shifted(tensors: ComparedTensors) -> Kind | None:
    """One number is added to all entries."""
    if not _can_be_fitted(tensors):
        return None
    gap = tensors.gap
    limit = NOISE * tensors.rounding
    added = float(gap.mean())
    root_of_entries = gap.numel() ** 0.5
    size = abs(added) * root_of_entries
    if size <= 2 * limit:
        return None
    left = gap - added
    if float(left.norm()) > limit:
        return None
    return {"kind": "offset", "offset": added}


def _can_be_fitted(tensors: ComparedTensors) -> bool:
    """Whether there are entries enough for a scale or an offset to mean something."""
    if tensors.loaded.numel() < 8:
        return False
    return bool(tensors.expected.any())


def _narrowed(tensors: ComparedTensors) -> Kind | None:
    """The stored numbers, rounded to a narrower float dtype than the loaded one on the
    way, or cut to it.
    """
    stored = tensors.as_stored
    loaded = tensors.as_loaded
    for name, dtype in _NARROW.items():
        narrow = stored.to(dtype)
        rounded = narrow.to(loaded.dtype)
        if torch.equal(rounded, loaded):
            return _rounded_to(name, "none")
    if stored.dtype != torch.float32:
        return None
    cut = _cut_to_bfloat16(stored)
    rounded = cut.to(loaded.dtype)
    if torch.equal(rounded, loaded):
        kind = _rounded_to("bfloat16", "none")
        return kind | {"cut": True}
    return None


def _rounded_to(grid: str, scales: str) -> Kind:
    return {"kind": "rounding", "grid": grid, "scales": scales}


def _cut_to_bfloat16(values: Tensor) -> Tensor:
    """float32 numbers without the lower 16 of their bits."""
    bits = values.contiguous().view(torch.int32)
    upper_bits = bits & -(1 << 16)
    return upper_bits.view(torch.float32)


def _last_place(tensors: ComparedTensors) -> Kind | None:
    """No entry is further off than the next number of the loaded dtype: rounded in
    another way, for example by cutting.
    """
    dtype = tensors.as_loaded.dtype
    smallest = torch.finfo(dtype).tiny
    size = tensors.expected.abs()
    magnitude = size.clamp_min(smallest)
    step = 2 * tensors.unit * magnitude
    is_within = tensors.gap.abs() <= step
    if not bool(is_within.all()):
        return None
    return {"kind": "last place"}


def _eight_bits(tensors: ComparedTensors) -> Kind | None:
    """The stored numbers, rounded to a grid of 8 bits with one of the usual scales."""
    scaled_grid = find_grid(tensors)
    if scaled_grid is None:
        return None
    return _rounded_to(scaled_grid.grid, scaled_grid.scales)


def _few_rows(tensors: ComparedTensors) -> Kind | None:
    """Few rows hold the whole difference, as new tokens of an embedding do."""
    if tensors.loaded.ndim != 2:
        return None
    entry_differs = tensors.loaded != tensors.expected
    row_differs = entry_differs.any(1)
    rows = len(row_differs)
    numbers = row_differs.nonzero()
    count = len(numbers)
    if count > FEW * rows:
        return None
    first = int(numbers[0])
    return {"kind": "rows", "rows": count, "of": rows, "first": first}


Explanation = Callable[[ComparedTensors], Kind | None]
_EXPLANATIONS: tuple[Explanation, ...] = (
    _zeros,
    _scaled,
    _shifted,
    _narrowed,
    _last_place,
    _eight_bits,
    _few_rows,
)
