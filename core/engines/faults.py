"""Faults that a real engine can be made to show, as data.

What each engine can be made to show stands in its own folder
(``core/engines/NAME/faults.py``); `logdrift.core.planted.engines` plans their captures.
Here is what such a fault is, and what several engines share. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Telling = Literal["data", "facts", "none"]
"""``data``: the numbers alone name the cause. ``facts``: they look like rounding noise
of any origin, so the cause is named where a fact or an identity check shows it.
``none``: a clean control, or a change that moves no number.
"""
GIVEN = "given"
"""The session whose sequences are given, not sampled."""
REFERENCE = "reference"
TRAINER = "trainer"
TRAINER32 = "trainer32"
"""Names of the backends beside the engine's, in a session of faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFault:
    """One fault of one engine.

    ``state`` names how the engine is started (`EngineState`); several faults may share
    a start. ``against`` is the backend that it is compared with. The first of
    ``causes`` must be named. ``facts`` are what the engine shows of it; without them
    the diagnosis is blind. ``session`` other than `GIVEN`: the engine samples, as
    `logdrift.core.planted.engines.SAMPLING` has it.
    """

    engine: str
    name: str
    state: str
    against: str = TRAINER
    causes: tuple[str, ...]
    telling: Telling
    facts: tuple[str, ...] = ()
    session: str = GIVEN

    @property
    def label(self) -> str:
        """The capture that has the fault."""
        path = "prefill" if self.session == GIVEN else "decode"
        return f"{self.engine}-{self.state}/{path}"

    @property
    def clean(self) -> bool:
        return self.causes[0] == "noise"


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine is started: ``dtype``, ``options`` by its own names, and
    ``weights`` (fault of `logdrift.core.planted.inside.weights`, size) saved as a
    folder of its own. ``seconds`` on two cores.
    """

    dtype: str = "bfloat16"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[str, float] | None = None
    seconds: float = 30.0


ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}}
COMMON_STATES = {
    "clean": EngineState(),
    "float32": EngineState("float32"),
    "float16": EngineState("float16"),
    "stale": EngineState(weights=("stale-weights", 0.005)),
    "initial": EngineState(weights=("initial-layer", 0.0)),
    "scaled": EngineState("float32", weights=("scaled-tensor", 1.02)),
}
"""An engine adds ``head``, ``rope`` and ``code``, by options of its own."""

CONFIG = ("config_overrides",)
MEANING = ("decode_logprobs", "temperature")
_DTYPE = ("dtype", "head_dtype", "logits_dtype")
_HEAD = ("head_dtype", "logits_dtype", "config_overrides")
_WEIGHTS = ("weights_digest",)


def common_faults(engine: str) -> tuple[EngineFault, ...]:
    """What every inference engine can be made to show, with the states
    `COMMON_STATES`, ``head``, ``rope`` and ``code``.
    """
    return (
        EngineFault(
            engine=engine,
            name="clean",
            state="clean",
            causes=("noise",),
            telling="none",
        ),
        EngineFault(
            engine=engine,
            name="clean, float32",
            state="float32",
            against=TRAINER32,
            causes=("noise",),
            telling="none",
        ),
        EngineFault(
            engine=engine,
            name="dtype float32",
            state="float32",
            causes=("compute_dtype",),
            telling="data",
            facts=_DTYPE,
        ),
        EngineFault(
            engine=engine,
            name="dtype float16",
            state="float16",
            causes=("compute_dtype",),
            telling="data",
            facts=_DTYPE,
        ),
        EngineFault(
            engine=engine,
            name="float32 head",
            state="head",
            causes=("head_dtype",),
            telling="data",
            facts=_HEAD,
        ),
        EngineFault(
            engine=engine,
            name="RoPE theta x1.5",
            state="rope",
            against=TRAINER32,
            causes=("config",),
            telling="data",
            facts=CONFIG,
        ),
        EngineFault(
            engine=engine,
            name="Transformers' model code",
            state="code",
            causes=("noise",),
            telling="none",
        ),
        EngineFault(
            engine=engine,
            name="stale weights",
            state="stale",
            causes=("weights",),
            telling="facts",
            facts=_WEIGHTS,
        ),
        EngineFault(
            engine=engine,
            name="one layer initial",
            state="initial",
            causes=("weights",),
            telling="data",
            facts=_WEIGHTS,
        ),
        EngineFault(
            engine=engine,
            name="down_proj x1.02",
            state="scaled",
            against=TRAINER32,
            causes=("weights",),
            telling="facts",
            facts=_WEIGHTS,
        ),
    )
