"""The supervisor: runs the captures that a session still lacks, one backend at a time.

It alone writes the manifest meanwhile.
It imports no engine. `run_session` is the same whether it starts a session, resumes
one, or runs detached: what is missing is read from the folder.
"""

from __future__ import annotations

import base64
import contextlib
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
from logdrift.core.capture.start import Launcher
from logdrift.core.capture.workers import (
    WorkerProcess,
    end_leftovers,
    forget_worker,
    remember_worker,
)
from logdrift.core.errors import LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.plan import BackendSpec, CapturePlan, refuse_hidden
from logdrift.core.processes import adopt_orphans, cancellable, ending
from logdrift.core.protocol import CaptureJob, PendingCapture, error_in
from logdrift.core.session import lock
from logdrift.core.session.layout import (
    EVENTS,
    CaptureInfo,
    LoadedFile,
    Manifest,
    Part,
    read_manifest,
)
from logdrift.core.session.writer import append_event, merge_pieces

_SAME_FACTS = (
    "engine_version",
    "torch_version",
    "transformers_version",
    "device",
    "device_name",
    "threads",
    "dtype",
    "head_dtype",
    "attention_backend",
    "execution_mode",
    "quantization",
    "kv_cache_dtype",
    "tensor_parallel",
    "weights_digest",
)
"""Facts that must not change between the parts of one capture."""
_LOOK_SECONDS = 5.0
"""Between two checks whether workers that send nothing are still alive."""


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

    The own model of a backend is looked for only where captures of it are left.
    """
    backends = launcher.plan.backends
    for spec in backends:
        refuse_hidden(spec)
    for spec in backends:
        launcher.interpreter(spec)
    launcher.session_model()
    unfinished = {
        capture.backend for capture in manifest.captures if capture.status != "complete"
    }
    for spec in backends:
        if spec.name in unfinished:
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
        ledger.event({"type": "run", "backends": [spec.name for spec in backends]})
        ledger.reset_unfinished()
        ledger.save()
        remove_unwritten(ledger.folder)
        generator = self.plan.generator
        if generator is not None:
            self._run_all([generator], parallel=False)
        scoring = [spec for spec in backends if spec is not generator]
        self._run_all(scoring, parallel)
        captures = self.manifest.captures
        complete = all(capture.status == "complete" for capture in captures)
        ledger.event({"type": "finished", "complete": complete})
        return complete

    # -- starting and ending workers

    def _run_all(self, specs: list[BackendSpec], parallel: bool) -> None:
        """Run backends one after another; in ``parallel`` where their devices
        differ.
        """
        waiting = [spec for spec in specs if self.ledger.open_captures(spec.name)]
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
                self._cancelled([backend.spec for backend in running])

    def _start_those_that_fit(
        self, waiting: list[BackendSpec], running: list[_RunningBackend], parallel: bool
    ) -> None:
        """Move backends from ``waiting`` to ``running``, as far as devices are free."""
        for spec in list(waiting):
            needed = devices.devices_of(spec)
            if running and not parallel:
                return
            if any(devices.overlap(needed, backend.devices) for backend in running):
                continue
            waiting.remove(spec)
            worker = self._start(spec)
            if worker is not None:
                running.append(_RunningBackend(spec, worker, needed))

    def _start(self, spec: BackendSpec) -> WorkerProcess | None:
        """Start a backend; None where that fails, which is written down."""
        try:
            self._check_something_to_score(spec)
            job = self._job(spec)
            self.launcher.environment(spec)
        except LogdriftError as error:
            self.ledger.fail(spec.name, str(error))
            return None
        self._note_start(spec)
        try:
            worker = self.launcher.start(spec, job)
        except (LogdriftError, OSError) as error:
            self.ledger.fail(spec.name, str(error))
            return None
        try:
            remember_worker(self.ledger.folder, spec.name, worker, self.ledger.token)
        except LogdriftError:
            worker.end(grace=0.0)
            raise
        return worker

    def _check_something_to_score(self, spec: BackendSpec) -> None:
        sequences = self.manifest.sequences
        if not sequences.parts and spec is not self.plan.generator:
            raise LogdriftError(
                f"there is nothing to score: {sequences.generated_by} gave no sequence"
            )

    def _note_start(self, spec: BackendSpec) -> None:
        self.ledger.event(
            {
                "type": "backend",
                "backend": spec.name,
                "engine": spec.engine,
                "python": str(self.launcher.interpreter(spec).python),
            }
        )
        for capture in self.ledger.open_captures(spec.name):
            self.ledger.update(capture.label, status="running", failure=None)
        self.ledger.save()

    def _job(self, spec: BackendSpec) -> CaptureJob:
        return CaptureJob(
            start=self.launcher.opening(spec),
            folder=str(self.ledger.folder.resolve()),
            token=self.ledger.token,
            captures=tuple(map(_pending, self.ledger.open_captures(spec.name))),
            planned=self.manifest.sequences.planned,
            parts=self._part_count(spec),
        )

    def _part_count(self, spec: BackendSpec) -> int:
        """How many parts a backend makes: all of them, or those that are there."""
        sequences = self.manifest.sequences
        generator = self.plan.generator
        if generator is not None and spec.name == generator.name:
            return -(-sequences.planned // self.plan.part_sequences)
        return len(sequences.parts)

    def _cancelled(self, specs: list[BackendSpec]) -> None:
        """Note what was not finished, if the folder can still be written."""
        self.ledger.reset_unfinished()
        with contextlib.suppress(LogdriftError):
            self.ledger.save()
        with contextlib.suppress(LogdriftError):
            for spec in specs:
                forget_worker(self.ledger.folder, spec.name, self.ledger.token)
            self.ledger.event({"type": "cancelled"})

    def _ended(self, backend: _RunningBackend) -> None:
        """End what is left of a worker that is done, has failed or is gone.

        Its captures that are not complete get the reason.
        """
        backend.finished = True
        if backend.error is None:
            backend.worker.wait(30.0)
        code = backend.worker.end(grace=0.0 if backend.error else 3.0)
        name = backend.spec.name
        forget_worker(self.ledger.folder, name, self.ledger.token)
        captures = self.ledger.captures_of(name)
        unfinished = any(capture.status == "running" for capture in captures)
        if backend.error is None and unfinished:
            backend.error = f"{backend.spec.engine} worker {ending(code)}"
        if backend.error is not None:
            self.ledger.fail(name, backend.error, backend.worker.log_tail())

    # -- listening

    def _listen(self, running: list[_RunningBackend]) -> None:
        """Handle messages of all workers until one of them ends."""
        if not running:
            return
        with selectors.DefaultSelector() as selector:
            for backend in running:
                selector.register(backend.worker.channel, selectors.EVENT_READ, backend)
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
                self._ended(backend)

    def _receive(self, backend: _RunningBackend) -> None:
        messages = backend.worker.receive()
        if messages is None:  # the worker has closed its side
            self._ended(backend)
            return
        for message in messages:
            self._handle(backend, message)
            if backend.error is not None:
                break
        done = any(message["type"] == "done" for message in messages)
        if done or backend.error is not None:
            self._ended(backend)

    def _handle(self, backend: _RunningBackend, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "stage":
            self.ledger.event(message)
        elif kind == "facts":
            facts = Facts.from_json(message["facts"])
            self._facts(backend, facts, LoadedFile(**message["loaded"]))
        elif kind == "begun":
            backend.paces[message["label"]] = self._pace(backend, message["label"])
        elif kind == "progress":
            pace = backend.paces[message["label"]]
            event = pace.add(message["sequences"], message["tokens"])
            if event is not None:
                self.ledger.event(event)
        elif kind == "part":
            self._part(message)
        elif kind == "captured":
            self._captured(message["label"])
        elif kind == "failed":
            backend.error = str(error_in(message))

    def _pace(self, backend: _RunningBackend, label: str) -> Pace:
        finished = len(self.manifest.capture(label).parts)
        return Pace(
            label=label,
            planned=self.manifest.sequences.planned,
            before=finished * self.plan.part_sequences,
            begun=time.monotonic(),
        )

    def _facts(
        self, backend: _RunningBackend, facts: Facts, loaded: LoadedFile
    ) -> None:
        for capture in self.ledger.open_captures(backend.spec.name):
            changes = _changed_facts(capture, facts)
            if changes:
                backend.error = (
                    f"half of {capture.label} was captured another way"
                    f" ({', '.join(changes)}): start a new session"
                )
                return
            self.ledger.update(capture.label, facts=facts, loaded=loaded)
        self.ledger.save()
        self.ledger.event(
            {
                "type": "facts",
                "backend": backend.spec.name,
                "version": facts.engine_version,
                "device": facts.device,
            }
        )

    def _part(self, message: dict[str, Any]) -> None:
        """List a finished part in the manifest, once its pieces of text are written."""
        ledger = self.ledger
        label = message["label"]
        pieces = {}
        for token_id, piece in message["pieces"].items():
            pieces[int(token_id)] = base64.b64decode(piece)
        merge_pieces(ledger.folder, pieces, ledger.token)
        if message["sequences_part"] is not None:
            ledger.add_sequences(Part(**message["sequences_part"]))
        parts = (*self.manifest.capture(label).parts, Part(**message["part"]))
        ledger.update(label, parts=parts)
        ledger.save()
        capture = self.manifest.capture(label)
        ledger.event({"type": "part", "label": label, **_amount(capture)})

    def _captured(self, label: str) -> None:
        capture = self.manifest.capture(label)
        complete = capture.sequences == self.manifest.sequences.planned
        self.ledger.update(label, status="complete" if complete else "pending")
        self.ledger.save()
        if complete:
            self.ledger.event(
                {
                    "type": "captured",
                    "label": label,
                    **_amount(capture),
                    "nan": nan_tokens(self.ledger.folder, capture),
                }
            )


def _pending(capture: CaptureInfo) -> PendingCapture:
    return PendingCapture(
        label=capture.label,
        path=capture.path,
        repeat=capture.repeat,
        first_part=len(capture.parts),
        batch=capture.batch,
    )


def _amount(capture: CaptureInfo) -> dict[str, int]:
    return {"sequences": capture.sequences, "tokens": capture.tokens}


def _changed_facts(capture: CaptureInfo, facts: Facts) -> list[str]:
    """Facts that differ from those of the capture's first parts, in words."""
    before = capture.facts
    if not capture.parts or before is None:
        return []
    changes = []
    for name in _SAME_FACTS:
        old = getattr(before, name)
        new = getattr(facts, name)
        if old != new and not _was_not_taken(name, old):
            changes.append(f"{name} was {old}, is {new}")
    return changes


def _was_not_taken(name: str, old: object) -> bool:
    """Older versions of logdrift took no digests and no threads: that is no change."""
    return old is None and (name.endswith("_digest") or name == "threads")


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
