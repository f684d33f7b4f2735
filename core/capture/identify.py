"""The identity checks of a session: each backend started once more and asked what it loaded, one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from core.capture import trust
from core.capture.ask import ask
from core.capture.digests import limited_weights_digest
from core.capture.models import resolve_model
from core.errors import InputError, LogdriftError
from core.plan import BackendSpec
from core.session.experiments import check_writable
from core.session.identity import IDENTITY, LoadedWeights, write_identity
from core.session.reader import Session

OnEvent = Callable[[Mapping[str, Any]], None]
"""Told ``stage`` and ``failed`` events as the supervisor tells them."""


def chosen_backends(session: Session, names: Sequence[str] = ()) -> list[BackendSpec]:
    """The plan's backends of these names, all where none is named. Raises InputError for an unknown name or no plan."""
    plan = session.plan
    if plan is None:
        raise InputError(f"session {session.name} was not made by a capture: it has no plan to start its backends by")
    known = {spec.name: spec for spec in plan.backends}
    for name in names:
        if name not in known:
            raise InputError(f"no backend {name!r}: the session has {', '.join(known)}")
    return [known[name] for name in (dict.fromkeys(names) if names else known)]


def identify(
    session: Session,
    specs: Sequence[BackendSpec],
    on_event: OnEvent,
    cancel: threading.Event | None = None,
) -> tuple[dict[str, LoadedWeights], dict[str, str]]:
    """Ask every backend of ``specs`` what it loaded; each answer is saved before the next backend starts.

    Returns what was found and why the others failed, by backend. Raises InputError and LogdriftError where no backend could
    succeed (the session is shipped or taken, its folder cannot be written), KeyboardInterrupt with what is finished kept.
    """
    check_writable(session)
    trust.require(session.folder, session.manifest)
    found: dict[str, LoadedWeights] = {}
    failed: dict[str, str] = {}
    files = _files_digest(session)
    for spec in specs:
        try:
            found[spec.name] = _identify(session, spec, files, on_event, cancel)
        except LogdriftError as error:
            if len(specs) == 1 or str(error).startswith("cannot write") or "is being written by" in str(error):
                raise
            failed[spec.name] = str(error)
            on_event({"type": "failed", "backend": spec.name, "error": str(error)})
    return found, failed


def _files_digest(session: Session) -> str | None:
    folder = Path(resolve_model(session.manifest.model.id))
    return limited_weights_digest(folder) if folder.is_dir() else None


def _identify(
    session: Session,
    spec: BackendSpec,
    files: str | None,
    on_event: OnEvent,
    cancel: threading.Event | None,
) -> LoadedWeights:
    def report(stage: str) -> None:
        on_event({"type": "stage", "backend": spec.name, "stage": stage})

    answer = ask(session, spec, "weights", {}, session.folder / IDENTITY, report=report, cancel=cancel)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    identity = {"backend": spec.name, "engine": spec.engine, "taken": now, "files_digest": files}
    return write_identity(session.folder, {**identity, **answer})
