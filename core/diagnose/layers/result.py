"""What came of looking at the layers: one answer, as records and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import nan
from typing import Any, Literal, get_args

import numpy as np

from logdrift.core.session.layers import SavedLayers
from logdrift.core.session.schema import (
    Unfit,
    items,
    maybe,
    number,
    one_of,
    record,
    whole,
)

Kind = Literal[
    "rounding",
    "embedding",
    "layer",
    "layers",
    "final norm",
    "head",
    "position",
    "jump",
    "unknown",
    "not finite",
]


@dataclass(frozen=True, slots=True)
class Stage:
    """``name`` is ``embedding``, ``layer N``, ``final norm`` or ``head``. ``error`` is
    the relative error, median over positions (NaN, in JSON null, where the standard is
    all zeros); ``times`` the own error in units of rounding, None where there was no
    replay; ``limit`` what it may be.
    """

    name: str
    error: float
    times: float | None
    limit: float
    wrong: bool


def layer_number(stage: str) -> int | None:
    """N of ``layer N``; None for any other stage."""
    if stage.startswith("layer"):
        return int(stage.split()[1])
    return None


@dataclass(frozen=True, slots=True)
class LayerSide:
    """One backend against the standard. ``growth`` is the exponent p of error ~
    layer^p, None below three layers; ``layers`` those that are wrong.
    """

    backend: str
    dtype: str
    kind: Kind
    layers: tuple[int, ...]
    growth: float | None
    sentence: str
    stages: tuple[Stage, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        stages = [
            {**asdict(s), "error": s.error if np.isfinite(s.error) else None}
            for s in self.stages
        ]
        return {**asdict(self), "layers": list(self.layers), "stages": stages}


@dataclass(frozen=True, slots=True)
class Layers:
    """One answer to "which layer?": ``a`` and ``b`` are the captures' labels, ``first``
    to ``last`` the positions of ``sequence`` that were looked at, ``position`` the one
    asked for (None: the whole). ``standard`` is the backend that the others are held
    against, ``notes`` what else to know.
    """

    name: str
    a: str
    b: str
    sequence: int
    position: int | None
    first: int
    last: int
    standard: str
    replay: bool
    sides: tuple[LayerSide, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One sentence for each side, the wrong ones first."""
        wrong_first = sorted(
            self.sides, key=lambda side: side.kind in ("rounding", "unknown")
        )
        return " ".join(side.sentence for side in wrong_first)

    @property
    def backends(self) -> frozenset[str]:
        """The names of both captures' backends."""
        return frozenset(label.partition("/")[0] for label in (self.a, self.b))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, with the verdict."""
        return {
            **asdict(self),
            "verdict": self.verdict,
            "notes": list(self.notes),
            "sides": [side.to_json() for side in self.sides],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layers:
        """Inverse of `to_json`. Raises `logdrift.core.session.schema.Unfit` for
        anything else.
        """
        return cls(**_layers(data))


def _stages_of(value: Any) -> tuple[Stage, ...]:
    """At least one stage; an error that is no number was saved as null."""
    stages = items(_stage)(value)
    if not stages:
        raise Unfit("has no stages")
    return tuple(
        Stage(**{**stage, "error": nan if stage["error"] is None else stage["error"]})
        for stage in stages
    )


_stage = record(Stage, error=maybe(number), times=maybe(number))
_side = record(
    LayerSide, kind=one_of(*get_args(Kind)), layers=items(whole()), stages=_stages_of
)
_layers = record(Layers, sides=items(lambda value: LayerSide(**_side(value))))


def understood(saved: Iterable[SavedLayers]) -> list[Layers]:
    """What was saved, as it was found; what this version cannot understand is left
    out.
    """
    answers = []
    for answer in saved:
        try:
            answers.append(Layers.from_json(answer.data))
        except Unfit:
            continue
    return answers


def layers_of(a: str, b: str, answers: Iterable[Layers]) -> Layers | None:
    """The first (newest) of ``answers`` that is of the backends of captures ``a`` and
    ``b``, either way round.
    """
    backends = {label.partition("/")[0] for label in (a, b)}
    return next((answer for answer in answers if answer.backends == backends), None)
