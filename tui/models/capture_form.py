"""What is filled in for a new capture: pure, without a widget.

Every field is a text or a choice under a key (``model``, ``sampling.seed``,
``backend[0].options``); `logdrift.tui.models.capture_draft` makes a plan of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

from logdrift.core.capture.models import SMALL_MODEL
from logdrift.core.engines import ENGINES, ROLLOUTS, TRAINER
from logdrift.core.plan import (
    DTYPES,
    ROLES,
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    parse_spec,
)

SOURCES = ("text", "file", "file and text", "token ids")
TURNS = ("as each line says", "continued", "answered")
"""What becomes of an assistant message at the end of a prompt, where its own line does
not say.
"""
_CONTINUED = "continued"
_ANSWERED = "answered"
SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "max_tokens", "seed")
"""The fields of a plan's sampling that the form shows."""
OPTION_FIELDS = ("python", "gpus", "model", "revision", "server", "reproducible")
"""The fields of a spec that are typed among the options, since they are rarely wanted.
"""
_BACKEND_KEY = re.compile(r"backend\[(\d+)\]\.(\w+)")
_PROMPT_FIELDS = {"text": "texts", "ids": "ids"}
"""Fields of the form that hold prompts, by the word in their keys."""
_PROMPT_KEY = re.compile(r"prompts\.(text|ids)\[(\d+)\]")
_PLAIN = re.compile(r"[A-Za-z_/~.][\w/~.:@+-]*")
_JSON_WORDS = ("true", "false", "null", "True", "False", "None", "NaN", "Infinity")


@dataclass(frozen=True, slots=True)
class BackendForm:
    """One backend as typed. ``given`` is the spec that a loaded plan had, and its
    options as they were shown.
    """

    name: str
    engine: str
    dtype: str = "auto"
    role: str = "rollout"
    paths: tuple[str, ...] = ()
    repeats: str = "1"
    alone: bool = False
    options: str = ""
    given: tuple[BackendSpec, str] | None = None


@dataclass(frozen=True, slots=True)
class CaptureForm:
    """A whole form. ``base`` is a loaded plan: what it holds and no field shows is
    kept. ``is_scoring``: the ids are there, and no backend samples any.
    """

    session: str
    model: str = SMALL_MODEL
    title: str = ""
    source: str = "text"
    file: str = ""
    turn: str = TURNS[0]
    texts: tuple[str, ...] = ("",)
    ids: tuple[str, ...] = ("",)
    sampling: Mapping[str, str] = field(
        default_factory=lambda: _sampling_texts(SamplingSpec())
    )
    top_k: str = "20"
    backends: tuple[BackendForm, ...] = ()
    base: CapturePlan | None = None
    is_scoring: bool = False


def first_form(session: str, engines: Container[str]) -> CaptureForm:
    """A form to begin with: the float32 reference, the trainer, and the first rollout
    engine that is there.
    """
    specs = [f"{TRAINER}:float32@reference", f"{TRAINER}:bfloat16@trainer"]
    for engine in ROLLOUTS:
        if engine in engines:
            specs.append(f"{engine}:bfloat16")
            break
    parsed = map(parse_spec, specs)
    backends = tuple(map(backend_form, parsed))
    return CaptureForm(session, backends=backends)


def form_of(plan: CapturePlan, session: str) -> CaptureForm:
    """The form that gives this plan."""
    backends = map(backend_form, plan.backends)
    return CaptureForm(
        session=session,
        model=plan.model,
        title=plan.title,
        source=_source_of(plan),
        file=plan.prompts_file or "",
        turn=_turn_of(plan),
        texts=plan.texts or ("",),
        sampling=_sampling_texts(plan.sampling),
        top_k=str(plan.top_k),
        backends=tuple(backends),
        base=plan,
    )


def _source_of(plan: CapturePlan) -> str:
    """Where the prompts of a plan come from, one of `SOURCES`."""
    if plan.prompts_file is None:
        return "text"
    if plan.texts:
        return "file and text"
    return "file"


def _turn_of(plan: CapturePlan) -> str:
    """What a plan says of the last turn, one of `TURNS`."""
    if plan.continue_final_message:
        return _CONTINUED
    if plan.add_generation_prompt:
        return _ANSWERED
    return TURNS[0]


def turn_fields(turn: str) -> dict[str, bool]:
    """The fields of a plan that one of `TURNS` stands for."""
    return {
        "continue_final_message": turn == _CONTINUED,
        "add_generation_prompt": turn == _ANSWERED,
    }


def _sampling_texts(sampling: SamplingSpec) -> dict[str, str]:
    texts = {}
    for name in SAMPLING_FIELDS:
        value = getattr(sampling, name)
        texts[name] = str(value)
    return texts


def backend_form(spec: BackendSpec) -> BackendForm:
    """A backend as it would be typed."""
    options = options_text(spec)
    return BackendForm(
        name=spec.name,
        engine=spec.engine,
        dtype=spec.dtype,
        role=spec.role,
        paths=spec.paths,
        repeats=str(spec.repeats),
        alone=spec.alone,
        options=options,
        given=(spec, options),
    )


def new_backend(engine: str, taken: Container[str]) -> BackendForm:
    """Another backend of an engine, under a name that is free."""
    name = engine
    number = 2
    while name in taken:
        name = f"{engine}-{number}"
        number += 1
    role = ENGINES[engine].default_role
    spec = BackendSpec(name, engine, "bfloat16", role)
    return backend_form(spec)


def options_text(spec: BackendSpec) -> str:
    """Options as on the command line: ``enforce_eager=true,gpus=0+1``."""
    texts: dict[str, str] = {}
    for name in OPTION_FIELDS:
        value = getattr(spec, name)
        if isinstance(value, bool):
            value = _option(value) if value else None
        if value is not None:
            texts[name] = value
    if spec.gpus is not None:
        gpus = spec.gpus.replace(",", "+")
        texts["gpus"] = gpus
    for name, value in spec.options.items():
        texts[name] = _option(value)
    pairs = texts.items()
    options = [f"{name}={text}" for name, text in pairs]
    return ",".join(options)


def _option(value: Any) -> str:
    """A value in the form that is read back as itself: text without quotes where it
    cannot be taken for JSON.
    """
    quoted = json.dumps(value)
    if not isinstance(value, str):
        return quoted
    if value in _JSON_WORDS:
        return quoted
    if _PLAIN.fullmatch(value):
        return value
    return quoted


def path_choices(
    engine: str, current: tuple[str, ...], *, is_scoring: bool = False
) -> list[tuple[str, ...]]:
    """What paths a backend may be asked for; the empty one leaves it to the plan."""
    left_out = {"recorded"}
    if is_scoring:
        left_out.add("decode")
    known = ENGINES[engine].paths
    paths = [path for path in known if path not in left_out]
    sizes = range(len(paths) + 1)
    choices: list[tuple[str, ...]] = []
    for size in sizes:
        choices += combinations(paths, size)
    if current not in choices:
        choices.append(current)
    return choices


# -- changes


def with_value(form: CaptureForm, key: str, value: Any) -> CaptureForm:
    """The form with one field changed. Typing in the last prompt puts an empty one
    below it.
    """
    field = _backend_field(key)
    if field is not None:
        return _with_backend_value(form, field, value)
    row = _prompt_row(key)
    if row is not None:
        rows = getattr(form, row.field)
        changed = _with_row(rows, row.number, value)
        changes: dict[str, Any] = {row.field: changed}
        return replace(form, **changes)
    if key.startswith("sampling."):
        name = key.removeprefix("sampling.")
        sampling = {**form.sampling, name: value}
        return replace(form, sampling=sampling)
    name = key.removeprefix("prompts.")
    return replace(form, **{name: value})


class _IndexedKey(NamedTuple):
    """What a key with an index stands for: a field, and the backend or the row."""

    number: int
    field: str


def _backend_field(key: str) -> _IndexedKey | None:
    """The field of a backend that a key stands for, None for other keys."""
    match = _BACKEND_KEY.fullmatch(key)
    if match is None:
        return None
    index, field = match.groups()
    return _IndexedKey(int(index), field)


def _prompt_row(key: str) -> _IndexedKey | None:
    """The row of prompts that a key stands for, None for other keys."""
    match = _PROMPT_KEY.fullmatch(key)
    if match is None:
        return None
    word, index = match.groups()
    field = _PROMPT_FIELDS[word]
    return _IndexedKey(int(index), field)


def _with_backend_value(
    form: CaptureForm, place: _IndexedKey, value: Any
) -> CaptureForm:
    backends = list(form.backends)
    changes = {place.field: value}
    backend = backends[place.number]
    backend = replace(backend, **changes)
    if place.field == "engine":
        known = ENGINES[value].paths
        paths = [path for path in backend.paths if path in known]
        backend = replace(backend, paths=tuple(paths))
    backends[place.number] = backend
    return replace(form, backends=tuple(backends))


def _with_row(rows: tuple[str, ...], index: int, value: str) -> tuple[str, ...]:
    """The rows with one changed, and exactly one empty row at their end."""
    changed = list(rows)
    changed[index] = value
    while changed and not changed[-1]:
        changed.pop()
    changed.append("")
    return tuple(changed)


def choices(form: CaptureForm, key: str) -> list[Any]:
    """What a field that is chosen may be."""
    place = _backend_field(key)
    if key == "prompts.turn":
        return list(TURNS)
    if place is None:
        return list(SOURCES)
    if place.field == "paths":
        backend = form.backends[place.number]
        current = backend.paths
        scoring = form.is_scoring
        return list(path_choices(backend.engine, current, is_scoring=scoring))
    known: dict[str, list[Any]] = {
        "engine": [*ENGINES],
        "dtype": [*DTYPES],
        "role": [*ROLES],
        "alone": [False, True],
    }
    return known[place.field]


def value_of(form: CaptureForm, key: str) -> Any:
    """What stands in a field."""
    place = _backend_field(key)
    if place is not None:
        backend = form.backends[place.number]
        return getattr(backend, place.field)
    row = _prompt_row(key)
    if row is not None:
        rows = getattr(form, row.field)
        return rows[row.number]
    if key.startswith("sampling."):
        name = key.removeprefix("sampling.")
        return form.sampling[name]
    name = key.removeprefix("prompts.")
    return getattr(form, name)
