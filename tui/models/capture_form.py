"""What is filled in for a new capture: pure, without a widget.

Every field is a text or a choice under a key (``model``, ``sampling.seed``,
``backend[0].options``); `logdrift.tui.models.capture_draft` makes a plan of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, count
from typing import Any

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
SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "max_tokens", "seed")
"""The fields of a plan's sampling that the form shows."""
OPTION_FIELDS = ("python", "gpus", "model", "revision")
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
    kept.
    """

    session: str
    model: str = SMALL_MODEL
    title: str = ""
    source: str = "text"
    file: str = ""
    texts: tuple[str, ...] = ("",)
    ids: tuple[str, ...] = ("",)
    sampling: Mapping[str, str] = field(
        default_factory=lambda: _sampling_texts(SamplingSpec())
    )
    top_k: str = "20"
    backends: tuple[BackendForm, ...] = ()
    base: CapturePlan | None = None


def first_form(session: str, engines: Container[str]) -> CaptureForm:
    """A form to begin with: the float32 reference, the trainer, and the first rollout
    engine that is there.
    """
    specs = [f"{TRAINER}:float32@reference", f"{TRAINER}:bfloat16@trainer"]
    ready = [engine for engine in ROLLOUTS if engine in engines]
    specs += [f"{engine}:bfloat16" for engine in ready[:1]]
    backends = tuple(backend_form(parse_spec(spec)) for spec in specs)
    return CaptureForm(session, backends=backends)


def form_of(plan: CapturePlan, session: str) -> CaptureForm:
    """The form that gives this plan."""
    source = "text"
    if plan.prompts_file is not None:
        source = "file and text" if plan.texts else "file"
    return CaptureForm(
        session=session,
        model=plan.model,
        title=plan.title,
        source=source,
        file=plan.prompts_file or "",
        texts=plan.texts or ("",),
        sampling=_sampling_texts(plan.sampling),
        top_k=str(plan.top_k),
        backends=tuple(backend_form(spec) for spec in plan.backends),
        base=plan,
    )


def _sampling_texts(sampling: SamplingSpec) -> dict[str, str]:
    return {name: str(getattr(sampling, name)) for name in SAMPLING_FIELDS}


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
    numbers = count(2)
    while name in taken:
        name = f"{engine}-{next(numbers)}"
    role = ENGINES[engine].default_role
    return backend_form(BackendSpec(name, engine, "bfloat16", role))


def options_text(spec: BackendSpec) -> str:
    """Options as on the command line: ``enforce_eager=true,gpus=0+1``."""
    texts: dict[str, str] = {}
    for name in OPTION_FIELDS:
        value = getattr(spec, name)
        if value is not None:
            texts[name] = value
    if "gpus" in texts:
        texts["gpus"] = texts["gpus"].replace(",", "+")
    for name, value in spec.options.items():
        texts[name] = _option(value)
    return ",".join(f"{name}={text}" for name, text in texts.items())


def _option(value: Any) -> str:
    """A value in the form that is read back as itself: text without quotes where it
    cannot be taken for JSON.
    """
    if not isinstance(value, str) or value in _JSON_WORDS:
        return json.dumps(value)
    if _PLAIN.fullmatch(value):
        return value
    return json.dumps(value)


def path_choices(engine: str, current: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What paths a backend may be asked for; the empty one leaves it to the plan."""
    paths = [path for path in ENGINES[engine].paths if path != "recorded"]
    choices: list[tuple[str, ...]] = []
    for size in range(len(paths) + 1):
        choices += combinations(paths, size)
    if current in choices:
        return choices
    return [*choices, current]


# -- changes


def with_value(form: CaptureForm, key: str, value: Any) -> CaptureForm:
    """The form with one field changed. Typing in the last prompt puts an empty one
    below it.
    """
    if match := _BACKEND_KEY.fullmatch(key):
        return _with_backend_value(form, int(match[1]), match[2], value)
    if match := _PROMPT_KEY.fullmatch(key):
        name = _PROMPT_FIELDS[match[1]]
        rows = _with_row(getattr(form, name), int(match[2]), value)
        changes: dict[str, Any] = {name: rows}
        return replace(form, **changes)
    if key.startswith("sampling."):
        name = key.removeprefix("sampling.")
        return replace(form, sampling={**form.sampling, name: value})
    return replace(form, **{key.removeprefix("prompts."): value})


def _with_backend_value(
    form: CaptureForm, index: int, name: str, value: Any
) -> CaptureForm:
    backend = replace(form.backends[index], **{name: value})
    if name == "engine":
        known = ENGINES[value].paths
        paths = tuple(path for path in backend.paths if path in known)
        backend = replace(backend, paths=paths)
    before = form.backends[:index]
    after = form.backends[index + 1 :]
    return replace(form, backends=(*before, backend, *after))


def _with_row(rows: tuple[str, ...], index: int, value: str) -> tuple[str, ...]:
    """The rows with one changed, and exactly one empty row at their end."""
    changed = [*rows]
    changed[index] = value
    while len(changed) > 1 and not changed[-1] and not changed[-2]:
        changed.pop()
    if changed[-1]:
        changed.append("")
    return tuple(changed)


def choices(form: CaptureForm, key: str) -> list[Any]:
    """What a field that is chosen may be."""
    match = _BACKEND_KEY.fullmatch(key)
    if match is None:
        return list(SOURCES)
    backend = form.backends[int(match[1])]
    if match[2] == "paths":
        return list(path_choices(backend.engine, backend.paths))
    known: dict[str, list[Any]] = {
        "engine": [*ENGINES],
        "dtype": [*DTYPES],
        "role": [*ROLES],
        "alone": [False, True],
    }
    return known[match[2]]


def value_of(form: CaptureForm, key: str) -> Any:
    """What stands in a field."""
    if match := _BACKEND_KEY.fullmatch(key):
        return getattr(form.backends[int(match[1])], match[2])
    if match := _PROMPT_KEY.fullmatch(key):
        rows = getattr(form, _PROMPT_FIELDS[match[1]])
        return rows[int(match[2])]
    if key.startswith("sampling."):
        return form.sampling[key.removeprefix("sampling.")]
    return getattr(form, key.removeprefix("prompts."))
