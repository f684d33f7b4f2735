"""The ends of the 95% intervals (`logdrift.core.compare.uncertainty`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from logdrift.core.compare.metric.record import Metric, number_of

if TYPE_CHECKING:
    from logdrift.core.compare.metrics import Numbers
    from logdrift.core.compare.uncertainty import Interval

_ENDS = {"low": 0, "high": 1}


def _ends(
    name: str, path: str, interval: Callable[[Numbers], Interval | None]
) -> Iterator[Metric]:
    """Both ends of the interval of the metric at ``path``."""
    for end, index in _ENDS.items():
        yield Metric(
            path=f"ci95.{name}.{end}",
            title=f"{name} {end}",
            unit="nats",
            perfect=0,
            meaning=f"{end} end of the 95% interval of {path}",
            good=f"as {path}",
            accessor=_end(interval, index),
        )


def _end(
    interval: Callable[[Numbers], Interval | None], index: int
) -> Callable[[Numbers], float | None]:
    def read(pair: Numbers) -> float | None:
        return number_of(interval(pair), lambda ends: ends[index])

    return read


INTERVALS: tuple[Metric, ...] = (
    *_ends("mae", "errors.mae", lambda pair: pair.ci95.mae),
    *_ends("rmse", "errors.rmse", lambda pair: pair.ci95.rmse),
    *_ends("mean", "errors.mean", lambda pair: pair.ci95.mean),
    *_ends("k3", "mismatch.k3", lambda pair: pair.ci95.k3),
    Metric(
        path="ci95.units",
        title="units",
        unit="units",
        meaning="sequences or blocks that were drawn from",
        good="30 and more",
        accessor=lambda pair: pair.ci95.units,
    ),
    Metric(
        path="ci95.resamples",
        title="resamples",
        unit="draws",
        meaning="bootstrap draws",
        good="2000",
        accessor=lambda pair: pair.ci95.resamples,
    ),
)
