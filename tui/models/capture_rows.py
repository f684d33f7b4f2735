"""The lines of the form for a new capture: made from what is filled in, drawn by
`logdrift.tui.widgets.form`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from logdrift.core.engines import ENGINES
from logdrift.core.session.visible import visible
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.models.capture_form import BackendForm, CaptureForm, value_of
from logdrift.tui.models.engines import Found

Kind = Literal["head", "text", "choice", "button", "note", "bad"]


@dataclass(frozen=True, slots=True)
class FormRow:
    """One line. ``key`` is the field's; lines of kind head, note and bad cannot be gone
    to. ``note`` stands behind the value where there is room; ``mark`` says how the
    value is meant.
    """

    kind: Kind
    key: str = ""
    label: str = ""
    value: str = ""
    note: str = ""
    indent: int = 0
    mark: Literal["", "bad"] = ""


def form_rows(
    form: CaptureForm,
    draft: DraftPlan,
    found: Mapping[str, Found],
    expanded: frozenset[int],
) -> list[FormRow]:
    """All lines, each field's problem right below it."""
    rows: list[FormRow] = []
    for row in _rows(form, draft, found, expanded):
        rows.append(row)
        if row.kind != "head" and row.key in draft.problems:
            problem = draft.problems[row.key]
            rows.append(FormRow("bad", row.key, value=problem, indent=row.indent))
    return rows


def _rows(
    form: CaptureForm,
    draft: DraftPlan,
    found: Mapping[str, Found],
    expanded: frozenset[int],
) -> Iterator[FormRow]:
    yield _text(form, "model", "Model", "a folder, a hub id, or smollm2")
    yield _text(form, "session", "Name", "of the session's folder")
    yield _text(form, "title", "Title", "shown beside the name")
    yield FormRow("head", label="Prompts")
    yield from _prompt_rows(form)
    yield FormRow("head", label="Sampling")
    yield from _sampling_rows(form)
    yield FormRow("head", label="Backends")
    for index in range(len(form.backends)):
        open_ = index in expanded or _has_problem(draft, index)
        yield from _backend_rows(form, index, open_)
    if "backends" in draft.problems:
        yield FormRow("bad", "backends", value=draft.problems["backends"])
    yield FormRow("head", label="Engines found: Enter adds a backend")
    for engine in ENGINES:
        yield from _engine_rows(engine, found.get(engine, Found("looking for it")))
    yield FormRow("head", label="Plan")
    yield FormRow("button", "show_plan", "See it as TOML", note="F2")
    yield FormRow("button", "save_plan", "Save it to a file", note="Ctrl+S")
    yield FormRow("button", "load_plan", "Load one from a file", note="Ctrl+O")
    yield FormRow("button", "start", "Start the capture", note="F5, in the background")


def _text(form: CaptureForm, key: str, label: str, note: str = "") -> FormRow:
    return FormRow("text", key, label, value=str(value_of(form, key)), note=note)


def _prompt_rows(form: CaptureForm) -> Iterator[FormRow]:
    yield FormRow("choice", "prompts.source", "From", form.source)
    if form.source in ("file", "file and text"):
        yield _text(form, "prompts.file", "File", "JSONL, one prompt a line")
    if form.source in ("text", "file and text"):
        for index in range(len(form.texts)):
            yield _text(form, f"prompts.text[{index}]", f"Text {index + 1}")
    if form.source == "token ids":
        note = "1 2 3 | 4 5: | ends the prompt"
        for index in range(len(form.ids)):
            yield _text(form, f"prompts.ids[{index}]", f"Ids {index + 1}", note)


def _sampling_rows(form: CaptureForm) -> Iterator[FormRow]:
    yield _text(form, "sampling.temperature", "Temperature", "0 to 2")
    yield _text(form, "sampling.top_p", "Top p", "1: off")
    yield _text(form, "sampling.top_k", "Top k", "0: off")
    yield _text(form, "sampling.max_tokens", "Max tokens", "of a completion")
    yield _text(form, "sampling.seed", "Seed", "sequence i uses seed + i")
    yield _text(form, "top_k", "Alternatives", "kept for each token")


_BACKEND_FIELDS: tuple[tuple[Kind, str, str, str], ...] = (
    ("text", "name", "Name", "in labels: NAME/decode"),
    ("choice", "engine", "Engine", ""),
    ("choice", "dtype", "dtype", ""),
    ("choice", "role", "Role", "reference, trainer (A), rollout (B)"),
    ("choice", "paths", "Paths", ""),
    ("text", "repeats", "Repeats", "2 measures the noise floor"),
    ("choice", "alone", "Alone", "again, one sequence a batch"),
    ("text", "options", "Options", "key=value,...; gpus= python= model="),
)
"""The fields of a backend: kind, name, label and note; the note of paths depends."""
_PATH_NOTES = {
    (): "one generates, the others prefill",
    ("decode",): "generates",
    ("prefill",): "scores given ids",
}


def _backend_rows(form: CaptureForm, index: int, open_: bool) -> Iterator[FormRow]:
    key = f"backend[{index}]"
    backend = form.backends[index]
    arrow = "▾" if open_ else "▸"
    yield FormRow(
        kind="button",
        key=key,
        label=f"{arrow} {visible(backend.name)}",
        value=_summary(backend),
        note=visible(backend.options),
    )
    if not open_:
        return
    for kind, name, label, note in _BACKEND_FIELDS:
        if name == "paths":
            note = _PATH_NOTES.get(backend.paths, "")
        yield FormRow(
            kind=kind,
            key=f"{key}.{name}",
            label=label,
            value=_shown(backend, name),
            note=note,
            indent=2,
        )
    yield FormRow("button", f"{key}.remove", "Remove this backend", indent=2)


def _summary(backend: BackendForm) -> str:
    """``vllm:bfloat16  rollout  decode+prefill x2 alone``."""
    words = f"{backend.engine}:{backend.dtype}  {backend.role}  {_paths(backend)}"
    if backend.repeats.strip() != "1":
        words += f" x{backend.repeats}"
    if backend.alone:
        return f"{words} alone"
    return words


def _paths(backend: BackendForm) -> str:
    return "+".join(backend.paths) or "paths as needed"


def _shown(backend: BackendForm, name: str) -> str:
    if name == "paths":
        return _paths(backend)
    if name == "alone":
        if backend.alone:
            return "yes"
        return "no"
    return str(getattr(backend, name))


def _has_problem(draft: DraftPlan, index: int) -> bool:
    return any(key.startswith(f"backend[{index}].") for key in draft.problems)


def _engine_rows(engine: str, found: Found) -> Iterator[FormRow]:
    key = f"engine.{engine}"
    if found.problem is None:
        yield FormRow("button", key, engine, visible(found.words))
        return
    yield FormRow(
        "button",
        key,
        engine,
        "does not work" if found.probed else "not found",
        mark="bad",
    )
    yield FormRow("bad", key, value=found.problem, indent=2)
