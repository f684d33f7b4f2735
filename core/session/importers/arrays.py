"""Lists of a file as arrays, without a look at each entry by itself.

Each function gives None where some entry is no plain number: `columns` then looks at
every entry, and says which one is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.session.scores import IdArray

_Numbers = npt.NDArray[np.float64]
LARGEST_ID = 2**31 - 1


def quick_ids(values: Sequence[Any]) -> IdArray | None:
    """Whole numbers from 0 to `LARGEST_ID`, i32[n]."""
    ids: IdArray | None = _packed(values, "i", np.int32)
    if ids is None or (ids < 0).any() or _may_hold_flags(ids, values):
        return None
    return ids


def quick_numbers(values: Sequence[Any]) -> _Numbers | None:
    """Numbers, f64[n]; NaN for None."""
    numbers: _Numbers | None = _packed(values, "d", np.float64)
    if numbers is None:
        return _with_none(values)
    if _may_hold_flags(numbers, values):
        return None
    return numbers


def _packed(values: Sequence[Any], kind: str, dtype: Any) -> Any:
    """An array of these numbers. None where one is no number of this kind, or too
    large. `struct` is twice as fast as NumPy, and takes no text for a number.
    """
    size = np.dtype(dtype).itemsize
    data = bytearray(size * len(values))
    try:
        struct.pack_into(f"={len(values)}{kind}", data, 0, *values)
    except (struct.error, OverflowError):
        return None
    return np.frombuffer(data, dtype)


def _may_hold_flags(numbers: npt.NDArray[Any], values: Sequence[Any]) -> bool:
    """Some value is true or false, which became 1 or 0."""
    may_be_flags = (numbers == 0) | (numbers == 1)
    return bool(may_be_flags.any()) and bool in set(map(type, values))


def _with_none(values: Sequence[Any]) -> _Numbers | None:
    if not set(map(type, values)) <= {float, int, type(None)}:
        return None
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return None
