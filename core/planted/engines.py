"""Faults that a real engine can be made to show, planted in vLLM and SGLang themselves,
as ordinary sessions.

One session for each engine, ``given-ENGINE``, holds the same ids scored by Transformers
(float32 and bfloat16) and by the engine as often as there are faults, each time started
with one thing changed. What only sampling shows (temperature, top-p, penalties in the
log-probabilities) has a session of its own, whose sequences the engine samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logdrift.core.plan import BackendSpec, CapturePlan, SamplingSpec
from logdrift.core.planted.faults import Telling

GIVEN = "given"
_REFERENCE, _TRAINER, _TRAINER32 = "reference", "trainer", "trainer32"


@dataclass(frozen=True, slots=True)
class EngineFault:
    """One fault of one engine.

    ``state`` names how the engine is started (`STATES`); several faults may share a
    start. ``against`` is the backend that it is compared with. The first of ``causes``
    must be named. ``facts`` are what the engine shows of it; without them the diagnosis
    is blind. ``session`` other than `GIVEN`: the engine samples, as `SAMPLING` has it.
    """

    engine: str
    name: str
    state: str
    against: str
    causes: tuple[str, ...]
    telling: Telling
    facts: tuple[str, ...] = ()
    session: str = GIVEN

    @property
    def label(self) -> str:
        """The capture that has the fault."""
        return f"{self.engine}-{self.state}/{'prefill' if self.session == GIVEN else 'decode'}"

    @property
    def clean(self) -> bool:
        return self.causes[0] == "noise"


@dataclass(frozen=True, slots=True)
class State:
    """How an engine is started: ``dtype``, ``options`` by its own names, and
    ``weights`` (fault of `logdrift.core.planted.inside.weights`, size) saved as a folder of
    its own. ``seconds`` on two cores.
    """

    dtype: str = "bfloat16"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[str, float] | None = None
    seconds: float = 30.0


_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 150000.0}}
_WINDOW = {"sliding_window": 256, "layer_types": ["sliding_attention"] * 30}
_EDITED = {
    "stale": State(weights=("stale-weights", 0.005)),
    "initial": State(weights=("initial-layer", 0.0)),
    "scaled": State("float32", weights=("scaled-tensor", 1.02)),
}
_CLEAN = {"clean": State(), "float32": State("float32"), "float16": State("float16")}

STATES: dict[str, dict[str, State]] = {
    "vllm": {
        **_CLEAN,
        **_EDITED,
        "head": State(options={"hf_overrides": {"head_dtype": "float32"}}),
        "rope": State("float32", {"hf_overrides": _ROPE}),
        "window": State(options={"hf_overrides": _WINDOW}),
        "scale": State(options={"hf_overrides": {"logit_scale": 0.9}}),
        "code": State(options={"model_impl": "transformers"}),
        "compiled": State(options={"enforce_eager": False}, seconds=110),
        "processed": State(options={"logprobs_mode": "processed_logprobs"}),
    },
    "sglang": {
        **_CLEAN,
        **_EDITED,
        "head": State(options={"enable_fp32_lm_head": True}),
        "rope": State("float32", {"json_model_override_args": _ROPE}),
        "code": State(options={"model_impl": "transformers"}),
    },
}

SAMPLING: dict[str, SamplingSpec] = {
    "temperature": SamplingSpec(temperature=0.7, max_tokens=64, seed=7),
    "top-p": SamplingSpec(top_p=0.8, max_tokens=64, seed=7),
    "penalty": SamplingSpec(repetition_penalty=1.1, max_tokens=64, seed=7),
}

_DTYPE = ("dtype", "head_dtype", "logits_dtype")
_HEAD = ("head_dtype", "logits_dtype", "config_overrides")
_CONFIG = ("config_overrides",)
_WEIGHTS = ("weights_digest",)
_MEANING = ("decode_logprobs", "temperature")


def _shared(engine: str) -> Iterator[EngineFault]:
    """What both engines can be made to show."""
    yield EngineFault(engine, "clean", "clean", _TRAINER, ("noise",), "none")
    yield EngineFault(
        engine, "clean, float32", "float32", _TRAINER32, ("noise",), "none"
    )
    yield EngineFault(
        engine, "dtype float32", "float32", _TRAINER, ("compute_dtype",), "data", _DTYPE
    )
    yield EngineFault(
        engine, "dtype float16", "float16", _TRAINER, ("compute_dtype",), "data", _DTYPE
    )
    yield EngineFault(
        engine, "float32 head", "head", _TRAINER, ("head_dtype",), "data", _HEAD
    )
    yield EngineFault(
        engine, "RoPE theta x1.5", "rope", _TRAINER32, ("config",), "data", _CONFIG
    )
    yield EngineFault(
        engine, "Transformers' model code", "code", _TRAINER, ("noise",), "none"
    )
    yield EngineFault(
        engine, "stale weights", "stale", _TRAINER, ("weights",), "facts", _WEIGHTS
    )
    yield EngineFault(
        engine, "one layer initial", "initial", _TRAINER, ("weights",), "data", _WEIGHTS
    )
    yield EngineFault(
        engine, "down_proj x1.02", "scaled", _TRAINER32, ("weights",), "facts", _WEIGHTS
    )


FAULTS: tuple[EngineFault, ...] = (
    *_shared("vllm"),
    # SGLang takes a logit scale in the config of a Llama, and computes as before (MAE
    # 0.050, as without).
    EngineFault(
        "vllm",
        "logit scale 0.9",
        "scale",
        _TRAINER,
        ("config", "temperature"),
        "data",
        _CONFIG,
    ),
    EngineFault(
        "vllm", "sliding window 256", "window", _TRAINER, ("config",), "data", _CONFIG
    ),
    EngineFault("vllm", "inductor", "compiled", _TRAINER, ("noise",), "none"),
    EngineFault(
        "vllm",
        "temperature 0.7",
        "processed",
        _TRAINER,
        ("temperature",),
        "data",
        _MEANING,
        "temperature",
    ),
    EngineFault(
        "vllm",
        "top-p 0.8, processed",
        "processed",
        _TRAINER,
        ("processed",),
        "data",
        _MEANING,
        "top-p",
    ),
    *_shared("sglang"),
    EngineFault(
        "sglang",
        "temperature 0.7",
        "clean",
        _TRAINER,
        ("temperature",),
        "data",
        _MEANING,
        "temperature",
    ),
    EngineFault(
        "sglang",
        "penalty 1.1",
        "clean",
        _TRAINER,
        ("processed",),
        "data",
        _MEANING,
        "penalty",
    ),
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One session: ``name`` of its folder, its plan, and roughly how long it takes."""

    name: str
    plan: CapturePlan
    seconds: float


def edits(engines: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Folder name -> (fault, size) of the edited weights that the faults of ``engines``
    need.
    """
    return {
        name: state.weights
        for engine in engines
        for name, state in STATES[engine].items()
        if state.weights is not None
    }


def sessions(
    engines: Sequence[str],
    model: str,
    ids: Sequence[Sequence[int]],
    prompt: int,
    folder: Path,
) -> list[Planned]:
    """The sessions of all faults of ``engines`` on ``ids``. Prompt files and edited
    weights lie in ``folder``.
    """
    given = _write(
        folder / "given.jsonl",
        [{"token_ids": list(map(int, row)), "prompt_length": prompt} for row in ids],
    )
    prompts = _write(
        folder / "prompts.jsonl",
        [{"token_ids": list(map(int, row[:prompt]))} for row in ids],
    )
    out = []
    for name in dict.fromkeys(
        session_of(fault) for fault in FAULTS if fault.engine in engines
    ):
        wanted = [fault for fault in FAULTS if session_of(fault) == name]
        sampling = SAMPLING.get(wanted[0].session)
        out.append(
            _planned(
                name,
                wanted,
                model,
                given if sampling is None else prompts,
                folder,
                sampling,
            )
        )
    return out


def session_of(fault: EngineFault) -> str:
    """Folder name of the session that has the fault."""
    return f"{fault.session}-{fault.engine}"


def _planned(
    name: str,
    faults: Sequence[EngineFault],
    model: str,
    prompts: Path,
    folder: Path,
    sampling: SamplingSpec | None,
) -> Planned:
    path = "prefill" if sampling is None else "decode"
    specs: list[BackendSpec] = [
        BackendSpec(_REFERENCE, "transformers", "float32", "reference", ("prefill",)),
        BackendSpec(_TRAINER, "transformers", "bfloat16", "trainer", ("prefill",)),
    ]
    if any(fault.against == _TRAINER32 for fault in faults):
        specs.append(
            BackendSpec(_TRAINER32, "transformers", "float32", "trainer", ("prefill",))
        )
    seconds = 15.0 * len(specs)
    for engine, key in dict.fromkeys((fault.engine, fault.state) for fault in faults):
        state = STATES[engine][key]
        own = None if state.weights is None else str(folder / "weights" / key)
        specs.append(
            BackendSpec(
                f"{engine}-{key}",
                engine,
                state.dtype,
                "rollout",
                (path,),
                model=own,
                options=state.options,
            )
        )
        seconds += state.seconds
    plan = CapturePlan(
        model,
        tuple(specs),
        prompts_file=str(prompts),
        sampling=sampling or SamplingSpec(),
        title=f"planted: {name}",
        part_sequences=16,
    )
    return Planned(name, plan, seconds)


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
