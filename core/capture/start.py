"""Starting a worker: the interpreter of an engine, the variables that it needs, the
GPUs that it may use, and what the backend is opened with.

`Launcher` knows one session; a capture, a question and the reading of prompts differ in
the job alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logdrift.core.capture.environments import (
    Interpreter,
    engine_environment,
    find_interpreter,
    has_nvidia_gpu,
    own_interpreter,
    visible_devices,
)
from logdrift.core.capture.models import resolve_model, resolve_own_model
from logdrift.core.capture.workers import WorkerProcess, run_alone
from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec, CapturePlan, SavedPlan
from logdrift.core.protocol import (
    BackendStart,
    Job,
    ModelSource,
    PrepareJob,
    RetokeniseJob,
)
from logdrift.core.servers.keys import key_of
from logdrift.core.session.layout import LOGS, Manifest


class Launcher:
    """Starts workers for the backends of one session.

    Interpreters and models are looked for when they are first wanted, and once.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Raises InputError where the session's plan cannot be read."""
        self.folder = folder
        self.saved = SavedPlan.from_json(manifest.plan)
        self.planned = manifest.sequences.planned
        self._session_model = self.saved.plan.model
        self._interpreters: dict[str, Interpreter] = {}
        self._models: dict[str | None, str] = {}
        """What an engine loads, by the backend's name; None: the session's model."""

    @property
    def plan(self) -> CapturePlan:
        """The session's plan."""
        return self.saved.plan

    def session_model(self) -> str:
        """What engines load for the session's model: a folder or hub id. Raises
        LogdriftError.
        """
        models = self._models
        if None not in models:
            models[None] = resolve_model(self._session_model)
        return models[None]

    def interpreter(self, spec: BackendSpec) -> Interpreter:
        """The interpreter of a backend. Raises InputError where there is none."""
        interpreters = self._interpreters
        if spec.name not in interpreters:
            interpreters[spec.name] = interpreter_of(spec)
        return interpreters[spec.name]

    def model_of(self, spec: BackendSpec) -> str:
        """What a backend loads: its own model, or the session's. Raises
        LogdriftError.
        """
        if spec.model is None:
            return self.session_model()
        models = self._models
        if spec.name not in models:
            models[spec.name] = resolve_own_model(spec)
        return models[spec.name]

    def backend_start(self, spec: BackendSpec) -> BackendStart:
        """What a backend is opened with. Raises InputError where its model is not
        there, or the session's plan was not made by a capture.
        """
        plan = self.plan
        if not self.saved.max_length:
            raise InputError(
                "its plan does not say how long a sequence can be (max_length)",
                where=f"session {self.folder}",
                remedy="start a new session",
            )
        session_model = self.session_model()
        tokenizer = ModelSource(session_model, plan.revision)
        model = tokenizer
        if spec.model is not None:
            own_model = self.model_of(spec)
            model = ModelSource(own_model, spec.revision)
        return BackendStart(
            spec=spec,
            model=model,
            tokenizer=tokenizer,
            sampling=plan.sampling,
            top_k=plan.top_k,
            part_sequences=plan.part_sequences,
            max_length=self.saved.max_length,
            trust_remote_code=plan.trust_remote_code,
            sequences=self.planned,
        )

    def environment(self, spec: BackendSpec) -> dict[str, str]:
        """The variables that a worker of this backend is started with. Raises
        LogdriftError where its model or one of its GPUs is not there.
        """
        interpreter = self.interpreter(spec)
        session_model = self.session_model()
        model = self.model_of(spec)
        return _environment(spec, interpreter, session_model, model)

    def start(self, spec: BackendSpec, job: Job) -> WorkerProcess:
        """Start a worker that prints to ``logs/NAME.log`` of the session. Raises
        LogdriftError.
        """
        environment = self.environment(spec)
        interpreter = self.interpreter(spec)
        return WorkerProcess(
            python=interpreter.python,
            environment=environment,
            folder=self.folder,
            log=f"{LOGS}/{spec.name}.log",
            job=job,
        )


def run_prepare(
    spec: BackendSpec, job: PrepareJob | RetokeniseJob, log: Path
) -> list[dict[str, Any]]:
    """Run a job that needs a tokenizer and no engine, with the interpreter of a
    backend; the messages of its worker. Raises LogdriftError.
    """
    interpreter = interpreter_of(spec)
    environment = _environment(spec, interpreter, job.model.name)
    return run_alone(interpreter.python, environment, log, job)


def interpreter_of(spec: BackendSpec) -> Interpreter:
    """The interpreter of a backend: logdrift's own for one that asks a running server.
    Raises InputError that names its field where there is none, or no key where one was
    promised.
    """
    if spec.server is not None:
        key_of(spec)
        return own_interpreter(spec.engine)
    try:
        return find_interpreter(spec.engine, spec.python)
    except InputError as error:
        key = "engine" if spec.python is None else "python"
        field = f"backend[{spec.name}].{key}"
        raise error.within(field=field) from None


def on_cpu(spec: BackendSpec) -> bool:
    """Whether a backend runs on the CPU: there is no GPU, or its options say so."""
    if spec.options.get("device") == "cpu":
        return True
    return not has_nvidia_gpu()


def _environment(
    spec: BackendSpec, interpreter: Interpreter, *models: str
) -> dict[str, str]:
    device = "cpu" if on_cpu(spec) else "cuda"
    environment = engine_environment(spec.engine, device, *models)
    environment.update(interpreter.env)
    if spec.gpus is not None:
        gpus = _own_gpus(spec, spec.gpus)
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    return environment


def _own_gpus(spec: BackendSpec, gpus: str) -> str:
    try:
        return visible_devices(gpus)
    except InputError as error:
        field = f"backend[{spec.name}].gpus"
        raise error.within(field=field) from None
