"""The noise floor (`logdrift.core.compare.floor`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from logdrift.core.compare.metric.record import Metric, number_of

if TYPE_CHECKING:
    from logdrift.core.compare.floor import Floor, SelfGap
    from logdrift.core.compare.metrics import Numbers

    GapOf = Callable[[Floor], SelfGap | None]


def _of_gap(
    gap_of: GapOf, number: Callable[[SelfGap], float]
) -> Callable[[Numbers], float | None]:
    """Read one number of the floor of one side; None where it was not repeated."""

    def read(pair: Numbers) -> float | None:
        return number_of(number_of(pair.floor, gap_of), number)

    return read


def _gap_rows(side: str, between: str, gap: GapOf) -> Iterator[Metric]:
    """The numbers of one side's floor: the delta ``between`` two captures of it."""
    path = f"floor.{side}"
    yield Metric(
        path=f"{path}.mae",
        title=f"{side} mae",
        unit="nats",
        perfect=0,
        meaning=f"MAE between {between}",
        good="0, or far below errors.mae",
        accessor=_of_gap(gap, lambda found: found.mae),
    )
    yield Metric(
        path=f"{path}.rmse",
        title=f"{side} rmse",
        unit="nats",
        perfect=0,
        meaning=f"RMSE between {between}",
        good="0, or far below errors.rmse",
        accessor=_of_gap(gap, lambda found: found.rmse),
    )
    yield Metric(
        path=f"{path}.max_abs",
        title=f"{side} max_abs",
        unit="nats",
        perfect=0,
        meaning=f"largest |delta| between {between}",
        good="0, or far below errors.max_abs",
        accessor=_of_gap(gap, lambda found: found.max_abs),
    )
    yield Metric(
        path=f"{path}.tokens",
        title=f"{side} tokens",
        unit="tokens",
        meaning=f"finite deltas between {between}",
        good="as many as tokens, or more",
        accessor=_of_gap(gap, lambda found: found.tokens),
    )
    yield Metric(
        path=f"{path}.infinite",
        title=f"{side} infinite",
        unit="tokens",
        perfect=0,
        meaning=f"tokens impossible in one alone between {between}",
        good="0; any other is a fault",
        accessor=_of_gap(gap, lambda found: found.infinite),
    )


FLOOR: tuple[Metric, ...] = (
    Metric(
        path="floor.mae",
        title="mae",
        unit="nats",
        perfect=0,
        meaning="MAE between repeats: the larger of both sides",
        good="0, or far below errors.mae",
        accessor=lambda pair: number_of(pair.floor, lambda floor: floor.mae),
    ),
    Metric(
        path="floor.rmse",
        title="rmse",
        unit="nats",
        perfect=0,
        meaning="RMSE between repeats: the larger of both sides",
        good="0, or far below errors.rmse",
        accessor=lambda pair: number_of(pair.floor, lambda floor: floor.rmse),
    ),
    *_gap_rows("a", "repeats of A", lambda floor: floor.a),
    *_gap_rows("b", "repeats of B", lambda floor: floor.b),
    *_gap_rows("batch_a", "A alone and in a batch", lambda floor: floor.batch_a),
    *_gap_rows("batch_b", "B alone and in a batch", lambda floor: floor.batch_b),
)
