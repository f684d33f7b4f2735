"""Which knobs of the cause table mean something on one side of a pair, and why others
do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from logdrift.core.engines.knobs import Knob
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

Which = Literal["a", "b"]


@dataclass(frozen=True)
class SideState:
    """One side of a pair as conditions of knobs see it: ``options`` are those of its
    backend's spec, ``values`` its facts and what follows from them, by the names that
    `Knob.unless`, `Knob.only` and `Knob.refused` use. ``imported``: its numbers come
    from elsewhere, so nothing can be captured again.
    """

    which: Which
    info: CaptureInfo
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    imported: bool = False


def state_of(session: Session, which: Which, info: CaptureInfo) -> SideState:
    """The state of one capture; without options where the session's plan does not have
    its backend (imported).
    """
    specs = (
        {spec.name: spec for spec in session.plan.backends}
        if session.plan is not None
        else {}
    )
    options = specs[info.backend].options if info.backend in specs else {}
    imported = info.backend not in specs or info.path == "recorded"
    return SideState(
        which=which,
        info=info,
        options=options,
        values=_values(info, options),
        imported=imported,
    )


def _values(info: CaptureInfo, options: Mapping[str, Any]) -> dict[str, Any]:
    facts = info.facts.to_json() if info.facts is not None else {}
    cache, dtype = facts.get("kv_cache_dtype"), facts.get("dtype")
    return {
        **facts,
        "dtype": dtype or info.dtype,
        "path": info.path,
        "batch": info.batch,
        "overrides": bool(facts.get("config_overrides")),
        "kv_differs": cache is not None and dtype is not None and cache != dtype,
        **{f"option.{name}": value for name, value in options.items()},
    }


def pointless(state: SideState, knob: Knob, gpus: int | None) -> str | None:
    """Why this knob is not worth a run on this side: it cannot be turned, or changes
    nothing. None where it is.
    """
    return impossible(state, knob, gpus) or needless(state, knob)


def impossible(state: SideState, knob: Knob, gpus: int | None) -> str | None:
    """Why this knob cannot be turned on this side; None where it can. An unknown fact
    is no reason, nor are ``gpus`` that nobody counted (None). Knobs that are turned by
    hand alone have no conditions.
    """
    if not knob.run:
        return None
    device = state.values.get("device")
    if knob.run != "any" and device is not None and str(device).startswith("cpu"):
        return "it needs a GPU, and this backend ran on a CPU"
    if knob.run == "gpus" and gpus is not None and gpus < 2:
        return f"it needs several GPUs, and this machine has {gpus}"
    for name, wanted in knob.refused.items():
        have = state.values.get(name)
        if have is not None and _among(have, wanted):
            return f"the engine does not start with it ({_plain(name)} is {have})"
    for name, wanted in knob.confounded.items():
        have = state.values.get(name)
        if have is not None and _among(have, wanted):
            return f"it would change another cause as well ({_plain(name)} is {have})"
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
    for name, wanted in knob.unless.items():
        have = state.values.get(name)
        if have is not None and _among(have, wanted):
            return f"it is so already ({name} is {have})"
    for name, wanted in knob.only.items():
        have = state.values.get(name)
        if have is None and not name.startswith("option."):
            continue
        if not _among(have, wanted):
            return f"there is nothing to change ({name} is {have})"
    return None


def _plain(name: str) -> str:
    return name.removeprefix("option.")


def _among(have: Any, wanted: Any) -> bool:
    return have in wanted if isinstance(wanted, tuple) else bool(have == wanted)
