"""The interpreter of an engine: where it is, what variables it needs, if it works.

Nothing here imports an engine: interpreters are found by their files and tested by
starting them.
"""

from __future__ import annotations

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
    printable_line,
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
    """An interpreter for an engine.

    ``env``: variables with which it finds the tools beside it (ninja, ...).
    """

    engine: str
    python: Path
    origin: Origin
    env: Mapping[str, str] = field(default_factory=dict)


class NoInterpreter(InputError):
    """Nothing is there that could run an engine."""


@dataclass(frozen=True, slots=True)
class Health:
    """What `check` found.

    ``problem`` says what is wrong and how to fix it, None if the engine works.
    """

    interpreter: Interpreter
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
    problem: LogdriftError | None = None


@cache
def nvidia_gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs, as the driver gives them.

    Empty where there is no GPU or all are hidden.
    """
    numbers = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if numbers.strip() in ("", "-1"):
        return ()
    names = _named_by_the_driver()
    if names is None:
        gpus = Path("/proc/driver/nvidia/gpus").glob("*/information")
        names = tuple("NVIDIA GPU" for _ in gpus)
    own_devices = _own_devices()
    if not own_devices:
        return names
    return names[: len(own_devices)]


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
    """CUDA_VISIBLE_DEVICES for a backend's ``gpus``.

    These are numbers among the GPUs that logdrift itself may see, which a scheduler or
    a user may have limited. InputError for a number beyond them.
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
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = map(str.strip, listed.split(","))
    return [name for name in names if name]


def has_nvidia_gpu() -> bool:
    """Whether engines can use a GPU here."""
    return bool(nvidia_gpus())


def default_device() -> str:
    """``cuda`` where there is an NVIDIA GPU, else ``cpu``."""
    if has_nvidia_gpu():
        return "cuda"
    return "cpu"


def environment_folder(engine: str) -> Path:
    """Folder of the managed environment.

    It is where `env create --dir` last put it, or else in the cache.
    """
    default = cache_folder() / "envs" / engine
    elsewhere = _folder_elsewhere(engine)
    if elsewhere is None:
        return default
    if read_marker(elsewhere) is None and read_marker(default) is not None:
        return default
    return elsewhere


def _folder_elsewhere(engine: str) -> Path | None:
    try:
        pointer = json.loads(_pointer(engine).read_bytes())
        return Path(pointer["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def create_environment(
    engine: str,
    report: Report,
    cancel: threading.Event,
    *,
    parent: Path | None = None,
    python: str | None = None,
    fresh: bool = False,
) -> Marker:
    """Make the managed environment of an engine, in ``parent/engine`` if given.

    Raises LogdriftError, Cancelled.
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
        pointer = _pointer(engine)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        write_json(pointer, {"folder": str(folder)})
    return marker


def _pointer(engine: str) -> Path:
    return cache_folder() / "envs" / f"{engine}.elsewhere.json"


def find_interpreter(engine: str, python: str | None = None) -> Interpreter:
    """The interpreter for an engine.

    The one of ``python=``, of the config file, of the managed environment, or else our
    own. Only files are looked at; `check` tells whether it works. Raises InputError
    where none is found.
    """
    if python:
        named = _executable(python, f"python={python}")
        return _interpreter(engine, named, "spec")
    configured = load_config().engines.get(engine)
    if configured is not None and configured.python:
        where = f"config {config_path()}: engines.{engine}.python = {configured.python}"
        named = _executable(configured.python, where)
        return _interpreter(engine, named, "config")
    folder = environment_folder(engine)
    if read_marker(folder) is not None:
        return _interpreter(engine, folder / "bin" / "python", "managed")
    package = ENGINES[engine].package
    if importlib.util.find_spec(package) is not None:
        return _interpreter(engine, Path(sys.executable), "current")
    if (folder / "pyvenv.cfg").exists():
        reason = f"the environment of {engine} is not finished"
        raise InputError(reason, remedy=f"fix it with logdrift env create {engine}")
    raise NoInterpreter(
        f"no interpreter for {engine}",
        remedy=f"logdrift env create {engine} makes one, python= names yours",
    )


def own_interpreter(engine: str) -> Interpreter:
    """The interpreter that runs logdrift, which holds no engine: enough to ask a server
    of one.
    """
    return _interpreter(engine, Path(sys.executable), "current")


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
    beside_it = str(python.parent)
    elsewhere = os.environ.get("PATH", os.defpath)
    path = os.pathsep.join((beside_it, elsewhere))
    return Interpreter(engine, python, origin, {"PATH": path})


def _executable(python: str, where: str) -> Path:
    """The interpreter that a user named.

    ``python`` is a path, an environment's folder, or a name on PATH. Symbolic links
    are not followed: a venv is recognised by the place of the link.
    """
    path = user_path(python)
    if path.is_dir():
        path = path / "bin" / "python"
    if os.sep in python:
        # A Path drops the "./" of "./python", and a bare name is looked for on PATH.
        path = path.absolute()
    found = shutil.which(path)
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
    """Variables that every worker of an engine needs on ``cpu`` or ``cuda``.

    What the user has set is not changed. ``models`` are folders or hub ids; where all
    are folders, nothing may be loaded from the hub.
    """
    process = ENGINES[engine].process
    variables = {**_EVERY_WORKER, **process.variables}
    if device == "cpu":
        variables |= process.cpu_variables
    if all(Path(model).is_dir() for model in models):
        variables["HF_HUB_OFFLINE"] = "1"
    for name in os.environ:
        variables.pop(name, None)
    return variables


_MARK = "logdrift-probe:"
# Run by path in the interpreter that is looked at.
_PROBE = Path(__file__).parents[1] / "worker" / "probe.py"


def check(
    interpreter: Interpreter,
    *,
    cancel: threading.Event | None = None,
    seconds: float = CHECK_SECONDS,
) -> Health:
    """Start the interpreter, import the engine as a worker does, and ask what it has.

    Takes up to ``seconds``. Raises Cancelled.
    """
    cancel = cancel or threading.Event()
    began = time.monotonic()
    status, output = _start_probe(interpreter, cancel, seconds)
    took = time.monotonic() - began
    answer = _answer_in(output)
    reason = _why_broken(interpreter, status, output, answer)
    if status == "timeout":
        reason = f"importing it took more than {seconds:.0f} s"
    if reason is not None:
        problem = LogdriftError(
            printable_line(reason),
            where=interpreter.engine,
            remedy=_remedy(interpreter),
        )
        return Health(interpreter, seconds=took, problem=problem)
    distributions = ENGINES[interpreter.engine].distributions
    names = ("python", "torch", TRAINER, *distributions)
    return Health(
        interpreter,
        versions={name: str(answer[name]) for name in names if name in answer},
        device=_device_in(answer),
        seconds=took,
    )


def _answer_in(output: str) -> dict[str, Any]:
    """What the probe found: the last line with its mark, empty where it printed
    none.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(_MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return answer
    return {}


def _why_broken(
    interpreter: Interpreter, status: str, output: str, answer: Mapping[str, Any]
) -> str | None:
    """Why an interpreter cannot run its engine; None where it can."""
    if not answer:
        printed = [line for line in output.splitlines() if line.strip()]
        return ": ".join([status, *printed[-1:]])
    if "error" in answer:
        return str(answer["error"])
    managed = interpreter.origin == "managed"
    if managed and has_nvidia_gpu() and not answer["gpus"]:
        return "there is an NVIDIA GPU but this environment cannot use it"
    return None


def _device_in(answer: Mapping[str, Any]) -> str:
    if answer["gpus"]:
        return ", ".join(printable_line(name) for name in answer["gpus"])
    return f"cpu ({os.cpu_count()} cores)"


def _start_probe(
    interpreter: Interpreter, cancel: threading.Event, seconds: float
) -> tuple[str, str]:
    """How the probe ended (``timeout`` if it did not), and what it printed.

    Raises Cancelled.
    """
    engine = ENGINES[interpreter.engine]
    modules = ["numpy", "safetensors", "torch", *engine.process.imports]
    distributions = [TRAINER, *engine.distributions]
    argv = [
        str(interpreter.python),
        "-I",
        str(_PROBE),
        json.dumps(modules),
        json.dumps(distributions),
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
        return _awaited(process, cancel, deadline)
    finally:
        end_group(process)


def _awaited(
    process: subprocess.Popen[str], cancel: threading.Event, deadline: float
) -> tuple[str, str]:
    """How a process ended, ``timeout`` past its deadline, and what it printed."""
    while True:
        try:
            output, _ = process.communicate(timeout=0.2)
            return _ending(process.returncode), output
        except subprocess.TimeoutExpired:
            if cancel.is_set():
                raise Cancelled("cancelled") from None
            if time.monotonic() > deadline:
                return "timeout", ""


def _ending(code: int) -> str:
    if code < 0:
        return f"ended by signal {-code}"
    return f"exit status {code}"


def _remedy(interpreter: Interpreter) -> str:
    again = f"logdrift env create {interpreter.engine} --fresh"
    if interpreter.origin == "managed":
        return f"fix it with {again}"
    return (
        f"install it in {interpreter.python}, or use an environment of its own:"
        f" {again.removesuffix(' --fresh')}"
    )
