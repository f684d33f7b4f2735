"""The error of the probabilities (`logdrift.core.compare.probability`)."""

from __future__ import annotations

from logdrift.core.compare.metric.good import GoodRange
from logdrift.core.compare.metric.record import Metric

_HEADING = "Error of the probabilities"

PROBABILITY: tuple[Metric, ...] = (
    Metric(
        path="probability.mae",
        title="mean |p - q|",
        unit="probability",
        perfect=0,
        meaning="mean of |p_A - p_B|",
        good="below 0.01; above it look for the cause",
        within=GoodRange(high=0.01),
        accessor=lambda pair: pair.probability.mae,
        heading=_HEADING,
        headline=True,
        leaves_out=None,
    ),
    Metric(
        path="probability.max",
        title="max |p - q|",
        unit="probability",
        perfect=0,
        meaning="largest |p_A - p_B|",
        good="below 0.3 for some thousand tokens",
        accessor=lambda pair: pair.probability.max,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="probability.std",
        title="std |p - q|",
        unit="probability",
        perfect=0,
        meaning="standard deviation of |p_A - p_B|",
        good="1 to 2 times probability.mae",
        accessor=lambda pair: pair.probability.std,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="probability.rmse",
        title="RMS p - q",
        unit="probability",
        perfect=0,
        meaning="root of the mean of (p_A - p_B) squared",
        good="1 to 3 times probability.mae",
        accessor=lambda pair: pair.probability.rmse,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="probability.mean",
        title="mean p - q",
        unit="probability",
        perfect=0,
        meaning="mean of p_A - p_B, signed",
        good="near 0, far below probability.mae",
        accessor=lambda pair: pair.probability.mean,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="probability.pearson",
        title="Pearson of p, q",
        unit="-1 to 1",
        perfect=1,
        meaning="correlation of p_A and p_B",
        good="above 0.999; below 0.99 look for the cause",
        within=GoodRange(low=0.999),
        accessor=lambda pair: pair.probability.pearson,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="probability.mult_prob_error",
        title="multiplicative error",
        unit="ratio",
        perfect=1,
        meaning="mean of exp(|delta|)",
        good="1 to 1.05",
        within=GoodRange(low=1, high=1.05),
        accessor=lambda pair: pair.probability.mult_prob_error,
        heading=_HEADING,
        headline=True,
    ),
)
