"""The numbers that a trend follows, and how a table writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from logdrift.core.numbers import UNKNOWN, figure, percentage
from logdrift.core.trend.row import TrendRow

_LARGE = 1000.0
"""Nats from which on `figure` takes more cells than a column has."""


class TrendNumber(NamedTuple):
    """A number of a row: its name in JSON, its title, whether it is drawn on a
    logarithmic axis, and what is meant by it.
    """

    name: str
    title: str
    is_log: bool
    meaning: str

    def value(self, row: TrendRow) -> float | None:
        """Of a row; None where it is not known."""
        value: float | None = getattr(row, self.name)
        return value

    def text(self, value: float | None) -> str:
        """As a table has it, in few cells."""
        if value is None or math.isnan(value):
            return UNKNOWN
        return _WRITERS[self.name](value)


def _two_decimals(value: float) -> str:
    return f"{value:.2f}"


def _three_decimals(value: float) -> str:
    return f"{value:.3f}"


def _nats(value: float) -> str:
    """As elsewhere; what is far too large in few digits as well."""
    if abs(value) < _LARGE:
        return figure(value)
    return f"{value:.3g}"


def _two_digits(value: float) -> str:
    """With the zeros at the end, as the row above has its digits."""
    return f"{value:#.2g}".rstrip(".")


def _count(value: float) -> str:
    """Of tokens or versions: thousands of them are usual."""
    if abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:.0f}"


_WRITERS: dict[str, Callable[[float], str]] = {
    "mae": _nats,
    "k3": _two_digits,
    "ess": _three_decimals,
    "beyond": percentage,
    "entropy": _two_decimals,
    "length": _count,
    "lag": _count,
}

NUMBERS = (
    TrendNumber("mae", "MAE", True, "mean |Δ|, nats"),
    TrendNumber("k3", "k3", True, "estimate of KL(B || A), nats"),
    TrendNumber("ess", "ESS", False, "effective sample size per token"),
    TrendNumber("beyond", ">0.1", False, "share of tokens with |Δ| > 0.1"),
    TrendNumber("entropy", "entropy", False, "mean entropy, nats"),
    TrendNumber("length", "length", False, "mean tokens of a completion"),
    TrendNumber("lag", "lag", False, "versions the weights are behind"),
)
"""What a trend follows, in the order of its columns and charts."""
