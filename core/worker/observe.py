"""What every engine's Facts have in common: versions, device and environment, as this
process sees them.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from logdrift.core.credentials import hides_variable, secret_in
from logdrift.core.engines import TRAINER, all_names

ENVIRONMENT_PREFIXES = (
    "TORCH_",
    "CUBLAS",
    "CUDA_",
    "NCCL_",
    "OMP_",
    "MKL_",
    "PYTORCH_",
    *all_names(lambda engine: engine.numbers.prefixes),
)
_ADDRESSES = ("_IP", "_HOST", "_HOSTNAME", "_COMM_ID", "_ADDR", "_IFNAME")


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that can change an engine's numbers, sorted; never one that looks
    like a credential by name or value, and none that is a path or an address: those
    name a machine and change no number.
    """
    all_variables = os.environ if variables is None else variables
    return {
        name: value
        for name, value in sorted(all_variables.items())
        if name.startswith(ENVIRONMENT_PREFIXES) and _may_be_kept(name, value)
    }


def _may_be_kept(name: str, value: str) -> bool:
    if hides_variable(name) or secret_in(value) is not None:
        return False
    names_a_place = value.startswith(("/", "~")) or "://" in value
    return not names_a_place and not name.endswith(_ADDRESSES)


def version_of(distributions: Sequence[str]) -> str | None:
    """Version of the first of ``distributions`` that is installed in this interpreter,
    None where none is.
    """
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def versions(engine: str, distributions: Sequence[str]) -> dict[str, Any]:
    """Facts fields ``engine`` and ``*_version``. Torch tells of CUDA only where it was
    built with it.
    """
    import torch

    return {
        "engine": engine,
        "engine_version": version_of(distributions),
        "python_version": platform.python_version(),
        "torch_version": str(torch.__version__),
        "transformers_version": version_of((TRAINER,)),
        "cuda_version": torch.version.cuda,
        "driver_version": _driver_version(),
    }


def device(kind: str) -> dict[str, Any]:
    """Facts fields ``device``, ``device_name``, ``device_count`` and ``threads`` for
    torch device type ``kind``.

    ``threads`` is torch's count in this process: an engine that computes in a child
    must overwrite it with what the child says.
    """
    import torch

    if kind == "cuda":
        count = torch.cuda.device_count()
        return {
            "device": kind,
            "device_name": torch.cuda.get_device_name(0) if count else None,
            "device_count": count,
        }
    known = {"device_name": _cpu_name(), "device_count": 1}
    unknown = {"device_name": None, "device_count": None}
    return {
        "device": kind,
        **(known if kind == "cpu" else unknown),
        "threads": torch.get_num_threads(),
    }


def dtype_name(dtype: Any) -> str | None:
    """``torch.bfloat16`` -> ``bfloat16``; None stays None."""
    if dtype is None:
        return None
    return str(dtype).removeprefix("torch.")


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: what it cannot becomes its text."""
    return json.loads(json.dumps(value, default=str))


def _driver_version() -> str | None:
    try:
        with open(
            "/proc/driver/nvidia/version", encoding="ascii", errors="replace"
        ) as file:
            words = file.readline().split()
    except OSError:
        return None
    return next(
        (word for word in words if word[:1].isdigit() and word.count(".") >= 1), None
    )


def _cpu_name() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    if not lines:
        return platform.processor() or None
    return lines[0].partition(":")[2].strip()
