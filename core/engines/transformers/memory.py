"""How much memory is free where a model runs."""

from __future__ import annotations

import gc
from typing import Any

import torch

from logdrift.core.memory import available_memory


def free_what_is_left() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_memory(device: Any) -> int | None:
    """Bytes that may still be taken on a device; None where it cannot be seen."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use is free for the next tensor.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    if device.type == "cpu":
        return available_memory()
    return None
