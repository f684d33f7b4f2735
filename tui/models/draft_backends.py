"""The backends of a form of a capture as specs."""

from __future__ import annotations

from functools import partial
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec, parse_options
from logdrift.tui.models.capture_form import OPTION_FIELDS, BackendForm, CaptureForm
from logdrift.tui.models.draft_problems import DraftProblems, typed_number


def specs_of(
    form: CaptureForm, problems: DraftProblems
) -> tuple[BackendSpec, ...] | None:
    """The specs of all backends, None where one is refused."""
    specs: list[BackendSpec] = []
    for index, backend in enumerate(form.backends):
        spec = _spec(backend, index, problems)
        if spec is not None:
            specs.append(spec)
    if len(specs) < len(form.backends):
        return None
    return tuple(specs)


def _spec(
    backend: BackendForm, index: int, problems: DraftProblems
) -> BackendSpec | None:
    """The spec of one backend. Its name and the number of repeats are checked first:
    the other fields can be checked only with them.
    """
    name = backend.name.strip()
    engine = backend.engine
    attempt = partial(problems.attempt_backend, index)
    named = attempt("name", lambda: BackendSpec(name, engine))
    where = f"backend {name!r}: repeats"
    typed = backend.repeats
    repeats = attempt("repeats", lambda: typed_number(typed, int, where))
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
