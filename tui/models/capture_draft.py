"""From the form for a new capture to its plan. What is wrong stands under the key of
the field where it can be fixed, in the words of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from logdrift.core.capture.models import SMALL_MODEL, resolve_model
from logdrift.core.capture.prompt_ids import LARGEST_ID
from logdrift.core.engines import TRAINER
from logdrift.core.errors import InputError
from logdrift.core.paths import user_path
from logdrift.core.plan import BackendSpec, CapturePlan, SamplingSpec
from logdrift.core.session.manage import check_name
from logdrift.tui.models.capture_form import (
    SAMPLING_FIELDS,
    CaptureForm,
    turn_fields,
)
from logdrift.tui.models.draft_backends import specs_of
from logdrift.tui.models.draft_problems import (
    DraftProblems,
    filled_rows,
    typed_number,
)

IDS_FILE = "token-ids.jsonl"
"""Stands in the preview for the file that typed ids are written to."""
_NUMBERS: Mapping[str, Callable[[str], Any]] = {
    field.name: float if field.type == "float" else int
    for field in fields(SamplingSpec)
}


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
    problems = DraftProblems(form)
    name = form.session
    problems.attempt("session", lambda: _check_session(name, sessions))
    problems.attempt("model", lambda: check_model(form.model))
    sampling = _sampling(form, problems)
    top_k = top_k_of(form, problems)
    prompts = _prompts(form, problems)
    backends = specs_of(form, problems)
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


# -- model, sampling, alternatives


def _check_session(name: str, sessions: Path) -> None:
    folder = sessions / check_name(name)
    if folder.exists():
        reason = f"{name.strip()} exists already"
        raise InputError(reason, field="session", remedy="give another name")


def check_model(model: str) -> None:
    """Raises InputError for a folder that is not there; nothing typed is not wrong
    yet.
    """
    model = model.strip()
    if model and model != SMALL_MODEL:
        resolve_model(model)


def _sampling(form: CaptureForm, problems: DraftProblems) -> SamplingSpec | None:
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


def _sampling_value(form: CaptureForm, name: str, problems: DraftProblems) -> Any:
    """A number of the sampling; None where it is refused."""
    key = f"sampling.{name}"
    text = form.sampling[name]
    kind = _NUMBERS[name]
    value = problems.attempt(key, lambda: typed_number(text, kind, key))
    if value is None:
        return None
    fields_to_check = {name: value}
    checked = problems.attempt(key, lambda: SamplingSpec(**fields_to_check))
    if checked is None:
        return None
    return value


def top_k_of(form: CaptureForm, problems: DraftProblems) -> int | None:
    """Alternatives kept of each token; None where what is typed is refused."""
    key = "top_k"
    typed = form.top_k
    top_k: int | None = problems.attempt(key, lambda: typed_number(typed, int, key))
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


def _prompts(form: CaptureForm, problems: DraftProblems) -> _Prompts:
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


def _prompts_file(form: CaptureForm, problems: DraftProblems) -> str | None:
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


def _typed_ids(form: CaptureForm, problems: DraftProblems) -> _Prompts:
    filled = filled_rows(form.ids)
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
