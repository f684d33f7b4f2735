"""Which devices a backend occupies, so that only those run at once that share none."""

from __future__ import annotations

from logdrift.core.capture.start import on_cpu
from logdrift.core.plan import BackendSpec

Devices = frozenset[str]
"""``cpu``, numbers of GPUs, or ``*`` for whatever GPUs an engine takes."""
CPU: Devices = frozenset({"cpu"})
_ANY_GPU: Devices = frozenset({"*"})


def devices_of(spec: BackendSpec) -> Devices:
    """What a backend occupies: nothing of ours where it asks a running server."""
    if spec.server is not None:
        return frozenset()
    if on_cpu(spec):
        return CPU
    if spec.gpus is None:
        return _ANY_GPU
    return frozenset(spec.gpus.split(","))


def overlap(a: Devices, b: Devices) -> bool:
    """Whether two backends may want the same device."""
    if a & b:
        return True
    if a == CPU or b == CPU:
        return False
    return _ANY_GPU in (a, b)
