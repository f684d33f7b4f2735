"""The question ``weights``: is every tensor that an engine loaded the one on disk? Runs
in the worker.

The files compared with are those of the session's model; where a backend was given a
model of its own, tensors that differ are compared with its own files too. The reading
is done beside the model, by `logdrift.core.worker.weights_read`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.errors import LogdriftError
from logdrift.core.worker.weights_map import snapshot_folder

_READ = "logdrift.core.worker.weights_read:read"


def weights(
    backend: Any, arguments: Mapping[str, Any], out: Path, unpack: str | None = None
) -> dict[str, Any]:
    """``{tensors, tied, config, config_differs, extra, ranks}`` as
    `logdrift.core.session.identity` documents them.

    ``unpack`` is the ``module:function`` that puts a tensor back into the order in
    which an engine loaded it (`logdrift.core.worker.weights_read`).
    """
    model = arguments["model"]
    folder = snapshot_folder(str(model), arguments.get("revision"))
    if folder is None:
        raise LogdriftError(
            f"the session's model {model} is not in this machine's cache:"
            " its files are needed"
        )
    own_model = arguments.get("own_model")
    own_folder = None
    if own_model is not None:
        own_folder = snapshot_folder(str(own_model), arguments.get("own_revision"))
    asked = {
        "folder": str(folder),
        "own": None if own_folder is None else str(own_folder),
        "probing": arguments.get("probing"),
        "unpack": unpack,
    }
    answers = backend.inspect(_READ, asked)
    return {**merged(answers), "own_model": own_model is not None}


def merged(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One answer of those of all ranks: a tensor that differs on one of them differs,
    one that no rank read is unread.
    """
    if not answers:
        raise LogdriftError("no rank of the engine answered")
    for answer in answers:
        if "error" in answer:
            raise LogdriftError(answer["error"])
    tensors: dict[str, Mapping[str, Any]] = {}
    for answer in answers:
        for tensor in answer["tensors"]:
            name = tensor["name"]
            known = tensors.get(name)
            if known is None or _precedence(tensor) < _precedence(known):
                tensors[name] = tensor
    merged_tensors = list(tensors.values())
    return {**answers[0], "tensors": merged_tensors, "ranks": len(answers)}


def _precedence(tensor: Mapping[str, Any]) -> int:
    """Which rank's word counts: 0 where it found a difference, 2 where it read
    nothing.
    """
    is_same = tensor["same"]
    if is_same is None:
        return 2
    return 1 if is_same else 0
