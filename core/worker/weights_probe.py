"""Weights that cannot be read as tensors, read through the module that holds them: y =
x W^T for inputs that we choose.

A kernel may check nothing of what it is given, and die of it or write beyond its
memory. So `matrix_of` takes the sizes from the module itself, never from a tensor on
disk, and refuses every module that does not say them; the caller compares them with the
files before anything is fed (`logdrift.core.worker.weights_read`).

Three kinds of rows go through each module at once.

*Unit rows* (one 1, else 0) give columns of W: 1 w + 0 + ... is exact in any order and
any accumulator, so in 16-bit dtypes any difference is one of the weights. As many
columns are read as `WORK` allows, all of them in small modules.

*Random rows*, standard normal from a fixed seed, rounded to the module's dtype, see
every weight. The result is compared with the stored weights applied to the same rows in
float64, as relative L2 error in units u of the dtype's rounding (2^-8 bfloat16, 2^-11
float16, 2^-24 float32). Rounding y once to nearest leaves 0.39 to 0.42 u: the error is
uniform within half a unit in the last place, u/sqrt(3) of the power of two below y,
which is 1/sqrt(2.0 to 2.3) of y in the mean square. `LIMIT` = 1 u is six such roundings
in quadrature, more than kernels that split a sum and round its parts do. 0.5% noise on
the weights is 1.3 u in bfloat16 (with the rounding itself: 1.34), 10 u in float16. In
float32 the sum of K products itself rounds, at most like a random walk: sqrt(K) u,
against 84,000 u.

*The same random rows doubled* must give the doubled result within a few roundings:
doubling is exact in floating point, but a kernel may treat the rows of a batch
differently. A module that does more than multiply by a matrix (an activation, a
normalisation) is found out and refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Tensor = Any

ROWS = 16
SEED = 20
LIMIT = 1.0
UNITS = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-24}
_TF32 = 2.0**-11
_DOUBLED = 4.0
"""Units by which the doubled rows may be off: four roundings in a row, where a bias is
added and taken away again. In float32 times sqrt(K), as above.
"""
WORK = {"cpu": 1.5e9, "cuda": 1.5e11}
"""Multiplications that the unit rows of one module may cost: a tenth of a second at 15
GFLOP/s and 1.5 TFLOP/s.
"""
_COLUMNS = 64

_SIZES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "LinearBase": (
        ("input_size_per_partition", "input_size"),
        ("output_size_per_partition", "output_size"),
    ),
    "ParallelLMHead": (
        ("embedding_dim",),
        ("num_embeddings_per_partition", "num_embeddings"),
    ),
    "Linear": (("in_features",), ("out_features",)),
    "Conv1D": (("nx",), ("nf",)),
}
"""Classes that multiply by one matrix, and the attributes that hold their sizes, the
first one that is there: linear layers and logits heads of vLLM and SGLang, torch's
linear layer, and the one that Transformers has for GPT-2.
"""


class CannotProbeError(Exception):
    """The module does not take plain rows, gives something else than rows of outputs,
    or does not say which it takes.
    """


@dataclass(frozen=True)
class Matrix:
    """What a module says of itself: it takes rows of ``inputs`` numbers of ``dtype``
    and gives rows of ``outputs``.
    """

    inputs: int
    outputs: int
    dtype: Any


@dataclass(frozen=True)
class Probe:
    """What one module answered: ``random`` f64[ROWS, N] less its bias, ``x`` f64[ROWS,
    K]; ``read`` [N, c] columns ``columns`` of W, None where a bias hides them.
    """

    x: Tensor
    random: Tensor
    columns: Tensor
    read: Tensor | None

    @property
    def whole(self) -> Tensor | None:
        """W [N, K], where every column of it was read."""
        all_read = len(self.columns) == self.x.shape[1]
        if all_read:
            return self.read
        return None


def matrix_of(module: Any, tensor: Tensor, dtype: Any) -> Matrix:
    """The sizes that ``module`` itself says it has, and the dtype of the rows that it
    takes: its own, else ``dtype``.

    ``tensor`` is its weight, in any form. Raises CannotProbeError in a few words: a
    module of an unknown class, or sizes that are not said or that its own tensor
    contradicts. The sizes are of this rank's share.
    """
    classes = (base.__name__ for base in type(module).__mro__)
    known_class = next((name for name in classes if name in _SIZES), None)
    if known_class is None:
        raise CannotProbeError(
            f"its module ({type(module).__name__}) is not known to multiply by one"
            " matrix"
        )
    inputs, outputs = (_size(module, names) for names in _SIZES[known_class])
    if inputs is None or outputs is None:
        raise CannotProbeError(
            "its module does not say how many numbers it takes and gives"
        )
    taken = getattr(module, "params_dtype", dtype)
    if taken not in UNITS:
        raise CannotProbeError(
            "its module does not say in which precision it takes its input"
        )
    plain = tensor.ndim == 2 and tensor.dtype in UNITS
    if plain and sorted(tensor.shape) != sorted((outputs, inputs)):
        raise CannotProbeError(
            f"its module says {outputs} x {inputs}, its tensor is"
            f" {_shape(tensor.shape)}"
        )
    if plain and tensor.dtype != taken:
        raise CannotProbeError(f"its module says {taken}, its tensor is {tensor.dtype}")
    return Matrix(inputs, outputs, taken)


def _size(module: Any, names: tuple[str, ...]) -> int | None:
    """The first attribute of ``names`` that is there, where it is a whole number above
    0.
    """
    sizes = (getattr(module, name) for name in names if hasattr(module, name))
    size = next(sizes, None)
    if not isinstance(size, int) or isinstance(size, bool):
        return None
    if size > 0:
        return size
    return None


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape))


def probe(module: Any, matrix: Matrix, device: Any) -> Probe:
    """Put unit rows, random rows and these doubled through ``module``, whose sizes are
    ``matrix`` (`matrix_of`).

    Raises CannotProbeError in a few words.
    """
    width = matrix.inputs
    outputs = matrix.outputs
    dtype = matrix.dtype
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(ROWS, width, generator=generator, dtype=torch.float32).to(dtype)
    count = int(WORK.get(device.type, WORK["cuda"]) / max(1, width * outputs))
    count = min(width, max(_COLUMNS, count))
    columns = torch.randperm(width, generator=generator)[:count].sort().values
    units = torch.zeros(count, width, dtype=dtype)
    units[torch.arange(count), columns] = 1.0
    rows = torch.cat([torch.zeros(1, width, dtype=dtype), x, 2 * x, units]).to(device)
    y = _through(module, rows, outputs)
    bias, random, doubled, read = y.split([1, ROWS, ROWS, count])
    _check_linear(
        random.double() - bias.double(),
        doubled.double() - bias.double(),
        doubled.double(),
        dtype,
    )
    exact = not bool(bias.any())
    return Probe(
        x.double(),
        random.double() - bias.double(),
        columns,
        read.T.contiguous() if exact else None,
    )


def _through(module: Any, rows: Tensor, outputs: int) -> Tensor:
    """The module's outputs for ``rows``, on the CPU."""
    try:
        y = _call(module)(rows)
    except Exception as error:  # any kernel at all: it cannot be read, and that is said
        raise CannotProbeError(
            f"its module takes no plain rows ({type(error).__name__})"
        ) from error
    if isinstance(y, tuple):
        y = y[0]
    if (
        not isinstance(y, torch.Tensor)
        or y.ndim != 2
        or tuple(y.shape) != (rows.shape[0], outputs)
    ):
        raise CannotProbeError("its module gives something else than a row of outputs")
    if not bool(torch.isfinite(y).all()):
        raise CannotProbeError("its module answers with numbers that are not finite")
    return y.cpu()


def _call(module: Any) -> Callable[[Tensor], Any]:
    """What multiplies by the module's matrix: in vLLM and SGLang its method, which is
    told to add no bias and so shows the numbers of the matrix exactly (and a logits
    head has no forward of its own), else the module.
    """
    apply = getattr(getattr(module, "quant_method", None), "apply", None)
    if callable(apply):
        return lambda rows: apply(module, rows, bias=None)
    return lambda rows: module(rows)


def _check_linear(once: Tensor, twice: Tensor, told: Tensor, dtype: Any) -> None:
    """CannotProbeError unless ``twice`` is 2 ``once``, up to the rounding of what was
    ``told``; all f64[ROWS, N].
    """
    if dtype == torch.float32:
        steps = told.shape[1] ** 0.5
    else:
        steps = 1.0
    limit = _DOUBLED * UNITS[dtype] * steps * float(told.norm())
    if float((twice - 2 * once).norm()) > limit:
        raise CannotProbeError("its module does more than multiply by a matrix")


def judge(
    found: Probe, weight: Tensor, start: int, dtype: Any, device: Any
) -> dict[str, Any]:
    """Are rows ``start`` and following of the probed module the stored ``weight`` [n,
    K], rounded to ``dtype``?

    ``same``; ``units`` the random rows' relative L2 error in units of rounding;
    ``columns`` read of ``of``; and, from those columns, else from the error in excess
    of rounding, ``l2`` (relative) and ``share`` of entries that differ.
    """
    expected = weight.to(dtype)
    stop = start + weight.shape[0]
    width = weight.shape[1]
    truth = found.x @ expected.double().T
    error = float(
        (found.random[:, start:stop] - truth).norm() / truth.norm().clamp_min(1e-300)
    )
    unit = UNITS[dtype]
    tf32 = _computes_in_tf32(dtype, device)
    limit = _limit(dtype, width, tf32)
    out: dict[str, Any] = {
        "units": error / unit,
        "limit": limit,
        "columns": 0,
        "of": width,
        "l2": None,
        "share": None,
    }
    same = error / unit <= limit
    if found.read is not None:
        read = found.read[start:stop].to(dtype)
        wanted = expected[:, found.columns]
        share = float((read != wanted).double().mean())
        distance = (read.double() - wanted.double()).norm()
        l2 = float(distance / wanted.double().norm().clamp_min(1e-300))
        out |= {"columns": len(found.columns), "share": share, "l2": l2}
        same = same and (share == 0.0 or (tf32 and l2 <= _TF32))
    elif not same:
        out["l2"] = max(0.0, error**2 - (LIMIT * unit) ** 2) ** 0.5
    return {"same": same, **out}


def _computes_in_tf32(dtype: Any, device: Any) -> bool:
    if dtype != torch.float32 or device.type != "cuda":
        return False
    return bool(torch.backends.cuda.matmul.allow_tf32)


def _limit(dtype: Any, width: int, tf32: bool) -> float:
    """The error of random rows up to which a weight is the same, in units of
    rounding.
    """
    if dtype != torch.float32:
        return LIMIT
    summed = float(width**0.5)
    if tf32:
        return max(summed, LIMIT * _TF32 / UNITS[dtype])
    return summed
