"""What was compared: the counts of a pair."""

from __future__ import annotations

from logdrift.core.compare.metric.record import Metric

COUNTS: tuple[Metric, ...] = (
    Metric(
        path="tokens",
        title="tokens",
        unit="tokens",
        perfect=None,
        meaning="tokens of the scope that both sides scored",
        good="thousands; 0 means nothing was compared",
        accessor=lambda pair: pair.tokens,
        leaves_out=None,
    ),
    Metric(
        path="sequences",
        title="sequences",
        unit="sequences",
        perfect=None,
        meaning="sequences that both sides finished",
        good="30 and more for an interval",
        accessor=lambda pair: pair.finished,
        leaves_out=None,
    ),
)
