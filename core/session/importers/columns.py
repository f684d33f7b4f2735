"""Lists of a file as columns of numbers.

Files come from anywhere, so every value is checked here; an error names the file and
the line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList
from logdrift.core.session.importers.arrays import (
    LARGEST_ID,
    quick_ids,
    quick_numbers,
)
from logdrift.core.session.scores import FlagArray, FloatArray, IdArray, Scores

Array = npt.NDArray[Any]

Entry = tuple[int, float]
"""One alternative of a token: (id, log-probability in nats)."""
Row = list[Entry]
"""The alternatives of one token."""

MINUS_INFINITY = -9999.0
"""What servers write where JSON has no -inf (vLLM: -9999.0 exactly); no logits of a
model lie this far apart.
"""
_NUMBERS_AS_TEXT: Mapping[str, float] = {
    "nan": math.nan,
    "-infinity": -math.inf,
    "-inf": -math.inf,
}
"""Texts in place of numbers: protobuf's JSON writes "NaN" and "-Infinity", a Python
repr "nan" and "-inf".
"""
_SLACK = 1e-3
"""A log-probability a little above 0, in nats: rounding of bfloat16 and float16 logits
gives that.
"""


def is_whole(value: Any, most: int = LARGEST_ID) -> bool:
    """A whole number from 0 to ``most``, and no truth value."""
    if not isinstance(value, int):
        return False
    if isinstance(value, bool):
        return False
    return 0 <= value <= most


def is_real(value: Any) -> bool:
    """A number, NaN and infinity included, and no truth value."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float)


def ids_of(value: Any, place: Place, key: str = "token_ids") -> IdArray:
    """Token ids, i32[n] with n >= 1. Raises InputError."""
    if not isinstance(value, list) or not value:
        raise place.error(f"{key} is not a list with at least one id")
    ids = quick_ids(value)
    if ids is not None:
        return ids
    for index, item in enumerate(value):
        if not is_whole(item):
            raise place.error(f"{key}[{index}] is {item!r}", "give an id, 0 or more")
    return np.asarray(value, np.int32)


def length_of(value: Any, tokens: int, place: Place) -> int:
    """The prompt's length, 0 to ``tokens``. Raises InputError."""
    if not is_whole(value, tokens):
        remedy = f"give a number from 0 to {tokens}"
        raise place.error(f"prompt_length is {value!r}", remedy)
    length: int = value
    return length


def spread(values: Any, tokens: int, prompt: int, place: Place, key: str) -> JsonList:
    """A list of one entry per token: as it is, or of the completion alone, with None
    before. Raises InputError.
    """
    if not isinstance(values, list):
        raise place.error(f"{key} is not a list")
    if len(values) == tokens:
        return values
    completion = tokens - prompt
    if len(values) == completion:
        before = [None] * prompt
        return before + values
    raise place.error(
        f"{key} has {len(values)} entries: the sequence has {tokens} tokens, its"
        f" completion {completion}"
    )


def scores_of(
    values: JsonList,
    place: Place,
    key: str,
    entropy: FloatArray | None = None,
    first: bool = False,
) -> Scores:
    """A column of log-probabilities, None where there is no score, as scores without
    ranks and alternatives.

    It keeps apart what `logprobs_of` alone cannot: a token that was not scored, and one
    whose score is NaN. ``first`` is that of `logprobs_of`. Raises InputError.
    """
    tokens = len(values)
    no_alternatives = (tokens, 0)
    return Scores(
        logprob=logprobs_of(values, place, key, first),
        rank=np.zeros(tokens, np.int32),
        top_ids=np.empty(no_alternatives, np.int32),
        top_logprobs=np.empty(no_alternatives, np.float32),
        entropy=entropy,
        nan=nan_of(values, first),
    )


def nan_of(values: JsonList, first: bool = False) -> FlagArray | None:
    """u8[n]: 1 where a value is NaN itself (a number, or a text that says so), not
    None; None where none is.

    The first token has no score, whatever stands there, but for ``first``
    (`logprobs_of`).
    """
    numbers = quick_numbers(values)
    if numbers is not None and np.isnan(numbers).sum() == values.count(None):
        return None
    are_nan = [_is_nan(value) for value in values]
    flags = np.asarray(are_nan, np.uint8)
    if not first:
        flags[:1] = 0
    if flags.any():
        return flags
    return None


def _is_nan(value: Any) -> bool:
    number = _as_number(value)
    if isinstance(number, float):
        return math.isnan(number)
    return False


def _as_number(value: Any) -> Any:
    """A number where a text says NaN or minus infinity, which strict JSON has no other
    way to write; else the value.
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    return _NUMBERS_AS_TEXT.get(text, value)


def logprobs_of(
    values: JsonList, place: Place, key: str, first: bool = False
) -> FloatArray:
    """Log-probabilities, f32[n] in nats; None and the first token's become NaN,
    sentinels -inf. Raises InputError.

    ``first`` says that the first entry is a score: the ids before it are known to its
    author and not in the sequence. A NaN of the file itself stays NaN: `nan_of` tells
    where, and `scores_of` does both.
    """
    numbers = quick_numbers(values)
    if numbers is None or (numbers > _SLACK).any():
        out = _each_logprob(values, place, key)
    else:
        numbers[numbers <= MINUS_INFINITY] = -np.inf
        out = numbers.astype(np.float32)
    if not first:
        out[:1] = np.nan
    return out


def _each_logprob(values: JsonList, place: Place, key: str) -> FloatArray:
    numbers = []
    for index, value in enumerate(values):
        number = _logprob(value, place, f"{key}[{index}]")
        numbers.append(number)
    return np.asarray(numbers, np.float32)


def _logprob(value: Any, place: Place, key: str) -> float:
    number = _as_number(value)
    if number is None:
        return math.nan
    if not is_real(number):
        raise place.error(f"{key} is {number!r}", "give a log-probability or null")
    if number > _SLACK:
        raise place.error(
            f"{key} is {number:g}",
            "a log-probability is at most 0 (a probability? give its logarithm)",
        )
    if number <= MINUS_INFINITY:
        return -math.inf
    return float(number)


def entropy_of(
    values: JsonList, place: Place, key: str, first: bool = False
) -> FloatArray:
    """Entropies, f32[n] in nats; None becomes NaN, and so does the first token's, but
    for ``first`` (`logprobs_of`).

    Raises InputError.
    """
    numbers = quick_numbers(values)
    if numbers is None or (numbers < -_SLACK).any():
        out = _each_entropy(values, place, key)
    else:
        out = numbers.astype(np.float32)
    if not first:
        out[:1] = np.nan
    return out


def _each_entropy(values: JsonList, place: Place, key: str) -> FloatArray:
    numbers = []
    for index, value in enumerate(values):
        if value is None:
            numbers.append(math.nan)
            continue
        if not is_real(value) or value < -_SLACK:
            remedy = "give an entropy in nats or null"
            raise place.error(f"{key}[{index}] is {value!r}", remedy)
        numbers.append(value)
    return np.asarray(numbers, np.float32)


def ranks_of(values: JsonList, place: Place, key: str) -> IdArray:
    """Ranks, i32[n]: 1 is the most likely, None becomes 0 (unknown). Raises
    InputError.
    """
    if values.count(None) == len(values):
        return np.zeros(len(values), np.int32)
    ranks = []
    for index, value in enumerate(values):
        if value is None:
            ranks.append(0)
            continue
        if not is_whole(value):
            remedy = "give a rank, 1 for the most likely id, or null"
            raise place.error(f"{key}[{index}] is {value!r}", remedy)
        ranks.append(value)
    return np.asarray(ranks, np.int32)
