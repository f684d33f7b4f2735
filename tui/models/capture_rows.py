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
    out: list[FormRow] = []
    for row in _rows(form, found, expanded, draft):
        out.append(row)
        if row.kind != "head" and row.key in draft.problems:
            out.append(
                FormRow(
                    "bad", row.key, value=draft.problems[row.key], indent=row.indent
                )
            )
    return out


def _rows(
    form: CaptureForm,
    found: Mapping[str, Found],
    expanded: frozenset[int],
    draft: DraftPlan,
) -> Iterator[FormRow]:
    def text(key: str, label: str, note: str = "", indent: int = 0) -> FormRow:
        return FormRow("text", key, label, str(value_of(form, key)), note, indent)

    yield text("model", "Model", "a folder, a hub id, or smollm2")
    yield text("session", "Name", "of the session's folder")
    yield text("title", "Title", "shown beside the name")
    yield FormRow("head", label="Prompts")
    yield FormRow("choice", "prompts.source", "From", form.source)
    if form.source in ("file", "file and text"):
        yield text("prompts.file", "File", "JSONL, one prompt a line")
    if form.source in ("text", "file and text"):
        for index in range(len(form.texts)):
            yield text(f"prompts.text[{index}]", f"Text {index + 1}")
    if form.source == "token ids":
        for index in range(len(form.ids)):
            yield text(
                f"prompts.ids[{index}]",
                f"Ids {index + 1}",
                "1 2 3 | 4 5: | ends the prompt",
            )
    yield FormRow("head", label="Sampling")
    yield text("sampling.temperature", "Temperature", "0 to 2")
    yield text("sampling.top_p", "Top p", "1: off")
    yield text("sampling.top_k", "Top k", "0: off")
    yield text("sampling.max_tokens", "Max tokens", "of a completion")
    yield text("sampling.seed", "Seed", "sequence i uses seed + i")
    yield text("top_k", "Alternatives", "kept for each token")
    yield FormRow("head", label="Backends")
    for index, backend in enumerate(form.backends):
        yield from _backend_rows(
            form, index, backend, index in expanded or _has_problem(draft, index)
        )
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


def _backend_rows(
    form: CaptureForm, index: int, backend: BackendForm, open_: bool
) -> Iterator[FormRow]:
    key = f"backend[{index}]"
    paths = "+".join(backend.paths) or "paths as needed"
    more = "".join(
        (
            f" x{backend.repeats}" if backend.repeats.strip() != "1" else "",
            " alone" if backend.alone else "",
        )
    )
    words = f"{backend.engine}:{backend.dtype}  {backend.role}  {paths}{more}"
    yield FormRow(
        "button",
        key,
        f"{'▾' if open_ else '▸'} {visible(backend.name)}",
        words,
        visible(backend.options),
    )
    if not open_:
        return
    rows = (
        ("text", "name", "Name", "in labels: NAME/decode"),
        ("choice", "engine", "Engine", ""),
        ("choice", "dtype", "dtype", ""),
        ("choice", "role", "Role", "reference, trainer (A), rollout (B)"),
        ("choice", "paths", "Paths", _PATH_NOTES.get(backend.paths, "")),
        ("text", "repeats", "Repeats", "2 measures the noise floor"),
        ("choice", "alone", "Alone", "again, one sequence a batch"),
        ("text", "options", "Options", "key=value,...; gpus= python= model="),
    )
    for kind, name, label, note in rows:
        value = value_of(form, f"{key}.{name}")
        if name == "paths":
            value = paths
        elif name == "alone":
            value = "yes" if value else "no"
        yield FormRow(kind, f"{key}.{name}", label, str(value), note, 2)  # type: ignore[arg-type]
    yield FormRow("button", f"{key}.remove", "Remove this backend", indent=2)


_PATH_NOTES = {
    (): "one generates, the others prefill",
    ("decode",): "generates",
    ("prefill",): "scores given ids",
}


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
