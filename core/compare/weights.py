"""Importance weights exp(log ratio), of tokens or of whole sequences, whatever their
size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare import estimators
from logdrift.core.compare.sums import finite_or_none

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ImportanceWeights:
    """What importance weights come to: mean, standard deviation (n - 1), the effective
    sample size as a share of n, and chi2. None beyond float64.
    """

    mean: float | None
    std: float | None
    ess: float
    chi2: float | None


def importance_weights(log_ratio: Array) -> ImportanceWeights:
    """Of the weights exp(log_ratio), f64[n], whatever their size.

    They are divided by the largest of them before anything is added up.
    """
    highest = float(log_ratio.max())
    weights = np.exp(log_ratio - highest)
    mean = float(weights.mean())
    std = standard_deviation(weights)
    squares = (weights - mean) ** 2
    variance = float(squares.mean())
    excess_of_squares = np.expm1(2 * log_ratio)
    chi2 = finite_or_none(float(excess_of_squares.mean()))
    if chi2 is None:
        # The 1 that is taken off is far below the rounding of this.
        mean_square = mean * mean + variance
        chi2 = exp_or_none(2 * highest + math.log(mean_square))
    if std:
        std = exp_or_none(math.log(std) + highest)
    return ImportanceWeights(
        mean=exp_or_none(math.log(mean) + highest),
        std=std,
        ess=effective_share(mean, variance),
        chi2=chi2,
    )


def effective_share(mean: float, variance: float) -> float:
    """(sum w)^2 / (n sum w^2) by the weights' mean and variance (by n)."""
    square = mean * mean
    return square / (square + variance)


def exp_or_none(value: float) -> float | None:
    """exp(value), None beyond float64."""
    if value < estimators.LOG_MAX:
        return math.exp(value)
    return None


def standard_deviation(values: Array) -> float | None:
    """Standard deviation with n - 1, as torch.std; None for fewer than two values."""
    if len(values) < 2:
        return None
    if values.min() == values.max():
        return 0.0
    return finite_or_none(float(values.std(ddof=1)))
