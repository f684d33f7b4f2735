"""From the form for a new capture to its plan. What is wrong stands under the key of
the field where it can be fixed, in the words of the command line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from logdrift.core.capture.models import SMALL_MODEL, resolve_model
from logdrift.core.capture.prompt_ids import LARGEST_ID
from logdrift.core.engines import TRAINER
from logdrift.core.errors import InputError, LogdriftError, words_of
from logdrift.core.paths import user_path
from logdrift.core.plan import BackendSpec, CapturePlan, SamplingSpec, parse_options
from logdrift.core.session.manage import check_name
from logdrift.tui.models.capture_form import (
    OPTION_FIELDS,
    SAMPLING_FIELDS,
    BackendForm,
    CaptureForm,
    turn_fields,
)

IDS_FILE = "token-ids.jsonl"
"""Stands in the preview for the file that typed ids are written to."""
_PLAIN_FIELDS = ("model", "title", "session", "top_k", "backends")
"""Fields of a plan whose key in the form is their name."""
_NUMBERS: Mapping[str, Callable[[str], Any]] = {
    field.name: float if field.type == "float" else int
    for field in fields(SamplingSpec)
}
_INDEXED = re.compile(r".+\[(\d+)\]")
_OF_BACKEND = re.compile(r"backend\[(.+)\]\.(\w+)")


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """The plan, None where something is wrong; ``problems`` by the key of their field;
    ``ids``: the lines of a JSONL file of typed token ids, which the plan's prompts_file
    has yet to become.
    """

    plan: CapturePlan | None
    problems: Mapping[str, str]
    ids: tuple[str, ...] | None = None


def build(form: CaptureForm, sessions: Path) -> DraftPlan:
    """The plan that the form describes, or what is wrong with it. Looks at a few files;
    starts nothing.
    """
    problems = _Problems(form)
    name = form.session
    problems.attempt("session", lambda: _check_session(name, sessions))
    problems.attempt("model", lambda: _check_model(form.model))
    sampling = _sampling(form, problems)
    top_k = _top_k(form, problems)
    prompts = _prompts(form, problems)
    backends = _specs(form, problems)
    if backends is None:
        return DraftPlan(None, problems.words)
    plan = problems.attempt(
        "backends", lambda: _plan(form, backends, prompts, sampling, top_k)
    )
    generates = _needs_generator(form, prompts)
    if plan is not None and generates:
        problems.attempt("backends", lambda: plan.with_paths(generate=True))
    if problems.words:
        plan = None
    return DraftPlan(plan, problems.words, prompts.ids)


def field_of(error: LogdriftError, form: CaptureForm) -> str | None:
    """The key of the form's field that an error of a capture is about; None where no
    field of the form is.
    """
    name = error.field or ""
    if name in _PLAIN_FIELDS:
        return name
    if name in turn_fields(""):
        return "prompts.turn"
    if name.startswith("sampling."):
        own_name = name.removeprefix("sampling.")
        if own_name in form.sampling:
            return name
        return None
    match = _OF_BACKEND.fullmatch(name)
    if match is not None:
        backend, field = match.groups()
        return _backend_field(backend, field, form)
    if name.startswith("prompts"):
        return _prompts_field(name, form)
    return None


def _backend_field(name: str, field: str, form: CaptureForm) -> str:
    """The key of a backend's field; of two backends of one name, that of the last."""
    last = None
    for index, backend in enumerate(form.backends):
        if backend.name.strip() == name:
            last = index
    if last is None:
        return "backends"
    typed_field = _typed_field(field)
    return f"backend[{last}].{typed_field}"


def _typed_field(field: str) -> str:
    """The field of the form in which a field of a spec is typed."""
    if field in OPTION_FIELDS:
        return "options"
    return field


def _prompts_field(name: str, form: CaptureForm) -> str:
    """The row of a prompt. Rows that are empty give no prompt."""
    number = 0
    match = _INDEXED.fullmatch(name)
    if match is not None:
        number = int(match[1])
    if form.source == "token ids":
        filled = _filled(form.ids)
        index = _nth(filled, number)
        return f"prompts.ids[{index}]"
    is_text = name.startswith("prompts.texts")
    if is_text or form.source == "text":
        texts = enumerate(form.texts)
        filled = [index for index, text in texts if text]
        index = _nth(filled, number)
        return f"prompts.text[{index}]"
    return "prompts.file"


def _filled(rows: Sequence[str]) -> list[int]:
    """The rows in which more than blanks is typed."""
    filled = []
    for index, text in enumerate(rows):
        if text.strip():
            filled.append(index)
    return filled


def _nth(rows: Sequence[int], number: int) -> int:
    if number < len(rows):
        return rows[number]
    return 0


class _Problems:
    """Calls what may refuse, and notes the words of a refusal under the key of the
    field that it is about.
    """

    def __init__(self, form: CaptureForm) -> None:
        self.form = form
        self.words: dict[str, str] = {}

    def attempt(self, key: str, act: Callable[[], Any]) -> Any:
        """What ``act`` gives. A refusal stands under ``key`` where it names no field;
        None then.
        """
        try:
            return act()
        except LogdriftError as error:
            field = field_of(error, self.form) or key
            self.note(field, str(error))
        except Exception as error:
            words = words_of(error)
            self.note(key, words)
        return None

    def note(self, key: str, words: str) -> None:
        """The first problem of a field is the one that is shown."""
        self.words.setdefault(key, words)


# -- model, sampling, alternatives


def _check_session(name: str, sessions: Path) -> None:
    folder = sessions / check_name(name)
    if folder.exists():
        reason = f"{name.strip()} exists already"
        raise InputError(reason, field="session", remedy="give another name")


def _check_model(model: str) -> None:
    model = model.strip()
    if model and model != SMALL_MODEL:
        resolve_model(model)


def _number(text: str, kind: Callable[[str], Any], where: str) -> Any:
    text = text.strip()
    try:
        return kind(text)
    except ValueError:
        words = "a number"
        if kind is int:
            words = "a whole number"
        reason = f"{where} is {text!r}"
        raise InputError(reason, remedy=f"give {words}") from None


def _sampling(form: CaptureForm, problems: _Problems) -> SamplingSpec | None:
    values = {}
    for name in SAMPLING_FIELDS:
        value = _sampling_value(form, name, problems)
        if value is not None:
            values[name] = value
    if len(values) < len(SAMPLING_FIELDS):
        return None
    base = SamplingSpec()
    if form.base is not None:
        base = form.base.sampling
    return replace(base, **values)


def _sampling_value(form: CaptureForm, name: str, problems: _Problems) -> Any:
    """A number of the sampling; None where it is refused."""
    key = f"sampling.{name}"
    text = form.sampling[name]
    kind = _NUMBERS[name]
    value = problems.attempt(key, lambda: _number(text, kind, key))
    if value is None:
        return None
    fields_to_check = {name: value}
    checked = problems.attempt(key, lambda: SamplingSpec(**fields_to_check))
    if checked is None:
        return None
    return value


def _top_k(form: CaptureForm, problems: _Problems) -> int | None:
    key = "top_k"
    typed = form.top_k
    top_k: int | None = problems.attempt(key, lambda: _number(typed, int, key))
    if top_k is not None:
        backends = (BackendSpec("some", TRAINER),)
        problems.attempt(key, lambda: CapturePlan("some", backends, top_k=top_k))
    return top_k


# -- prompts


@dataclass(frozen=True, slots=True)
class _Prompts:
    """A plan's prompts, and the lines of a file of typed ids."""

    file: str | None = None
    texts: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None


def _prompts(form: CaptureForm, problems: _Problems) -> _Prompts:
    source = form.source
    if source == "token ids":
        return _typed_ids(form, problems)
    file = None
    if source != "text":
        file = _prompts_file(form, problems)
    if source == "file":
        return _Prompts(file)
    filled = filter(None, form.texts)
    texts = tuple(filled)
    if not texts:
        problems.note("prompts.text[0]", "no prompts: type at least one character")
    return _Prompts(file, texts)


def _prompts_file(form: CaptureForm, problems: _Problems) -> str | None:
    key = "prompts.file"
    typed = form.file.strip()
    if not typed:
        problems.note(key, "no prompts: give a JSONL file")
        return None
    path: Path | None = problems.attempt(key, lambda: user_path(typed).absolute())
    if path is None:
        return None
    if not path.is_file():
        problems.note(key, f"prompts {typed}: no such file")
    return str(path)


def _typed_ids(form: CaptureForm, problems: _Problems) -> _Prompts:
    filled = _filled(form.ids)
    if not filled:
        remedy = "give ids, | ends the prompt where a completion follows"
        problems.note("prompts.ids[0]", f"no prompts: {remedy}")
    lines: list[str] = []
    for index in filled:
        key = f"prompts.ids[{index}]"
        typed = form.ids[index]
        read = partial(ids_line, typed)
        line = problems.attempt(key, read)
        if line is not None:
            lines.append(line)
    path = Path(IDS_FILE).absolute()
    file = str(path)
    return _Prompts(file, ids=tuple(lines))


def ids_line(text: str) -> str:
    """Typed ids (``1 2 3 | 4 5``) as a line of a prompt file. Raises InputError naming
    what is not an id.
    """
    prompt, bar, completion = text.partition("|")
    if "|" in completion:
        reason = "more than one |"
        raise InputError(reason, remedy="it stands once, between prompt and completion")
    prompt_ids = _ids(prompt)
    completion_ids = _ids(completion)
    token_ids = prompt_ids + completion_ids
    if not token_ids:
        raise InputError("token_ids is empty", remedy="give at least one id")
    if bar and not completion_ids:
        remedy = "give the ids of the completion, or leave it out"
        raise InputError("nothing follows the |", remedy=remedy)
    line = {
        "token_ids": token_ids,
        "prompt_length": len(prompt_ids),
    }
    return json.dumps(line)


def _ids(text: str) -> list[int]:
    ids = []
    text = text.replace(",", " ")
    words = text.split()
    for word in words:
        if not word.isdecimal():
            raise InputError(f"token id {word!r} is not a whole number")
        token_id = int(word)
        if token_id > LARGEST_ID:
            raise InputError(f"token id {word} is outside any vocabulary")
        ids.append(token_id)
    return ids


# -- backends


def _specs(form: CaptureForm, problems: _Problems) -> tuple[BackendSpec, ...] | None:
    """The specs of all backends, None where one is refused."""
    specs: list[BackendSpec] = []
    for index, backend in enumerate(form.backends):
        spec = _spec(backend, index, problems)
        if spec is not None:
            specs.append(spec)
    if len(specs) < len(form.backends):
        return None
    return tuple(specs)


def _spec(backend: BackendForm, index: int, problems: _Problems) -> BackendSpec | None:
    """The spec of one backend. Its name and the number of repeats are checked first:
    the other fields can be checked only with them.
    """
    name = backend.name.strip()
    engine = backend.engine
    attempt = partial(_attempt_backend, problems, index)
    named = attempt("name", lambda: BackendSpec(name, engine))
    where = f"backend {name!r}: repeats"
    typed = backend.repeats
    repeats = attempt("repeats", lambda: _number(typed, int, where))
    if named is None or repeats is None:
        return None
    values = attempt("options", lambda: _options(backend, name))
    if values is None:
        return None
    spec: BackendSpec | None = attempt(
        "alone",
        lambda: BackendSpec(
            name=name,
            engine=engine,
            dtype=backend.dtype,
            role=backend.role,  # type: ignore[arg-type]
            paths=backend.paths,
            repeats=repeats,
            alone=backend.alone,
            **values,
        ),
    )
    return spec


def _attempt_backend(
    problems: _Problems, index: int, field: str, act: Callable[[], Any]
) -> Any:
    """`_Problems.attempt` for the backend of this index: names may be double or bad."""
    try:
        return act()
    except LogdriftError as error:
        name = field
        match = _OF_BACKEND.fullmatch(error.field or "")
        if match is not None:
            name = _typed_field(match[2])
        key = f"backend[{index}].{name}"
        problems.note(key, str(error))
    return None


def _options(backend: BackendForm, name: str) -> dict[str, Any]:
    """The engine's options, and the fields of a spec that are typed among them."""
    if backend.given is not None:
        spec, options_before = backend.given
        if backend.options == options_before:
            values: dict[str, Any] = {"options": spec.options}
            for field in OPTION_FIELDS:
                values[field] = getattr(spec, field)
            return values
    typed = backend.options.strip()
    if not typed:
        return {"options": {}}
    where = f"backend {name!r}"
    try:
        values = parse_options(typed)
    except InputError as error:
        raise error.within(where) from None
    for field in values:
        if field == "options" or field in OPTION_FIELDS:
            continue
        reason = f"{field} has a field of its own"
        raise InputError(reason, where=where, remedy="set it there")
    return values


# -- the whole plan


def _plan(
    form: CaptureForm,
    backends: tuple[BackendSpec, ...],
    prompts: _Prompts,
    sampling: SamplingSpec | None,
    top_k: int | None,
) -> CapturePlan:
    """The plan of what is right so far. Raises InputError for what fields are wrong
    about together.
    """
    values: dict[str, Any] = {
        "model": form.model.strip(),
        "title": form.title,
        "backends": backends,
        "prompts_file": prompts.file,
        "texts": prompts.texts,
        **turn_fields(form.turn),
    }
    if sampling is not None:
        values["sampling"] = sampling
    if top_k is not None:
        values["top_k"] = top_k
    if form.base is None:
        return CapturePlan(**values)
    return replace(form.base, **values)


def _needs_generator(form: CaptureForm, prompts: _Prompts) -> bool:
    """Whether completions have to be sampled, as far as the form shows without reading
    a file.
    """
    if form.source == "file":
        return False
    if prompts.ids is None:
        return True
    all_ids = "\n".join(form.ids)
    return "|" not in all_ids
