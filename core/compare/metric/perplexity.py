"""Perplexities and their ratio (`logdrift.core.compare.mismatch`)."""

from __future__ import annotations

from logdrift.core.compare.metric.good import GoodRange
from logdrift.core.compare.metric.record import Metric

_PERPLEXITY = "Perplexity"

PERPLEXITY: tuple[Metric, ...] = (
    Metric(
        path="mismatch.ppl_a",
        title="perplexity A",
        unit="perplexity",
        perfect=None,
        meaning="mean over sequences of exp of their mean -log p_A",
        good="close to ppl_b",
        accessor=lambda pair: pair.mismatch.ppl_a,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.ppl_b",
        title="perplexity B",
        unit="perplexity",
        perfect=None,
        meaning="mean over sequences of exp of their mean -log p_B",
        good="close to ppl_a",
        accessor=lambda pair: pair.mismatch.ppl_b,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.ppl_ratio",
        title="perplexity ratio",
        unit="ratio",
        perfect=1,
        meaning="mean over sequences of perplexity of A over that of B",
        good="0.99 to 1.01",
        within=GoodRange(low=0.99, high=1.01),
        accessor=lambda pair: pair.mismatch.ppl_ratio,
        heading=_PERPLEXITY,
        headline=True,
    ),
    Metric(
        path="mismatch.log_ppl_a",
        title="log perplexity A",
        unit="nats",
        perfect=None,
        meaning="mean over sequences of their mean -log p_A",
        good="close to log_ppl_b",
        accessor=lambda pair: pair.mismatch.log_ppl_a,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.log_ppl_b",
        title="log perplexity B",
        unit="nats",
        perfect=None,
        meaning="mean over sequences of their mean -log p_B",
        good="close to log_ppl_a",
        accessor=lambda pair: pair.mismatch.log_ppl_b,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.log_ppl_diff",
        title="log perplexity, difference",
        unit="nats",
        perfect=0,
        meaning="mean over sequences of log perplexity of A less that of B",
        good="near 0",
        accessor=lambda pair: pair.mismatch.log_ppl_diff,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.log_ppl_abs_diff",
        title="log perplexity, |difference|",
        unit="nats",
        perfect=0,
        meaning="the same, of absolute values",
        good="below errors.mae",
        accessor=lambda pair: pair.mismatch.log_ppl_abs_diff,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.log_ppl_diff_max",
        title="log perplexity, largest difference",
        unit="nats",
        perfect=0,
        meaning="largest log perplexity of A less that of B",
        good="below 0.05",
        accessor=lambda pair: pair.mismatch.log_ppl_diff_max,
        heading=_PERPLEXITY,
    ),
    Metric(
        path="mismatch.log_ppl_diff_min",
        title="log perplexity, smallest difference",
        unit="nats",
        perfect=0,
        meaning="smallest log perplexity of A less that of B",
        good="above -0.05",
        accessor=lambda pair: pair.mismatch.log_ppl_diff_min,
        heading=_PERPLEXITY,
    ),
)
