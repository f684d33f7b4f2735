"""Numbers of whole sequences (`logdrift.core.compare.mismatch`)."""

from __future__ import annotations

from logdrift.core.compare.metric.good import GoodRange
from logdrift.core.compare.metric.record import Metric

_SEQUENCES = "Whole sequences"

WHOLE_SEQUENCES: tuple[Metric, ...] = (
    Metric(
        path="mismatch.sequence_mae",
        title="MAE of sequences",
        unit="nats",
        perfect=0,
        meaning="mean over sequences of their mean of |delta|",
        good="close to errors.mae",
        accessor=lambda pair: pair.mismatch.sequence_mae,
        heading=_SEQUENCES,
    ),
    Metric(
        path="mismatch.log_ratio_sequence_mean",
        title="log ratio, mean",
        unit="nats",
        perfect=0,
        meaning="mean over sequences of the sum of delta",
        good="near 0",
        accessor=lambda pair: pair.mismatch.log_ratio_sequence_mean,
        heading=_SEQUENCES,
    ),
    Metric(
        path="mismatch.log_ratio_sequence_std",
        title="log ratio, std",
        unit="nats",
        perfect=0,
        meaning="standard deviation over sequences of the sum of delta",
        good="below 1",
        accessor=lambda pair: pair.mismatch.log_ratio_sequence_std,
        heading=_SEQUENCES,
    ),
    Metric(
        path="mismatch.log_ratio_sequence_max_abs",
        title="log ratio, max",
        unit="nats",
        perfect=0,
        meaning="largest |sum of delta| of a sequence",
        good="below 3",
        accessor=lambda pair: pair.mismatch.log_ratio_sequence_max_abs,
        heading=_SEQUENCES,
    ),
    Metric(
        path="mismatch.sequence_mult_prob_error_mean",
        title="multiplicative error, mean",
        unit="ratio",
        perfect=1,
        meaning="mean over sequences of their mean of exp(|delta|)",
        good="1 to 1.05",
        within=GoodRange(low=1, high=1.05),
        accessor=lambda pair: pair.mismatch.sequence_mult_prob_error_mean,
        heading=_SEQUENCES,
    ),
    Metric(
        path="mismatch.sequence_mult_prob_error_max",
        title="multiplicative error, worst",
        unit="ratio",
        perfect=1,
        meaning="the same, of the worst sequence",
        good="1 to 1.1",
        accessor=lambda pair: pair.mismatch.sequence_mult_prob_error_max,
        heading=_SEQUENCES,
    ),
    Metric(
        path="mismatch.sequence_mult_prob_error_min",
        title="multiplicative error, best",
        unit="ratio",
        perfect=1,
        meaning="the same, of the best sequence",
        good="1 to 1.05",
        accessor=lambda pair: pair.mismatch.sequence_mult_prob_error_min,
        heading=_SEQUENCES,
    ),
)
