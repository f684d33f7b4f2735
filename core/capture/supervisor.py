"""The supervisor: runs the captures that a session still lacks, backend after backend,
and is the manifest's one writer.

It imports no engine. `run_session` is the same whether it starts a session, resumes
one, or runs detached: what is missing is read from the folder.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import selectors
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from logdrift.core.capture import trust
from logdrift.core.capture.environments import (
    engine_environment,
    find_interpreter,
    has_nvidia_gpu,
    visible_devices,
)
from logdrift.core.capture.models import resolve_model, resolve_own_model
from logdrift.core.capture.workers import (
    WorkerProcess,
    end_leftovers,
    forget_worker,
    remember_worker,
)
from logdrift.core.credentials import masked_text, secret_values
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.plan import BackendSpec, CapturePlan, refuse_hidden
from logdrift.core.processes import adopt_orphans, cancellable, ending
from logdrift.core.protocol import CaptureJob, WorkerJob
from logdrift.core.session import lock
from logdrift.core.session.below import folder_at
from logdrift.core.session.layout import (
    EVENTS,
    LOGS,
    CaptureInfo,
    LoadedFile,
    Manifest,
    Part,
    Status,
    read_manifest,
)
from logdrift.core.session.tensors import stored_tensors
from logdrift.core.session.writer import append_event, merge_pieces, write_manifest

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]

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
_ONCE = {
    "decode": "sampling again would change the ids under every capture",
    "recorded": "no engine can give again what the prompts recorded",
}
"""Paths whose numbers cannot be made again, and why."""
_EVENT_INTERVAL = 0.5
_LOOK_SECONDS = 5.0
"""Between two looks whether workers that say nothing are still there."""


@dataclass
class _Pace:
    """How fast a capture goes: finished sequences and tokens since the worker began
    it.
    """

    begun: float
    sequences: int = 0
    tokens: int = 0


@dataclass
class _Running:
    """A worker at work for one backend."""

    spec: BackendSpec
    worker: WorkerProcess
    devices: frozenset[str]
    finished: bool = False
    error: str | None = None
    paces: dict[str, _Pace] = field(default_factory=dict)


def run_session(folder: Path, on_event: OnEvent, *, parallel: bool = False) -> bool:
    """Capture what the session lacks. Returns whether every capture is complete.

    Raises InputError where the folder is no session, is not this user's own
    (`trust.Stranger`), is being written by another process, or needs an interpreter
    that is not there; LogdriftError where the disk fails; KeyboardInterrupt after
    cancelling cleanly.
    """
    manifest = read_manifest(folder)
    trust.require(folder, manifest)
    plan = CapturePlan.from_json(manifest.plan)
    for spec in plan.backends:
        refuse_hidden(spec)
    interpreters = {
        spec.name: find_interpreter(spec.engine, spec.python) for spec in plan.backends
    }
    model = resolve_model(manifest.model.id)
    models = _own_models(plan, manifest)
    token = uuid.uuid4().hex
    stale = lock.acquire(folder, token)
    try:
        with cancellable():
            adopt_orphans()
            if stale is not None:
                end_leftovers(folder)
            supervisor = _Supervisor(
                folder, token, plan, model, models, interpreters, on_event
            )
            return supervisor.run(parallel)
    finally:
        lock.release(folder)


def _own_models(plan: CapturePlan, manifest: Manifest) -> dict[str, str]:
    """Backend -> its own model, of those that have one and still have something to
    capture.
    """
    open_backends = {
        capture.backend for capture in manifest.captures if capture.status != "complete"
    }
    return {
        spec.name: resolve_own_model(spec)
        for spec in plan.backends
        if spec.model is not None and spec.name in open_backends
    }


class _Supervisor:
    """The state of one run. The manifest in memory is the truth; it is written after
    every change.
    """

    def __init__(
        self,
        folder: Path,
        token: str,
        plan: CapturePlan,
        model: str,
        models: Mapping[str, str],
        interpreters: Mapping[str, Any],
        on_event: OnEvent,
    ) -> None:
        self.folder = folder
        self.token = token
        self.plan = plan
        self.model = model
        self.models = models
        self.interpreters = interpreters
        self.on_event = on_event
        self.manifest = _checked(folder, read_manifest(folder))
        self._last_event: dict[str, float] = {}

    def run(self, parallel: bool) -> bool:
        self._event(
            {"type": "run", "backends": [spec.name for spec in self.plan.backends]}
        )
        self._reset_unfinished()
        self._save()
        _remove_unwritten(self.folder)
        generator = self.plan.generator
        if generator is not None:
            self._run_all([generator], parallel=False)
        self._run_all(
            [spec for spec in self.plan.backends if spec is not generator], parallel
        )
        complete = all(
            capture.status == "complete" for capture in self.manifest.captures
        )
        self._event({"type": "finished", "complete": complete})
        return complete

    def _run_all(self, specs: list[BackendSpec], parallel: bool) -> None:
        """Run backends one after another, or at once where asked and their devices
        differ.
        """
        waiting = [spec for spec in specs if self._jobs(spec)]
        running: list[_Running] = []
        try:
            while waiting or running:
                busy = frozenset[str]().union(*(r.devices for r in running))
                for spec in list(waiting):
                    devices = _devices(spec)
                    if running and (not parallel or _overlap(devices, busy)):
                        continue
                    waiting.remove(spec)
                    started = self._start(spec, devices)
                    if started is not None:
                        running.append(started)
                        busy |= devices
                self._listen(running)
                running = [r for r in running if not r.finished]
        finally:
            for r in running:
                r.worker.end()
            if running:
                self._cancelled([r.spec for r in running])

    def _cancelled(self, specs: list[BackendSpec]) -> None:
        """Note what was not finished, as far as the disk takes it and the folder is
        still there.
        """
        self._reset_unfinished()
        with contextlib.suppress(LogdriftError):
            self._save()
        with contextlib.suppress(LogdriftError):
            for spec in specs:
                forget_worker(self.folder, spec.name, self.token)
            self._event({"type": "cancelled"})

    def _start(self, spec: BackendSpec, devices: frozenset[str]) -> _Running | None:
        if not self.manifest.sequences.parts and spec is not self.plan.generator:
            self._fail(
                spec,
                f"there is nothing to score: {self.manifest.sequences.generated_by}"
                " gave no sequence",
                "",
            )
            return None
        try:
            model = self._model_of(spec)
            gpus = (
                {}
                if spec.gpus is None
                else {"CUDA_VISIBLE_DEVICES": visible_devices(spec.gpus)}
            )
        except LogdriftError as error:
            self._fail(spec, str(error), "")
            return None
        interpreter = self.interpreters[spec.name]
        device = "cpu" if devices == {"cpu"} else "cuda"
        environment = {
            **engine_environment(spec.engine, device, self.model, model),
            **interpreter.env,
            **gpus,
        }
        self._event(
            {
                "type": "backend",
                "backend": spec.name,
                "engine": spec.engine,
                "python": str(interpreter.python),
            }
        )
        for capture in self._captures_of(spec):
            if capture.status != "complete":
                self._update(capture.label, status="running", failure=None)
        self._save()
        try:
            worker = WorkerProcess(
                interpreter.python,
                environment,
                self.folder,
                f"{LOGS}/{spec.name}.log",
                self._job(spec, model),
            )
        except (LogdriftError, OSError) as error:
            self._fail(spec, str(error), "")
            return None
        try:
            remember_worker(self.folder, spec.name, worker, self.token)
        except LogdriftError:
            worker.end(grace=0.0)
            raise
        return _Running(spec, worker, devices)

    def _job(self, spec: BackendSpec, model: str) -> WorkerJob:
        available = len(self.manifest.sequences.parts)
        generates = (
            self.plan.generator is not None and spec.name == self.plan.generator.name
        )
        total = -(-self.manifest.sequences.planned // self.plan.part_sequences)
        return WorkerJob(
            kind="capture",
            model=model,
            revision=self.plan.revision if spec.model is None else spec.revision,
            tokenizer=self.model,
            tokenizer_revision=self.plan.revision,
            trust_remote_code=self.plan.trust_remote_code,
            folder=str(self.folder.resolve()),
            spec={**asdict(spec), "options": dict(spec.options)},
            sampling=asdict(self.plan.sampling),
            captures=tuple(self._jobs(spec)),
            top_k=self.plan.top_k,
            part_sequences=self.plan.part_sequences,
            planned=self.manifest.sequences.planned,
            parts=total if generates else available,
            max_length=int(self.manifest.plan["max_length"]),
            token=self.token,
        )

    def _jobs(self, spec: BackendSpec) -> list[CaptureJob]:
        return [
            CaptureJob(c.label, c.path, c.repeat, len(c.parts), c.batch)
            for c in self._captures_of(spec)
            if c.status != "complete"
        ]

    def _model_of(self, spec: BackendSpec) -> str:
        """What this backend loads. Raises LogdriftError where a model of its own is
        gone: damage may have reopened a capture that was complete, whose model nobody
        asked for at the start.
        """
        if spec.model is None:
            return self.model
        return self.models.get(spec.name) or resolve_own_model(spec)

    def _captures_of(self, spec: BackendSpec) -> list[CaptureInfo]:
        return [
            capture
            for capture in self.manifest.captures
            if capture.backend == spec.name
        ]

    # -- listening
    # ---------------------------------------------------------------------------------

    def _listen(self, running: list[_Running]) -> None:
        """Handle messages of all workers until one of them ends."""
        if not running:
            return
        with selectors.DefaultSelector() as selector:
            for r in running:
                selector.register(r.worker.channel, selectors.EVENT_READ, r)
            while not any(r.finished for r in running):
                ready = selector.select(_LOOK_SECONDS)
                for key, _ in ready:
                    self._receive(key.data)
                # A process that the worker forked may keep its side of the channel open
                # when the worker is gone.
                gone = [] if ready else [r for r in running if r.worker.wait(0.0)]
                if gone and not selector.select(0.0):
                    for r in gone:
                        self._ended(r)

    def _receive(self, r: _Running) -> None:
        messages = r.worker.receive()
        for message in messages or ():
            self._handle(r, message)
            if r.error is not None:
                break
        if (
            messages is None
            or r.error is not None
            or any(m["type"] == "done" for m in messages)
        ):
            self._ended(r)

    def _handle(self, r: _Running, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "stage":
            self._event(message)
        elif kind == "facts":
            self._facts(
                r, Facts.from_json(message["facts"]), LoadedFile(**message["loaded"])
            )
        elif kind == "begun":
            r.paces[message["label"]] = _Pace(time.monotonic())
        elif kind == "progress":
            self._progress(r, message)
        elif kind == "part":
            self._part(message)
        elif kind == "captured":
            self._captured(message["label"])
        elif kind == "failed":
            r.error = str(message["error"])

    def _facts(self, r: _Running, facts: Facts, loaded: LoadedFile) -> None:
        for capture in self._captures_of(r.spec):
            old = capture.facts
            if capture.parts and old is not None and capture.status != "complete":
                changed = [
                    name
                    for name in _SAME_FACTS
                    if _differs(name, getattr(old, name), getattr(facts, name))
                ]
                if changed:
                    what = ", ".join(
                        f"{n} was {getattr(old, n)}, is {getattr(facts, n)}"
                        for n in changed
                    )
                    r.error = (
                        f"half of {capture.label} was captured another way ({what}):"
                        " start a new session"
                    )
                    return
            if capture.status != "complete":
                self._update(capture.label, facts=facts, loaded=loaded)
        self._save()
        self._event(
            {
                "type": "facts",
                "backend": r.spec.name,
                "version": facts.engine_version,
                "device": facts.device,
            }
        )

    def _progress(self, r: _Running, message: dict[str, Any]) -> None:
        label = message["label"]
        now = time.monotonic()
        pace = r.paces[label]
        pace.sequences += message["sequences"]
        pace.tokens += message["tokens"]
        if now - self._last_event.get(label, 0.0) < _EVENT_INTERVAL:
            return
        self._last_event[label] = now
        self._progress_event(r, label, pace)

    def _progress_event(self, r: _Running, label: str, pace: _Pace) -> None:
        planned = self.manifest.sequences.planned
        start = next(
            (job.first_part for job in r.worker.job.captures if job.label == label), 0
        )
        done = min(planned, start * self.plan.part_sequences + pace.sequences)
        elapsed = max(1e-9, time.monotonic() - pace.begun)
        left = (planned - done) * elapsed / pace.sequences if pace.sequences else None
        self._event(
            {
                "type": "progress",
                "label": label,
                "sequences": done,
                "planned": planned,
                "tokens": pace.tokens,
                "rate": round(pace.tokens / elapsed, 1),
                "left": None if left is None else round(left, 1),
            }
        )

    def _part(self, message: dict[str, Any]) -> None:
        """List a finished part. Order matters: the pieces first, then the manifest
        names everything at once.
        """
        merge_pieces(
            self.folder,
            {int(i): base64.b64decode(b) for i, b in message["pieces"].items()},
            self.token,
        )
        if message["sequences_part"] is not None:
            sequences = self.manifest.sequences
            parts = (*sequences.parts, Part(**message["sequences_part"]))
            self.manifest = replace(
                self.manifest, sequences=replace(sequences, parts=parts)
            )
        label = message["label"]
        capture = self.manifest.capture(label)
        self._update(label, parts=(*capture.parts, Part(**message["part"])))
        self._save()
        done = self.manifest.capture(label)
        self._event(
            {
                "type": "part",
                "label": label,
                "sequences": done.sequences,
                "tokens": done.tokens,
            }
        )

    def _captured(self, label: str) -> None:
        capture = self.manifest.capture(label)
        whole = capture.sequences == self.manifest.sequences.planned
        self._update(label, status="complete" if whole else "pending")
        self._save()
        if whole:
            self._event(
                {
                    "type": "captured",
                    "label": label,
                    "sequences": capture.sequences,
                    "tokens": capture.tokens,
                    "nan": nan_tokens(self.folder, capture),
                }
            )

    def _ended(self, r: _Running) -> None:
        """A worker is done, has failed or is gone: see that nothing of it is left and
        say what became of its captures.
        """
        r.finished = True
        if r.error is None:
            r.worker.wait(30.0)
        code = r.worker.end(grace=0.0 if r.error else 3.0)
        forget_worker(self.folder, r.spec.name, self.token)
        open_labels = [
            c.label for c in self._captures_of(r.spec) if c.status == "running"
        ]
        if r.error is None and open_labels:
            r.error = f"{r.spec.engine} worker {ending(code)}"
        if r.error is not None:
            self._fail(r.spec, r.error, r.worker.log_tail())

    def _fail(self, spec: BackendSpec, error: str, tail: str) -> None:
        error, tail = (
            masked_text(text, secret_values(os.environ)) for text in (error, tail)
        )
        for capture in self._captures_of(spec):
            if capture.status != "complete":
                self._update(
                    capture.label,
                    status="failed",
                    failure=error + (f"\n{tail}" if tail else ""),
                )
        self._save()
        self._event({"type": "failed", "backend": spec.name, "error": error})

    # -- manifest
    # ----------------------------------------------------------------------------------

    def _update(self, label: str, **changes: Any) -> None:
        captures = tuple(
            replace(c, **changes) if c.label == label else c
            for c in self.manifest.captures
        )
        self.manifest = replace(self.manifest, captures=captures)

    def _reset_unfinished(self) -> None:
        for capture in self.manifest.captures:
            if capture.status in ("running", "failed"):
                status: Status = "pending"
                self._update(capture.label, status=status, failure=None)

    def _save(self) -> None:
        write_manifest(self.folder, self.manifest, self.token)

    def _event(self, event: Event) -> None:
        stamped = {"t": round(time.time(), 3), **event}
        append_event(self.folder, stamped, self.token)
        self.on_event(stamped)


def _remove_unwritten(folder: Path) -> None:
    """Files that a killed writer had begun. Whoever holds the lock, with no worker
    started yet, is the only writer.
    """
    for name, below_captures in (
        (".", False),
        ("sequences", False),
        ("captures", True),
    ):
        with contextlib.suppress(OSError, InputError), folder_at(folder, name) as top:
            for _, folders, files, at in os.fwalk(".", dir_fd=top):
                if not below_captures:
                    folders.clear()
                for file in files:
                    if file.startswith(".") and file.endswith(".tmp"):
                        os.unlink(file, dir_fd=at)


def _differs(name: str, old: object, new: object) -> bool:
    """A digest that was not taken before is no change, nor are threads: an older
    logdrift took fewer.
    """
    return old != new and not (
        old is None and (name.endswith("_digest") or name == "threads")
    )


def _devices(spec: BackendSpec) -> frozenset[str]:
    """What a backend occupies: ``cpu``, numbered GPUs, or ``*`` for whatever GPUs it
    takes.
    """
    if spec.options.get("device") == "cpu" or not has_nvidia_gpu():
        return frozenset({"cpu"})
    return (
        frozenset(spec.gpus.split(",")) if spec.gpus is not None else frozenset({"*"})
    )


def _overlap(a: frozenset[str], b: frozenset[str]) -> bool:
    if a & b:
        return True
    on_gpu = bool(a - {"cpu"}) and bool(b - {"cpu"})
    return on_gpu and ("*" in a or "*" in b)


def _checked(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with every capture cut at its first part that is missing or damaged,
    to be captured again.

    A damaged part of the sequences, or of the capture that sampled them, cannot be made
    again without changing the ids under every capture: InputError.
    """
    for part in manifest.sequences.parts:
        if not _intact(folder, part):
            raise InputError(
                f"session {folder}: {part.file} is missing or damaged: start a new"
                " session"
            )
    captures = []
    for capture in manifest.captures:
        good = 0
        while good < len(capture.parts) and _intact(folder, capture.parts[good]):
            good += 1
        if good < len(capture.parts):
            if capture.path in _ONCE:
                raise InputError(
                    f"session {folder}: {capture.parts[good].file} is missing or"
                    f" damaged, and {_ONCE[capture.path]}: start a new session"
                )
            capture = replace(capture, parts=capture.parts[:good], status="pending")
        captures.append(capture)
    return replace(manifest, captures=tuple(captures))


def _intact(folder: Path, part: Part) -> bool:
    try:
        with open(folder / part.file, "rb") as file:
            return (
                "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
                == part.digest
            )
    except OSError:
        return False


def main(argv: list[str]) -> int:
    """``python -m logdrift.core.capture.supervisor FOLDER``: the detached form.
    Everything it has to say is in the folder.
    """
    try:
        return (
            0
            if run_session(
                Path(argv[0]), lambda event: None, parallel="--parallel" in argv
            )
            else 1
        )
    except LogdriftError as error:
        print(error, file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            if (Path(argv[0]) / EVENTS).exists() and not isinstance(error, lock.Gone):
                append_event(
                    Path(argv[0]),
                    {"t": round(time.time(), 3), "type": "failed", "error": str(error)},
                )
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def nan_tokens(folder: Path, capture: CaptureInfo) -> int:
    """How many scores of a capture are NaN: worth a word while its engine can still be
    set right.
    """
    tensors = (stored_tensors(folder / part.file) for part in capture.parts)
    return sum(int(part["nan"][:].sum()) for part in tensors if "nan" in part)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
