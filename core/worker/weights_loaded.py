"""The tensors of a loaded model, and what they show of the model as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.worker.weights_files import FLOATS
from logdrift.core.worker.weights_map import Names, is_embedding, is_head

Tensor = Any
NamedTensor = tuple[str, Tensor]


def loaded_tensors(model: Any, names: Names) -> list[NamedTensor]:
    """Parameters, and those buffers that a checkpoint stores, under all of their
    names.
    """
    loaded = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        loaded.append((name, parameter.detach()))
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if names.find(name):
            loaded.append((name, buffer.detach()))
    return loaded


def with_entries(loaded: Sequence[NamedTensor]) -> list[NamedTensor]:
    """Those that have entries: the engine did not empty them."""
    return [(name, tensor) for name, tensor in loaded if tensor.numel()]


def without_aliases(loaded: Sequence[NamedTensor]) -> Iterator[NamedTensor]:
    """One tensor under two names, as a tied head is, goes by the first of them."""
    seen = set()
    for name, tensor in loaded:
        place = (
            tensor.data_ptr(),
            tuple(tensor.shape),
            tensor.stride(),
            tensor.dtype,
        )
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        yield name, tensor


def compute_dtype(loaded: Sequence[NamedTensor]) -> Any:
    """The dtype of the first matrix of numbers; None where there is none."""
    for _, tensor in loaded:
        is_matrix = tensor.ndim == 2
        if is_matrix and tensor.dtype in FLOATS:
            return tensor.dtype
    return None


def fused_names(model: Any) -> dict[str, Sequence[str]]:
    """What the model's class says that it fuses: name -> names of its parts."""
    mapping = getattr(model, "packed_modules_mapping", None)
    if not isinstance(mapping, Mapping):
        return {}
    packed: dict[str, Sequence[str]] = {}
    for fused, parts in mapping.items():
        if isinstance(parts, (list, tuple)):
            packed[fused] = parts
    return packed


def is_tied(loaded: Sequence[NamedTensor]) -> bool | None:
    """Whether head and input embedding are one tensor; None where one of them cannot be
    seen.
    """
    filled = with_entries(loaded)
    heads = [tensor for name, tensor in filled if is_head(name)]
    inputs = [tensor for name, tensor in filled if is_embedding(name)]
    if not inputs:
        return None
    if not heads:
        # SGLang and vLLM may call one module by one name only.
        has_an_empty_head = any(is_head(name) for name, _ in loaded)
        return None if has_an_empty_head else True
    head_address = heads[0].data_ptr()
    input_address = inputs[0].data_ptr()
    return bool(head_address == input_address)
