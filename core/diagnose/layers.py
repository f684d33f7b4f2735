"""Which layer is the first to differ by more than rounding? Judged from
`logdrift.core.diagnose.layer_errors` (pure NumPy).

Measured on correct models, a stage's own error in units of rounding is 0.7 to 1.5 for
every layer of SmolLM2-135M in vLLM, SGLang and Transformers (bfloat16), and 0.9 to 2.8
for random Llama, GPT-2, Cohere, Granite, Phi, Mixtral, Mamba and OPT shapes with
weights far wider than trained ones; embedding, final norm and head have 0 to 1.9.
`LAYER` and `PART` lie above all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import Any, Literal, get_args

import numpy as np

from logdrift.core.diagnose import layer_broken
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.layer_broken import Break, first_break
from logdrift.core.diagnose.layer_errors import (
    Array,
    MeasuredLayers,
    own_errors,
    relative_errors,
    unit,
)
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

LAYER = 4.0
"""Units of rounding from which a layer is wrong: 1.4 times the largest of correct
models (2.8, random Granite).
"""
PART = 3.0
"""The same for embedding, final norm and head, which are rounded at fewer places: 1.6
times the largest (1.9).
"""
AGAINST = 1.6
"""How many times the other side's own error, in one dtype, the same layer may have
(correct pairs: up to 1.31) ...
"""
AGAINST_FROM = 2.0
"""... from so many units on."""
JUMP = 2.0
"""Without a replay: how many times the stage before a relative error must be to be
called a jump ...
"""
JUMP_FROM = 20.0
"""... counted from at least so many single roundings, which two layers of correct
random models reach (18.8).
"""
_MOST = 0.5
"""Above this share of all layers it is no single layer's fault."""


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
        stages = [
            {**asdict(s), "error": s.error if np.isfinite(s.error) else None}
            for s in self.stages
        ]
        return {**asdict(self), "layers": list(self.layers), "stages": stages}


def judge(
    side: MeasuredLayers,
    standard_dtype: str,
    errors: Array,
    names: Sequence[str],
    own: Array | None,
    other: Array | None,
) -> LayerSide:
    """What one backend's stages say. ``other`` is the own error of the pair's other
    side where that has the same dtype: what the layers of this model do in that
    precision.
    """
    if own is None:
        return _judge_curve(side, standard_dtype, errors, names)
    times = _medians(own)
    control = None if other is None else _medians(other)
    limits = [LAYER if name.startswith("layer") else PART for name in names]
    if control is not None:
        lower = np.maximum(AGAINST_FROM, AGAINST * control)
        limits = [
            min(limit, low) if low > 0 else limit
            for limit, low in zip(limits, lower.tolist(), strict=True)
        ]
    wrong = [
        bool(t > limit) for t, limit in zip(times, limits, strict=True)
    ]  # NaN is not
    stages = _stages(names, errors, times, limits, wrong)
    kind, layers = _kind(stages, own)
    sentence = _sentence(kind, layers, stages, side)
    return LayerSide(
        backend=side.backend,
        dtype=side.dtype,
        kind=kind,
        layers=layers,
        growth=_growth(names, errors),
        sentence=sentence,
        stages=stages,
    )


def _broken(
    side: MeasuredLayers,
    standard: MeasuredLayers,
    errors: Array,
    names: Sequence[str],
    found: Break,
    start: int,
) -> LayerSide:
    """A side whose stream is not finite from some stage on: that stage is the answer,
    errors after it mean nothing.
    """
    limits = [LAYER if name.startswith("layer") else PART for name in names]
    stages = _stages(
        names, errors, None, limits, [name == found.stage for name in names]
    )
    layers = (int(found.stage.split()[1]),) if found.stage.startswith("layer") else ()
    said = layer_broken.sentence(side, found, standard, start)
    return LayerSide(
        backend=side.backend,
        dtype=side.dtype,
        kind="not finite",
        layers=layers,
        growth=None,
        sentence=said,
        stages=stages,
    )


def _against_broken(
    side: MeasuredLayers,
    standard: MeasuredLayers,
    errors: Array,
    names: Sequence[str],
    found: Break,
) -> LayerSide:
    limits = [LAYER if name.startswith("layer") else PART for name in names]
    stages = _stages(names, errors, None, limits, [False] * len(names))
    said = (
        f"{side.backend}: finite, but it cannot be held against {standard.backend},"
        f" which is not from {found.stage} on."
    )
    return LayerSide(
        backend=side.backend,
        dtype=side.dtype,
        kind="unknown",
        layers=(),
        growth=None,
        sentence=said,
        stages=stages,
    )


def _medians(rows: Array) -> Array:
    """Median over positions, NaN where there is no number at all."""
    return np.array(
        [np.median(r[~np.isnan(r)]) if (~np.isnan(r)).any() else np.nan for r in rows]
    )


def _stages(
    names: Sequence[str],
    errors: Array,
    times: Array | None,
    limits: Sequence[float],
    wrong: Sequence[bool],
) -> tuple[Stage, ...]:
    middle = _medians(errors)
    return tuple(
        Stage(
            name=name,
            error=float(middle[i]),
            times=None if times is None or np.isnan(times[i]) else float(times[i]),
            limit=limits[i],
            wrong=wrong[i],
        )
        for i, name in enumerate(names)
    )


def _kind(stages: Sequence[Stage], own: Array) -> tuple[Kind, tuple[int, ...]]:
    """The earliest stage that is wrong decides; most layers at once are no single
    layer's fault.
    """
    wrong = [stage.name for stage in stages if stage.wrong]
    layers = tuple(int(name.split()[1]) for name in wrong if name.startswith("layer"))
    count = sum(stage.name.startswith("layer") for stage in stages)
    if not wrong:
        return "rounding", ()
    if wrong[0] in ("embedding", "final norm", "head"):
        return wrong[0], layers  # type: ignore[return-value]
    if len(layers) > max(1, _MOST * count):
        first = _medians(own[[i for i, stage in enumerate(stages) if stage.wrong], :1])
        # Rotary positions, windows and masks leave the first token alone, which sees
        # but itself.
        return ("position" if np.median(first) <= LAYER else "layers"), layers
    return "layer", layers


def _judge_curve(
    side: MeasuredLayers, standard_dtype: str, errors: Array, names: Sequence[str]
) -> LayerSide:
    """Without a replay: the first jump of the relative error."""
    q = float(np.hypot(unit(side.dtype), unit(standard_dtype)))
    middle = _medians(errors)
    limits = [
        PART * q,
        *(JUMP * np.fmax(middle[:-1], JUMP_FROM * q)).tolist(),
    ]  # fmax: a stage of zeros has no error
    wrong = [bool(m > limit) for m, limit in zip(middle, limits, strict=True)]
    stages = _stages(names, errors, None, limits, wrong)
    first = next((stage.name for stage in stages if stage.wrong), None)
    if first is None:
        said = (
            f"{side.backend}: the relative error grows without a jump, to"
            f" {middle[-1]:.2g}. There was no replay (it needs a Transformers backend"
            " and the sequence from its start), so a layer that is off by less than"
            f" about {JUMP * JUMP_FROM * q:.1g} would not show."
        )
        return LayerSide(
            backend=side.backend,
            dtype=side.dtype,
            kind="unknown",
            layers=(),
            growth=_growth(names, errors),
            sentence=said,
            stages=stages,
        )
    layers = (int(first.split()[1]),) if first.startswith("layer") else ()
    kind: Kind = "embedding" if first == "embedding" else "jump"
    before = 0.0 if first == "embedding" else float(middle[names.index(first) - 1])
    said = (
        f"{side.backend}: the relative error jumps at {first}, from {before:.2g} to"
        f" {middle[names.index(first)]:.2g}."
    )
    return LayerSide(
        backend=side.backend,
        dtype=side.dtype,
        kind=kind,
        layers=layers,
        growth=_growth(names, errors),
        sentence=said,
        stages=stages,
    )


def _growth(names: Sequence[str], errors: Array) -> float | None:
    """Least-squares slope of log error on log(layer + 1)."""
    at = [i for i, name in enumerate(names) if name.startswith("layer")]
    middle = _medians(errors)[at]
    good = np.isfinite(middle) & (middle > 0)
    if good.sum() < 3:
        return None
    x, y = np.log(np.arange(1, len(at) + 1)[good]), np.log(middle[good])
    return float(np.polyfit(x, y, 1)[0])


def _sentence(
    kind: Kind, layers: tuple[int, ...], stages: Sequence[Stage], side: MeasuredLayers
) -> str:
    by_name = {stage.name: stage for stage in stages}
    if kind == "rounding":
        times = [stage.times for stage in stages if stage.times is not None]
        last = [stage for stage in stages if stage.name.startswith("layer")][-1]
        return (
            f"{side.backend}: rounding. No stage adds more than {max(times):.1f} times"
            f" what {side.dtype} leaves; the relative error grows to {last.error:.2g}"
            f" after {last.name}."
        )
    if kind in ("embedding", "final norm", "head"):
        stage = by_name[kind]
        before = "" if kind == "embedding" else ", and every layer before it is right"
        more = (
            f"; after it layer {_list(layers)} too"
            if layers and kind == "embedding"
            else ""
        )
        if kind == "embedding" and "head" in by_name and by_name["head"].wrong:
            more += "; the head too, as where it is tied to it"
        return (
            f"{side.backend}: the {kind} is wrong: {stage.times:.0f} times what"
            f" {side.dtype} leaves{before}{more}."
        )
    worst = max(by_name[f"layer {k}"].times or 0.0 for k in layers)
    if kind == "position":
        return (
            f"{side.backend}: {len(layers)} layers differ, layer {layers[0]} first (up"
            f" to {worst:.0f} times rounding), but not at the first token, which sees"
            " only itself: rotary positions, an attention window or mask, not weights."
        )
    if kind == "layers":
        return (
            f"{side.backend}: {len(layers)} layers differ, layer {layers[0]} first (up"
            f" to {worst:.0f} times rounding), from the first token on: weights that"
            " differ everywhere (stale, quantised), or another norm or activation."
        )
    first = by_name[f"layer {layers[0]}"]
    also = (
        f"; so does layer {_list(layers[1:])}"
        if len(layers) > 1
        else "; every other layer does what it should"
    )
    return (
        f"{side.backend}: layer {layers[0]} is the first to differ: given the same"
        f" input it is off by {first.times:.1f} times what {side.dtype} leaves (up to"
        f" {first.limit:.1f} is usual){also}."
    )


def _list(layers: Sequence[int], shown: int = 6) -> str:
    text = ", ".join(map(str, layers[:shown]))
    return text if len(layers) <= shown else f"{text} and {len(layers) - shown} more"


_CAUSES: Mapping[Kind, tuple[str, float]] = {
    "embedding": ("weights", 0.95),
    "layer": ("weights", 0.95),
    "final norm": ("weights", 0.95),
    "head": ("weights", 0.95),
    "layers": ("weights", 0.92),
    "position": ("config", 0.92),
    "jump": ("weights", 0.7),
    "not finite": ("overflow", 0.99),
    "rounding": (NOISE, 0.6),
}
"""Above 0.9 it was observed: the same input gave another output. A jump of the relative
error only looks like it.
"""
_FAINT = 0.75


def layers_evidence(sides: Iterable[LayerSide]) -> list[Evidence]:
    """Evidence of signature ``layers`` for `logdrift.core.diagnose.diagnose`. Rounding
    counts only where both sides have it: then what differs, differs outside of the
    model.
    """
    found = list(sides)
    out = []
    for side in found:
        cause, score = _CAUSES.get(side.kind, (NOISE, 0.0))
        if cause == NOISE and (
            score == 0.0 or any(other.kind != "rounding" for other in found)
        ):
            continue
        first = next((stage for stage in side.stages if stage.wrong), None)
        if side.kind == "layer" and first is not None and (first.times or 0.0) <= LAYER:
            score = _FAINT  # only what the other side's layer leaves gives it away
        numbers: dict[str, float | int | str | bool | None] = {
            "stage": None if first is None else first.name,
            "times": None if first is None else first.times,
            "error": side.stages[-1].error if first is None else first.error,
            "backend": side.backend,
        }
        out.append(
            Evidence(
                cause=cause,
                score=score,
                signature="layers",
                sentence=side.sentence,
                numbers=numbers,
            )
        )
    return out


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
        return " ".join(
            side.sentence
            for side in sorted(
                self.sides, key=lambda side: side.kind in ("rounding", "unknown")
            )
        )

    def to_json(self) -> dict[str, Any]:
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
    if found := items(_stage)(value):
        return tuple(
            Stage(**{**each, "error": nan if each["error"] is None else each["error"]})
            for each in found
        )
    raise Unfit("has no stages")


_stage = record(Stage, error=maybe(number), times=maybe(number))
_side = record(
    LayerSide, kind=one_of(*get_args(Kind)), layers=items(whole()), stages=_stages_of
)
_layers = record(Layers, sides=items(lambda value: LayerSide(**_side(value))))


def compare_sides(
    sides: Sequence[MeasuredLayers], standard: MeasuredLayers, start: int = 0
) -> tuple[tuple[LayerSide, ...], dict[str, Array]]:
    """Judge each of one or two backends against ``standard``, and what was measured:
    ``errors/NAME`` and ``times/NAME`` f32[stages, P] (the latter only with a replay).

    ``start`` is the position of the first row. A backend whose stream is not finite is
    judged by that alone, the standard as well, which then comes last.
    """
    arrays: dict[str, Array] = {}
    measured = []
    for side in sides:
        names, errors = relative_errors(side.arrays, standard.arrays)
        own = own_errors(side, standard.dtype, errors, names)
        arrays[f"errors/{side.backend}"] = errors
        if own is not None:
            arrays[f"times/{side.backend}"] = own
        measured.append((names, errors, own))
    judged = []
    base = first_break(standard.arrays)
    for i, (side, (names, errors, own)) in enumerate(zip(sides, measured, strict=True)):
        other = next(
            (
                m[2]
                for j, m in enumerate(measured)
                if j != i and sides[j].dtype == side.dtype and m[0] == names
            ),
            None,
        )
        found = first_break(side.arrays)
        if found is not None:
            judged.append(_broken(side, standard, errors, names, found, start))
        elif base is not None:
            judged.append(_against_broken(side, standard, errors, names, base))
        else:
            judged.append(judge(side, standard.dtype, errors, names, own, other))
    if base is not None:
        names, errors = relative_errors(standard.arrays, standard.arrays)
        judged.append(_broken(standard, standard, errors, names, base, start))
    return tuple(judged), arrays


def understood(saved: Iterable[SavedLayers]) -> list[Layers]:
    """What was saved, as it was found; what this version cannot understand is left
    out.
    """
    out = []
    for each in saved:
        try:
            out.append(Layers.from_json(each.data))
        except Unfit:
            continue
    return out


def layers_of(a: str, b: str, found: Iterable[Layers]) -> Layers | None:
    """The first (newest) of ``found`` that is of the backends of captures ``a`` and
    ``b``, either way round.
    """
    wanted = {label.partition("/")[0] for label in (a, b)}
    return next(
        (
            each
            for each in found
            if {each.a.partition("/")[0], each.b.partition("/")[0]} == wanted
        ),
        None,
    )
