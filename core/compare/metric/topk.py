"""The most likely tokens (`logdrift.core.compare.distribution`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from logdrift.core.compare.metric.good import GoodRange
from logdrift.core.compare.metric.record import Metric, number_of

if TYPE_CHECKING:
    from logdrift.core.compare.distribution import TopK
    from logdrift.core.compare.metrics import Numbers

_HEADING = "The most likely tokens"


def _of(
    number: Callable[[TopK], float | None],
) -> Callable[[Numbers], float | None]:
    return lambda pair: number_of(pair.topk, number)


TOPK: tuple[Metric, ...] = (
    Metric(
        path="topk.k",
        title="k",
        unit="tokens",
        perfect=None,
        meaning="most alternatives compared at a token",
        good="20 and more",
        accessor=_of(lambda topk: topk.k),
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="topk.tokens",
        title="positions",
        unit="tokens",
        perfect=None,
        meaning="tokens where both sides have alternatives",
        good="as many as tokens",
        accessor=_of(lambda topk: topk.tokens),
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="topk.same_top1",
        title="same top-1",
        unit="0 to 1",
        perfect=1,
        meaning="share of tokens where both sides rank the same id first",
        good="above 0.97",
        within=GoodRange(low=0.97),
        accessor=_of(lambda topk: topk.same_top1),
        heading=_HEADING,
        headline=True,
        leaves_out=None,
    ),
    Metric(
        path="topk.overlap",
        title="overlap",
        unit="0 to 1",
        perfect=1,
        meaning="mean share of the k alternatives that both sides have",
        good="above 0.95",
        within=GoodRange(low=0.95),
        accessor=_of(lambda topk: topk.overlap),
        heading=_HEADING,
        headline=True,
        leaves_out=None,
    ),
    Metric(
        path="topk.ranked",
        title="ranked",
        unit="tokens",
        perfect=None,
        meaning="tokens whose ranks can be compared",
        good="as many as topk.tokens",
        accessor=_of(lambda topk: topk.ranked),
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="topk.rank_flips",
        title="rank flips",
        unit="0 to 1",
        perfect=0,
        meaning="share of topk.ranked with another rank that no tie explains",
        good="below 0.1",
        within=GoodRange(high=0.1),
        accessor=_of(lambda topk: topk.rank_flips),
        heading=_HEADING,
        headline=True,
        leaves_out=None,
    ),
    Metric(
        path="topk.kl_lower_bound_mean",
        title="KL at least, mean",
        unit="nats",
        perfect=0,
        meaning="mean over tokens of what KL(B||A) is at least",
        good="below 0.003",
        within=GoodRange(high=0.003),
        accessor=_of(lambda topk: topk.kl_lower_bound_mean),
        heading=_HEADING,
        headline=True,
        leaves_out="topk.kl_infinite",
    ),
    Metric(
        path="topk.kl_lower_bound_p99",
        title="KL at least, p99",
        unit="nats",
        perfect=0,
        meaning="the bound that 1 token in 100 exceeds",
        good="below 0.03",
        within=GoodRange(high=0.03),
        accessor=_of(lambda topk: topk.kl_lower_bound_p99),
        heading=_HEADING,
        leaves_out="topk.kl_infinite",
    ),
    Metric(
        path="topk.kl_lower_bound_max",
        title="KL at least, max",
        unit="nats",
        perfect=0,
        meaning="the largest bound",
        good="below 0.1",
        accessor=_of(lambda topk: topk.kl_lower_bound_max),
        heading=_HEADING,
        leaves_out="topk.kl_infinite",
    ),
    Metric(
        path="topk.kl_infinite",
        title="KL infinite",
        unit="tokens",
        perfect=0,
        meaning="tokens where A calls impossible what B does not",
        good="0; any other is a fault",
        within=GoodRange(low=0, high=0),
        accessor=_of(lambda topk: topk.kl_infinite),
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="topk.tail_mass_a",
        title="tail mass A",
        unit="probability",
        perfect=None,
        meaning="mean probability that A gives to ids outside of its k",
        good="below 0.1",
        accessor=_of(lambda topk: topk.tail_mass_a),
        heading=_HEADING,
        leaves_out=None,
    ),
    Metric(
        path="topk.tail_mass_b",
        title="tail mass B",
        unit="probability",
        perfect=None,
        meaning="mean probability that B gives to ids outside of its k",
        good="as A's",
        accessor=_of(lambda topk: topk.tail_mass_b),
        heading=_HEADING,
        leaves_out=None,
    ),
)
