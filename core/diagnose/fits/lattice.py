"""The lattice that the gaps between alternatives lie on, and the grid of bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FINEST = 11
"""Lattices are looked for from 1 to 2**-FINEST nats: below, the rounding of float32
log-probabilities around -20 (2**-20) is no longer small against `_NEAR` of a step.
"""
ON_LATTICE = 0.8
"""Share of gaps on a step from which values are said to lie on it. Chance gives 0.04 (2
x `_NEAR`), so with 50 gaps a share of 0.8 has a probability below 1e-40; what misses
1.0 are a few rows below a power of two.
"""
MIN_GAPS = 50
"""Gaps that a lattice needs: see `ON_LATTICE`."""
_FIRST_VALUES = 6
"""Values of a list that are looked at: those further down may lie below a power of two,
on a finer step.
"""
_NEAR = 0.02
"""Share of a step by which a gap may miss its multiple."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """``step`` in nats is the coarsest on which the gaps between the first values of
    each list lie, None for none.

    ``share`` of the ``gaps`` that lie on it (for none: the largest share on any step;
    chance 0.04).
    """

    step: float | None
    share: float
    gaps: int


@dataclass(frozen=True, slots=True)
class ValueGrid:
    """``share`` of so many ``values`` that are bfloat16 numbers."""

    share: float
    values: int


def fit_lattice(values: Array) -> Lattice:
    """The lattice of ``values`` f32[n, K] nats, best first in each row."""
    gaps = _positive_gaps(values)
    count = len(gaps)
    if count < MIN_GAPS:
        return Lattice(step=None, share=0.0, gaps=count)
    shares = [_on_multiples(gaps * 2.0**q) for q in range(FINEST + 1)]
    for q, share in enumerate(shares):
        if share >= ON_LATTICE:
            return Lattice(step=2.0**-q, share=share, gaps=count)
    return Lattice(step=None, share=max(shares), gaps=count)


def gaps_on_step(values: Array, step: float) -> float:
    """Share of the gaps between the first values of each list (f32[n, K] nats) that are
    multiples of ``step``; 0 without any.
    """
    gaps = _positive_gaps(values)
    if len(gaps):
        return _on_multiples(gaps / step)
    return 0.0


def values_on_step(values: Array, step: float) -> float:
    """Share of the first values of each list (f32[n, K] nats) that are themselves
    multiples of ``step``; 0 without any. Lists whose first value is about 0 are left
    out: what is certain has a normaliser that lies on the lattice of the logits.
    """
    top = _first_values(values)
    top = top[top[:, 0] < -step]
    top = top[np.isfinite(top)]
    if len(top):
        return _on_multiples(top / step)
    return 0.0


def row_steps(values: Array) -> npt.NDArray[np.float64]:
    """The coarsest step that all gaps of a row's first values (f32[n, K] nats) lie on,
    f64[n]; NaN where there is none.
    """
    gaps = _gaps(values)
    steps = np.full(len(values), np.nan)
    for q in range(FINEST, -1, -1):
        fits = _is_near_multiple(gaps * 2.0**q).all(axis=1)
        steps[fits] = 2.0**-q
    return steps


def bfloat16_grid(values: Array) -> ValueGrid:
    """The grid of the finite ``values`` f32[...]: those whose lower 16 bits are 0 are
    bfloat16 numbers (chance 2^-16). Whole numbers do not count: they are bfloat16
    numbers whatever they were rounded to or filled in by.
    """
    flat = np.ascontiguousarray(values, np.float32).ravel()
    is_whole = flat == np.round(flat)
    flat = flat[np.isfinite(flat) & ~is_whole]
    if not len(flat):
        return ValueGrid(share=0.0, values=0)
    lower_bits = flat.view(np.uint32) & 0xFFFF
    share = np.mean(lower_bits == 0)
    return ValueGrid(share=float(share), values=len(flat))


def _first_values(values: Array) -> Array:
    return values[:, :_FIRST_VALUES].astype(np.float64)


def _gaps(values: Array) -> Array:
    """Between the first values of each row, f64[n, k]; NaN where one is missing."""
    top = _first_values(values)
    with np.errstate(invalid="ignore"):
        gaps: Array = top[:, :-1] - top[:, 1:]
    return gaps


def _positive_gaps(values: Array) -> Array:
    """All gaps between the first values of the rows, f64[m]."""
    gaps = _gaps(values)
    with np.errstate(invalid="ignore"):
        is_positive = np.isfinite(gaps) & (gaps > 0)
    positive: Array = gaps[is_positive]
    return positive


def _is_near_multiple(scaled: Array) -> npt.NDArray[np.bool_]:
    """Whether each number is about whole, False for NaN."""
    with np.errstate(invalid="ignore"):
        off = scaled - np.round(scaled)
        near: npt.NDArray[np.bool_] = np.abs(off) < _NEAR
    return near


def _on_multiples(scaled: Array) -> float:
    """Share of numbers that are about whole."""
    return float(np.mean(_is_near_multiple(scaled)))
