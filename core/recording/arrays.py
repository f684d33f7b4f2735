"""Tensors of any framework as NumPy arrays, by what they can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import InputError

Array = npt.NDArray[Any]


def copied(value: Any, dtype: Any, name: str) -> Array:
    """A copy of ``value``, a tensor, an array or a list, on the CPU: a trainer may
    write over its own at once. Raises InputError for what has no such form.
    """
    if isinstance(value, np.ndarray):
        return value.astype(dtype)
    try:
        return np.array(_on_cpu(value, dtype), dtype)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} is not a tensor, array or list of numbers: {error}"
        ) from None


def _on_cpu(value: Any, dtype: Any) -> Any:
    """What NumPy can read."""
    if hasattr(value, "detach"):
        value = value.detach()
    is_real = np.issubdtype(dtype, np.floating)
    if is_real and hasattr(value, "float"):
        value = value.float()  # NumPy has no bfloat16
    if hasattr(value, "cpu"):
        value = value.cpu()
    if hasattr(value, "numpy"):
        value = value.numpy()
    return value


def copied_rows(value: Any, dtype: Any, name: str) -> Sequence[Array]:
    """The rows of a tensor of two dimensions, or the arrays of a list. Raises
    InputError.
    """
    if isinstance(value, list | tuple):
        return [copied(row, dtype, name) for row in value]
    table = copied(value, dtype, name)
    if table.ndim != 2:
        raise InputError(f"{name} has {table.ndim} dimensions: give 2, a row each")
    return list(table)
