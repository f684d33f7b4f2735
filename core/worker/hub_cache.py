"""Files of a model found and read without the libraries of the hub, in logdrift's own
interpreter.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from logdrift.core.errors import InputError
from logdrift.core.session.files import SMALL_BYTES, read_json

_CONFIG = "config.json"


def cached_folder(model: str, revision: str | None) -> Path | None:
    """The folder of a snapshot in the cache of huggingface_hub: ``models--OWNER--NAME``
    with ``refs/REVISION``, which names one of its ``snapshots``. None where it is not
    there.
    """
    folder = _cache() / f"models--{model.replace('/', '--')}"
    name = revision or "main"
    reference = folder / "refs" / name
    try:
        if reference.is_file():
            name = reference.read_text("ascii").strip()
        found = folder / "snapshots" / name
        if found.is_dir():
            return found
    except (OSError, ValueError):
        return None
    return None


def model_folder(model: str, revision: str | None) -> Path:
    """``model`` itself where it is a folder, else its snapshot in the hub's cache.
    Raises InputError where this machine holds neither.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    cached = cached_folder(model, revision)
    if cached is None:
        raise InputError(
            f"model {model} is not on this machine",
            field="model",
            remedy="give its folder",
        )
    return cached


def plain_config(model: str, revision: str | None) -> SimpleNamespace:
    """The fields of the text model in ``config.json``. Raises InputError."""
    path = model_folder(model, revision) / _CONFIG
    try:
        data = read_json(path, SMALL_BYTES)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error}"
        raise InputError(reason, field="model", file=path) from None
    fields = data.get("text_config", data)
    return SimpleNamespace(**fields)


def _cache() -> Path:
    """As huggingface_hub's constants have it."""
    named = os.environ.get("HF_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"
