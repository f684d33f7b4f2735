"""What kind of difference there is between a loaded tensor and the stored one, as far
as their numbers show.

Each kind is an explanation that is tried: it counts where the loaded numbers follow
from the stored ones by it, up to the rounding of the loaded dtype. The simplest one
that fits is the answer, else what the entries have in common.
`logdrift.core.diagnose.identity` makes sentences of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Tensor = Any
Kind = dict[str, Any]

UNITS = {
    torch.bfloat16: 2.0**-8,
    torch.float16: 2.0**-11,
    torch.float32: 2.0**-24,
    torch.float64: 2.0**-53,
}
_NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
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
_FAR = 1.2
"""Relative L2 from which two tensors have nothing in common: unrelated ones of one size
are at 1.41.
"""
_FEW = 0.25
"""Share of rows, or of the smaller side as a rank, that still counts as few."""
_RANKS = 128
"""The largest rank that is looked for: adapters have 4 to 128."""
_NOISE = 1.5
"""How far above its expectation the rounding of a merged tensor may be that is left
when the adapter is taken away.
"""
_SVD = 1e-5
"""Share of the energy of a float32 matrix that its singular values, summed in float32,
may miss.
"""
_LARGEST = 1 << 27
"""Entries of a tensor that is looked at: four copies of it in float32 are 2 GiB."""
_WORK = 3e11
"""Multiplications that all ranks of one model may cost: half a minute of one core; what
is left is not looked at.
"""


@dataclass(frozen=True)
class _Tensors:
    """The tensors that are compared, on the CPU and of one shape.

    ``loaded``, ``expected`` (the stored tensor in the loaded dtype) and ``stored`` are
    wide enough to calculate with: float32 for 16-bit numbers, else float64.
    ``as_loaded`` and ``as_stored`` are the first and the last in their own dtypes.
    """

    loaded: Tensor
    expected: Tensor
    stored: Tensor
    as_loaded: Tensor
    as_stored: Tensor

    @classmethod
    def of(cls, loaded: Tensor, expected: Tensor, stored: Tensor) -> _Tensors:
        is_16_bit = UNITS[loaded.dtype] >= UNITS[torch.float16]
        dtype = torch.float32 if is_16_bit else torch.float64

        def wide(tensor: Tensor) -> Tensor:
            on_cpu = tensor.detach().cpu()
            return on_cpu.to(dtype)

        return cls(
            loaded=wide(loaded),
            expected=wide(expected),
            stored=wide(stored),
            as_loaded=loaded.cpu(),
            as_stored=stored.cpu(),
        )

    @property
    def unit(self) -> float:
        """The rounding unit of the loaded dtype."""
        return UNITS[self.as_loaded.dtype]

    @property
    def are_finite(self) -> bool:
        for tensor in (self.loaded, self.expected):
            is_finite = torch.isfinite(tensor)
            if not bool(is_finite.all()):
                return False
        return True

    @property
    def gap(self) -> Tensor:
        """Loaded minus expected."""
        return self.loaded - self.expected

    @property
    def rounding(self) -> float:
        """L2 of rounding the loaded and the expected tensor once."""
        return _rounding(self.loaded, self.expected, self.unit)


class Kinds:
    """Finds kinds for the tensors of one model, within a budget for the costly one."""

    def __init__(self, work: float = _WORK) -> None:
        self._work = work

    def of(self, loaded: Tensor, expected: Tensor, file: Tensor) -> Kind | None:
        """``{"kind": ...}`` and its numbers, for ``loaded`` against ``expected``, which
        is ``file`` in the loaded dtype.

        All of one shape. None where there is nothing to say: a tensor that is too
        large, or not finite.
        """
        if not 0 < loaded.numel() <= _LARGEST:
            return None
        tensors = _Tensors.of(loaded, expected, file)
        if not tensors.are_finite:
            return None
        for explain in _EXPLANATIONS:
            kind = explain(tensors)
            if kind is not None:
                return kind
        search = self._search_rank(tensors)
        if search.rank is not None:
            return {"kind": "low rank", "rank": search.rank}
        return _unexplained(tensors, search)

    def _search_rank(self, tensors: _Tensors) -> _RankSearch:
        """Look for few directions that hold the whole difference but for rounding, as
        those of a merged adapter do.
        """
        shape = tensors.loaded.shape
        shorter_side = min(shape, default=0)
        if len(shape) != 2 or shorter_side < 2:
            return _NOT_SEARCHED
        few = int(_FEW * shorter_side)
        largest_rank = min(_RANKS, few)
        directions = min(largest_rank + 8, shorter_side)
        entries = tensors.loaded.numel()
        cost = 12.0 * entries * directions
        if largest_rank < 1 or cost > self._work:
            return _NOT_SEARCHED
        self._work -= cost
        rank = _rank(tensors, directions)
        if rank is not None and rank > largest_rank:
            rank = None
        return _RankSearch(rank=rank, done=True)


@dataclass(frozen=True)
class _RankSearch:
    """The ``rank`` of a difference, where it is small; ``done``: it was looked for."""

    rank: int | None
    done: bool


_NOT_SEARCHED = _RankSearch(rank=None, done=False)


def _rank(tensors: _Tensors, directions: int) -> int | None:
    """How many of the first ``directions`` hold the whole difference but for rounding;
    None where these do not, or where all of it may be rounding.
    """
    gap = tensors.gap.float()
    energy = _energy(gap.double())
    energies = _energies(gap, directions)
    held = energies.cumsum(0)
    left = energy - held
    rounding = _NOISE * tensors.rounding
    missed = _SVD * energy
    noise = max(rounding**2, missed)
    if energy <= 4 * noise:
        return None
    enough = (left <= noise).nonzero()
    if not len(enough):
        return None
    return int(enough[0]) + 1


def _energies(gap: Tensor, directions: int) -> Tensor:
    """f64[directions]: the part of the squared L2 of ``gap`` that each of its first
    directions holds.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, singular_values, _ = torch.svd_lowrank(gap, q=directions, niter=2)
    return singular_values.double().square()


def _energy(values: Tensor) -> float:
    """The squared L2."""
    squares = values.square()
    return float(squares.sum())


def _unexplained(tensors: _Tensors, search: _RankSearch) -> Kind:
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


def _rounding(a: Tensor, b: Tensor, unit: float) -> float:
    """L2 of rounding both tensors once: half a unit in the last place, uniform, in a
    random binade: 0.41 units each.
    """
    energy_a = a.square().sum()
    energy_b = b.square().sum()
    energy = energy_a + energy_b
    size = float(energy.sqrt())
    return 0.41 * unit * size


# -- explanations, the simplest first


def _zeros(tensors: _Tensors) -> Kind | None:
    """Every loaded entry is zero."""
    if bool(tensors.loaded.any()):
        return None
    return {"kind": "zeros"}


def _scaled(tensors: _Tensors) -> Kind | None:
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
    limit = _NOISE * _rounding(loaded, scaled, unit)
    if float(left.norm()) > limit:
        return None
    return {"kind": "scale", "scale": scale}


def _shifted(tensors: _Tensors) -> Kind | None:
    """One number is added to all entries."""
    if not _can_be_fitted(tensors):
        return None
    gap = tensors.gap
    limit = _NOISE * tensors.rounding
    added = float(gap.mean())
    root_of_entries = gap.numel() ** 0.5
    size = abs(added) * root_of_entries
    if size <= 2 * limit:
        return None
    left = gap - added
    if float(left.norm()) > limit:
        return None
    return {"kind": "offset", "offset": added}


def _can_be_fitted(tensors: _Tensors) -> bool:
    """Whether there are entries enough for a scale or an offset to mean something."""
    if tensors.loaded.numel() < 8:
        return False
    return bool(tensors.expected.any())


def _narrowed(tensors: _Tensors) -> Kind | None:
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


def _last_place(tensors: _Tensors) -> Kind | None:
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


def _eight_bits(tensors: _Tensors) -> Kind | None:
    """The stored numbers, rounded to a grid of 8 bits with one of the usual scales."""
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
                return _rounded_to(grid, scales)
    return None


def _few_rows(tensors: _Tensors) -> Kind | None:
    """Few rows hold the whole difference, as new tokens of an embedding do."""
    if tensors.loaded.ndim != 2:
        return None
    entry_differs = tensors.loaded != tensors.expected
    row_differs = entry_differs.any(1)
    rows = len(row_differs)
    numbers = row_differs.nonzero()
    count = len(numbers)
    if count > _FEW * rows:
        return None
    first = int(numbers[0])
    return {"kind": "rows", "rows": count, "of": rows, "first": first}


Explanation = Callable[[_Tensors], Kind | None]
_EXPLANATIONS: tuple[Explanation, ...] = (
    _zeros,
    _scaled,
    _shifted,
    _narrowed,
    _last_place,
    _eight_bits,
    _few_rows,
)


# -- grids of 8 bits


def _is_on_grid(tensors: _Tensors, grid: str, scales: str) -> bool:
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


def _is_rounded(tensors: _Tensors, grid: str, scale: Tensor, rows: int) -> bool:
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
