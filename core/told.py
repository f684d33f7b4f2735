"""The facts that users can state of numbers from elsewhere, where no engine was there
to observe them.

One spelling and one check for every place in which they can stand: lines of prompts
(`logdrift.core.capture.prompt_lines`), lines of the jsonl format and ``import --fact``
(`logdrift.core.session.importers`). They enter a capture's `logdrift.core.facts.Facts`,
which lists them under ``told``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.facts import Facts

_MODES = {
    "raw": "raw",
    "raw_logprobs": "raw",
    "processed": "processed",
    "processed_logprobs": "processed",
    "temperature_scaled": "temperature_scaled",
}
"""vLLM's names for its ``logprobs_mode`` mean the same."""
_DTYPES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
    "fp64": "float64",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "float32": "float32",
    "float64": "float64",
    "fp8": "fp8",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
    "int8": "int8",
    "int4": "int4",
}
_LONGEST = 100
"""Characters of a name or version: what a column of a report still shows."""
_TYPO = 0.85
"""Similarity (difflib's ratio) from which an unknown dtype is taken for a known one
with a typing error.
"""


def value_of(key: str, value: Any, where: str) -> Any:
    """The value of a fact as `Facts` has it. ``where`` names the place for errors.
    Raises InputError.
    """
    return _READERS[key](value, where)


def _number(value: Any, low: float, high: float, words: str, where: str) -> float:
    """A number from ``low`` to ``high``. Raises InputError with what is wanted,
    ``words``.
    """
    try:
        if isinstance(value, bool):
            number = math.nan
        else:
            number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise InputError(f"{where} is {value!r}: give {words}")
    return number


def _temperature(value: Any, where: str) -> float:
    return _number(value, 0.0, 1e6, "a temperature, 0 or more (0: greedy)", where)


def _top_p(value: Any, where: str) -> float:
    words = "a share above 0, up to 1 (1: nothing is cut off)"
    share = _number(value, 0.0, 1.0, words, where)
    if share == 0.0:
        raise InputError(f"{where} is 0: give {words}")
    return share


def _min_p(value: Any, where: str) -> float:
    return _number(value, 0.0, 1.0, "a share from 0 (nothing is cut off) to 1", where)


def _top_k(value: Any, where: str) -> int:
    words = "a whole number, 0 or -1 for no limit"
    number = _number(value, -1, 2**31 - 1, words, where)
    if number != int(number):
        raise InputError(f"{where} is {value!r}: give {words}")
    return max(0, int(number))


def _mode(value: Any, where: str) -> str:
    if not isinstance(value, str) or value not in _MODES:
        near = difflib.get_close_matches(str(value), _MODES, n=1)
        if near:
            remedy = f"did you mean {near[0]!r}?"
        else:
            remedy = "use raw, processed or temperature_scaled"
        raise InputError(f"{where} is {value!r}: {remedy}")
    return _MODES[value]


def _dtype(value: Any, where: str) -> str:
    word = _short_text(value, where)
    if word in _DTYPES:
        return _DTYPES[word]
    near = difflib.get_close_matches(word, _DTYPES, n=1, cutoff=_TYPO)
    if near:
        raise InputError(f"{where} is {value!r}: did you mean {near[0]!r}?")
    return word


def _short_text(value: Any, where: str) -> str:
    if isinstance(value, str):
        text = value.strip()
    else:
        text = ""
    if not text or not text.isprintable() or len(text) > _LONGEST:
        raise InputError(
            f"{where} is {value!r}: give a short text, such as a name or a version"
        )
    return text


def _version(value: Any, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _short_text(value, where)


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "temperature": _temperature,
    "top_p": _top_p,
    "top_k": _top_k,
    "min_p": _min_p,
    "logprobs_mode": _mode,
    "dtype": _dtype,
    "engine": _short_text,
    "engine_version": _version,
    "torch_version": _version,
    "weight_version": _version,
}
TELLABLE = tuple(_READERS)
"""The facts that a user can state, as they are spelt in lines and in ``--fact``."""


def facts_of(
    path: str, told: Mapping[str, Any], observed: Mapping[str, Any]
) -> Facts | None:
    """The facts of a capture along ``path``: what a user stated (``told``), and what an
    engine wrote itself; None: neither.

    A stated ``logprobs_mode`` is that of the path; numbers that were recorded may be of
    either.
    """
    if not told and not observed:
        return None
    return with_told(Facts(**observed), path, told)


def with_told(facts: Facts, path: str, told: Mapping[str, Any]) -> Facts:
    """The facts of a capture along ``path``, with what a user stated (``told``)."""
    values = dict(told)
    mode = values.pop("logprobs_mode", None)
    if mode is not None:
        values |= dict.fromkeys(_mode_fields(path), mode)
    names = {*facts.told, *values}
    return facts._replace(**values, told=tuple(sorted(names)))


def mode_of(path: str, facts: Facts) -> str | None:
    """The ``logprobs_mode`` of a capture along ``path`` with these facts; None where it
    is unknown, or not the same in each of them.
    """
    fields = _mode_fields(path)
    modes: set[str | None] = {getattr(facts, name) for name in fields}
    if len(modes) > 1:
        return None
    return modes.pop()


def _mode_fields(path: str) -> tuple[str, ...]:
    if path == "recorded":
        return ("decode_logprobs", "prefill_logprobs")
    if path == "prefill":
        return ("prefill_logprobs",)
    return ("decode_logprobs",)
