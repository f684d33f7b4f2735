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
from logdrift.core.session.layout import SAMPLED_PATHS, CaptureInfo
from logdrift.core.session.reader import Session

Bools = npt.NDArray[np.bool_]

STAND_IN = ("forced_decode", "prefill")
"""Paths whose repeats speak for one of `SAMPLED_PATHS`, best first."""


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
        return _gives_same_numbers(self.a) and _gives_same_numbers(self.b)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _gives_same_numbers(repeats: SelfGap | None) -> bool:
    if repeats is None:
        return False
    return repeats.max_abs == 0 and repeats.infinite == 0


def noise_floor(session: Session, pair: AlignedPair, scope: Scope) -> Floor | None:
    """The floor over the pair's scored tokens of ``scope`` that the repeats scored too;
    None without any repeat.

    Repeats are of the side's own path; a decode or recorded path takes those of
    `STAND_IN`, as the labels say.
    """
    mask = pair.scope_mask(scope)
    a = _gap_of_repeats(session, mask, pair.a.info)
    b = _gap_of_repeats(session, mask, pair.b.info)
    batch_a = _gap_of_batch_shape(session, mask, pair.a.info)
    batch_b = _gap_of_batch_shape(session, mask, pair.b.info)
    gaps = (a, b, batch_a, batch_b)
    if all(gap is None for gap in gaps):
        return None
    known = [gap for gap in (a, b) if gap is not None]
    return Floor(
        mae=max((gap.mae for gap in known), default=None),
        rmse=max((gap.rmse for gap in known), default=None),
        a=a,
        b=b,
        batch_a=batch_a,
        batch_b=batch_b,
    )


def times_floor(delta: float, floor: Floor | None) -> float | None:
    """How many times the floor's MAE |delta| is. None without a floor, and where it is
    0: then any delta is real.
    """
    if floor is None or not floor.mae or not np.isfinite(delta):
        return None
    return abs(delta) / floor.mae


def _paths(path: str) -> tuple[str, ...]:
    if path in SAMPLED_PATHS:
        return (path, *STAND_IN)
    return (path,)


def _gap_of_repeats(session: Session, mask: Bools, side: CaptureInfo) -> SelfGap | None:
    """Repeats of the side in its own kind of batch, else together."""
    for path in _paths(side.path):
        for batch in dict.fromkeys((side.batch, "together")):
            group = _group(session, side.backend, path, batch)
            if len(group) > 1:
                gap = _self_gap(session, mask, group[1:], group[0])
                if gap is not None:
                    return gap
    return None


def _gap_of_batch_shape(
    session: Session, mask: Bools, side: CaptureInfo
) -> SelfGap | None:
    """Captures with each sequence alone in its batch, against together."""
    for path in _paths(side.path):
        alone = _group(session, side.backend, path, "alone")
        together = _group(session, side.backend, path, "together")
        if alone and together:
            gap = _self_gap(session, mask, alone, together[0])
            if gap is not None:
                return gap
    return None


def _group(session: Session, backend: str, path: str, batch: str) -> list[CaptureInfo]:
    """The captures of one kind that have a finished sequence, by repeat."""
    group = []
    for info in session.captures:
        is_of_kind = (info.backend, info.path, info.batch) == (backend, path, batch)
        if is_of_kind and info.sequences > 0:
            group.append(info)
    return sorted(group, key=lambda info: info.repeat)


def _self_gap(
    session: Session,
    mask: Bools,
    repeats: Sequence[CaptureInfo],
    first: CaptureInfo,
) -> SelfGap | None:
    """Delta of ``repeats`` to ``first``, pooled, over the tokens of ``mask`` bool[N]
    that both scored; None without.
    """
    size = 0.0
    square = 0.0
    largest = 0.0
    tokens = 0
    infinite = 0
    used: list[str] = []
    for repeat in repeats:
        pair = AlignedPair.of_labels(session, repeat.label, first.label)
        delta = _delta_of(pair, mask)
        finite = delta[np.isfinite(delta)].astype(np.float64)
        infinite += len(delta) - len(finite)
        if len(finite) == 0:
            continue
        used.append(repeat.label)
        np.abs(finite, out=finite)
        size += float(finite.sum())
        square += float(finite @ finite)
        largest = max(largest, float(finite.max()))
        tokens += len(finite)
    if tokens == 0:
        return None
    mean_square = square / tokens
    return SelfGap(
        label=", ".join(used),
        against=first.label,
        mae=size / tokens,
        rmse=float(np.sqrt(mean_square)),
        max_abs=largest,
        tokens=tokens,
        infinite=infinite,
    )


def _delta_of(pair: AlignedPair, mask: Bools) -> npt.NDArray[np.float32]:
    """The deltas of a pair where ``mask``, which may be of another length, keeps
    them.
    """
    count = min(pair.tokens, len(mask))
    keep = mask[:count] & pair.scored[:count]
    return pair.delta[:count][keep]
