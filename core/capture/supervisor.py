"""The supervisor: runs the captures that a session still lacks, one backend at a time.

It alone writes the manifest meanwhile.
It imports no engine. `run_session` is the same whether it starts a session, resumes
one, or runs detached: what is missing is read from the folder.
"""

from __future__ import annotations

import base64
import contextlib
import math
import selectors
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logdrift.core.capture import devices, trust
from logdrift.core.capture.ledger import Ledger, OnEvent
from logdrift.core.capture.pace import Pace
from logdrift.core.capture.parts import nan_tokens, remove_unwritten, with_whole_parts
from logdrift.core.capture.same_facts import changed_facts
from logdrift.core.capture.start import Launcher
from logdrift.core.capture.workers import (
    WorkerProcess,
    end_leftovers,
    forget_worker,
    remember_worker,
)
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.interrupts import cancellable
from logdrift.core.plan import BackendSpec, CapturePlan, refuse_hidden
from logdrift.core.processes import adopt_orphans, ending
from logdrift.core.protocol import CaptureJob, PendingCapture, error_in
from logdrift.core.session import lock
from logdrift.core.session.layout import (
    EVENTS,
    CaptureInfo,
    LoadedFile,
    Manifest,
    read_manifest,
)
from logdrift.core.session.part_records import part_of
from logdrift.core.session.writer import append_event, merge_pieces

_LOOK_SECONDS = 5.0
"""Between two checks whether workers that send nothing are still alive."""
_CLOSING_SECONDS = 30.0
"""For a worker that is done to free its engine and exit by itself."""
_GRACE_SECONDS = 3.0
"""Between the request to end and the kill, for what it leaves running."""


@dataclass
class _RunningBackend:
    """A worker at work for one backend."""

    spec: BackendSpec
    worker: WorkerProcess
    devices: devices.Devices
    finished: bool = False
    error: str | None = None
    paces: dict[str, Pace] = field(default_factory=dict)


def run_session(folder: Path, on_event: OnEvent, *, parallel: bool = False) -> bool:
    """Capture what the session lacks. Returns whether every capture is complete.

    Raises InputError where the folder is not a session, is not this user's own
    (`trust.Stranger`), is being written by another process, or needs an interpreter
    that is not there; LogdriftError where the disk fails; KeyboardInterrupt after
    cancelling cleanly.
    """
    manifest = read_manifest(folder)
    trust.require(folder, manifest)
    launcher = Launcher(folder, manifest)
    _check_startable(launcher, manifest)
    token = uuid.uuid4().hex
    stale = lock.acquire(folder, token)
    try:
        with cancellable():
            adopt_orphans()
            if stale is not None:
                end_leftovers(folder)
            # Read again: until the lock was taken, another process may have written it.
            manifest = with_whole_parts(folder, read_manifest(folder))
            ledger = Ledger(folder, manifest, token, on_event)
            return _Supervisor(launcher, ledger).run(parallel)
    finally:
        lock.release(folder)


def _check_startable(launcher: Launcher, manifest: Manifest) -> None:
    """Refuse what cannot be started, before anything is started.

    What is complete is not started again: its engine and its own model need not be
    there.
    """
    unfinished = set()
    for capture in manifest.captures:
        if capture.status != "complete":
            unfinished.add(capture.backend)
    backends = [spec for spec in launcher.plan.backends if spec.name in unfinished]
    for spec in backends:
        refuse_hidden(spec)
    for spec in backends:
        launcher.interpreter(spec)
    launcher.session_model()
    for spec in backends:
        launcher.model_of(spec)


class _Supervisor:
    """One run over all backends of a session."""

    def __init__(self, launcher: Launcher, ledger: Ledger) -> None:
        self.launcher = launcher
        self.ledger = ledger

    @property
    def plan(self) -> CapturePlan:
        return self.launcher.plan

    @property
    def manifest(self) -> Manifest:
        return self.ledger.manifest

    def run(self, parallel: bool) -> bool:
        ledger = self.ledger
        backends = self.plan.backends
        names = [spec.name for spec in backends]
        ledger.event({"type": "run", "backends": names})
        ledger.reset_unfinished()
        ledger.save()
        remove_unwritten(ledger.folder)
        generator = self.plan.generator
        if generator is not None:
            self._run_all([generator], parallel=False)
        scoring = [spec for spec in backends if spec is not generator]
        self._run_all(scoring, parallel)
        statuses = {capture.status for capture in self.manifest.captures}
        complete = statuses <= {"complete"}
        ledger.event({"type": "finished", "complete": complete})
        return complete

    # -- starting and ending workers

    def _run_all(self, specs: list[BackendSpec], parallel: bool) -> None:
        """Run backends one after another; in ``parallel`` where their devices
        differ.
        """
        waiting = []
        for spec in specs:
            if self.ledger.open_captures(spec.name):
                waiting.append(spec)
        running: list[_RunningBackend] = []
        try:
            while waiting or running:
                self._start_those_that_fit(waiting, running, parallel)
                self._listen(running)
                running = [backend for backend in running if not backend.finished]
        finally:
            for backend in running:
                backend.worker.end()
            if running:
                interrupted = [backend.spec for backend in running]
                self._note_cancelled(interrupted)

    def _start_those_that_fit(
        self, waiting: list[BackendSpec], running: list[_RunningBackend], parallel: bool
    ) -> None:
        """Move backends from ``waiting`` to ``running``, as far as devices are free."""
        for spec in list(waiting):
            if running and not parallel:
                return
            needed = devices.devices_of(spec)
            if _are_busy(needed, running):
                continue
            waiting.remove(spec)
            worker = self._start(spec)
            if worker is not None:
                running.append(_RunningBackend(spec, worker, needed))

    def _start(self, spec: BackendSpec) -> WorkerProcess | None:
        """Start a backend; None where that fails, which is written down."""
        ledger = self.ledger
        try:
            self._check_something_to_score(spec)
            job = self._job(spec)
            self.launcher.environment(spec)
        except LogdriftError as error:
            ledger.fail(spec.name, str(error))
            return None
        self._note_start(spec)
        try:
            worker = self.launcher.start(spec, job)
        except (LogdriftError, OSError) as error:
            ledger.fail(spec.name, str(error))
            return None
        try:
            remember_worker(ledger.folder, spec.name, worker, ledger.token)
        except LogdriftError:
            worker.end(grace=0.0)
            raise
        return worker

    def _check_something_to_score(self, spec: BackendSpec) -> None:
        if spec is self.plan.generator:
            return
        sequences = self.manifest.sequences
        if not sequences.parts:
            raise LogdriftError(
                f"there is nothing to score: {sequences.generated_by} gave no sequence"
            )

    def _note_start(self, spec: BackendSpec) -> None:
        ledger = self.ledger
        interpreter = self.launcher.interpreter(spec)
        ledger.event(
            {
                "type": "backend",
                "backend": spec.name,
                "engine": spec.engine,
                "python": str(interpreter.python),
            }
        )
        for capture in ledger.open_captures(spec.name):
            ledger.update(capture.label, status="running", failure=None)
        ledger.save()

    def _job(self, spec: BackendSpec) -> CaptureJob:
        ledger = self.ledger
        folder = ledger.folder.resolve()
        captures = ledger.open_captures(spec.name)
        return CaptureJob(
            start=self.launcher.backend_start(spec),
            folder=str(folder),
            token=ledger.token,
            captures=tuple(map(_pending, captures)),
            planned=self.manifest.sequences.planned,
            parts=self._part_count(spec),
            given=self.manifest.sequences.parts,
        )

    def _part_count(self, spec: BackendSpec) -> int:
        """How many parts a backend makes: all of them, or those that are there."""
        sequences = self.manifest.sequences
        plan = self.plan
        generator = plan.generator
        if generator is not None and spec.name == generator.name:
            return math.ceil(sequences.planned / plan.part_sequences)
        return len(sequences.parts)

    def _note_cancelled(self, specs: list[BackendSpec]) -> None:
        """Note what was not finished, if the folder can still be written."""
        ledger = self.ledger
        ledger.reset_unfinished()
        with contextlib.suppress(LogdriftError):
            ledger.save()
        with contextlib.suppress(LogdriftError):
            for spec in specs:
                forget_worker(ledger.folder, spec.name, ledger.token)
            ledger.event({"type": "cancelled"})

    def _end(self, backend: _RunningBackend) -> None:
        """End what is left of a worker that is done, has failed or is gone.

        Its captures that are not complete get the reason.
        """
        ledger = self.ledger
        worker = backend.worker
        name = backend.spec.name
        backend.finished = True
        grace = 0.0
        if backend.error is None:
            worker.wait(_CLOSING_SECONDS)
            grace = _GRACE_SECONDS
        code = worker.end(grace)
        forget_worker(ledger.folder, name, ledger.token)
        statuses = {capture.status for capture in ledger.captures_of(name)}
        if backend.error is None and "running" in statuses:
            backend.error = f"{backend.spec.engine} worker {ending(code)}"
        if backend.error is not None:
            ledger.fail(name, backend.error, worker.log_tail())

    # -- listening

    def _listen(self, running: list[_RunningBackend]) -> None:
        """Handle messages of all workers until one of them ends."""
        if not running:
            return
        with selectors.DefaultSelector() as selector:
            for backend in running:
                channel = backend.worker.channel
                selector.register(channel, selectors.EVENT_READ, backend)
            while not any(backend.finished for backend in running):
                ready = selector.select(_LOOK_SECONDS)
                for key, _ in ready:
                    self._receive(key.data)
                if not ready:
                    self._end_those_gone(running, selector)

    def _end_those_gone(
        self, running: list[_RunningBackend], selector: selectors.BaseSelector
    ) -> None:
        """End backends whose worker is gone while its channel is still open.

        A process that the worker forked may keep its side of the channel.
        """
        gone = [backend for backend in running if backend.worker.wait(0.0)]
        if gone and not selector.select(0.0):
            for backend in gone:
                self._end(backend)

    def _receive(self, backend: _RunningBackend) -> None:
        messages = backend.worker.receive()
        if messages is None:  # the worker has closed its side
            self._end(backend)
            return
        for message in messages:
            self._handle(backend, message)
            if backend.error is not None:
                break
        done = any(message["type"] == "done" for message in messages)
        if done or backend.error is not None:
            self._end(backend)

    def _handle(self, backend: _RunningBackend, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "stage":
            self.ledger.event(message)
        elif kind == "facts":
            facts = Facts.from_json(message["facts"])
            loaded = LoadedFile(**message["loaded"])
            self._take_facts(backend, facts, loaded)
        elif kind == "begun":
            label = message["label"]
            backend.paces[label] = self._pace(label)
        elif kind == "progress":
            self._take_progress(backend, message)
        elif kind == "part":
            self._list_part(message)
        elif kind == "captured":
            self._end_capture(message["label"])
        elif kind == "failed":
            error = error_in(message)
            backend.error = str(error)

    def _pace(self, label: str) -> Pace:
        manifest = self.manifest
        return Pace(
            label=label,
            planned=manifest.sequences.planned,
            before=manifest.capture(label).finished_sequences,
            begun=time.monotonic(),
        )

    def _take_progress(self, backend: _RunningBackend, message: dict[str, Any]) -> None:
        pace = backend.paces[message["label"]]
        sequences = message["sequences"]
        tokens = message["tokens"]
        event = pace.add(sequences, tokens)
        if event is not None:
            self.ledger.event(event)

    def _take_facts(
        self, backend: _RunningBackend, facts: Facts, loaded: LoadedFile
    ) -> None:
        ledger = self.ledger
        for capture in ledger.open_captures(backend.spec.name):
            changes = changed_facts(capture, facts)
            if changes:
                backend.error = (
                    f"half of {capture.label} was captured another way"
                    f" ({', '.join(changes)}): start a new session"
                )
                return
            ledger.update(capture.label, facts=facts, loaded=loaded)
        ledger.save()
        ledger.event(
            {
                "type": "facts",
                "backend": backend.spec.name,
                "version": facts.engine_version,
                "device": facts.device,
            }
        )

    def _list_part(self, message: dict[str, Any]) -> None:
        """List a finished part in the manifest, once its pieces of text are written."""
        ledger = self.ledger
        label = message["label"]
        pieces = _decoded(message["pieces"])
        merge_pieces(ledger.folder, pieces, ledger.token)
        sequences_part = message["sequences_part"]
        if sequences_part is not None:
            rows = message["retokenised"]
            ledger.add_sequences(part_of(sequences_part), rows)
        part = part_of(message["part"])
        ledger.add_part(label, part)
        ledger.save()
        capture = self.manifest.capture(label)
        amount = _amount(capture)
        ledger.event({"type": "part", "label": label, **amount})

    def _end_capture(self, label: str) -> None:
        ledger = self.ledger
        capture = self.manifest.capture(label)
        if capture.sequences != self.manifest.sequences.planned:
            # It scored all sequences that there are: the sampling capture failed before
            # it had made the others.
            ledger.update(label, status="pending")
            ledger.save()
            return
        ledger.update(label, status="complete")
        ledger.save()
        ledger.event(
            {
                "type": "captured",
                "label": label,
                **_amount(capture),
                "nan": nan_tokens(ledger.folder, capture),
            }
        )


def _pending(capture: CaptureInfo) -> PendingCapture:
    return PendingCapture(
        label=capture.label,
        path=capture.path,
        repeat=capture.repeat,
        first_part=len(capture.parts),
        batch=capture.batch,
        ahead=tuple(part.first_sequence for part in capture.ahead),
    )


def _are_busy(needed: devices.Devices, running: list[_RunningBackend]) -> bool:
    """Whether a running backend uses one of these devices."""
    in_use = [backend.devices for backend in running]
    return any(devices.overlap(needed, others) for others in in_use)


def _decoded(pieces: dict[str, str]) -> dict[int, bytes]:
    """The pieces of text of a message, by token id."""
    decoded = {}
    for token_id, piece in pieces.items():
        decoded[int(token_id)] = base64.b64decode(piece)
    return decoded


def _amount(capture: CaptureInfo) -> dict[str, int]:
    return {
        "sequences": capture.finished_sequences,
        "tokens": capture.finished_tokens,
    }


def main(argv: list[str]) -> int:
    """``python -m logdrift.core.capture.supervisor FOLDER``: the detached form.

    It reports in the folder's events and returns the exit code.
    """
    folder = Path(argv[0])
    try:
        complete = run_session(
            folder, lambda event: None, parallel="--parallel" in argv
        )
    except LogdriftError as error:
        print(error, file=sys.stderr, flush=True)
        if not isinstance(error, lock.Gone):
            _note_failure(folder, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if complete:
        return 0
    return 1


def _note_failure(folder: Path, error: LogdriftError) -> None:
    """Append the failure to the events, if there are any."""
    event = {"t": round(time.time(), 3), "type": "failed", "error": str(error)}
    with contextlib.suppress(OSError):
        if (folder / EVENTS).exists():
            append_event(folder, event)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
