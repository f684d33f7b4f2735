"""Question ``layers`` for vLLM: its models have a method that applies the head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logdrift.core.worker import layers as common


def layers(backend: Any, arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Answer the question (`logdrift.core.worker.layers.ask`)."""
    return common.ask(backend, arguments, out, __name__)


def arm(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Runs beside the model (`logdrift.core.worker.layers.arm`)."""
    return common.arm(model, arguments)


def collect(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Runs beside the model (`logdrift.core.worker.layers.collect`)."""
    return common.collect(arguments, getattr(model, "compute_logits", None))
