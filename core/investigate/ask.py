"""Asking a backend of a session one question: a fresh worker, started as the supervisor
would, and nothing captured.

The session is locked meanwhile, so that no capture of it takes the device, and its
manifest is left alone.
"""

from __future__ import annotations

import selectors
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.start import Launcher
from logdrift.core.capture.workers import WorkerProcess
from logdrift.core.errors import CannotWrite, InputError, LogdriftError
from logdrift.core.interrupts import cancellable
from logdrift.core.plan import BackendSpec, refuse_hidden
from logdrift.core.processes import adopt_orphans, ending
from logdrift.core.protocol import QuestionJob, error_in
from logdrift.core.session import lock
from logdrift.core.session.below import folder_at
from logdrift.core.session.reader import Session

Say = Callable[[str], None]
"""Called with what is being done, in a few words."""
"""Told what the worker is doing, in a few words."""

_POLL = 0.2
_CLOSING_SECONDS = 30.0
"""For a worker that has answered to free its engine and exit by itself."""
_EXIT_SECONDS = 5.0
"""For one that gave no answer to exit, so that its exit code tells why."""


def ask(
    session: Session,
    spec: BackendSpec,
    question: str,
    arguments: Mapping[str, Any],
    out: Path,
    *,
    say: Say = lambda text: None,
    cancel: threading.Event | None = None,
) -> dict[str, Any]:
    """Start the backend ``spec`` on the session's model, put ``question`` to it, and
    return its answer.

    ``spec`` need not be in the session's plan. To ``arguments`` are added ``model`` and
    ``revision`` of the session, and ``own_model`` and ``own_revision`` of the backend
    (None: the session's). ``out`` is made where it does not exist. The answer has the
    worker's facts under ``facts``, as JSON. Raises InputError where the session has no
    plan or is not this user's own, an interpreter or model is missing or another
    process writes the session, LogdriftError where it cannot be written or the backend
    fails (its log: ``logs/NAME.log``), KeyboardInterrupt on Ctrl-C, SIGTERM or where
    ``cancel`` is set, with nothing left running.
    """
    if session.plan is None:
        raise InputError(
            f"session {session.name} was not made by a capture: it has no plan to start"
            " a backend by"
        )
    trust.require(session.folder, session.manifest)
    refuse_hidden(spec)
    launcher = Launcher(session.folder, session.manifest)
    job = _job(launcher, spec, question, arguments, out)
    launcher.environment(spec)
    cancel = cancel or threading.Event()
    token = uuid.uuid4().hex
    lock.acquire(session.folder, token)
    try:
        with cancellable():
            adopt_orphans()
            _make_folder(session.folder, out)
            answer = _answer(launcher, spec, job, say, cancel)
            # The answer is to be saved in this session, and no other.
            lock.check_folder_held(session.folder, token)
            return answer
    except OSError as error:
        reason = f"cannot write in {session.folder}: {error.strerror}"
        raise CannotWrite(reason) from None
    finally:
        lock.release(session.folder)


def _job(
    launcher: Launcher,
    spec: BackendSpec,
    question: str,
    arguments: Mapping[str, Any],
    out: Path,
) -> QuestionJob:
    start = launcher.backend_start(spec)
    own_model = None
    if spec.model is not None:
        own_model = start.model.name
    return QuestionJob(
        start=start,
        question=question,
        arguments={
            **arguments,
            "model": start.tokenizer.name,
            "revision": start.tokenizer.revision,
            "own_model": own_model,
            "own_revision": spec.revision,
        },
        out=str(out.resolve()),
    )


def _make_folder(folder: Path, out: Path) -> None:
    if out.is_relative_to(folder):
        inside = str(out.relative_to(folder))
        with folder_at(folder, inside, create=True):
            return
    out.mkdir(parents=True, exist_ok=True)


def _answer(
    launcher: Launcher,
    spec: BackendSpec,
    job: QuestionJob,
    say: Say,
    cancel: threading.Event,
) -> dict[str, Any]:
    """The answer of a worker of the backend, which has ended then."""
    worker = launcher.start(spec, job)
    try:
        return _listen(worker, spec, say, cancel)
    finally:
        worker.end()


def _listen(
    worker: WorkerProcess, spec: BackendSpec, say: Say, cancel: threading.Event
) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    answer: dict[str, Any] | None = None
    for message in _messages(worker, cancel):
        kind = message["type"]
        if kind == "stage":
            say(str(message["stage"]))
        elif kind == "facts":
            facts = message["facts"]
        elif kind == "answer":
            answer = message["answer"]
        elif kind == "failed":
            raise _naming_backend(spec, error_in(message))
        elif kind == "done":
            break
    if answer is None:
        worker.wait(_EXIT_SECONDS)
        code = worker.end(0.0)
        raise LogdriftError(
            f"backend {spec.name!r}: its {spec.engine} worker {ending(code)} (log:"
            f" {worker.log})"
        )
    worker.wait(_CLOSING_SECONDS)
    return {**answer, "facts": facts}


def _naming_backend(spec: BackendSpec, error: LogdriftError) -> LogdriftError:
    """The error of a worker, which names its backend."""
    where = f"backend {spec.name!r}"
    if error.where == where:
        return error
    return error.within(where)


def _messages(
    worker: WorkerProcess, cancel: threading.Event
) -> Iterator[dict[str, Any]]:
    """Messages until end of file; KeyboardInterrupt soon after ``cancel`` is set."""
    with selectors.DefaultSelector() as selector:
        selector.register(worker.channel, selectors.EVENT_READ)
        while True:
            if cancel.is_set():
                raise KeyboardInterrupt
            if selector.select(_POLL):
                batch = worker.receive()
                if batch is None:
                    return
                yield from batch
            elif worker.wait(0.0) and not selector.select(0.0):
                # gone, though a process that it forked holds its side of the channel
                return
