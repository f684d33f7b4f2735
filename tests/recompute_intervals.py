"""Intervals of the numbers of whole sequences or blocks, for `tests.recompute`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tests.common import Fields
from tests.recompute_numbers import INF, RESAMPLES, Signed, k3_of, mean


def intervals(sequences: Sequence[Sequence[float]]) -> Fields:
    """Bootstrap-t as core/compare/uncertainty.py documents it, draw by draw and unit by
    unit.
    """
    units, method = cut([[d for d in row if math.isfinite(d)] for row in sequences])
    if method is None:
        return dict.fromkeys(("mae", "rmse", "mean", "k3", "method")) | {
            "units": 0,
            "resamples": 0,
        }
    sums = [
        (
            len(u),
            math.fsum(u),
            math.fsum(abs(d) for d in u),
            math.fsum(d * d for d in u),
            math.fsum(k3_of(d) for d in u),
        )
        for u in units
    ]
    # In this order the draws are the same whatever the order of the sequences and the
    # sign of delta are.
    weights = (0.7548776662, 0.5698402910, 0.8191725134, 0.6710436067)
    sums.sort(
        key=lambda row: (
            sum(w * abs(x) for w, x in zip(weights, row, strict=False)),
            row[1],
        )
    )
    picks = (
        np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums))).tolist()
    )
    signed, mae, square, k3 = (
        interval([(row[0], row[column]) for row in sums], picks, column > 1)
        for column in (1, 2, 3, 4)
    )
    rmse = None if square is None else [math.sqrt(end) for end in square]
    size = mean([abs(d) for u in units for d in u])
    return {
        "mae": mae,
        "rmse": rmse,
        "mean": None if signed is None else [Signed(end, size) for end in signed],
        "k3": k3,
        "method": method,
        "units": len(sums),
        "resamples": RESAMPLES,
    }


def cut(
    sequences: Sequence[Sequence[float]],
) -> tuple[list[Sequence[float]], str | None]:
    """Sequences; blocks of tokens where these are fewer than 8 or one has more than
    half; nothing below 128 tokens.
    """
    rows = [row for row in sequences if row]
    total = sum(map(len, rows))
    if len(rows) >= 8 and 2 * max(map(len, rows)) <= total:
        assert len(rows) <= 512, "more units are drawn in groups: not recomputed here"
        return list(rows), "sequences"
    if total < 128:
        return [], None
    blocks = min(max(total // 32, 8), 16)
    out: list[Sequence[float]] = []
    for row in rows:
        parts = math.ceil(len(row) * blocks / total)
        borders = [i * len(row) // parts for i in range(parts + 1)]
        out += [row[low:high] for low, high in pairwise(borders)]
    return out, "blocks"


def ratio(rows: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """sum(y) / sum(n) of rows (n, y), and its linearised standard error."""
    total = math.fsum(n for n, _ in rows)
    value = math.fsum(y for _, y in rows) / total
    square = math.fsum((y - value * n) ** 2 for n, y in rows)
    return value, math.sqrt(len(rows) / (len(rows) - 1) * square) / total


def interval(
    rows: Sequence[tuple[float, float]], picks: Sequence[Sequence[int]], positive: bool
) -> list[float] | None:
    value, error = ratio(rows)
    if error <= 1e-12 * math.fsum(abs(y) for _, y in rows) / math.fsum(
        n for n, _ in rows
    ):
        return [value, value]
    distances = []
    for drawn in picks:
        again, spread = ratio([rows[i] for i in drawn])
        # A draw of units that are all alike has no spread.
        if spread <= 1e-7 * error or (positive and again <= 0):
            distances.append(INF)
        elif positive:
            distances.append(abs(math.log(again / value)) * again / spread)
        else:
            distances.append(abs(again - value) / spread)
    t = sorted(distances)[min(math.ceil(0.95 * (len(picks) + 1)), len(picks)) - 1]
    if t == INF:
        return None
    wide = widening(len(rows) - 1)
    t = min(t, 1.5 * Z * wide)
    if not positive:
        return [value - t * error, value + t * error]
    factor = math.exp(t * wide * error / value)
    return [value / factor, value * factor]


Z = 1.959963984540054
"""The normal quantile at 0.975."""


def widening(n: int) -> float:
    """Student's quantile over the normal one, by Abramowitz and Stegun 26.7.5."""
    g1 = (Z**3 + Z) / 4
    g2 = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    g3 = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    g4 = (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160
    return (Z + g1 / n + g2 / n**2 + g3 / n**3 + g4 / n**4) / Z
