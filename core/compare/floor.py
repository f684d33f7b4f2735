"""The noise floor of a pair: how far each side is from itself when nothing was changed.

A side's floor is the delta between repeats of its capture and the first of them. Two
sides with independent noise of that size are apart by the root of the sum of squares,
which lies between the larger of the two floors and sqrt(2) times it: the larger one is
the floor of the pair, so at most 1.41 too small, and no assumption of independence is
needed where a repeat shares its noise with the first. A side without repeats is None,
never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.aligned import AlignedPair
from logdrift.core.compare.scopes import Scope
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

STAND_IN = ("forced_decode", "prefill")
"""Paths whose repeats speak for a path that cannot be repeated, best first: sampling
again gives other ids.
"""
_UNREPEATABLE = ("decode", "recorded")


@dataclass(frozen=True, slots=True)
class SelfGap:
    """Delta between captures of one backend: ``label`` names the repeats (pooled),
    ``against`` what they repeat.

    ``mae``, ``rmse`` and ``max_abs`` in nats over ``tokens`` finite deltas (pooled:
    repeats times tokens); ``infinite`` more tokens were impossible in one of the two
    alone.
    """

    label: str
    against: str
    mae: float
    rmse: float
    max_abs: float
    tokens: int
    infinite: int


@dataclass(frozen=True, slots=True)
class Floor:
    """``floor`` of the JSON schema. ``mae`` and ``rmse`` are the larger of both sides,
    of the one side where only it has repeats (then the other's noise is unknown), None
    where neither has. ``batch_a`` and ``batch_b`` are of the batch's shape: each
    sequence alone in its batch against together with others.
    """

    mae: float | None
    rmse: float | None
    a: SelfGap | None
    b: SelfGap | None
    batch_a: SelfGap | None
    batch_b: SelfGap | None

    @property
    def reproducible(self) -> bool:
        """Both sides were repeated and gave the same numbers: any delta is real."""
        return all(
            side is not None and side.max_abs == 0 and side.infinite == 0
            for side in (self.a, self.b)
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def noise_floor(session: Session, pair: AlignedPair, scope: Scope) -> Floor | None:
    """The floor over the pair's scored tokens of ``scope`` that the repeats scored too;
    None without any repeat.

    Repeats are of the side's own path; a decode or recorded path takes those of
    `STAND_IN`, as the labels say.
    """
    mask = pair.scope_mask(scope)
    infos = [info for info in session.captures if info.sequences > 0]
    a, b = (_repeats(session, mask, infos, side.info) for side in (pair.a, pair.b))
    batch_a, batch_b = (
        _batch(session, mask, infos, side.info) for side in (pair.a, pair.b)
    )
    if all(gap is None for gap in (a, b, batch_a, batch_b)):
        return None
    known = [gap for gap in (a, b) if gap is not None]
    mae = max((gap.mae for gap in known), default=None)
    rmse = max((gap.rmse for gap in known), default=None)
    return Floor(mae, rmse, a, b, batch_a, batch_b)


def times_floor(delta: float, floor: Floor | None) -> float | None:
    """How many times the floor's MAE |delta| is. None without a floor, and where it is
    0: then any delta is real.
    """
    if floor is None or not floor.mae or not np.isfinite(delta):
        return None
    return abs(delta) / floor.mae


def _paths(path: str) -> tuple[str, ...]:
    if path in _UNREPEATABLE:
        return (path, *STAND_IN)
    return (path,)


def _repeats(
    session: Session,
    mask: npt.NDArray[np.bool_],
    infos: Sequence[CaptureInfo],
    side: CaptureInfo,
) -> SelfGap | None:
    """Repeats of the side in its own kind of batch, else together."""
    for path in _paths(side.path):
        for batch in dict.fromkeys((side.batch, "together")):
            group = _group(infos, side.backend, path, batch)
            if len(group) > 1:
                gap = _self_gap(session, mask, group[1:], group[0])
            else:
                gap = None
            if gap is not None:
                return gap
    return None


def _batch(
    session: Session,
    mask: npt.NDArray[np.bool_],
    infos: Sequence[CaptureInfo],
    side: CaptureInfo,
) -> SelfGap | None:
    for path in _paths(side.path):
        alone, together = (
            _group(infos, side.backend, path, batch) for batch in ("alone", "together")
        )
        if alone and together:
            gap = _self_gap(session, mask, alone, together[0])
        else:
            gap = None
        if gap is not None:
            return gap
    return None


def _group(
    infos: Sequence[CaptureInfo], backend: str, path: str, batch: str
) -> list[CaptureInfo]:
    found = [
        info
        for info in infos
        if (info.backend, info.path, info.batch) == (backend, path, batch)
    ]
    return sorted(found, key=lambda info: info.repeat)


def _self_gap(
    session: Session,
    mask: npt.NDArray[np.bool_],
    repeats: Sequence[CaptureInfo],
    first: CaptureInfo,
) -> SelfGap | None:
    """Delta of ``repeats`` to ``first``, pooled, over the tokens of ``mask`` bool[N]
    that both scored; None without.
    """
    size = square = largest = 0.0
    tokens = infinite = 0
    used: list[str] = []
    for repeat in repeats:
        pair = AlignedPair.of_labels(session, repeat.label, first.label)
        count = min(pair.tokens, len(mask))
        values = pair.delta[:count][mask[:count] & pair.scored[:count]]
        delta = values[np.isfinite(values)].astype(np.float64)
        infinite += len(values) - len(delta)
        if len(delta) == 0:
            continue
        used.append(repeat.label)
        np.abs(delta, out=delta)
        size = size + float(delta.sum())
        square = square + float(delta @ delta)
        largest = max(largest, float(delta.max()))
        tokens = tokens + len(delta)
    if tokens == 0:
        return None
    return SelfGap(
        ", ".join(used),
        first.label,
        size / tokens,
        float(np.sqrt(square / tokens)),
        largest,
        tokens,
        infinite,
    )
