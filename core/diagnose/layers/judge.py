"""Which layer is the first to differ by more than rounding? Judged from
`logdrift.core.diagnose.layers.errors` (pure NumPy).

Measured on correct models, a stage's own error in units of rounding is 0.7 to 1.5 for
every layer of SmolLM2-135M in vLLM, SGLang and Transformers (bfloat16), and 0.9 to 2.8
for random Llama, GPT-2, Cohere, Granite, Phi, Mixtral, Mamba and OPT shapes with
weights far wider than trained ones; embedding, final norm and head have 0 to 1.9.
`LAYER` and `PART` lie above all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logdrift.core.diagnose.layers import broken, sentences
from logdrift.core.diagnose.layers.broken import Break, first_break
from logdrift.core.diagnose.layers.errors import (
    Array,
    MeasuredLayers,
    own_errors,
    relative_errors,
    unit,
)
from logdrift.core.diagnose.layers.result import Kind, LayerSide, Stage, layer_number

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
_PARTS: Mapping[str, Kind] = {
    "embedding": "embedding",
    "final norm": "final norm",
    "head": "head",
}


@dataclass(frozen=True, eq=False)
class _Stages:
    """What was measured of one backend against the standard: ``names`` of its stages,
    ``errors`` f32[stages, P] relative, ``own`` f32[stages, P] in units of rounding,
    None without a replay.
    """

    side: MeasuredLayers
    names: list[str]
    errors: Array
    own: Array | None

    @property
    def middle(self) -> Array:
        """The relative error of each stage, median over positions, f64[stages]."""
        return _medians(self.errors)

    @property
    def usual_limits(self) -> list[float]:
        """What the own error of each stage may be."""
        return [PART if layer_number(name) is None else LAYER for name in self.names]

    def judged(
        self,
        limits: Sequence[float],
        wrong: Sequence[bool],
        times: Array | None = None,
    ) -> tuple[Stage, ...]:
        """The stages, with ``times`` their own errors, median over positions."""
        middle = self.middle
        stages = []
        for i, name in enumerate(self.names):
            own = None
            if times is not None and not np.isnan(times[i]):
                own = float(times[i])
            stage = Stage(
                name=name,
                error=float(middle[i]),
                times=own,
                limit=limits[i],
                wrong=wrong[i],
            )
            stages.append(stage)
        return tuple(stages)

    def result(
        self,
        kind: Kind,
        stages: tuple[Stage, ...],
        sentence: str,
        *,
        layers: tuple[int, ...] = (),
        growth: float | None = None,
    ) -> LayerSide:
        """The answer for this backend."""
        return LayerSide(
            backend=self.side.backend,
            dtype=self.side.dtype,
            kind=kind,
            layers=layers,
            growth=growth,
            sentence=sentence,
            stages=stages,
        )


def compare_sides(
    sides: Sequence[MeasuredLayers], standard: MeasuredLayers, start: int = 0
) -> tuple[tuple[LayerSide, ...], dict[str, Array]]:
    """Judge each of one or two backends against ``standard``, and what was measured:
    ``errors/NAME`` and ``times/NAME`` f32[stages, P] (the latter only with a replay).

    ``start`` is the position of the first row. A backend whose stream is not finite is
    judged by that alone, the standard as well, which then comes last.
    """
    measured = [_measured(side, standard) for side in sides]
    standard_break = first_break(standard.arrays)
    judged = []
    for stages in measured:
        own_break = first_break(stages.side.arrays)
        if own_break is not None:
            side = _broken(stages, standard, own_break, start)
        elif standard_break is not None:
            side = _against_broken(stages, standard, standard_break)
        else:
            others = [other for other in measured if other is not stages]
            control = _control(stages, others)
            side = _judged(stages, standard.dtype, control)
        judged.append(side)
    if standard_break is not None:
        stages = _measured(standard, standard, replayed=False)
        side = _broken(stages, standard, standard_break, start)
        judged.append(side)
    return tuple(judged), _arrays(measured)


def _measured(
    side: MeasuredLayers, standard: MeasuredLayers, *, replayed: bool = True
) -> _Stages:
    names, errors = relative_errors(side.arrays, standard.arrays)
    if replayed:
        own = own_errors(side, standard.dtype, errors, names)
    else:
        own = None
    return _Stages(side=side, names=names, errors=errors, own=own)


def _arrays(measured: Sequence[_Stages]) -> dict[str, Array]:
    """What is saved of both sides, by name."""
    arrays: dict[str, Array] = {}
    for stages in measured:
        backend = stages.side.backend
        arrays[f"errors/{backend}"] = stages.errors
        if stages.own is not None:
            arrays[f"times/{backend}"] = stages.own
    return arrays


def _control(stages: _Stages, others: Sequence[_Stages]) -> Array | None:
    """The own error of the pair's other side where that has the same dtype: what the
    layers of this model do in that precision.
    """
    for other in others:
        same_dtype = other.side.dtype == stages.side.dtype
        if same_dtype and other.names == stages.names:
            return other.own
    return None


def _judged(measured: _Stages, standard_dtype: str, control: Array | None) -> LayerSide:
    """What one backend's stages say; ``control`` f32[stages, P] is what correct layers
    have, where that is known.
    """
    if measured.own is None:
        return _judge_curve(measured, standard_dtype)
    times = _medians(measured.own)
    limits = _limits(measured, control)
    # NaN is not above a limit.
    pairs = zip(times, limits, strict=True)
    wrong = [bool(error > limit) for error, limit in pairs]
    stages = measured.judged(limits, wrong, times)
    kind, layers = _kind(stages, measured.own)
    sentence = sentences.of_replay(measured.side, kind, layers, stages)
    return measured.result(
        kind,
        stages,
        sentence,
        layers=layers,
        growth=_growth(measured),
    )


def _limits(measured: _Stages, control: Array | None) -> list[float]:
    """What the own error of each stage may be, in units of rounding."""
    limits = measured.usual_limits
    if control is None:
        return limits
    lower = np.maximum(AGAINST_FROM, AGAINST * _medians(control))
    lowered = []
    for limit, low in zip(limits, lower.tolist(), strict=True):
        if low > 0:
            limit = min(limit, low)
        lowered.append(limit)
    return lowered


def _broken(
    measured: _Stages, standard: MeasuredLayers, own_break: Break, start: int
) -> LayerSide:
    """A side whose stream is not finite from some stage on: that stage is the answer,
    errors after it mean nothing.
    """
    wrong = [name == own_break.stage for name in measured.names]
    stages = measured.judged(measured.usual_limits, wrong)
    sentence = broken.sentence(measured.side, own_break, standard, start)
    return measured.result(
        "not finite",
        stages,
        sentence,
        layers=_layers_of(own_break.stage),
    )


def _against_broken(
    measured: _Stages, standard: MeasuredLayers, standard_break: Break
) -> LayerSide:
    """A side that is finite where the standard is not."""
    wrong = [False] * len(measured.names)
    return measured.result(
        "unknown",
        measured.judged(measured.usual_limits, wrong),
        f"{measured.side.backend}: finite, but it cannot be held against"
        f" {standard.backend}, which is not finite from {standard_break.stage} on.",
    )


def _layers_of(stage: str) -> tuple[int, ...]:
    """The number of a stage that is a layer."""
    number = layer_number(stage)
    if number is None:
        return ()
    return (number,)


def _medians(rows: Array) -> Array:
    """Median of each row over positions, f64[stages]; NaN where there is no number at
    all.
    """
    medians = []
    for row in rows:
        numbers = row[~np.isnan(row)]
        median = np.nan
        if len(numbers):
            median = np.median(numbers)
        medians.append(median)
    return np.array(medians)


def _kind(stages: Sequence[Stage], own: Array) -> tuple[Kind, tuple[int, ...]]:
    """The earliest stage that is wrong decides; most layers at once are no single
    layer's fault.
    """
    wrong = [i for i, stage in enumerate(stages) if stage.wrong]
    if not wrong:
        return "rounding", ()
    numbers = [layer_number(stage.name) for stage in stages]
    layers: tuple[int, ...] = ()
    for i in wrong:
        number = numbers[i]
        if number is not None:
            layers = (*layers, number)
    first_wrong = stages[wrong[0]]
    part = _PARTS.get(first_wrong.name)
    if part is not None:
        return part, layers
    all_layers = len(numbers) - numbers.count(None)
    if len(layers) <= max(1, _MOST * all_layers):
        return "layer", layers
    # Rotary positions, windows and masks leave the first token alone, which sees but
    # itself.
    at_first_token = _medians(own[wrong, :1])
    if np.median(at_first_token) <= LAYER:
        return "position", layers
    return "layers", layers


def _judge_curve(measured: _Stages, standard_dtype: str) -> LayerSide:
    """Without a replay: the first jump of the relative error."""
    side = measured.side
    rounding = float(np.hypot(unit(side.dtype), unit(standard_dtype)))
    middle = measured.middle
    least = JUMP_FROM * rounding
    # fmax: a stage of zeros has no error.
    jumps = JUMP * np.fmax(middle[:-1], least)
    limits = [PART * rounding, *jumps.tolist()]
    pairs = zip(middle, limits, strict=True)
    wrong = [bool(error > limit) for error, limit in pairs]
    stages = measured.judged(limits, wrong)
    growth = _growth(measured)
    if not any(wrong):
        smallest_jump = JUMP * JUMP_FROM * rounding
        sentence = sentences.without_jump(side, middle[-1], smallest_jump)
        return measured.result("unknown", stages, sentence, growth=growth)
    at = wrong.index(True)
    first = measured.names[at]
    before = 0.0
    if at:
        before = float(middle[at - 1])
    behind = middle[at]
    return measured.result(
        "jump" if at else "embedding",
        stages,
        f"{side.backend}: the relative error jumps at {first}, from"
        f" {before:.2g} to {behind:.2g}.",
        layers=_layers_of(first),
        growth=growth,
    )


def _growth(measured: _Stages) -> float | None:
    """Least-squares slope of log error on log(layer + 1); None below three layers."""
    is_layer = [layer_number(name) is not None for name in measured.names]
    errors = measured.middle[is_layer]
    good = np.isfinite(errors) & (errors > 0)
    if good.sum() < 3:
        return None
    place = np.arange(1, len(errors) + 1)[good]
    log_error = np.log(errors[good])
    slope, _ = np.polyfit(np.log(place), log_error, 1)
    return float(slope)
