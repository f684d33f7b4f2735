"""Lists of a file as arrays, without a look at each entry by itself.

Each function gives None where some entry is no plain number: `columns` then looks at
every entry, and says which one is wrong.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.session.files import JsonList
from logdrift.core.session.scores import IdArray

_Numbers = npt.NDArray[np.float64]
LARGEST_ID = 2**31 - 1
_KINDS = {float, int, type(None)}


def quick_ids(values: JsonList) -> IdArray | None:
    """Whole numbers from 0 to `LARGEST_ID`, i32[n]."""
    ids: IdArray | None = _packed(values, "i", np.int32)
    if ids is None:
        return None
    is_negative = ids < 0
    if is_negative.any():
        return None
    if _holds_flags(ids, values):
        return None
    return ids


def quick_numbers(values: JsonList) -> _Numbers | None:
    """Numbers, f64[n]; NaN for None."""
    numbers: _Numbers | None = _packed(values, "d", np.float64)
    if numbers is None:
        return _with_none(values)
    if _holds_flags(numbers, values):
        return None
    return numbers


def _packed(values: JsonList, kind: str, dtype: Any) -> Any:
    """An array of these numbers. None where one is no number of this kind, or too
    large. `struct` is twice as fast as NumPy, and takes no text for a number.
    """
    entries = len(values)
    size = np.dtype(dtype).itemsize
    data = bytearray(size * entries)
    layout = f"={entries}{kind}"
    try:
        struct.pack_into(layout, data, 0, *values)
    except (struct.error, OverflowError):
        return None
    return np.frombuffer(data, dtype)


def _holds_flags(numbers: npt.NDArray[Any], values: JsonList) -> bool:
    """Some value is true or false, which became 1 or 0."""
    may_be_flag = (numbers == 0) | (numbers == 1)
    if not may_be_flag.any():
        return False
    return bool in _kinds(values)


def _kinds(values: JsonList) -> set[type]:
    return set(map(type, values))


def _with_none(values: JsonList) -> _Numbers | None:
    others = _kinds(values) - _KINDS
    if others:
        return None
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return None
