"""Backends added to a session that is there: its own ids are scored, and nothing that
it holds is changed.

An imported session gets a plan with them, which says how they are started and nothing
of how its sequences came to be (`SavedPlan.of_import`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.create import model_info, pending_captures
from logdrift.core.capture.given_ids import GivenIds, given_ids
from logdrift.core.capture.models import (
    check_own_vocabulary,
    resolve_model,
    resolve_own_model,
)
from logdrift.core.capture.parts import with_whole_parts
from logdrift.core.capture.prepared import prepare_prompts
from logdrift.core.capture.prompt import Prompt
from logdrift.core.capture.start import interpreter_of
from logdrift.core.capture.workers import end_leftovers
from logdrift.core.digests import limited_weights_digest, tokenizer_digest
from logdrift.core.errors import InputError, Place
from logdrift.core.numbers import counted
from logdrift.core.paths import refuse_shipped
from logdrift.core.plan import BackendSpec, CapturePlan, SavedPlan
from logdrift.core.session import lock
from logdrift.core.session.layout import Manifest, ModelInfo, read_manifest
from logdrift.core.session.writer import write_manifest

UNKNOWN_MODEL = "unknown"
"""The id of a model that an import was not told."""


@dataclass(frozen=True, slots=True)
class PlanWish:
    """What is asked of a session's plan beside backends. None: as the plan has it,
    else the default.

    ``model`` is where the session's model is, for a plan that finds it elsewhere too.
    """

    model: str | None = None
    revision: str | None = None
    top_k: int | None = None
    part_sequences: int | None = None
    trust_remote_code: bool | None = None

    def given(self) -> dict[str, Any]:
        """What is asked for, by its name in a plan."""
        return {
            name: value for name, value in asdict(self).items() if value is not None
        }


@dataclass(frozen=True, slots=True)
class _Extension:
    """The plan as it will be saved, the backends that are new in it, and whether its
    model was not looked at before.
    """

    saved: SavedPlan
    added: tuple[BackendSpec, ...]
    new_model: bool

    @property
    def plan(self) -> CapturePlan:
        return self.saved.plan


def add_backends(
    folder: Path,
    specs: Sequence[BackendSpec],
    wish: PlanWish | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Add backends that score the sequences a session already has.

    `logdrift.core.capture.supervisor.run_session` then captures them. A backend that
    was added before and is not complete goes on; one of which no part is finished is
    replaced. ``say`` prints notes. Raises InputError, with nothing written, where the
    folder is no session, is shipped, is written by another process or not this user's
    own (`trust.Stranger`), where a name is taken, an interpreter or model is missing,
    and where a model does not hold the ids; LogdriftError where the disk fails.
    """
    refuse_shipped(folder)
    read_manifest(folder)  # what is no session gets no lock
    token = uuid.uuid4().hex
    stale = lock.acquire(folder, token)
    try:
        if stale is not None:
            end_leftovers(folder)
        manifest = read_manifest(folder)
        extended = _extended(folder, manifest, specs, wish or PlanWish(), say)
        trust.remember(extended)
        write_manifest(folder, extended, token)
    finally:
        lock.release(folder)


def _extended(
    folder: Path,
    manifest: Manifest,
    specs: Sequence[BackendSpec],
    wish: PlanWish,
    say: Callable[[str], None],
) -> Manifest:
    backends = [scoring(spec) for spec in specs]
    if manifest.plan:
        trust.require(folder, manifest)
        extension = _grown(manifest, backends, wish)
    else:
        extension = _made(folder, manifest, backends, wish)
    for spec in extension.added:
        interpreter_of(spec)
    with_whole_parts(folder, manifest)
    ids = given_ids(folder, manifest)
    if not ids.sequences:
        raise InputError("it has no sequence to score", where=f"session {folder}")
    model = _checked_model(extension, ids, manifest.model)
    for spec in extension.added:
        _check_fits(spec, ids)
    notes = _notes(extension.added, ids)
    for note in notes:
        say(f"note: {note}")
    return _manifest(manifest, extension, ids, model, notes)


# -- backends


def scoring(spec: BackendSpec) -> BackendSpec:
    """The backend with its path filled in. Raises InputError for one that samples."""
    if "decode" in spec.paths:
        raise spec.error(
            "paths",
            "path decode samples new tokens, and the session has its sequences",
            "use prefill or forced_decode",
        )
    return replace(spec, paths=spec.paths or ("prefill",))


def _new_ones(
    manifest: Manifest, planned: Iterable[BackendSpec], specs: Sequence[BackendSpec]
) -> tuple[BackendSpec, ...]:
    """Those of ``specs`` that the session does not have in this form. Raises InputError
    for a name that is taken.

    The manifest has all names: imported captures are in no plan.
    """
    known = {spec.name: spec for spec in planned}
    taken = taken_names(manifest, known)
    new = []
    for spec in specs:
        name = spec.name
        if name not in taken:
            new.append(spec)
        elif known.get(name) != spec or _is_complete(manifest, name):
            raise name_is_taken(spec)
    return tuple(new)


def taken_names(manifest: Manifest, planned: Container[str]) -> set[str]:
    """The names that a new backend cannot have; ``planned`` are those of the plan's
    backends, of which one that has nothing yet can be replaced.
    """
    names = {info.backend for info in manifest.captures}
    replaceable = {
        name for name in names if name in planned and _is_empty(manifest, name)
    }
    return names - replaceable


def name_is_taken(spec: BackendSpec) -> InputError:
    """The refusal of a backend whose name the session has."""
    return spec.error(
        "name",
        "the session has this backend already",
        "give the new one another name with @NAME",
    )


def _is_empty(manifest: Manifest, name: str) -> bool:
    """Whether nothing of a backend is finished, so that nothing is lost with it."""
    if name == manifest.sequences.generated_by:
        return False
    return not any(info.finished for info in manifest.captures if info.backend == name)


def _is_complete(manifest: Manifest, name: str) -> bool:
    statuses = {info.status for info in manifest.captures if info.backend == name}
    return statuses == {"complete"}


def _check_fits(spec: BackendSpec, ids: GivenIds) -> None:
    """Raises InputError where a backend cannot score these sequences."""
    if ids.without_prompt and "forced_decode" in spec.paths:
        raise spec.error(
            "paths",
            "path forced_decode goes on from a prompt, and"
            f" {_without_prompt(ids)} no prompt",
            "use prefill",
        )
    if spec.model is not None:
        own_model = resolve_own_model(spec)
        check_own_vocabulary(spec, own_model, ids.largest)


def _notes(added: Sequence[BackendSpec], ids: GivenIds) -> tuple[str, ...]:
    """What has to be said of the numbers that will be made."""
    if not added or not ids.without_prompt:
        return ()
    names = ", ".join(spec.name for spec in added)
    sentence = (
        f"{_without_prompt(ids)} no prompt: {names} scores the completion as if nothing"
        " stood before it, and its first token has no score"
    )
    return (sentence,)


def _without_prompt(ids: GivenIds) -> str:
    verb = "has" if ids.without_prompt == 1 else "have"
    sequences = counted(ids.sequences, "sequence")
    return f"{ids.without_prompt:,} of {sequences} {verb}"


# -- the plan


def _made(
    folder: Path, manifest: Manifest, specs: Sequence[BackendSpec], wish: PlanWish
) -> _Extension:
    """The plan of an imported session, which has none."""
    if wish.model is None:
        raise InputError(
            "it was imported, so it does not say where its model is",
            field="model",
            where=f"session {folder}",
            remedy="name the model that its ids are of (--model)",
        )
    added = _new_ones(manifest, (), specs)
    plan = CapturePlan(**wish.given(), backends=added)
    saved = SavedPlan(plan, of_import=True)
    return _Extension(saved, added, new_model=True)


def _grown(
    manifest: Manifest, specs: Sequence[BackendSpec], wish: PlanWish
) -> _Extension:
    """The session's plan with more backends."""
    saved = SavedPlan.from_json(manifest.plan)
    plan = saved.plan
    asked = wish.given()
    model = asked.pop("model", plan.model)
    for name, value in asked.items():
        _check_same(plan, name, value)
    added = _new_ones(manifest, plan.backends, specs)
    names = {spec.name for spec in added}
    kept = [spec for spec in plan.backends if spec.name not in names]
    grown = replace(plan, model=model, backends=(*kept, *added))
    new_model = model != plan.model
    return _Extension(replace(saved, plan=grown), added, new_model)


def _check_same(plan: CapturePlan, name: str, value: object) -> None:
    planned = getattr(plan, name)
    if value != planned:
        raise InputError(
            f"{name} is {planned} in the session's plan, for all its backends, and"
            f" {value} was asked for",
            field=name,
            remedy="leave it out",
        )


# -- the model


@dataclass(frozen=True, slots=True)
class _Model:
    """What engines load for the session's model, and its vocabulary where it was looked
    at.
    """

    name: str
    vocab_size: int | None = None


def _checked_model(extension: _Extension, ids: GivenIds, info: ModelInfo) -> _Model:
    """The session's model. Raises InputError where it is not there, or is a new one
    that does not hold the ids.
    """
    plan = extension.plan
    model = resolve_model(plan.model)
    if not extension.new_model:
        return _Model(model)
    _check_same_model(info, plan.model, Path(model))
    asked = replace(plan, backends=extension.added or plan.backends)
    place = Place(f"model {plan.model}")
    nothing = Prompt(place, token_ids=(0,), prompt_length=0)
    known = prepare_prompts(asked, model, [nothing])
    ids.check_vocabulary(plan.model, known.vocab_size)
    ids.check_length(plan.model, known.max_positions)
    return _Model(model, known.vocab_size)


def _check_same_model(info: ModelInfo, named: str, folder: Path) -> None:
    """Raises InputError where the session knows its model, and this is another one."""
    if not folder.is_dir():
        return
    where = f"model {named}"
    if _differ(info.tokenizer_digest, tokenizer_digest(folder)):
        raise InputError(
            f"it has another tokenizer than the session's model, {info.id}",
            field="model",
            where=where,
            remedy="name the folder where the session's model is now",
        )
    if _differ(info.weights_digest, limited_weights_digest(folder)):
        raise InputError(
            f"it has other weights than the session's model, {info.id}",
            field="model",
            where=where,
            remedy=f"give it to the backend alone (ENGINE,model={named})",
        )


def _differ(first: str | None, second: str | None) -> bool:
    return None not in (first, second) and first != second


# -- the manifest


def _manifest(
    manifest: Manifest,
    extension: _Extension,
    ids: GivenIds,
    model: _Model,
    notes: Sequence[str],
) -> Manifest:
    saved = extension.saved
    if not saved.max_length:
        saved = replace(saved, max_length=ids.longest)
    names = {spec.name for spec in extension.added}
    kept = [info for info in manifest.captures if info.backend not in names]
    more_notes = [note for note in notes if note not in manifest.notes]
    return manifest._replace(
        model=_model_info(manifest.model, extension, model),
        plan=saved.to_json(),
        captures=(*kept, *pending_captures(extension.added)),
        notes=(*manifest.notes, *more_notes),
    )


def _model_info(info: ModelInfo, extension: _Extension, model: _Model) -> ModelInfo:
    """What the session says of its model; an import that named none, or this one, says
    more.
    """
    plan = extension.plan
    if not extension.saved.of_import or info.id not in (UNKNOWN_MODEL, plan.model):
        return info
    found = model_info(plan, model.name, model.vocab_size)
    known = {name: value for name, value in info._asdict().items() if value is not None}
    return found._replace(**{**known, "id": plan.model})
