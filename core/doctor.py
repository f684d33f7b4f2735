"""What works on this machine: one line for each thing that logdrift needs, and how to
fix what does not work.

Nothing here imports an engine; interpreters are started to see whether theirs can be
imported. Of environment variables, only the values of those that name a folder of
logdrift are printed.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from logdrift.core.capture import environments
from logdrift.core.capture.environments import Interpreter
from logdrift.core.capture.installer import read_marker
from logdrift.core.capture.jobs import printable_line
from logdrift.core.capture.models import SMALL_MODEL, small_model_folder
from logdrift.core.capture.recipes import recipe_for
from logdrift.core.config import cache_folder, config_path, load_config, sessions_folder
from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.memory import available_memory
from logdrift.core.numbers import counted, gigabytes
from logdrift.core.version import __version__

Status = Literal["ok", "warning", "broken"]

_GB = 1e9
_ENGINE_MEMORY = 4 * _GB
"""The small model in SGLang takes 2.5 GB on a CPU, and there is a screen and a system
beside it.
"""
_LEAST_MEMORY = 2 * _GB
_ENVIRONMENT_SPACE = 8 * _GB
"""An engine environment takes 2 to 7 GB; making one needs room for its wheels too."""
_SESSION_SPACE = 1 * _GB
_LEAST_SHM = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``remedy`` says in one line what to do; empty where nothing is to
    be done.
    """

    name: str
    status: Status
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``doctor --json`` prints it; its name for the remedy is an older one."""
        return {
            "name": self.name,
            "status": self.status,
            "text": self.text,
            "mend": self.remedy,
        }


def machine_checks(
    cancel: threading.Event,
    sessions: str | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> list[Check]:
    """Every check that needs no terminal, in order. Takes as long as importing the
    slowest engine (10 to 90 s).

    ``told`` hears the name of each engine that is being imported. Raises Cancelled
    after ``cancel``.
    """
    configuration = _configuration()
    found = [_python(), configuration]
    if configuration.status == "broken":  # every folder follows from it
        return [*found, _memory(), _gpu()]
    return [
        *found,
        *_engines(cancel, told),
        _small_model(),
        _gpu(),
        *_shared_memory(),
        _memory(),
        _cache(),
        _sessions(sessions),
    ]


def broken(checks: Iterable[Check]) -> bool:
    """Whether something that is needed does not work."""
    return any(check.status == "broken" for check in checks)


def _python() -> Check:
    text = (
        f"logdrift {__version__}, Python {platform.python_version()},"
        f" {platform.system()} {platform.machine()}"
    )
    if sys.platform != "linux":
        return Check(
            "logdrift",
            "warning",
            text,
            "engines are run on Linux alone: here, open what was captured there",
        )
    return Check("logdrift", "ok", f"{text}, {os.cpu_count()} cores")


def _configuration() -> Check:
    try:
        config = load_config()
    except LogdriftError as error:
        return Check(
            "config",
            "broken",
            printable_line(str(error)),
            "fix the file, or take it away: none is needed",
        )
    if config.source:
        return Check("config", "ok", str(config.source))
    text = f"none ({config_path()} is not there; none is needed)"
    return Check("config", "ok", text)


def _engines(cancel: threading.Event, told: Callable[[str], None]) -> list[Check]:
    interpreters = environments.available()

    def check(name: str) -> Check:
        return _engine(name, interpreters[name], cancel, told)

    # Each thread starts one process, and waits for it.
    with ThreadPoolExecutor(max_workers=len(interpreters)) as pool:
        checks = list(pool.map(check, ENGINES))
    statuses = [check.status for check in checks]
    if "ok" not in statuses:
        return [replace(check, status="broken") for check in checks]
    return checks


def _engine(
    name: str,
    found: Interpreter | LogdriftError,
    cancel: threading.Event,
    told: Callable[[str], None],
) -> Check:
    if isinstance(found, LogdriftError):
        return _no_interpreter(name, found)
    told(name)
    health = environments.check(found, cancel=cancel)
    if health.problem is not None:
        problem = health.problem
        return Check(name, "broken", problem.reason, problem.remedy or "")
    versions = []
    for package, version in health.versions.items():
        versions.append(f"{package} {printable_line(version)}")
    place = f"{found.origin}: {found.python}"
    text = f"{', '.join(versions)}; {health.device}; {place}"
    if _has_older_recipe(name, found):
        return Check(
            name,
            "warning",
            f"{text}; made by an older recipe",
            f"logdrift env create {name}",
        )
    return Check(name, "ok", text)


def _no_interpreter(name: str, error: LogdriftError) -> Check:
    text = error.reason
    if error.where:
        text = f"{error.where}: {text}"
    remedy = f"logdrift env create {name}"
    if isinstance(error, environments.NoInterpreter):
        return Check(name, "warning", printable_line(text), remedy)
    return Check(name, "broken", printable_line(text), remedy)


def _has_older_recipe(name: str, interpreter: Interpreter) -> bool:
    """Whether logdrift made the environment, and would make another one now."""
    if interpreter.origin != "managed":
        return False
    environment = interpreter.python.parent.parent
    marker = read_marker(environment)
    if marker is None:
        return False
    recipe = recipe_for(name, marker.device)
    return marker.recipe != recipe.digest


def _small_model() -> Check:
    folder = small_model_folder()
    if folder.exists():
        return Check("small model", "ok", f"{SMALL_MODEL}: {folder}")
    return Check(
        "small model",
        "warning",
        f"{SMALL_MODEL} is not prepared",
        "logdrift demo fetches it (93 MB) when it is needed",
    )


def _gpu() -> Check:
    """Asked of the driver; none is not an error."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        return _gpu_by_tool(tool)
    if environments.nvidia_gpus():
        text = "a driver is loaded and nvidia-smi is missing"
        return Check("GPU", "warning", text, "put nvidia-smi on PATH")
    return Check("GPU", "ok", "no NVIDIA GPU: engines run on the CPU")


def _gpu_by_tool(tool: str) -> Check:
    try:
        done = subprocess.run(
            [
                tool,
                "--query-gpu=name,driver_version,memory.total,memory.free",
                "--format=csv,noheader",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        text = f"nvidia-smi does not answer: {printable_line(str(error))}"
        return Check("GPU", "warning", text, "run nvidia-smi: the driver is not well")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode != 0 or not lines:
        output = done.stdout + done.stderr
        printed = printable_line(output.strip())
        reason = printed or f"exit status {done.returncode}"
        return Check(
            "GPU",
            "warning",
            f"nvidia-smi fails: {reason}",
            "fix the driver, or go on: engines run on the CPU",
        )
    gpus = "; ".join(_gpu_line(line) for line in lines)
    if not environments.nvidia_gpus():
        gpus += "; hidden by CUDA_VISIBLE_DEVICES: engines run on the CPU"
    return Check("GPU", "ok", gpus)


def _gpu_line(line: str) -> str:
    parts = [printable_line(part.strip()) for part in line.split(",")]
    if len(parts) != 4:
        return printable_line(line)
    return f"{parts[0]}, driver {parts[1]}, {parts[3]} of {parts[2]} free"


def _shared_memory() -> list[Check]:
    """Containers get 64 MB unless told otherwise, and engines on several GPUs then die
    in their first all-reduce.
    """
    if not environments.has_nvidia_gpu():
        return []
    try:
        total = shutil.disk_usage("/dev/shm").total
    except OSError:
        return []
    if total < _LEAST_SHM:
        return [
            Check(
                "shared memory",
                "warning",
                f"/dev/shm has {total / 1e6:.0f} MB",
                "start the container with --shm-size=8g",
            )
        ]
    return [Check("shared memory", "ok", f"/dev/shm has {gigabytes(total)}")]


def _memory() -> Check:
    free = available_memory()
    if free is None:
        return Check("memory", "warning", "unknown on this system", "")
    text = f"{gigabytes(free)} free"
    if free < _LEAST_MEMORY:
        return Check(
            "memory",
            "broken",
            text,
            f"an engine needs {_ENGINE_MEMORY / _GB:.0f} GB even for the small model:"
            " end something",
        )
    if free < _ENGINE_MEMORY:
        return Check(
            "memory",
            "warning",
            text,
            f"engines need {_ENGINE_MEMORY / _GB:.0f} GB for the small model, more for"
            " others",
        )
    return Check("memory", "ok", text)


def _cache() -> Check:
    folder = cache_folder()
    problem = _unwritable(folder)
    if problem is not None:
        return Check(
            "cache",
            "broken",
            f"{folder}: {problem}",
            "set LOGDRIFT_CACHE, or cache = in the config file, to a folder of yours",
        )
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{folder}, {gigabytes(free)} free"
    lacking = [
        name
        for name, found in environments.available().items()
        if isinstance(found, LogdriftError)
    ]
    if lacking and free < _ENVIRONMENT_SPACE:
        return Check(
            "cache",
            "warning",
            text,
            f"an engine environment takes up to {_ENVIRONMENT_SPACE / _GB:.0f} GB: use"
            " --dir or LOGDRIFT_CACHE",
        )
    if free < _SESSION_SPACE:
        return Check(
            "cache",
            "warning",
            text,
            "make room: prepared models and self-tests are kept here",
        )
    return Check("cache", "ok", text)


def _sessions(flag: str | None) -> Check:
    folder = sessions_folder(flag)
    where = folder.absolute()
    if folder.is_file():
        return Check(
            "sessions",
            "broken",
            f"{where} is a file",
            "name a folder with --sessions or LOGDRIFT_SESSIONS",
        )
    problem = _unwritable(folder)
    if problem is not None:
        return Check(
            "sessions",
            "warning",
            f"{where}: {problem}",
            "sessions there can be read; give --out elsewhere for new ones",
        )
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{where} is made when it is needed"
    if folder.is_dir():
        manifests = list(folder.glob("*/session.json"))
        sessions = counted(len(manifests), "session")
        text = f"{where}, {sessions}, {gigabytes(free)} free"
    if free < _SESSION_SPACE:
        return Check(
            "sessions",
            "warning",
            text,
            "make room: a million tokens with top-20 lists take 0.2 GB for each"
            " capture",
        )
    return Check("sessions", "ok", text)


def _existing(folder: Path) -> Path:
    """The folder or the nearest parent that is there."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written in the folder, or where it would be made; None where
    it can. Leaves nothing behind.
    """
    there = _existing(folder)
    if not there.is_dir():
        return f"{there} is a file"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"logdrift")
            file.flush()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None
