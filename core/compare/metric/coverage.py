"""Tokens without a number (`logdrift.core.compare.coverage`)."""

from __future__ import annotations

from logdrift.core.compare.metric.record import Metric

_HEADING = "Tokens without a number"

COVERAGE: tuple[Metric, ...] = (
    Metric(
        path="coverage.nan",
        title="NaN",
        unit="tokens",
        perfect=0,
        meaning="tokens whose score is NaN on a side, of any scope",
        good="0; any other is a fault",
        accessor=lambda pair: pair.coverage.nan,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="coverage.nan_a",
        title="NaN in A",
        unit="tokens",
        perfect=0,
        meaning="tokens whose score is NaN in A, of any scope",
        good="0; any other is a fault",
        accessor=lambda pair: pair.coverage.nan_a,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="coverage.nan_b",
        title="NaN in B",
        unit="tokens",
        perfect=0,
        meaning="tokens whose score is NaN in B, of any scope",
        good="0; any other is a fault",
        accessor=lambda pair: pair.coverage.nan_b,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="coverage.unscored",
        title="not scored by one side",
        unit="tokens",
        perfect=0,
        meaning="tokens of the scope that one side alone scored",
        good="0",
        accessor=lambda pair: pair.coverage.unscored,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="coverage.unscored_a",
        title="not scored by A",
        unit="tokens",
        perfect=0,
        meaning="tokens of the scope that B scored and A did not",
        good="0",
        accessor=lambda pair: pair.coverage.unscored_a,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="coverage.unscored_b",
        title="not scored by B",
        unit="tokens",
        perfect=0,
        meaning="tokens of the scope that A scored and B did not",
        good="0",
        accessor=lambda pair: pair.coverage.unscored_b,
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="coverage.unscored_fraction",
        title="share not scored",
        unit="0 to 1",
        perfect=0,
        meaning="coverage.unscored as a share of the tokens that a side scored",
        good="0",
        accessor=lambda pair: pair.coverage.unscored_fraction,
        heading=_HEADING,
        leaves_out=None,
    ),
)
