"""How far two residual streams are apart, stage by stage (pure NumPy).

Two measures, both against a standard (a float32 Transformers run of the session's
model, where there is one):

- The *relative error* of a stage at a position, ||a - b|| / ||b|| (the relative forward
  error of Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 1.2,
  of the whole vector), median over positions. It holds the errors of all stages before,
  so it grows: from it alone only a jump can be told.
- The *own error* of a layer, from the replay
  (`logdrift.core.engines.transformers.layers`): the standard runs this one layer on
  the stream that the engine's layer was given. It is counted in units of rounding, so
  it needs no comparison:

      ||difference|| / (q * sqrt(size^2 + 8 * step^2))

  q is the root mean square relative error of rounding a number to the dtype once: eps /
  sqrt(12) * sqrt(E[m^-2]), 0.2124 eps for mantissas m in [1, 2) with the logarithmic
  distribution (0.0017 in bfloat16, where 1.6e-3 was measured on vLLM). The stream (norm
  ``size``) is rounded once, what the layer adds to it (norm ``step``) in about eight
  places: two norms, qkv, attention, output, gate and up, activation, down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}
"""Distance of 1 from the next larger number."""
_ROUND = 0.2124
"""Root mean square relative error of rounding once, in units of eps: see above."""
_ADDED = 8
"""Places at which what a layer adds is rounded: see above."""
_SUMMED = {"float32": 3.0}
"""In float32 sums are rounded as often as products are added, in another order for each
kernel: correct kernels were 1 to 5.6 of the plain units apart. Engines add bfloat16 and
float16 products up in float32, so there this is nothing.
"""


@dataclass(frozen=True, eq=False)
class MeasuredLayers:
    """What was measured of one backend: ``arrays`` and ``replay`` as the workers wrote
    them (`logdrift.core.worker.layers.FILE`,
    `logdrift.core.engines.transformers.layers.replay`), ``replay`` None where there
    was none. ``head_dtype`` is the coarser of the head's and the logits'.
    """

    backend: str
    dtype: str
    arrays: Mapping[str, Array]
    replay: Mapping[str, Array] | None = None
    head_dtype: str | None = None


def unit(dtype: str) -> float:
    """Root mean square relative error of one rounding; for an unknown dtype that of
    bfloat16.
    """
    eps = _EPS.get(dtype, _EPS["bfloat16"])
    summed = _SUMMED.get(dtype, 1.0)
    return _ROUND * eps * summed


def stage_names(arrays: Mapping[str, Array]) -> list[str]:
    """Names of the stages in ``arrays``, in order."""
    layers = len(arrays["stream"]) - 1
    names = ["embedding"]
    for number in range(layers):
        names.append(f"layer {number}")
    if "final" in arrays:
        names.append("final norm")
    if "logits" in arrays:
        names.append("head")
    return names


def relative_errors(
    a: Mapping[str, Array], b: Mapping[str, Array]
) -> tuple[list[str], Array]:
    """Stages that both have, and ||a - b|| / ||b|| of each at each position,
    f32[stages, P].

    Logits are centred per position first: a shift of all logits changes no probability.
    Raises ValueError where the two are not of one shape.
    """
    stream_a = a["stream"]
    stream_b = b["stream"]
    if stream_a.shape != stream_b.shape:
        raise ValueError(
            f"streams of {stream_a.shape} and {stream_b.shape} cannot be compared"
        )
    of_a = stage_names(a)
    names = [name for name in stage_names(b) if name in of_a]
    rows = []
    for stage_a, stage_b in zip(stream_a, stream_b, strict=True):
        rows.append(_apart(stage_a, stage_b))
    if "final norm" in names:
        rows.append(_apart(a["final"], b["final"]))
    if "head" in names:
        logits_a = _centred(a["logits"])
        logits_b = _centred(b["logits"])
        rows.append(_apart(logits_a, logits_b))
    errors = np.stack(rows).astype(np.float32)
    return names, errors


def _centred(logits: Array) -> Array:
    """Less their mean at each position, f64[P, V]."""
    with np.errstate(invalid="ignore"):  # logits that overflowed have no mean
        mean = logits.mean(axis=1, keepdims=True, dtype=np.float64)
        return np.asarray(logits - mean)


def _apart(a: Array, b: Array) -> Array:
    """||a - b|| / ||b|| of each row, f64[P]: NaN where both are zero vectors, infinite
    where only ``b`` is.
    """
    wide_a = np.asarray(a, np.float64)
    wide_b = np.asarray(b, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = _length(wide_a - wide_b)
        return np.asarray(distance / _length(wide_b))


def _length(rows: Array) -> Array:
    """The Euclidean norm of each row, f64[P]."""
    squares = np.square(rows).sum(axis=-1)
    return np.asarray(np.sqrt(squares))


def own_errors(
    side: MeasuredLayers, standard: str, errors: Array, names: Sequence[str]
) -> Array | None:
    """Own error of each stage at each position in units of rounding, f32[stages, P];
    None without a replay.

    The embedding has no stage before it: its own error is its relative error.
    ``standard`` is the dtype of the standard, whose own rounding counts as well.
    """
    if side.replay is None:
        return None
    rows = _own_rows(side, side.replay, standard)
    rows["embedding"] = errors[0] / _rounding(side.dtype, standard)
    missing = np.full(errors.shape[1], np.nan)
    in_order = [rows.get(name, missing) for name in names]
    return np.stack(in_order).astype(np.float32)


def _own_rows(
    side: MeasuredLayers, replay: Mapping[str, Array], standard: str
) -> dict[str, Array]:
    """The own error of each replayed stage by its name, f64[P] each."""
    body = _rounding(side.dtype, standard)
    size = np.square(replay["size"], dtype=np.float64)
    step = np.square(replay["step"], dtype=np.float64)
    rows = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        rounded = np.sqrt(size + _ADDED * step)
        layers = replay["difference"] / (body * rounded)
        for number, row in enumerate(layers):
            rows[f"layer {number}"] = row
        if "final_size" in replay:
            rounded = body * replay["final_size"]
            rows["final norm"] = replay["final_difference"] / rounded
        if "logits_size" in replay:
            head = _head_rounding(side, standard)
            rounded = head * replay["logits_size"]
            rows["head"] = replay["logits_difference"] / rounded
    return rows


def _rounding(dtype: str, standard: str) -> float:
    """What one rounding on each side leaves, relative."""
    rounding = np.hypot(unit(dtype), unit(standard))
    return float(rounding)


def _head_rounding(side: MeasuredLayers, standard: str) -> float:
    """The same for the head: of the coarser of its own dtype and the body's."""
    body = unit(side.dtype)
    head = unit(side.head_dtype or side.dtype)
    coarser = max(body, head)
    rounding = np.hypot(coarser, unit(standard))
    return float(rounding)
