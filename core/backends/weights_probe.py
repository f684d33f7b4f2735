"""Weights that cannot be read as tensors, read through the module that holds them: y = x W^T for inputs that we choose.

Two kinds of rows go through each module at once.

*Unit rows* (one 1, else 0) give columns of W: 1 w + 0 + ... is exact in any order and any accumulator, so in 16-bit dtypes
any difference is one of the weights. As many columns are read as `WORK` allows, all of them in small modules.

*Random rows*, standard normal from a fixed seed, rounded to the module's dtype, see every weight. The result is compared
with the stored weights applied to the same rows in float64, as relative L2 error in units u of the dtype's rounding
(2^-8 bfloat16, 2^-11 float16, 2^-24 float32). Rounding y once to nearest leaves 0.39 to 0.42 u: the error is uniform within
half a unit in the last place, u/sqrt(3) of the power of two below y, which is 1/sqrt(2.0 to 2.3) of y in the mean square.
`LIMIT` = 1 u is six such roundings in quadrature, more than kernels that split a sum and round its parts do. 0.5% noise on
the weights is 1.3 u in bfloat16 (with the rounding itself: 1.34), 10 u in float16. In float32 the sum of K products itself
rounds, at most like a random walk: sqrt(K) u, against 84,000 u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

Tensor = Any

ROWS = 16
SEED = 20
LIMIT = 1.0
UNITS = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-24}
_TF32 = 2.0**-11
WORK = {"cpu": 1.5e9, "cuda": 1.5e11}
"""Multiplications that the unit rows of one module may cost: a tenth of a second at 15 GFLOP/s and 1.5 TFLOP/s."""
_COLUMNS = 64


@dataclass(frozen=True)
class Probe:
    """What one module answered: ``random`` f64[ROWS, N] less its bias, ``x`` f64[ROWS, K]; ``read`` [N, c] columns
    ``columns`` of W, None where a bias hides them."""

    x: Tensor
    random: Tensor
    columns: Tensor
    read: Tensor | None


class CannotProbeError(Exception):
    """The module does not take plain rows, or gives something else than rows of outputs."""


def probe(module: Any, width: int, outputs: int, dtype: Any, device: Any) -> Probe:
    """Put unit and random rows of ``width`` K through ``module``, which must give at least ``outputs`` N values a row.

    Raises CannotProbeError in a few words.
    """
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(ROWS, width, generator=generator, dtype=torch.float32).to(dtype)
    count = int(WORK.get(device.type, WORK["cuda"]) / max(1, width * outputs))
    count = min(width, max(_COLUMNS, count))
    columns = torch.randperm(width, generator=generator)[:count].sort().values
    units = torch.zeros(count, width, dtype=dtype)
    units[torch.arange(count), columns] = 1.0
    rows = torch.cat([torch.zeros(1, width, dtype=dtype), x, units]).to(device)
    y = _through(module, rows, outputs)
    bias = y[0]
    read = None if bool(bias.any()) else y[1 + ROWS :].T.contiguous()
    return Probe(x.double(), y[1 : 1 + ROWS].double() - bias.double(), columns, read)


def _through(module: Any, rows: Tensor, outputs: int) -> Tensor:
    """The module's outputs for ``rows``, on the CPU. Logits heads of vLLM and SGLang have no forward of their own."""
    try:
        method = getattr(module, "quant_method", None)
        if type(module).__name__ == "ParallelLMHead" and method is not None:
            y = method.apply(module, rows, bias=getattr(module, "bias", None))
        else:
            y = module(rows)
    except Exception as error:  # any kernel at all: it cannot be read, and that is said
        raise CannotProbeError(f"its module takes no plain rows ({type(error).__name__})") from error
    y = y[0] if isinstance(y, tuple) else y
    if not isinstance(y, torch.Tensor) or y.ndim != 2 or y.shape[0] != rows.shape[0] or y.shape[1] < outputs:
        raise CannotProbeError("its module gives something else than a row of outputs")
    return y[:, :outputs].cpu()


def judge(found: Probe, weight: Tensor, start: int, dtype: Any, device: Any) -> dict[str, Any]:
    """Are rows ``start`` and following of the probed module the stored ``weight`` [n, K], rounded to ``dtype``?

    ``same``; ``units`` the random rows' relative L2 error in units of rounding; ``columns`` read of ``of``; and, from those
    columns, else from the error in excess of rounding, ``l2`` (relative) and ``share`` of entries that differ.
    """
    expected = weight.to(dtype)
    stop, width = start + weight.shape[0], weight.shape[1]
    truth = found.x @ expected.double().T
    error = float((found.random[:, start:stop] - truth).norm() / truth.norm().clamp_min(1e-300))
    unit = UNITS[dtype]
    tf32 = dtype == torch.float32 and device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    limit = LIMIT if dtype != torch.float32 else max(width**0.5, LIMIT * _TF32 / unit if tf32 else 0.0)
    out: dict[str, Any] = {"units": error / unit, "limit": limit, "columns": 0, "of": width, "l2": None, "share": None}
    same = error / unit <= limit
    if found.read is not None:
        read, wanted = found.read[start:stop].to(dtype), expected[:, found.columns]
        share = float((read != wanted).double().mean())
        l2 = float((read.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-300))
        out |= {"columns": len(found.columns), "share": share, "l2": l2}
        same = same and (share == 0.0 or (tf32 and l2 <= _TF32))
    elif not same:
        out["l2"] = max(0.0, error**2 - (LIMIT * unit) ** 2) ** 0.5
    return {"same": same, **out}
