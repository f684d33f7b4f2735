"""Weights that cannot be read as tensors, read through the module that holds them: y =
x W^T for inputs that we choose.

A kernel may check nothing of what it is given, and die of it or write beyond its
memory. So `matrix_of` takes the sizes from the module itself, never from a tensor on
disk, and refuses every module that does not say them; the caller compares them with the
files before anything is fed (`logdrift.core.worker.weights_asked`).

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

from logdrift.core.worker.weights_files import UNITS

Tensor = Any

ROWS = 16
SEED = 20
LIMIT = 1.0
_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
"""Dtypes of rows that modules take."""
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


@dataclass(frozen=True)
class _SizeNames:
    """The attributes that may hold a module's sizes: the first one that it has does."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


_SIZES = {
    "LinearBase": _SizeNames(
        inputs=("input_size_per_partition", "input_size"),
        outputs=("output_size_per_partition", "output_size"),
    ),
    "ParallelLMHead": _SizeNames(
        inputs=("embedding_dim",),
        outputs=("num_embeddings_per_partition", "num_embeddings"),
    ),
    "Linear": _SizeNames(inputs=("in_features",), outputs=("out_features",)),
    "Conv1D": _SizeNames(inputs=("nx",), outputs=("nf",)),
}
"""Classes that multiply by one matrix: linear layers and logits heads of vLLM and
SGLang, torch's linear layer, and the one that Transformers has for GPT-2.
"""


class CannotProbeError(Exception):
    """The module does not take plain rows, gives something else than rows of outputs,
    or does not say which rows it takes.
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
    """What one module answered.

    ``x`` f64[ROWS, K] are the random rows, ``random`` f64[ROWS, N] its outputs for them
    less its bias. ``read`` [N, c] are the columns ``columns`` i64[c] of W; None where a
    bias hides them.
    """

    x: Tensor
    random: Tensor
    columns: Tensor
    read: Tensor | None

    @property
    def whole(self) -> Tensor | None:
        """W [N, K], where every column of it was read."""
        width = self.x.shape[1]
        if len(self.columns) != width:
            return None
        return self.read


def matrix_of(module: Any, tensor: Tensor, dtype: Any) -> Matrix:
    """The sizes that ``module`` itself says it has, and the dtype of the rows that it
    takes: its own, else ``dtype``.

    ``tensor`` is its weight, in any form. Raises CannotProbeError in a few words: a
    module of an unknown class, or sizes that it does not have or that its own tensor
    contradicts. The sizes are of this rank's share.
    """
    size_names = _size_names(module)
    inputs = _size(module, size_names.inputs)
    outputs = _size(module, size_names.outputs)
    if inputs is None or outputs is None:
        raise CannotProbeError(
            "its module does not say how many numbers it takes and gives"
        )
    input_dtype = getattr(module, "params_dtype", dtype)
    if input_dtype not in _DTYPES:
        raise CannotProbeError(
            "its module does not say in which precision it takes its input"
        )
    matrix = Matrix(inputs, outputs, input_dtype)
    is_plain = tensor.ndim == 2 and tensor.dtype in _DTYPES
    if is_plain:
        _check_agrees(matrix, tensor)
    return matrix


def _size_names(module: Any) -> _SizeNames:
    """How the sizes of a module of this class are called. Raises CannotProbeError."""
    for base in type(module).__mro__:
        size_names = _SIZES.get(base.__name__)
        if size_names is not None:
            return size_names
    class_name = type(module).__name__
    raise CannotProbeError(
        f"its module ({class_name}) is not known to multiply by one matrix"
    )


def _check_agrees(matrix: Matrix, tensor: Tensor) -> None:
    """Raise CannotProbeError unless a plain weight is of the size and dtype of which
    its module says that it is.
    """
    sizes = (matrix.outputs, matrix.inputs)
    if sorted(tensor.shape) != sorted(sizes):
        of_module = _shape(sizes)
        of_tensor = _shape(tensor.shape)
        raise CannotProbeError(
            f"its module says {of_module}, its tensor is {of_tensor}"
        )
    if tensor.dtype != matrix.dtype:
        raise CannotProbeError(
            f"its module says {matrix.dtype}, its tensor is {tensor.dtype}"
        )


def _size(module: Any, names: tuple[str, ...]) -> int | None:
    """The first of these attributes that ``module`` has, where it is a whole number
    above 0.
    """
    for name in names:
        if not hasattr(module, name):
            continue
        size = getattr(module, name)
        is_flag = isinstance(size, bool)
        if isinstance(size, int) and not is_flag and size > 0:
            return size
        return None
    return None


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProbeRows:
    """What is put through a module: ``random`` [ROWS, K] and ``units`` [c, K], each of
    which reads the column of W that ``columns`` i64[c] names.
    """

    random: Tensor
    units: Tensor
    columns: Tensor

    @classmethod
    def of(cls, matrix: Matrix, device: Any) -> _ProbeRows:
        width = matrix.inputs
        generator = torch.Generator().manual_seed(SEED)
        normal = torch.randn(ROWS, width, generator=generator, dtype=torch.float32)
        count = _columns_read(matrix, device)
        shuffled = torch.randperm(width, generator=generator)
        columns = shuffled[:count].sort().values
        units = torch.zeros(count, width, dtype=matrix.dtype)
        units[torch.arange(count), columns] = 1.0
        return cls(random=normal.to(matrix.dtype), units=units, columns=columns)


def probe(module: Any, matrix: Matrix, device: Any) -> Probe:
    """Put unit rows, random rows and these doubled through ``module``, whose sizes are
    ``matrix`` (`matrix_of`).

    Raises CannotProbeError in a few words.
    """
    rows = _ProbeRows.of(matrix, device)
    zeros = torch.zeros(1, matrix.inputs, dtype=matrix.dtype)
    parts = [zeros, rows.random, 2 * rows.random, rows.units]
    inputs = torch.cat(parts).to(device)
    outputs = _through(module, inputs, matrix.outputs)
    bias, random, doubled, read = outputs.split([len(part) for part in parts])
    once = random.double() - bias.double()
    twice = doubled.double() - bias.double()
    _check_linear(once, twice, doubled.double(), matrix.dtype)
    has_bias = bool(bias.any())
    return Probe(
        x=rows.random.double(),
        random=once,
        columns=rows.columns,
        read=None if has_bias else read.T.contiguous(),
    )


def _columns_read(matrix: Matrix, device: Any) -> int:
    """How many columns of the matrix are read: as many as `WORK` allows on the device,
    at least `_COLUMNS`.
    """
    work = WORK.get(device.type, WORK["cuda"])
    cost_of_column = matrix.inputs * matrix.outputs
    affordable = int(work / max(1, cost_of_column))
    count = max(_COLUMNS, affordable)
    return min(matrix.inputs, count)


def _through(module: Any, rows: Tensor, outputs: int) -> Tensor:
    """The module's outputs for ``rows``, on the CPU."""
    multiply = _call(module)
    try:
        answer = multiply(rows)
    except Exception as error:  # any kernel may fail in any way: reported as unreadable
        kind = type(error).__name__
        raise CannotProbeError(f"its module takes no plain rows ({kind})") from error
    if isinstance(answer, tuple):
        answer = answer[0]
    shape = None
    if isinstance(answer, torch.Tensor):
        shape = tuple(answer.shape)
    if shape != (rows.shape[0], outputs):
        raise CannotProbeError("its module gives something else than a row of outputs")
    is_finite = torch.isfinite(answer).all()
    if not bool(is_finite):
        raise CannotProbeError("its module answers with numbers that are not finite")
    return answer.cpu()


def _call(module: Any) -> Callable[[Tensor], Any]:
    """What multiplies by the module's matrix: its method in vLLM and SGLang, else the
    module itself.

    The method is called without a bias, so it shows the numbers of the matrix exactly;
    and a logits head has no forward of its own.
    """
    method = getattr(module, "quant_method", None)
    apply = getattr(method, "apply", None)
    if callable(apply):
        return lambda rows: apply(module, rows, bias=None)
    return lambda rows: module(rows)


def _check_linear(once: Tensor, twice: Tensor, answered: Tensor, dtype: Any) -> None:
    """Raise CannotProbeError unless ``twice`` is 2 ``once``, up to the rounding of what
    was ``answered`` for the doubled rows, bias included; all f64[ROWS, N].
    """
    steps = 1.0
    if dtype == torch.float32:
        outputs = answered.shape[1]
        steps = outputs**0.5
    size = float(answered.norm())
    limit = _DOUBLED * UNITS[dtype] * steps * size
    gap = twice - 2 * once
    if float(gap.norm()) > limit:
        raise CannotProbeError("its module does more than multiply by a matrix")


def judge(
    answer: Probe, weight: Tensor, start: int, dtype: Any, device: Any
) -> dict[str, Any]:
    """Are rows ``start`` and following of the probed module the stored ``weight`` [n,
    K], rounded to ``dtype``?

    ``same``; ``units`` the random rows' relative L2 error in units of rounding;
    ``columns`` read of ``of``; and, from those columns, else from the error in excess
    of rounding, ``l2`` (relative) and ``share`` of entries that differ.
    """
    count, width = weight.shape
    rows = slice(start, start + count)
    expected = weight.to(dtype)
    expected_outputs = answer.x @ expected.double().T
    error = _relative_l2(answer.random[:, rows], expected_outputs)
    unit = UNITS[dtype]
    tf32 = _computes_in_tf32(dtype, device)
    limit = _limit(dtype, width, tf32)
    units = error / unit
    entry: dict[str, Any] = {
        "same": units <= limit,
        "units": units,
        "limit": limit,
        "columns": 0,
        "of": width,
        "l2": None,
        "share": None,
    }
    if answer.read is not None:
        read = answer.read[rows].to(dtype)
        columns = _compared_columns(read, expected[:, answer.columns])
        entry |= columns
        rounds_alike = tf32 and columns["l2"] <= _TF32
        columns_agree = columns["share"] == 0.0 or rounds_alike
        entry["same"] = entry["same"] and columns_agree
    elif not entry["same"]:
        rounding = LIMIT * unit
        excess = error**2 - rounding**2
        entry["l2"] = max(0.0, excess) ** 0.5
    return entry


def _compared_columns(read: Tensor, stored: Tensor) -> dict[str, Any]:
    """``columns``, ``share`` and ``l2`` of the columns [n, c] that were read."""
    differs = (read != stored).double()
    return {
        "columns": read.shape[1],
        "share": float(differs.mean()),
        "l2": _relative_l2(read.double(), stored.double()),
    }


def _relative_l2(tensor: Tensor, truth: Tensor) -> float:
    """L2 of ``tensor`` - ``truth`` over that of ``truth``; both float64."""
    gap = tensor - truth
    size = truth.norm().clamp_min(1e-300)
    return float(gap.norm() / size)


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
