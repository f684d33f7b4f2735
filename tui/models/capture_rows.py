"""The lines of the forms of captures: made from what is filled in, drawn by
`logdrift.tui.widgets.form`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from logdrift.core.engines import ENGINES
from logdrift.core.session.visible import visible
from logdrift.tui.actions import first_key
from logdrift.tui.actions.command import NO_KEYMAP, Keymap
from logdrift.tui.models.capture_draft import DraftPlan
from logdrift.tui.models.capture_form import BackendForm, CaptureForm, value_of
from logdrift.tui.models.engines import Found

if TYPE_CHECKING:
    from logdrift.tui.models.added_backends import ScoredSession

Kind = Literal["head", "text", "choice", "button", "note", "bad"]


_TOP_K_NOTE = "kept for each token: top_k"


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
    keymap: Keymap = NO_KEYMAP,
) -> list[FormRow]:
    """All lines of a new capture, each field's problem right below it."""
    rows = [
        *_plan_fields(form),
        *_backend_section(form, draft, expanded),
        *_engine_section(found),
        FormRow("head", label="Plan"),
        *_buttons(PLAN_BUTTONS, keymap),
    ]
    return _with_problems(rows, draft)


def scoring_rows(
    form: CaptureForm,
    session: ScoredSession,
    draft: DraftPlan,
    found: Mapping[str, Found],
    expanded: frozenset[int],
    keymap: Keymap = NO_KEYMAP,
) -> list[FormRow]:
    """All lines of backends that are added to a session, each field's problem right
    below it.
    """
    rows = [
        *_session_fields(form, session),
        *_backend_section(form, draft, expanded),
        *_engine_section(found),
        FormRow("head", label="Capture"),
        *_buttons(SCORING_BUTTONS, keymap),
    ]
    return _with_problems(rows, draft)


def _with_problems(fields: Sequence[FormRow], draft: DraftPlan) -> list[FormRow]:
    rows: list[FormRow] = []
    for row in fields:
        rows.append(row)
        if row.kind in ("head", "bad"):
            continue
        problem = draft.problems.get(row.key)
        if problem is not None:
            indent = row.indent
            bad = FormRow("bad", row.key, value=problem, indent=indent)
            rows.append(bad)
    return rows


def _plan_fields(form: CaptureForm) -> Iterator[FormRow]:
    """What is captured with which model, and how it is sampled."""
    yield _text(form, "model", "Model", "a folder, a hub id, or smollm2")
    yield _text(form, "session", "Name", "of the session's folder")
    yield _text(form, "title", "Title", "shown beside the name")
    yield FormRow("head", label="Prompts")
    yield from _prompt_rows(form)
    yield FormRow("head", label="Sampling")
    yield from _sampling_rows(form)
    yield _text(form, "top_k", "Alternatives", _TOP_K_NOTE)


def _session_fields(form: CaptureForm, session: ScoredSession) -> Iterator[FormRow]:
    """The model that scores a session's ids; what its plan has settled is not asked."""
    name = visible(session.folder.name)
    yield FormRow("head", label=f"The ids of {name}: {session.size}")
    yield _text(form, "model", "Model", "that its ids are of: a folder or a hub id")
    if session.plan is None:
        yield _text(form, "top_k", "Alternatives", _TOP_K_NOTE)


def _backend_section(
    form: CaptureForm, draft: DraftPlan, expanded: frozenset[int]
) -> Iterator[FormRow]:
    yield FormRow("head", label="Backends")
    for index in range(len(form.backends)):
        open_ = index in expanded or _has_problem(draft, index)
        yield from _backend_rows(form, index, open_)
    problem = draft.problems.get("backends")
    if problem is not None:
        yield FormRow("bad", "backends", value=problem)


def _engine_section(found: Mapping[str, Found]) -> Iterator[FormRow]:
    yield FormRow("head", label="Engines found: Enter adds a backend")
    not_found_yet = Found("looking for it")
    for engine in ENGINES:
        environment = found.get(engine, not_found_yet)
        yield from _engine_rows(engine, environment)


PLAN_BUTTONS = {
    "show_plan": "See it as TOML",
    "save_plan": "Save it to a file",
    "load_plan": "Load one from a file",
    "start": "Start the capture",
}
SCORING_BUTTONS = {
    "show_plan": "See it as a command",
    "start": "Start the capture",
}


def _buttons(labels: Mapping[str, str], keymap: Keymap) -> Iterator[FormRow]:
    """Buttons, each with its key."""
    for name, label in labels.items():
        note = first_key("form", name, keymap)
        if name == "start":
            note += ", in the background"
        yield FormRow("button", name, label, note=note)


def _text(form: CaptureForm, key: str, label: str, note: str = "") -> FormRow:
    value = value_of(form, key)
    return FormRow(
        kind="text",
        key=key,
        label=label,
        value=str(value),
        note=note,
    )


def _prompt_rows(form: CaptureForm) -> Iterator[FormRow]:
    source = form.source
    yield FormRow("choice", "prompts.source", "From", source)
    if source in ("file", "file and text"):
        yield _text(form, "prompts.file", "File", "JSONL, one prompt a line")
        note = "if of the assistant"
        yield FormRow("choice", "prompts.turn", "Last turn", form.turn, note)
    if source in ("text", "file and text"):
        for index, _ in enumerate(form.texts):
            key = f"prompts.text[{index}]"
            label = f"Text {index + 1}"
            yield _text(form, key, label)
    if source == "token ids":
        note = "1 2 3 | 4 5: | ends the prompt"
        for index, _ in enumerate(form.ids):
            key = f"prompts.ids[{index}]"
            label = f"Ids {index + 1}"
            yield _text(form, key, label, note)


def _sampling_rows(form: CaptureForm) -> Iterator[FormRow]:
    yield _text(form, "sampling.temperature", "Temperature", "0 to 2")
    yield _text(form, "sampling.top_p", "Top p", "1: off")
    yield _text(form, "sampling.top_k", "Top k", "to sample from; 0: off")
    yield _text(form, "sampling.max_tokens", "Max tokens", "of a completion")
    yield _text(form, "sampling.seed", "Seed", "sequence i uses seed + i")


_BACKEND_FIELDS: tuple[tuple[Kind, str, str, str], ...] = (
    ("text", "name", "Name", "in labels: NAME/decode"),
    ("choice", "engine", "Engine", ""),
    ("choice", "dtype", "dtype", ""),
    ("choice", "role", "Role", "trainer is A, rollout is B"),
    ("choice", "paths", "Paths", ""),
    ("text", "repeats", "Repeats", "2 measures the noise floor"),
    ("choice", "alone", "Also alone", "each sequence again, by itself"),
    ("text", "options", "Options", "key=value, gpus=, server=URL"),
)
"""The fields of a backend: kind, name, label and note; the note of paths depends."""
_PATH_NOTES = {
    (): "one generates, others score",
    ("decode",): "generates",
    ("prefill",): "scores given ids",
}


def _backend_rows(form: CaptureForm, index: int, open_: bool) -> Iterator[FormRow]:
    key = f"backend[{index}]"
    backend = form.backends[index]
    name = visible(backend.name)
    arrow = "▸"
    if open_:
        arrow = "▾"
    yield FormRow(
        kind="button",
        key=key,
        label=f"{arrow} {name}",
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
            value=_value(backend, name),
            note=note,
            indent=2,
        )
    remove_key = f"{key}.remove"
    yield FormRow("button", remove_key, "Remove this backend", indent=2)


def _summary(backend: BackendForm) -> str:
    """``vllm:bfloat16  rollout  decode+prefill x2 alone``."""
    paths = _paths(backend)
    words = f"{backend.engine}:{backend.dtype}  {backend.role}  {paths}"
    if backend.repeats.strip() != "1":
        words += f" x{backend.repeats}"
    if backend.alone:
        words += " alone"
    if "server=" in backend.options:
        words += "  running server"
    return words


def _paths(backend: BackendForm) -> str:
    return "+".join(backend.paths) or "paths as needed"


def _value(backend: BackendForm, name: str) -> str:
    """A field of a backend as it is drawn."""
    if name == "paths":
        return _paths(backend)
    value = getattr(backend, name)
    if name != "alone":
        return str(value)
    if value:
        return "yes"
    return "no"


def _has_problem(draft: DraftPlan, index: int) -> bool:
    start = f"backend[{index}]."
    return any(key.startswith(start) for key in draft.problems)


def _engine_rows(engine: str, found: Found) -> Iterator[FormRow]:
    key = f"engine.{engine}"
    problem = found.problem
    if problem is None:
        words = visible(found.words)
        yield FormRow("button", key, engine, words)
        return
    state = "not found"
    if found.probed:
        state = "does not work"
    yield FormRow("button", key, engine, state, mark="bad")
    yield FormRow("bad", key, value=problem, indent=2)
