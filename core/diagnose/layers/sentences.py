"""The sentence on one backend's layers."""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.diagnose.layers.errors import MeasuredLayers
from logdrift.core.diagnose.layers.result import Kind, Stage, layer_number

_SHOWN = 6
"""Layers that a sentence names."""


def of_replay(
    side: MeasuredLayers, kind: Kind, layers: tuple[int, ...], stages: Sequence[Stage]
) -> str:
    """The sentence on stages that were replayed."""
    if kind == "rounding":
        finding = _of_rounding(side, stages)
    elif kind in ("embedding", "final norm", "head"):
        finding = _of_part(side, kind, layers, stages)
    elif kind == "layer":
        finding = _of_layer(side, layers, stages)
    else:
        finding = _of_many(kind, layers, stages)
    return f"{side.backend}: {finding}"


def without_jump(side: MeasuredLayers, last: float, unseen: float) -> str:
    """The sentence on a relative error without a jump: ``last`` is that of the last
    stage, ``unseen`` what would not show.
    """
    return (
        f"{side.backend}: the relative error grows without a jump, to {last:.2g}. There"
        " was no replay (it needs a Transformers backend and the sequence from its"
        f" start), so a layer that is off by less than about {unseen:.1g} would not"
        " show."
    )


def _of_rounding(side: MeasuredLayers, stages: Sequence[Stage]) -> str:
    most = max(stage.times for stage in stages if stage.times is not None)
    last = [stage for stage in stages if layer_number(stage.name) is not None][-1]
    return (
        f"rounding. No stage adds more than {most:.1f} times what {side.dtype} leaves;"
        f" the relative error grows to {last.error:.2g} after {last.name}."
    )


def _of_part(
    side: MeasuredLayers, name: str, layers: tuple[int, ...], stages: Sequence[Stage]
) -> str:
    wrong = {stage.name: stage for stage in stages if stage.wrong}
    finding = (
        f"the {name} is wrong: {wrong[name].times:.0f} times what {side.dtype} leaves"
    )
    if name != "embedding":
        return f"{finding}, and every layer before it is right."
    if layers:
        finding += f"; after it layer {_list(layers)} too"
    if "head" in wrong:
        finding += "; the head too, as where it is tied to it"
    return f"{finding}."


def _of_layer(
    side: MeasuredLayers, layers: tuple[int, ...], stages: Sequence[Stage]
) -> str:
    first = next(stage for stage in stages if stage.wrong)
    also = "every other layer does what it should"
    if len(layers) > 1:
        also = f"so does layer {_list(layers[1:])}"
    return (
        f"layer {layers[0]} is the first to differ: given the same input it is off by"
        f" {first.times:.1f} times what {side.dtype} leaves (up to {first.limit:.1f} is"
        f" usual); {also}."
    )


def _of_many(kind: Kind, layers: tuple[int, ...], stages: Sequence[Stage]) -> str:
    worst = max(
        stage.times or 0.0 for stage in stages if layer_number(stage.name) in layers
    )
    finding = (
        f"{len(layers)} layers differ, layer {layers[0]} first (up to {worst:.0f} times"
        " rounding)"
    )
    if kind == "position":
        return (
            f"{finding}, but not at the first token, which sees only itself: rotary"
            " positions, an attention window or mask, not weights."
        )
    return (
        f"{finding}, from the first token on: weights that differ everywhere (stale,"
        " quantised), or another norm or activation."
    )


def _list(layers: Sequence[int]) -> str:
    text = ", ".join(map(str, layers[:_SHOWN]))
    more = len(layers) - _SHOWN
    if more > 0:
        return f"{text} and {more} more"
    return text
