"""Question ``weights`` for vLLM: experts that it keeps in the order of its CPU kernel,
put back into the order in which they were loaded.

The order is learned from vLLM itself: its own packing function is given tensors of the
shape and dtype that it packed before, which hold the places of their entries, digit by
digit. Nothing here knows the order, and an order that cannot be learned as one that
moves every entry and loses none is no order.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from logdrift.core.worker import weights as common

Tensor = Any

_BASE = 128
"""The largest power of two whose digits every floating dtype holds exactly: bfloat16
has 8 bits of precision.
"""


def weights(backend: Any, arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Answer the question (`logdrift.core.worker.weights.weights`)."""
    return common.weights(backend, arguments, out, f"{__name__}:in_loading_order")


def in_loading_order(module: Any, tensor: Tensor) -> Tensor | None:
    """``tensor``, weights of the experts in ``module``, as vLLM's loader filled it;
    None where that cannot be known.
    """
    pack = _packing_of(module)
    if pack is None or tensor.device.type != "cpu" or tensor.ndim != 3:
        return None
    try:
        order = _order(pack, tensor)
    # another release of vLLM: the tensor stays unread, with the reason that it has by
    # then
    except Exception:
        return None
    if order is None:
        return None
    found = torch.empty_like(tensor).reshape(-1)
    found[order] = tensor.reshape(-1)
    return found.reshape(tensor.shape)


def _packing_of(module: Any) -> Callable[[Tensor], Tensor] | None:
    """The function that packed the weights of ``module``; None where none did, or
    another than the known one.
    """
    kernel = getattr(getattr(module, "quant_method", None), "moe_kernel", None)
    experts = getattr(kernel, "fused_experts", None)
    isa = getattr(experts, "isa", None)
    if not isinstance(isa, str) or getattr(experts, "_use_zentorch", True):
        return None
    try:
        pack = importlib.import_module("vllm._custom_ops").cpu_prepack_moe_weight
    except (ImportError, AttributeError):
        return None
    return lambda weight: pack(weight, isa)


def _order(pack: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor | None:
    """i64[entries]: where the entry at each place of a packed tensor came from."""
    entries = tensor.numel()
    rest = torch.arange(entries)
    order = torch.zeros(entries, dtype=torch.int64)
    worth = 1
    while worth < entries:
        digits = (rest % _BASE).to(tensor.dtype).reshape(tensor.shape)
        order += worth * pack(digits).reshape(-1).long()
        rest //= _BASE
        worth *= _BASE
    moved_all = int(order.min()) >= 0 and int(order.max()) < entries
    if moved_all and int(torch.bincount(order, minlength=entries).max()) == 1:
        return order
    return None
