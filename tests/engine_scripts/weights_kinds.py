"""Run in an interpreter with torch: tensors of many sizes changed in known ways, and
what kind each change is taken for.

python weights_kinds.py MODEL OUT.json ARGUMENT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from logdrift.core.worker.weights_kind import Kinds

SHAPES = ((96, 130), (256, 384), (1400, 300))
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def main(out: Path) -> None:
    torch.manual_seed(7)
    found = []
    for dtype in DTYPES:
        for shape in SHAPES:
            file = (torch.randn(shape) * 0.05).to(dtype)
            for wanted, numbers, changed in changes(file.double()):
                kind = Kinds().of(changed.to(dtype), file, file)
                found.append(
                    {
                        "dtype": str(dtype),
                        "shape": shape,
                        "wanted": wanted,
                        "numbers": numbers,
                        "kind": kind,
                    }
                )
            found += [
                of_narrowing(shape, dtype, stored)
                for stored in (torch.float32,)
                if stored != dtype
            ]
    out.write_text(json.dumps({"kinds": found, "narrow": narrow(), "poor": poor()}))


def changes(file: Any) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """What the kind is to be, which of its numbers matter, and the changed tensor."""
    yield "zeros", {}, file * 0
    for scale in (1.05, 0.5, -1.0, 8.0):
        yield "scale", {"scale": scale}, file * scale
    yield "offset", {"offset": 1.0}, file + 1.0
    for rank in (1, 4, 16):
        if rank <= min(file.shape) // 4:
            yield "low rank", {"rank": rank}, file + adapter(file, rank, 0.1)
    yield "entries", {}, file * (1 + 0.02 * torch.randn_like(file))
    yield "entries", {}, file + 0.1 * file.std() * torch.randn_like(file)
    edited = file.clone()
    edited[[3, 5]] *= 1.5
    yield "rows", {"rows": 2, "first": 3}, edited
    yield "order", {}, file.flip(0)
    yield "unrelated", {}, torch.randn_like(file) * 0.05
    for grid, most in (
        ("float8_e4m3fn", 448.0),
        ("float8_e5m2", 57344.0),
        ("int8", 127.0),
    ):
        for scales, size in (
            ("one for the tensor", file.abs().max() / most),
            ("one a row", file.abs().amax(1, keepdim=True) / most),
            ("one a column", file.abs().amax(0, keepdim=True) / most),
        ):
            yield (
                "rounding",
                {"grid": grid, "scales": scales},
                rounded(file / size, grid) * size,
            )
    size = block_maxima(file) / 448.0
    numbers = {"grid": "float8_e4m3fn", "scales": "one for each 128 x 128"}
    yield "rounding", numbers, rounded(file / size, "float8_e4m3fn") * size


def block_maxima(file: Any) -> Any:
    """The largest number of the 128 x 128 block that each entry is in."""
    found = torch.empty_like(file)
    for row in range(0, file.shape[0], 128):
        for column in range(0, file.shape[1], 128):
            block = file[row : row + 128, column : column + 128]
            found[row : row + 128, column : column + 128] = block.abs().max()
    return found


def adapter(file: Any, rank: int, size: float) -> Any:
    """Of relative size ``size``."""
    rows, columns = file.shape
    found = torch.randn(rows, rank).double() @ torch.randn(rank, columns).double()
    return size * found * file.norm() / found.norm()


def rounded(values: Any, grid: str) -> Any:
    return (
        values.round()
        if grid == "int8"
        else values.float().to(getattr(torch, grid)).double()
    )


def of_narrowing(shape: Any, dtype: Any, stored: Any) -> dict[str, Any]:
    """A file in float32 that is loaded in another dtype, rounded there by cutting: the
    next number at most.
    """
    file = torch.randn(shape).to(stored)
    wanted = file.to(dtype)
    upper = torch.nextafter(wanted, torch.zeros_like(wanted))
    return {
        "dtype": str(dtype),
        "shape": shape,
        "wanted": "last place",
        "numbers": {},
        "kind": Kinds().of(upper, wanted, file),
    }


def narrow() -> dict[str, Any]:
    """float32 files, loaded in float32, that went through a narrower dtype."""
    file = torch.randn(40, 50)
    cut = (file.view(torch.int32) & -(1 << 16)).view(torch.float32)
    return {
        "bfloat16": Kinds().of(file.bfloat16().float(), file, file),
        "float16": Kinds().of(file.half().float(), file, file),
        "cut": Kinds().of(cut, file, file),
    }


def poor() -> dict[str, Any]:
    """Where little or nothing can be said: one number, a vector, no numbers, no budget
    left.
    """
    vector = torch.randn(64)
    matrix = torch.randn(64, 64)
    broken = matrix.clone()
    broken[0, 0] = float("nan")
    merged = (matrix.double() + adapter(matrix.double(), 2, 0.1)).float()
    return {
        "vector": Kinds().of(vector * (1 + 0.1 * torch.randn(64)), vector, vector),
        "one": Kinds().of(torch.ones(1) * 2, torch.ones(1), torch.ones(1)),
        "empty": Kinds().of(torch.empty(0), torch.empty(0), torch.empty(0)),
        "nan": Kinds().of(broken, matrix, matrix),
        "no budget": Kinds(work=0.0).of(merged, matrix, matrix),
    }


if __name__ == "__main__":
    main(Path(sys.argv[2]))
