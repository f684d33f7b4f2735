"""The identity checks of a session: each backend started once more and asked what it
loaded, one after another.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.ledger import OnEvent
from logdrift.core.capture.models import resolve_model
from logdrift.core.digests import limited_weights_digest
from logdrift.core.errors import CannotWrite, InputError, LogdriftError
from logdrift.core.investigate.ask import ask
from logdrift.core.plan import BackendSpec
from logdrift.core.session import lock
from logdrift.core.session.experiments import check_writable
from logdrift.core.session.identity import (
    IDENTITY,
    LoadedWeights,
    write_failure,
    write_identity,
)
from logdrift.core.session.reader import Session
from logdrift.core.session.scratch import brief_folder

_OF_A_SERVER = (
    "it is a running server, whose weights cannot be read: its scores are of the"
    " weights that it held, so compare them with those of your checkpoint"
)


def chosen_backends(session: Session, names: Sequence[str] = ()) -> list[BackendSpec]:
    """The plan's backends of these names, all where none is named. Raises InputError
    for an unknown name or no plan.
    """
    plan = session.plan
    if plan is None:
        raise InputError(
            f"session {session.name} was not made by a capture: it has no plan to start"
            " its backends by"
        )
    by_name = {spec.name: spec for spec in plan.backends}
    for name in names:
        if name not in by_name:
            all_names = ", ".join(by_name)
            raise InputError(f"no backend {name!r}: the session has {all_names}")
    without_repeats = list(dict.fromkeys(names or by_name))
    return [by_name[name] for name in without_repeats]


def identify(
    session: Session,
    specs: Sequence[BackendSpec],
    on_event: OnEvent,
    cancel: threading.Event | None = None,
) -> tuple[dict[str, LoadedWeights], dict[str, str]]:
    """Ask every backend of ``specs`` what it loaded; each answer is saved before the
    next backend starts.

    Returns what was found and why the others failed, by backend. An engine that fails,
    or dies of the question, is one failed answer, saved with its reason, and the next
    backend is asked. Raises InputError and LogdriftError where no backend could succeed
    (the session is shipped or taken, its folder cannot be written), and InputError
    where the only one asked cannot be started; KeyboardInterrupt with what is finished
    kept.
    """
    check_writable(session)
    trust.require(session.folder, session.manifest)
    loaded: dict[str, LoadedWeights] = {}
    failed: dict[str, str] = {}
    files = _files_digest(session)
    for spec in specs:
        with brief_folder() as notes:
            probing = notes / "probing"
            try:
                answer = _answer(session, spec, probing, on_event, cancel)
                loaded[spec.name] = _write(session, spec, files, answer)
            except LogdriftError as error:
                is_only_one = len(specs) == 1
                cannot_start = isinstance(error, InputError)
                if _concerns_all(error) or (is_only_one and cannot_start):
                    raise
                reason = _reason(error, probing)
                failed[spec.name] = reason
                write_failure(session.folder, spec.name, spec.engine, reason, _now())
                on_event({"type": "failed", "backend": spec.name, "error": reason})
    return loaded, failed


def _concerns_all(error: LogdriftError) -> bool:
    """Whether no other backend could succeed either."""
    return isinstance(error, lock.Gone | lock.BeingWritten | CannotWrite)


def _reason(error: LogdriftError, probing: Path) -> str:
    """Why it failed, with the tensor whose module was being asked, where that is what
    it did not survive: the worker notes its name in ``probing``
    (`logdrift.core.worker.weights_read`).
    """
    try:
        name = probing.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return str(error)
    return f"{error}, while the module of {name} was asked for its weights"


def _now() -> str:
    now = datetime.now(timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _files_digest(session: Session) -> str | None:
    assert session.plan is not None
    model = resolve_model(session.plan.model)
    folder = Path(model)
    if folder.is_dir():
        return limited_weights_digest(folder)
    return None


def _answer(
    session: Session,
    spec: BackendSpec,
    probing: Path,
    on_event: OnEvent,
    cancel: threading.Event | None,
) -> dict[str, Any]:
    """What a backend answers when it is asked what it loaded. Raises LogdriftError for
    a running server, which nobody can ask.
    """
    if spec.server is not None:
        raise LogdriftError(_OF_A_SERVER)

    def say(stage: str) -> None:
        on_event({"type": "stage", "backend": spec.name, "stage": stage})

    return ask(
        session,
        spec,
        "weights",
        {"probing": str(probing)},
        session.folder / IDENTITY,
        say=say,
        cancel=cancel,
    )


def _write(
    session: Session, spec: BackendSpec, files: str | None, answer: Mapping[str, Any]
) -> LoadedWeights:
    identity = {
        "backend": spec.name,
        "engine": spec.engine,
        "taken": _now(),
        "files_digest": files,
    }
    return write_identity(session.folder, {**identity, **answer})
