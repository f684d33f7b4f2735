"""Which knobs of the cause table mean something on one side of a pair, and why others
do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from logdrift.core.diagnose.causes import BY_CODE
from logdrift.core.diagnose.served import is_served
from logdrift.core.engines.knobs import Knob
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

Which = Literal["a", "b"]


@dataclass(frozen=True)
class SideState:
    """One side of a pair as conditions of knobs see it: ``options`` are those of its
    backend's spec, ``values`` its facts and what follows from them, by the names that
    `Knob.unless`, `Knob.only` and `Knob.refused` use. ``imported``: its numbers come
    from elsewhere, so nothing can be captured again. ``served``: they come from a
    running server, whose options are those that it was started with.
    """

    which: Which
    info: CaptureInfo
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    imported: bool = False
    served: bool = False

    @property
    def is_fixed(self) -> bool:
        """It cannot be captured again with another option."""
        return self.imported or self.served


def state_of(session: Session, which: Which, info: CaptureInfo) -> SideState:
    """The state of one capture; without options where the session's plan does not have
    its backend (imported).
    """
    if session.plan is not None:
        backends = session.plan.backends
    else:
        backends = ()
    by_name = {spec.name: spec for spec in backends}
    spec = by_name.get(info.backend)
    options = {} if spec is None else spec.options
    return SideState(
        which=which,
        info=info,
        options=options,
        values=_values(info, options),
        imported=spec is None or info.path == "recorded",
        served=is_served(session, info),
    )


def _values(info: CaptureInfo, options: Mapping[str, Any]) -> dict[str, Any]:
    if info.facts is not None:
        facts = info.facts.to_json()
    else:
        facts = {}
    cache = facts.get("kv_cache_dtype")
    dtype = facts.get("dtype")
    overrides = facts.get("config_overrides")
    both_known = cache is not None and dtype is not None
    values = {
        **facts,
        "dtype": dtype or info.dtype,
        "path": info.path,
        "batch": info.batch,
        "overrides": bool(overrides),
        "kv_differs": both_known and cache != dtype,
    }
    for name, value in options.items():
        values[f"option.{name}"] = value
    return values


def next_experiment(code: str, sides: tuple[SideState, SideState]) -> str | None:
    """The one-knob experiment for a cause in one line, B's knob first; None where
    neither side has one that would change anything.
    """
    knobs_by_engine = BY_CODE[code].knobs
    for side in reversed(sides):
        engine = side.info.engine
        knobs = []
        for knob in knobs_by_engine.get(engine, ()):
            if pointless(side, knob, None) is None:
                knobs.append(knob)
        if knobs:
            # What --run does comes before what is done by hand.
            best = min(knobs, key=lambda knob: (not knob.run, knob.combined))
            return _to_try(engine, best)
    return None


def _to_try(engine: str, knob: Knob) -> str:
    if knob.effect:
        effect = f" ({knob.effect})"
    else:
        effect = ""
    if knob.combined:
        more = "; it changes more than one thing"
    else:
        more = ""
    return f"{engine}: {knob.setting}{effect}, everything else equal{more}"


def pointless(state: SideState, knob: Knob, gpus: int | None) -> str | None:
    """Why this knob is not worth a run on this side: it cannot be turned, or changes
    nothing. None where it is.
    """
    return impossible(state, knob, gpus) or needless(state, knob)


def impossible(state: SideState, knob: Knob, gpus: int | None) -> str | None:
    """Why this knob cannot be turned on this side; None where it can. An unknown fact
    is no reason, nor are ``gpus`` that were not counted (None). Knobs that are turned
    by hand alone have no conditions.
    """
    if not knob.run:
        return None
    return _lacks_device(state, knob, gpus) or _forbidden(state, knob)


def _lacks_device(state: SideState, knob: Knob, gpus: int | None) -> str | None:
    device = str(state.values.get("device") or "")
    if knob.run != "any" and device.startswith("cpu"):
        return "it needs a GPU, and this backend ran on a CPU"
    if knob.run != "gpus" or gpus is None:
        return None
    if gpus < 2:
        return f"it needs several GPUs, and this machine has {gpus}"
    return None


def _forbidden(state: SideState, knob: Knob) -> str | None:
    """Why the engine refuses the knob, or why it would prove another cause."""
    for name, values in knob.refused.items():
        if _is_known_as(state, name, values):
            return f"the engine does not start with it ({_now(state, name)})"
    for name, values in knob.confounded.items():
        if _is_known_as(state, name, values):
            return f"it would change another cause as well ({_now(state, name)})"
    return None


def needless(state: SideState, knob: Knob) -> str | None:
    """Why this knob changes nothing on this side; None where it does, or where nothing
    tells.
    """
    if not knob.run:
        return None
    for name, value in knob.change.items():
        if value is None and name not in state.options:
            return "it is not set"
    for name, values in knob.unless.items():
        if _is_known_as(state, name, values):
            return f"it is so already ({name} is {state.values.get(name)})"
    for name, values in knob.only.items():
        value = state.values.get(name)
        is_option = name.startswith("option.")
        if value is None and not is_option:
            continue  # the fact is not known
        if not _among(value, values):
            return f"there is nothing to change ({name} is {value})"
    return None


def _is_known_as(state: SideState, name: str, values: Any) -> bool:
    """Whether a state is known and one of ``values`` (one value, or a tuple of
    them).
    """
    value = state.values.get(name)
    if value is None:
        return False
    return _among(value, values)


def _now(state: SideState, name: str) -> str:
    """``dtype is float32``."""
    short_name = name.removeprefix("option.")
    value = state.values.get(name)
    return f"{short_name} is {value}"


def _among(value: Any, values: Any) -> bool:
    if isinstance(values, tuple):
        return value in values
    return bool(value == values)
