"""Which interpreter runs an engine, what environment variables it needs, and whether it
works.

Nothing here imports an engine: interpreters are found by their files and tested by
starting them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from logdrift.core.capture.installer import Marker, install, read_marker
from logdrift.core.capture.jobs import (
    Cancelled,
    Report,
    clean_environment,
    end_group,
    one_line,
    write_json,
)
from logdrift.core.capture.recipes import recipe_for
from logdrift.core.config import cache_folder, config_path, load_config
from logdrift.core.engines import ENGINES, TRAINER
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import user_path

Origin = Literal["spec", "config", "managed", "current"]
CHECK_SECONDS = 300.0
"""Importing vLLM from a cold disk on two busy cores took up to 90 s."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter for an engine. ``env`` is what to set so that the tools beside it
    (ninja, ...) are found.
    """

    engine: str
    python: Path
    origin: Origin
    env: Mapping[str, str] = field(default_factory=dict)


class NoInterpreter(InputError):
    """Nothing is there that could run an engine."""


@dataclass(frozen=True, slots=True)
class Health:
    """What `check` found. ``problem`` says what is wrong and how to fix it, None if it
    works.
    """

    interpreter: Interpreter
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    problem: LogdriftError | None = None


@cache
def nvidia_gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs, asked of the driver (no torch). Empty where there is
    none or all are hidden.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return ()
    names = _named_by_the_driver()
    if names is None:
        gpus = Path("/proc/driver/nvidia/gpus").glob("*/information")
        names = tuple("NVIDIA GPU" for _ in gpus)
    return names[: len(_own_devices()) or None]


def _named_by_the_driver() -> tuple[str, ...] | None:
    """What nvidia-smi says; None where it is not there or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (line.strip() for line in done.stdout.splitlines())
    return tuple(line for line in lines if line)


def visible_devices(gpus: str) -> str:
    """CUDA_VISIBLE_DEVICES for a backend's ``gpus``: numbers of the GPUs that logdrift
    itself may see, which a scheduler or a user may have narrowed down. InputError for a
    number beyond them.
    """
    own = _own_devices()
    if not own:
        return gpus
    numbers = [int(number) for number in gpus.split(",")]
    if max(numbers) >= len(own):
        raise InputError(
            f"CUDA_VISIBLE_DEVICES shows {len(own)} GPUs here",
            where=f"gpus={gpus}",
            remedy=f"give 0 to {len(own) - 1}",
        )
    return ",".join(own[number] for number in numbers)


def _own_devices() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names; empty where it is not set."""
    return [
        name.strip()
        for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if name.strip()
    ]


def has_nvidia_gpu() -> bool:
    """Whether engines can use a GPU here."""
    return bool(nvidia_gpus())


def default_device() -> str:
    """``cuda`` where there is an NVIDIA GPU, else ``cpu``."""
    if has_nvidia_gpu():
        return "cuda"
    return "cpu"


def environment_folder(engine: str) -> Path:
    """Folder of the managed environment: where `env create --dir` last put it, or in
    the cache.
    """
    default = cache_folder() / "envs" / engine
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        elsewhere = Path(json.loads(_pointer(engine).read_bytes())["folder"])
        if read_marker(elsewhere) is not None or read_marker(default) is None:
            return elsewhere
    return default


def create_environment(
    engine: str,
    report: Report,
    cancel: threading.Event,
    *,
    parent: Path | None = None,
    python: str | None = None,
    fresh: bool = False,
) -> Marker:
    """Make the managed environment of an engine, in ``parent/engine`` if given. Raises
    LogdriftError, Cancelled.
    """
    recipe = recipe_for(engine, default_device())
    folder = environment_folder(engine)
    if parent is not None:
        folder = parent.absolute() / engine

    def probe(interpreter: Path) -> Mapping[str, str]:
        health = check(_interpreter(engine, interpreter, "managed"), cancel=cancel)
        if health.problem is not None:
            raise health.problem
        return health.versions

    marker = install(
        recipe,
        folder,
        probe=probe,
        report=report,
        cancel=cancel,
        python=python,
        fresh=fresh,
    )
    if parent is not None:
        _pointer(engine).parent.mkdir(parents=True, exist_ok=True)
        write_json(_pointer(engine), {"folder": str(folder)})
    return marker


def _pointer(engine: str) -> Path:
    return cache_folder() / "envs" / f"{engine}.elsewhere.json"


def find_interpreter(engine: str, python: str | None = None) -> Interpreter:
    """The interpreter for an engine: ``python=`` of its spec, the config file, the
    managed environment, our own.

    Only files are looked at; `check` tells whether it works. Raises InputError where
    there is none.
    """
    if python:
        return _interpreter(engine, _executable(python, f"python={python}"), "spec")
    configured = load_config().engines.get(engine)
    if configured is not None and configured.python:
        where = f"config {config_path()}: engines.{engine}.python = {configured.python}"
        return _interpreter(engine, _executable(configured.python, where), "config")
    folder = environment_folder(engine)
    if read_marker(folder) is not None:
        return _interpreter(engine, folder / "bin" / "python", "managed")
    if importlib.util.find_spec(ENGINES[engine].package) is not None:
        return _interpreter(engine, Path(sys.executable), "current")
    if (folder / "pyvenv.cfg").exists():
        reason = f"the environment of {engine} is not finished"
        raise InputError(reason, remedy=f"fix it with logdrift env create {engine}")
    raise NoInterpreter(
        f"no interpreter for {engine}",
        remedy=f"logdrift env create {engine} makes one, python= names yours",
    )


def available() -> dict[str, Interpreter | LogdriftError]:
    """Every engine's interpreter, or why there is none. Fast: nothing is started."""
    found: dict[str, Interpreter | LogdriftError] = {}
    for engine in ENGINES:
        try:
            found[engine] = find_interpreter(engine)
        except LogdriftError as error:
            found[engine] = error
    return found


def _interpreter(engine: str, python: Path, origin: Origin) -> Interpreter:
    path = os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath)))
    return Interpreter(engine, python, origin, {"PATH": path})


def _executable(python: str, where: str) -> Path:
    """A path (``~`` and relative allowed), an environment's folder, or a name on PATH.
    Symbolic links stay: a venv is known by the link's own place.
    """
    path = user_path(python)
    if path.is_dir():
        path = path / "bin" / "python"
    # A Path drops the "./" of "./python", and a bare name would be looked for on PATH.
    found = shutil.which(str(path.absolute() if os.sep in python else path))
    if found is None:
        if path.exists():
            missing = "is not executable"
        else:
            missing = "does not exist"
        raise InputError(f"this interpreter {missing}", where=where)
    return Path(found).absolute()


_EVERY_WORKER = {
    # Read by vLLM (vllm/envs.py) and by huggingface_hub (constants.py).
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Engines fork after tokenising, which would warn and can hang.
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONNOUSERSITE": "1",
}


def engine_environment(engine: str, device: str, *models: str) -> dict[str, str]:
    """Variables that every worker of an engine needs on ``cpu`` or ``cuda``; what the
    user has set is left alone.

    ``models`` are folders, which then are all that may be read, or hub ids.
    """
    process = ENGINES[engine].process
    variables = {**_EVERY_WORKER, **process.variables}
    if device == "cpu":
        variables |= process.cpu_variables
    if all(Path(model).is_dir() for model in models):
        variables["HF_HUB_OFFLINE"] = "1"
    return {name: value for name, value in variables.items() if name not in os.environ}


_MARK = "logdrift-probe:"
# Run by path in the interpreter that is looked at.
_PROBE = Path(__file__).parents[1] / "worker" / "probe.py"


def check(
    interpreter: Interpreter,
    *,
    cancel: threading.Event | None = None,
    seconds: float = CHECK_SECONDS,
) -> Health:
    """Start the interpreter, import the engine as a worker does, and ask for versions
    and devices.
    """
    began = time.monotonic()
    status, output = _start_probe(interpreter, cancel or threading.Event(), seconds)
    took = time.monotonic() - began
    engine = interpreter.engine

    def broken(text: str) -> Health:
        remedy = _remedy(interpreter)
        problem = LogdriftError(one_line(text), where=engine, remedy=remedy)
        return Health(interpreter, seconds=took, problem=problem)

    if status == "timeout":
        return broken(f"importing it took more than {seconds:.0f} s")
    line = next((x for x in reversed(output.splitlines()) if x.startswith(_MARK)), None)
    if line is None:
        printed = [x for x in output.splitlines() if x.strip()]
        return broken(f"{status}{f': {printed[-1]}' if printed else ''}")
    found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
    if "error" in found:
        return broken(str(found["error"]))
    names = ("python", "torch", TRAINER, *ENGINES[engine].distributions)
    versions = {name: str(found[name]) for name in names if name in found}
    gpus = found["gpus"]
    if gpus:
        device = ", ".join(one_line(name) for name in gpus)
    else:
        device = f"cpu ({os.cpu_count()} cores)"
    if has_nvidia_gpu() and not gpus and interpreter.origin == "managed":
        return broken("there is an NVIDIA GPU but this environment cannot use it")
    return Health(interpreter, versions, device, took)


def _start_probe(
    interpreter: Interpreter, cancel: threading.Event, seconds: float
) -> tuple[str, str]:
    """(how it ended, what it printed). Raises Cancelled."""
    engine = ENGINES[interpreter.engine]
    imports = json.dumps(["numpy", "safetensors", "torch", *engine.process.imports])
    argv = [
        str(interpreter.python),
        "-I",
        str(_PROBE),
        imports,
        json.dumps([TRAINER, *engine.distributions]),
    ]
    env = {
        **clean_environment(),
        **engine_environment(engine.name, default_device(), "/"),
        **interpreter.env,
    }
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=env,
            cwd="/",
            text=True,
            errors="replace",
        )
    except OSError as error:
        return f"{interpreter.python} cannot be started: {error.strerror}", ""
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=0.2)
                code = process.returncode
                return (
                    f"ended by signal {-code}" if code < 0 else f"exit status {code}"
                ), output
            except subprocess.TimeoutExpired:
                if cancel.is_set():
                    raise Cancelled("cancelled") from None
                if time.monotonic() > deadline:
                    return "timeout", ""
    finally:
        end_group(process)


def _remedy(interpreter: Interpreter) -> str:
    again = f"logdrift env create {interpreter.engine} --fresh"
    if interpreter.origin == "managed":
        return f"fix it with {again}"
    return (
        f"install it in {interpreter.python}, or use an environment of its own:"
        f" {again.removesuffix(' --fresh')}"
    )
