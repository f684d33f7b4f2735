"""Backends that are added to a session: the form that asks for them, and what it
gives. They score the ids that the session has.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from logdrift.core.capture.into import (
    UNKNOWN_MODEL,
    PlanWish,
    name_is_taken,
    scoring,
    taken_names,
)
from logdrift.core.engines import ROLLOUTS, TRAINER
from logdrift.core.errors import InputError
from logdrift.core.numbers import counted
from logdrift.core.paths import refuse_shipped
from logdrift.core.plan import BackendSpec, CapturePlan, parse_spec
from logdrift.core.plan.spec_text import default_role
from logdrift.core.session.layout import Manifest
from logdrift.core.session.lock import refuse_written
from logdrift.core.session.reader import open_session
from logdrift.tui.models.capture_draft import DraftPlan, check_model, top_k_of
from logdrift.tui.models.capture_form import (
    BackendForm,
    CaptureForm,
    backend_form,
    options_text,
)
from logdrift.tui.models.draft_backends import specs_of
from logdrift.tui.models.draft_problems import DraftProblems

_REFERENCE = f"{TRAINER}:float32@reference"
_TRAINER = f"{TRAINER}:bfloat16@trainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSession:
    """A session whose ids are to be scored.

    Attributes:
        folder: where it is.
        size: its sequences and tokens in words.
        model: what its plan loads, or its import named; "" where that is unknown.
        plan: the plan that it grows, None for an import.
        roles: those that its captures have.
        taken: the names of backends that a new one cannot have.
    """

    folder: Path
    size: str
    model: str
    plan: CapturePlan | None
    roles: frozenset[str]
    taken: frozenset[str]


class Added(NamedTuple):
    """What is asked for: backends, and what the session's plan says of them."""

    backends: tuple[BackendSpec, ...]
    wish: PlanWish


def session_to_score(folder: Path) -> ScoredSession:
    """The session in a folder. Raises InputError for one that is damaged, shipped or
    being written.
    """
    refuse_shipped(folder)
    session = open_session(folder, patient=False)
    refuse_written(folder)
    sequences = counted(len(session.sequences), "sequence")
    tokens = counted(session.sequences.tokens, "token")
    manifest = session.manifest
    plan = session.plan
    planned = set()
    model = manifest.model.id
    if plan is not None:
        planned = {spec.name for spec in plan.backends}
        model = plan.model
    if model == UNKNOWN_MODEL:
        model = ""
    return ScoredSession(
        folder=folder,
        size=f"{sequences}, {tokens}",
        model=model,
        plan=plan,
        roles=_roles(manifest),
        taken=frozenset(taken_names(manifest, planned)),
    )


def _roles(manifest: Manifest) -> frozenset[str]:
    return frozenset(info.role for info in manifest.captures)


def form_for(session: ScoredSession, engines: Container[str]) -> CaptureForm:
    """A form to begin with: the side that the session lacks; ``engines`` are there."""
    top_k = CaptureForm("").top_k
    if session.plan is not None:
        top_k = str(session.plan.top_k)
    spec = _missing_side(session.roles, engines)
    backend = as_scorer(backend_form(spec))
    return CaptureForm(
        session.folder.name,
        model=session.model,
        top_k=top_k,
        backends=(with_free_name(backend, session.taken),),
        is_scoring=True,
    )


def _missing_side(roles: frozenset[str], engines: Container[str]) -> BackendSpec:
    """A trainer where there is none, else a rollout, else a reference."""
    if "trainer" not in roles:
        return parse_spec(_TRAINER)
    if "rollout" in roles:
        return parse_spec(_REFERENCE)
    found = [engine for engine in ROLLOUTS if engine in engines]
    engine = next(iter(found), ROLLOUTS[0])
    return parse_spec(f"{engine}:bfloat16@rollout")


def as_scorer(backend: BackendForm) -> BackendForm:
    """The backend with the path that scores given ids."""
    return replace(backend, paths=("prefill",))


def with_free_name(backend: BackendForm, taken: Container[str]) -> BackendForm:
    """The backend under its own name, or with a number behind it where that is
    taken.
    """
    base = backend.name
    name = base
    for number in count(2):
        if name not in taken:
            break
        name = f"{base}-{number}"
    return replace(backend, name=name)


def build_added(form: CaptureForm, session: ScoredSession) -> DraftPlan:
    """The model and the backends as a plan, or what is wrong with them. Looks at a few
    files; starts nothing.
    """
    problems = DraftProblems(form)
    problems.attempt("model", lambda: check_given_model(form.model))
    top_k = top_k_of(form, problems)
    backends = specs_of(form, problems)
    if backends is None:
        return DraftPlan(None, problems.words)
    if not backends:
        problems.note("backends", "no backend: add one that scores the session's ids")
    for index, spec in enumerate(backends):
        attempt = partial(problems.attempt_backend, index)
        attempt("paths", partial(scoring, spec))
        attempt("name", partial(_check_name, spec, session))
    model = form.model.strip()
    plan = problems.attempt(
        "backends", lambda: CapturePlan(model, backends, top_k=top_k or 0)
    )
    if problems.words:
        plan = None
    return DraftPlan(plan, problems.words)


def check_given_model(model: str) -> None:
    """Raises InputError where no model, or none that is there, is named."""
    if not model.strip():
        reason = "no model: name the one that the session's ids are of"
        raise InputError(reason, field="model")
    check_model(model)


def _check_name(spec: BackendSpec, session: ScoredSession) -> None:
    if spec.name in session.taken:
        raise name_is_taken(spec)


def added_of(plan: CapturePlan, session: ScoredSession) -> Added:
    """What the plan of the form asks of the session."""
    top_k = None
    if session.plan is None:
        top_k = plan.top_k
    wish = PlanWish(model=plan.model, top_k=top_k)
    return Added(plan.backends, wish)


# -- the same on the command line


def command_lines(draft: DraftPlan, session: ScoredSession) -> list[str]:
    """What does the same in a shell, an option a line; where nothing can be done yet,
    what is wrong.
    """
    if draft.plan is None:
        problems = draft.problems.values()
        return ["# not yet complete:", *(f"# {words}" for words in problems)]
    pieces = list(_command(draft.plan, session))
    first, *options = pieces
    lines = [first, *(f"  {option}" for option in options)]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _command(plan: CapturePlan, session: ScoredSession) -> Iterator[str]:
    folder = shlex.quote(str(session.folder))
    yield f"logdrift capture --into {folder}"
    was_planned = session.plan is not None
    if not was_planned or plan.model != session.model:
        yield f"--model {shlex.quote(plan.model)}"
    if not was_planned:
        yield f"--top-k {plan.top_k}"
    for spec in plan.backends:
        yield f"--backend {shlex.quote(spec_text(spec))}"


def spec_text(spec: BackendSpec) -> str:
    """A backend as it is typed: what `logdrift.core.plan.parse_spec` reads back."""
    options = []
    if spec.role != default_role(spec.name, spec.engine):
        options.append(f"role={spec.role}")
    if spec.paths:
        options.append("paths=" + "+".join(spec.paths))
    if spec.repeats != 1:
        options.append(f"repeats={spec.repeats}")
    if spec.alone:
        options.append("alone=true")
    more = options_text(spec)
    if more:
        options.append(more)
    start = f"{spec.engine}:{spec.dtype}"
    return ",".join([start, *options]) + f"@{spec.name}"
