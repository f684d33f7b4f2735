"""What kind of difference there is between a loaded tensor and the stored one, as far
as their numbers tell.

Each kind is an explanation that is tried: it counts where the loaded numbers follow
from the stored ones by it, up to the rounding of the loaded dtype. The simplest one
that does is told, else what can be said of the entries.
`logdrift.core.diagnose.identity` makes sentences of it.
"""

from __future__ import annotations

from collections.abc import Iterator
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
_BLOCKS = {
    f"one for each {height} x {_BLOCK}{', a power of two' if power else ''}": (
        height,
        power,
    )
    for height in (1, _BLOCK)
    for power in (False, True)
}
"""Scales of blocks: how many rows share one, and whether it is rounded up to a power of
two.
"""
_SCALES = ("none", "one for the tensor", "one a row", "one a column", *_BLOCKS)
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


class Kinds:
    """Finds kinds for the tensors of one model, within a budget for the costly one."""

    def __init__(self, work: float = _WORK) -> None:
        self._work = work

    def of(self, loaded: Tensor, wanted: Tensor, file: Tensor) -> Kind | None:
        """``{"kind": ...}`` and its numbers, for ``loaded`` against ``wanted``, which
        is ``file`` in the loaded dtype.

        All of one shape. None where there is nothing to say: a tensor that is too
        large, or not finite.
        """
        if not loaded.numel() or loaded.numel() > _LARGEST:
            return None
        sixteen_bits = UNITS[loaded.dtype] >= UNITS[torch.float16]
        exact = torch.float32 if sixteen_bits else torch.float64
        a, b, source = (x.detach().cpu().to(exact) for x in (loaded, wanted, file))
        if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
            return None
        unit = UNITS[loaded.dtype]
        for kind in _simple(a, b, unit):
            return kind
        found = (
            _narrowed(loaded, file)
            or _last_place(a, b, loaded.dtype)
            or _eight_bits(a, source, unit)
            or _few_rows(a, b)
        )
        if found is not None:
            return found
        rank, looked = self._rank(a, b, unit)
        if rank is not None:
            return {"kind": "low rank", "rank": rank}
        if float((a - b).norm()) > _FAR * float(b.norm()):
            numbers = (side.reshape(-1).sort().values for side in (a, b))
            return {"kind": "order" if torch.equal(*numbers) else "unrelated"}
        return {"kind": "entries", "rank_looked_at": looked}

    def _rank(self, a: Tensor, b: Tensor, unit: float) -> tuple[int | None, bool]:
        """The number of directions that hold the whole difference but for rounding, as
        those of a merged adapter do, where they are few; and whether it was looked for.
        """
        if a.ndim != 2 or min(a.shape) < 2:
            return None, False
        most = min(_RANKS, int(min(a.shape) * _FEW))
        asked = min(most + 8, min(a.shape))
        cost = 12.0 * a.numel() * asked
        if most < 1 or cost > self._work:
            return None, False
        self._work -= cost
        gap = (a - b).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found = torch.svd_lowrank(gap, q=asked, niter=2)[1].double()
        total = float(gap.double().square().sum())
        left = total - found.square().cumsum(0)
        noise = max((_NOISE * _rounding(a, b, unit)) ** 2, _SVD * total)
        below = (left <= noise).nonzero()
        if not len(below) or int(below[0]) + 1 > most or total <= 4 * noise:
            return None, True
        return int(below[0]) + 1, True


def _rounding(a: Tensor, b: Tensor, unit: float) -> float:
    """L2 of rounding both tensors once: half a unit in the last place, uniform, in a
    random binade: 0.41 units each.
    """
    return 0.41 * unit * float((a.square().sum() + b.square().sum()).sqrt())


def _simple(a: Tensor, b: Tensor, unit: float) -> Iterator[Kind]:
    """Zeros, a scale for all entries, a number added to all entries."""
    if not bool(a.any()):
        yield {"kind": "zeros"}
        return
    if a.numel() < 8 or not bool(b.any()):
        return
    limit = _NOISE * _rounding(a, b, unit)
    scale = float((a * b).sum() / b.square().sum())
    told = abs(scale - 1) > 2 * unit
    if (
        scale
        and told
        and float((a - scale * b).norm()) <= _NOISE * _rounding(a, scale * b, unit)
    ):
        yield {"kind": "scale", "scale": scale}
    added = float((a - b).mean())
    told = abs(added) * a.numel() ** 0.5 > 2 * limit
    if told and float((a - b - added).norm()) <= limit:
        yield {"kind": "offset", "offset": added}


def _narrowed(loaded: Tensor, file: Tensor) -> Kind | None:
    """The stored numbers, rounded to a narrower float dtype than the loaded one on the
    way, or cut to it.
    """
    file = file.cpu()
    loaded = loaded.cpu()
    for name, dtype in _NARROW.items():
        if torch.equal(file.to(dtype).to(loaded.dtype), loaded):
            return {"kind": "rounding", "grid": name, "scales": "none"}
    if file.dtype == torch.float32:
        upper = (file.contiguous().view(torch.int32) & -(1 << 16)).view(torch.float32)
        if torch.equal(upper.to(loaded.dtype), loaded):
            return {
                "kind": "rounding",
                "grid": "bfloat16",
                "scales": "none",
                "cut": True,
            }
    return None


def _last_place(a: Tensor, b: Tensor, dtype: Any) -> Kind | None:
    """No entry is further off than the next number of ``dtype``: rounded otherwise, as
    by cutting.
    """
    step = 2 * UNITS[dtype] * b.abs().clamp_min(torch.finfo(dtype).tiny)
    if bool(((a - b).abs() <= step).all()):
        return {"kind": "last place"}
    return None


def _eight_bits(a: Tensor, file: Tensor, unit: float) -> Kind | None:
    """The stored numbers, rounded to a grid of 8 bits with one of the usual scales. The
    first rows are looked at before all.
    """
    rows = len(file) if file.ndim == 2 else 1
    some = min(rows, max(_BLOCK, _SAMPLE * rows // file.numel() // _BLOCK * _BLOCK))
    for grid in (
        name for name in _EIGHT_BITS if name == "int8" or hasattr(torch, name)
    ):
        for scales in _SCALES if file.ndim == 2 else _SCALES[:2]:
            if grid == "int8" and scales == "none":
                continue
            if all(
                _is_on(a, file, grid, scales, count, unit)
                for count in dict.fromkeys((some, rows))
            ):
                return {"kind": "rounding", "grid": grid, "scales": scales}
    return None


def _is_on(
    a: Tensor, file: Tensor, grid: str, scales: str, rows: int, unit: float
) -> bool:
    """Whether the first ``rows`` rows of ``a`` are those of the file on a grid with
    such scales.
    """
    size = _scale(file, scales, rows, _EIGHT_BITS[grid])
    if file.ndim == 2:
        a = a[:rows]
        file = file[:rows]
    return _is_rounded(a, file, grid, size, unit)


def _is_rounded(a: Tensor, file: Tensor, grid: str, size: Tensor, unit: float) -> bool:
    """Whether ``a`` lies on the grid, nowhere further from the file than the nearest
    point (in a tie there are two).
    """
    nearest = _on_grid(file / size, grid) * size
    slack = 1.01 * unit * nearest.abs() + 1e-30
    on_grid = (a - _on_grid(a / size, grid) * size).abs() <= slack
    near = (a - file).abs() <= 1.01 * (nearest - file).abs() + slack
    return float((on_grid & near).double().mean()) >= _EXACT


def _scale(file: Tensor, scales: str, rows: int, most: float) -> Tensor:
    """What brings the largest number of each group to ``most``, for the first ``rows``
    rows.
    """
    if scales == "none":
        return torch.ones((), dtype=file.dtype)
    if scales == "one for the tensor":
        return _above_zero(file.abs().amax() / most)
    if scales == "one a column":
        return _above_zero(file.abs().amax(0, keepdim=True) / most)
    size = file[:rows].abs()
    if scales == "one a row":
        return _above_zero(size.amax(1, keepdim=True) / most)
    height, power = _BLOCKS[scales]
    found = _above_zero(_block_maxima(size, height, _BLOCK) / most)
    if power:
        return torch.exp2(torch.ceil(torch.log2(found)))
    return found


def _above_zero(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _block_maxima(size: Tensor, height: int, width: int) -> Tensor:
    """[rows, columns]: the largest number of the block that each entry is in."""
    rows, columns = size.shape
    padded = torch.nn.functional.pad(size, (0, -columns % width, 0, -rows % height))
    blocks = padded.reshape(
        padded.shape[0] // height, height, padded.shape[1] // width, width
    )
    spread = blocks.amax((1, 3), keepdim=True).expand_as(blocks).reshape(padded.shape)
    return spread[:rows, :columns]


def _on_grid(values: Tensor, grid: str) -> Tensor:
    if grid == "int8":
        return values.round().clamp(-128, 127)
    most = _EIGHT_BITS[grid]
    return values.clamp(-most, most).float().to(getattr(torch, grid)).double()


def _few_rows(a: Tensor, b: Tensor) -> Kind | None:
    """Few rows hold the whole difference, as new tokens of an embedding do."""
    if a.ndim != 2:
        return None
    other = (a != b).any(1)
    count = int(other.sum())
    if count > _FEW * len(other):
        return None
    return {
        "kind": "rows",
        "rows": count,
        "of": len(other),
        "first": int(other.nonzero()[0]),
    }
