"""Where a residual stream stops being finite: an overflow has a first layer, and no
relative error (pure NumPy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logdrift.core.compare.coverage import FLOAT16_LARGEST, is_float16
from logdrift.core.diagnose.layers.errors import Array, MeasuredLayers, stage_names


@dataclass(frozen=True, slots=True)
class Break:
    """``stage`` is the first one with NaN or infinity, at ``count`` of ``positions``
    positions, ``first`` the first of them (counted from the first one that was looked
    at). ``largest`` is the largest finite size in the stages before, None where the
    first stage is broken already.
    """

    stage: str
    count: int
    positions: int
    first: int
    largest: float | None


def first_break(arrays: Mapping[str, Array]) -> Break | None:
    """The first stage of ``arrays`` (`logdrift.core.worker.layers.FILE`) that is not
    finite; None where all are.
    """
    before: float | None = None
    for name, rows in zip(stage_names(arrays), _stages(arrays), strict=True):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=-1))
        if len(bad):
            return Break(
                stage=name,
                count=len(bad),
                positions=len(rows),
                first=int(bad[0]),
                largest=before,
            )
        before = max(before or 0.0, largest(rows))
    return None


def _stages(arrays: Mapping[str, Array]) -> Sequence[Array]:
    """One [P, H] for each name of `stage_names`."""
    return [
        *arrays["stream"],
        *(arrays[name] for name in ("final", "logits") if name in arrays),
    ]


def largest(rows: Array) -> float:
    """The largest finite |x|; 0 where there is none."""
    size = np.abs(rows[np.isfinite(rows)])
    if size.size:
        return float(size.max())
    return 0.0


def sentence(
    side: MeasuredLayers, own_break: Break, standard: MeasuredLayers, start: int
) -> str:
    """What is said of a side that breaks. ``start`` is the position of the sequence
    that was looked at first.
    """
    return (
        f"{side.backend}: {own_break.stage} is the first whose numbers are not finite,"
        f" {_where(own_break, start)}{_why(side, own_break, standard)}."
    )


def _where(own_break: Break, start: int) -> str:
    if own_break.count == own_break.positions:
        return "at every position"
    return (
        f"at {own_break.count:,} of {own_break.positions:,} positions, the first is"
        f" {start + own_break.first}"
    )


def _why(side: MeasuredLayers, own_break: Break, standard: MeasuredLayers) -> str:
    """The overflow, where the standard shows the size that the numbers have there."""
    if not is_float16(side.dtype):
        return (
            f": {side.dtype} hardly overflows, look for NaN or infinity in the weights"
            " of this stage"
        )
    end = f"float16 ends at {FLOAT16_LARGEST:,}"
    names = stage_names(standard.arrays)
    reached = 0.0
    if side.backend != standard.backend and own_break.stage in names:
        reached = largest(_stages(standard.arrays)[names.index(own_break.stage)])
    if reached > FLOAT16_LARGEST:
        return f": {end} and {standard.backend} reaches {reached:,.0f} there"
    if own_break.largest is None:
        inside = ""
    else:
        inside = f" (the stages before reach {own_break.largest:,.4g})"
    return f": {end}, and something inside this stage grows beyond it{inside}"
