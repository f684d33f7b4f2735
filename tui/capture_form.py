"""What is filled in for a new capture, and the plan that follows from it: pure, without
a widget.

Every field is a text or a choice under a key (``model``, ``sampling.seed``,
``backend[0].options``); what is wrong is said under the key of the field where it can
be mended, in the words of the command line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from logdrift.core.capture.models import SMALL_MODEL, resolve_model
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError, words_of
from logdrift.core.paths import user_path
from logdrift.core.plan import (
    DTYPES,
    ROLES,
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    parse_spec,
)
from logdrift.core.session.manage import check_name
from logdrift.tui.capture_errors import place

SOURCES = ("text", "file", "file and text", "token ids")
IDS_FILE = "token-ids.jsonl"
"""Stands in the preview for the file that typed ids are written to."""
_SAMPLING: dict[str, Callable[[str], Any]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "max_tokens": int,
    "seed": int,
}
_OWN_FIELDS = ("python", "gpus", "model", "revision")
"""Of a spec: what is typed among the options, since it is rarely wanted."""


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


@dataclass(frozen=True, slots=True)
class Built:
    """The plan, None where something is wrong; ``problems`` by the key of their field;
    ``ids``: the lines of a JSONL file of typed token ids, which the plan's prompts_file
    has yet to become.
    """

    plan: CapturePlan | None
    problems: Mapping[str, str]
    ids: tuple[str, ...] | None = None


def first_form(session: str, found: Mapping[str, object]) -> CaptureForm:
    """A form to begin with: the float32 reference, the trainer, and the first rollout
    engine that was ``found``.
    """
    texts = ["transformers:float32@reference", "transformers:bfloat16@trainer"]
    texts += [
        f"{engine}:bfloat16"
        for engine in ENGINES
        if engine != "transformers" and engine in found
    ][:1]
    return CaptureForm(
        session, backends=tuple(backend_form(parse_spec(text)) for text in texts)
    )


def form_of(plan: CapturePlan, session: str) -> CaptureForm:
    """The form that gives this plan."""
    source = "text"
    if plan.prompts_file is not None:
        source = "file and text" if plan.texts else "file"
    return CaptureForm(
        session,
        plan.model,
        plan.title,
        source,
        plan.prompts_file or "",
        plan.texts or ("",),
        ("",),
        _sampling_texts(plan.sampling),
        str(plan.top_k),
        tuple(backend_form(spec) for spec in plan.backends),
        plan,
    )


def backend_form(spec: BackendSpec) -> BackendForm:
    """A backend as it would be typed."""
    shown = options_text(spec)
    return BackendForm(
        spec.name,
        spec.engine,
        spec.dtype,
        spec.role,
        spec.paths,
        str(spec.repeats),
        spec.alone,
        shown,
        (spec, shown),
    )


def new_backend(engine: str, taken: Mapping[str, object] | set[str]) -> BackendForm:
    """Another backend of an engine, under a name that is free."""
    names = (engine, *(f"{engine}-{number}" for number in range(2, 1000)))
    name = next(name for name in names if name not in taken)
    role = ENGINES[engine].default_role
    return backend_form(BackendSpec(name, engine, "bfloat16", role))


def options_text(spec: BackendSpec) -> str:
    """Options as on the command line: ``enforce_eager=true,gpus=0+1``."""
    own = {
        name: getattr(spec, name)
        for name in _OWN_FIELDS
        if getattr(spec, name) is not None
    }
    if "gpus" in own:
        own["gpus"] = own["gpus"].replace(",", "+")
    written = {key: _option(value) for key, value in spec.options.items()}
    return ",".join(f"{key}={value}" for key, value in {**own, **written}.items())


def _option(value: Any) -> str:
    """A value in the form that is read back as itself: text without quotes where it
    cannot be taken for JSON.
    """
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z_/~.][\w/~.:@+-]*", value)
        and value not in _WORDS
    ):
        return value
    return json.dumps(value)


_WORDS = ("true", "false", "null", "True", "False", "None", "NaN", "Infinity")


def path_choices(engine: str, current: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What paths a backend may be asked for; the empty one leaves it to the plan."""
    known = [path for path in ENGINES[engine].paths if path != "recorded"]
    choices: list[tuple[str, ...]] = [()]
    for size in range(1, len(known) + 1):
        choices += [
            tuple(known[i] for i in chosen) for chosen in _subsets(len(known), size)
        ]
    return choices if current in choices else [*choices, current]


def _subsets(count: int, size: int) -> Iterator[tuple[int, ...]]:
    from itertools import combinations

    return combinations(range(count), size)


# ---- from the form to the plan


def build(form: CaptureForm, sessions: Path) -> Built:
    """The plan that the form describes, or what is wrong with it. Looks at a few files;
    starts nothing.
    """
    problems: dict[str, str] = {}
    attempt = _Attempt(problems)
    attempt("session", lambda: _check_session(form.session, sessions))
    attempt("model", lambda: _check_model(form.model))
    sampling = _sampling(form, attempt)
    top_k = attempt("top_k", lambda: _number(form.top_k, int, "top_k"))
    some = (BackendSpec("some", "transformers"),)
    if top_k is not None:
        attempt("top_k", lambda: CapturePlan("some", some, top_k=top_k))
    file, texts, ids = _prompts(form, attempt)
    specs = [
        _spec(backend, f"backend[{index}]", attempt)
        for index, backend in enumerate(form.backends)
    ]
    whole = [spec for spec in specs if spec is not None]
    if len(whole) != len(specs):
        return Built(None, problems)
    plan = _plan(
        form,
        tuple(whole),
        problems,
        sampling=sampling,
        top_k=top_k,
        prompts_file=file,
        texts=texts,
    )
    if (
        plan is not None
        and form.source != "file"
        and "|" not in "".join(form.ids if ids is not None else ())
    ):
        try:
            plan.with_paths(generate=True)
        except InputError as error:
            problems.setdefault(place(str(error), form) or "backends", str(error))
    return Built(None if problems else plan, problems, ids)


class _Attempt:
    """Calls something that may refuse, and notes the refusal under the key of the field
    that it is about.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems

    def __call__(self, key: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:
            self.problems.setdefault(key, words_of(error))
            return None


def _check_session(name: str, sessions: Path) -> None:
    if (sessions / check_name(name)).exists():
        raise InputError(f"{name.strip()} exists already: give another name")


def _check_model(model: str) -> None:
    if model.strip() and model.strip() != SMALL_MODEL:
        resolve_model(model.strip())


def _number(text: str, kind: Callable[[str], Any], where: str) -> Any:
    try:
        return kind(text.strip())
    except ValueError:
        raise InputError(
            f"{where} is {text.strip()!r}: give a"
            f" {'whole ' if kind is int else ''}number"
        ) from None


def _sampling(form: CaptureForm, attempt: _Attempt) -> SamplingSpec | None:
    base = form.base.sampling if form.base is not None else SamplingSpec()
    values = {}
    for name, kind in _SAMPLING.items():
        key = f"sampling.{name}"
        value = attempt(key, partial(_number, form.sampling[name], kind, key))
        if (
            value is not None
            and attempt(key, partial(SamplingSpec, **{name: value})) is not None
        ):
            values[name] = value
    return replace(base, **values) if len(values) == len(_SAMPLING) else None


def _sampling_texts(sampling: SamplingSpec) -> dict[str, str]:
    return {name: str(getattr(sampling, name)) for name in _SAMPLING}


def _prompts(
    form: CaptureForm, attempt: _Attempt
) -> tuple[str | None, tuple[str, ...], tuple[str, ...] | None]:
    """(prompts_file, texts, lines of a file of ids) of what the form has of prompts."""
    if form.source == "token ids":
        lines = [
            attempt(f"prompts.ids[{index}]", partial(ids_line, text))
            for index, text in enumerate(form.ids)
            if text.strip()
        ]
        if not lines:
            attempt.problems["prompts.ids[0]"] = (
                "no prompts: give ids, | ends the prompt where a completion follows"
            )
        return str(Path(IDS_FILE).absolute()), (), tuple(line for line in lines if line)
    file: str | None = None
    texts: tuple[str, ...] = ()
    if form.source != "text":
        typed = form.file.strip()
        file = (
            attempt("prompts.file", lambda: str(user_path(typed).absolute()))
            if typed
            else None
        )
        if not typed:
            attempt.problems["prompts.file"] = "no prompts: give a JSONL file"
        elif file is not None and not Path(file).is_file():
            attempt.problems["prompts.file"] = (
                f"prompts {form.file.strip()}: no such file"
            )
    if form.source != "file":
        texts = tuple(text for text in form.texts if text)
        if not texts:
            attempt.problems["prompts.text[0]"] = (
                "no prompts: type at least one character"
            )
    return file, texts, None


def ids_line(text: str) -> str:
    """Typed ids (``1 2 3 | 4 5``) as a line of a prompt file. Raises InputError naming
    what is no id.
    """
    prompt, bar, completion = text.partition("|")
    if "|" in completion:
        raise InputError(
            "more than one |: it stands once, between prompt and completion"
        )
    words = [part.replace(",", " ").split() for part in (prompt, completion)]
    ids: list[int] = []
    for word in (*words[0], *words[1]):
        if not word.isdecimal():
            raise InputError(f"token id {word!r} is not a whole number")
        if int(word) >= 2**31:
            raise InputError(f"token id {word} is outside any vocabulary")
        ids.append(int(word))
    if not ids:
        raise InputError("token_ids is empty: give at least one id")
    if bar and not words[1]:
        raise InputError(
            "nothing follows the |: give the ids of the completion, or leave it out"
        )
    return json.dumps({"token_ids": ids, "prompt_length": len(words[0])})


def _spec(backend: BackendForm, key: str, attempt: _Attempt) -> BackendSpec | None:
    """The spec of one backend: each field is tried alone, so that what is wrong is said
    where it is.
    """
    name, engine = backend.name.strip(), backend.engine
    good = attempt(f"{key}.name", lambda: BackendSpec(name, engine)) is not None
    repeats = attempt(
        f"{key}.repeats",
        lambda: _number(backend.repeats, int, f"backend {name!r}: repeats"),
    )
    good = good and repeats is not None
    good = (
        good
        and attempt(
            f"{key}.repeats", lambda: BackendSpec(name, engine, repeats=repeats)
        )
        is not None
    )
    extras = attempt(f"{key}.options", lambda: _extras(backend, name)) if good else None
    if extras is None:
        return None
    wanted: dict[str, Any] = {
        "dtype": backend.dtype,
        "role": backend.role,
        "paths": backend.paths,
    }
    if attempt(f"{key}.paths", lambda: BackendSpec(name, engine, **wanted)) is None:
        return None
    spec: BackendSpec | None = attempt(
        f"{key}.alone",
        lambda: BackendSpec(
            name, engine, repeats=repeats, alone=backend.alone, **wanted, **extras
        ),
    )
    return spec


def _extras(backend: BackendForm, name: str) -> dict[str, Any]:
    """Options, and the fields that are typed among them."""
    spec: BackendSpec
    if backend.given is not None and backend.options == backend.given[1]:
        spec = backend.given[0]
    elif not backend.options.strip():
        return {"options": {}}
    else:
        text = f"{backend.engine},{backend.options.strip()}@x"
        try:
            spec = parse_spec(text)
            for key, usual in (("paths", ()), ("repeats", 1), ("alone", False)):
                if getattr(spec, key) != usual:
                    raise InputError(
                        f"backend {name!r}: {key} has a field of its own: set it there"
                    )
            spec = replace(spec, name=name)
        except InputError as error:
            said = (
                str(error)
                .removeprefix(f"backend {text!r}: ")
                .removeprefix("backend 'x': ")
                .replace("@x'", "'")
            )
            raise InputError(
                said if said.startswith("backend ") else f"backend {name!r}: {said}"
            ) from None
    return {"options": spec.options, **{key: getattr(spec, key) for key in _OWN_FIELDS}}


def _plan(
    form: CaptureForm,
    specs: tuple[BackendSpec, ...],
    problems: dict[str, str],
    **values: Any,
) -> CapturePlan | None:
    """The plan where all its parts are there; what they are wrong about together is
    noted.
    """
    known = {key: value for key, value in values.items() if value is not None}
    known["prompts_file"] = values["prompts_file"]
    common = {
        "model": form.model.strip(),
        "title": form.title,
        "backends": specs,
        **known,
    }
    try:
        if form.base is not None:
            return replace(form.base, **common)
        return CapturePlan(**common)
    except InputError as error:
        problems.setdefault(place(str(error), form) or "backends", str(error))
        return None


# ---- changes


def with_value(form: CaptureForm, key: str, value: Any) -> CaptureForm:
    """The form with one field changed. Typing in the last prompt puts an empty one
    below it.
    """
    if found := re.fullmatch(r"backend\[(\d+)\]\.(\w+)", key):
        index, name = int(found[1]), found[2]
        changed = replace(form.backends[index], **{name: value})
        if name == "engine":
            known = ENGINES[value].paths
            changed = replace(
                changed, paths=tuple(path for path in changed.paths if path in known)
            )
        return replace(
            form,
            backends=(*form.backends[:index], changed, *form.backends[index + 1 :]),
        )
    if found := re.fullmatch(r"prompts\.(text|ids)\[(\d+)\]", key):
        name = "texts" if found[1] == "text" else "ids"
        rows = [*getattr(form, name)]
        rows[int(found[2])] = value
        while len(rows) > 1 and not rows[-1] and not rows[-2]:
            rows.pop()
        changes: dict[str, Any] = {name: tuple([*rows, ""] if rows[-1] else rows)}
        return replace(form, **changes)
    if key.startswith("sampling."):
        return replace(
            form, sampling={**form.sampling, key.removeprefix("sampling."): value}
        )
    return replace(form, **{key.removeprefix("prompts."): value})


def choices(form: CaptureForm, key: str) -> list[Any]:
    """What a field that is chosen may be."""
    if found := re.fullmatch(r"backend\[(\d+)\]\.(\w+)", key):
        backend = form.backends[int(found[1])]
        if found[2] == "paths":
            return list(path_choices(backend.engine, backend.paths))
        known: dict[str, list[Any]] = {
            "engine": [*ENGINES],
            "dtype": [*DTYPES],
            "role": [*ROLES],
            "alone": [False, True],
        }
        return known[found[2]]
    return list(SOURCES)


def value_of(form: CaptureForm, key: str) -> Any:
    """What stands in a field."""
    if found := re.fullmatch(r"backend\[(\d+)\]\.(\w+)", key):
        return getattr(form.backends[int(found[1])], found[2])
    if found := re.fullmatch(r"prompts\.(text|ids)\[(\d+)\]", key):
        return (form.texts if found[1] == "text" else form.ids)[int(found[2])]
    if key.startswith("sampling."):
        return form.sampling[key.removeprefix("sampling.")]
    return getattr(form, key.removeprefix("prompts."))
