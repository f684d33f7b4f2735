"""Lines of the format ``jsonl`` that say ``"exact": true``: every number stands as it
is, for a session that comes back bit for bit (`logdrift.core.export.jsonl` writes
them).

Elsewhere a file's numbers are looked at: what only fills a list up is left out, -9999
is minus infinity, alternatives are sorted and merged. Here nothing is, and each list
has an entry for each token.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.columns import is_real, is_whole
from logdrift.core.session.parts import RANGES
from logdrift.core.session.scores import FlagArray, FloatArray, IdArray, Scores
from logdrift.core.session.weight_versions import VersionSpans

Array = npt.NDArray[Any]

_AS_TEXT = {"NaN": math.nan, "-Infinity": -math.inf}
"""What JSON has no number for."""
_PADDING = -1
"""The id of an alternative that is not there."""


def is_exact(data: JsonObject, place: Place) -> bool:
    """The line's numbers stand as they are. Raises InputError for another value than
    true and false.
    """
    exact = data.get("exact", False)
    if not isinstance(exact, bool):
        raise place.error(f"exact is {exact!r}", "give true, or leave it out")
    return exact


def exact_scores(
    body: JsonObject, tokens: int, versions: VersionSpans | None, place: Place
) -> Scores:
    """The scores of a capture in a line of ``tokens`` ids, sampled with the weights of
    ``versions``. Raises InputError.
    """
    logprobs = _list(body, "logprobs", tokens, place)
    unknown = [None] * tokens
    ranks = unknown
    if "ranks" in body:
        ranks = _list(body, "ranks", tokens, place)
    entropy = None
    if "entropy" in body:
        values = _list(body, "entropy", tokens, place)
        entropy = _floats(values, place, "entropy")
    top_ids, top_logprobs = _alternatives(body, tokens, place)
    return Scores(
        logprob=_floats(logprobs, place, "logprobs", "logprob"),
        rank=_ranks(ranks, place),
        top_ids=top_ids,
        top_logprobs=top_logprobs,
        entropy=entropy,
        nan=_nan(logprobs),
        versions=versions,
    )


def exact_pieces(data: JsonObject, place: Place) -> dict[int, bytes]:
    """The bytes of ids, given as base64 by id. Raises InputError."""
    given = data.get("pieces", {})
    if not isinstance(given, dict):
        raise place.error("pieces is not an object", 'give {"30010": "base64"}')
    pieces = {}
    for name, text in given.items():
        is_id = name.isascii() and name.isdigit()
        if not is_id or not isinstance(text, str):
            raise place.error(f"pieces.{name} is no id with a text")
        try:
            pieces[int(name)] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise place.error(f"pieces.{name} is not base64") from None
    return pieces


def _list(body: JsonObject, name: str, tokens: int, place: Place) -> list[Any]:
    values = body.get(name)
    if not isinstance(values, list):
        raise place.error(f"{name} is not a list")
    if len(values) != tokens:
        raise place.error(
            f"{name} has {len(values)} entries, the sequence {tokens} tokens",
            "an exact line has an entry for each token, null where there is none",
        )
    return values


def _floats(
    values: Sequence[Any], place: Place, name: str, kind: str = "entropy"
) -> FloatArray:
    """f32[n] in nats; null is NaN. Raises InputError for what is no number, or none of
    its ``kind`` (`logdrift.core.session.parts.RANGES`).
    """
    numbers = [_float(value, place, name) for value in values]
    out = np.asarray(numbers, np.float32)
    low, high = RANGES[kind]
    is_low = out < low
    is_low &= out != -np.inf
    is_high = out > high
    is_out = is_low | is_high
    if is_out.any():
        first, *_ = out[is_out]
        raise place.error(
            f"{name} holds {first:g}", f"give a number from {low:g} to {high:g}"
        )
    return out


def _float(value: Any, place: Place, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str) and value in _AS_TEXT:
        return _AS_TEXT[value]
    if is_real(value):
        return float(value)
    raise place.error(f"{name} holds {value!r}", "give a number or null")


def _ranks(values: Sequence[Any], place: Place) -> IdArray:
    ranks = []
    for value in values:
        rank = 0 if value is None else value
        if not is_whole(rank):
            raise place.error(f"ranks holds {value!r}", "give a rank or null")
        ranks.append(rank)
    return np.asarray(ranks, np.int32)


def _nan(values: Sequence[Any]) -> FlagArray | None:
    """Where a score was computed and is NaN; None where none is."""
    are_nan = [_is_nan(value) for value in values]
    flags = np.asarray(are_nan, np.uint8)
    if flags.any():
        return flags
    return None


def _is_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return bool(value == "NaN")


def _alternatives(
    body: JsonObject, tokens: int, place: Place
) -> tuple[IdArray, FloatArray]:
    """(top_ids i32[n, k], top_logprobs f32[n, k]) as they stand; null is a row that
    lists nothing.
    """
    has_ids = "top_ids" in body
    has_logprobs = "top_logprobs" in body
    if has_ids != has_logprobs:
        raise place.error("only one of top_ids and top_logprobs", "give both")
    if not has_ids:
        nothing = (tokens, 0)
        return np.empty(nothing, np.int32), np.empty(nothing, np.float32)
    id_rows = _list(body, "top_ids", tokens, place)
    logprob_rows = _list(body, "top_logprobs", tokens, place)
    width = _width(id_rows)
    listed = [row is not None for row in id_rows]
    shape = (tokens, width)
    ids = np.full(shape, _PADDING, np.int32)
    logprobs = np.full(shape, np.nan, np.float32)
    flat_ids = _flat(id_rows, listed, width, place, "top_ids")
    flat_logprobs = _flat(logprob_rows, listed, width, place, "top_logprobs")
    ids[listed] = _ids(flat_ids, place).reshape(-1, width)
    numbers = _floats(flat_logprobs, place, "top_logprobs", "top_logprobs")
    logprobs[listed] = numbers.reshape(-1, width)
    return ids, logprobs


def _width(rows: Sequence[Any]) -> int:
    for row in rows:
        if isinstance(row, list):
            return len(row)
    return 0


def _flat(
    rows: Sequence[Any], listed: Sequence[bool], width: int, place: Place, name: str
) -> list[Any]:
    """The entries of all rows that are ``listed``. Raises InputError where a row has
    not ``width`` of them, or is not null where the other list's is.
    """
    entries: list[Any] = []
    for row, is_listed in zip(rows, listed, strict=True):
        if not is_listed and row is None:
            continue
        fits = is_listed and isinstance(row, list) and len(row) == width
        if not fits:
            raise place.error(
                f"{name} is not a table",
                f"give {width} entries or null in each row of both lists",
            )
        entries += row
    return entries


def _ids(values: Sequence[Any], place: Place) -> IdArray:
    for value in values:
        if not is_whole(value) and value != _PADDING:
            raise place.error(f"top_ids holds {value!r}", "give an id, or -1 for none")
    return np.asarray(values, np.int32)
