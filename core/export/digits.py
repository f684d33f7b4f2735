"""Numbers as text from which the same bits are read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

SPECIAL = {"nan": "null", "-inf": '"-Infinity"', "inf": '"Infinity"'}
"""What JSON has no number for."""
_WITH_SIGN = {"-0": "-0.0"}
"""-0 without a point is a whole number, which has no sign."""


def number_texts(values: Array) -> list[str]:
    """Each number in as many digits as its dtype needs.

    float32 has 9, from which it is read back exactly, also where a reader goes by
    way of float64: 9 digits lie within 5e-9 of the number, and half the distance to the
    next float32 is 3e-8 of it or more (Goldberg 1991, theorem 15). float64 has 17.
    """
    count = len(values)
    if not count:
        return []
    digits = "%.9g "
    if values.dtype.itemsize == 8:
        digits = "%.17g "
    form = digits * count
    numbers = tuple(values.tolist())
    texts = (form % numbers).split()
    return [_WITH_SIGN.get(text, text) for text in texts]


def json_numbers(values: Array) -> list[str]:
    """Each number as JSON: null where it is NaN, the text "-Infinity" where it is
    that.
    """
    return [SPECIAL.get(text, text) for text in number_texts(values)]
