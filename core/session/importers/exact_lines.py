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
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import Place
from logdrift.core.facts import Facts
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import is_real, is_whole
from logdrift.core.session.importers.likely import IdsAndLogprobs, empty_lists
from logdrift.core.session.importers.records import Pieces
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
    body: JsonObject,
    tokens: int,
    versions: VersionSpans | None,
    place: Place,
) -> Scores:
    """The scores of a capture in a line of ``tokens`` ids, sampled with the weights of
    ``versions``. Raises InputError.
    """
    logprobs = _list(body, "logprobs", tokens, place)
    ranks: JsonList = [None] * tokens
    if "ranks" in body:
        ranks = _list(body, "ranks", tokens, place)
    entropy = None
    if "entropy" in body:
        values = _list(body, "entropy", tokens, place)
        entropy = _floats(values, place, "entropy")
    top_ids, top_logprobs = _alternatives(body, tokens, place)
    logprob = _floats(logprobs, place, "logprobs", "logprob")
    return Scores(
        logprob=logprob,
        rank=_ranks(ranks, place),
        top_ids=top_ids,
        top_logprobs=top_logprobs,
        entropy=entropy,
        nan=_nan(logprobs),
        versions=versions,
    )


def exact_facts(body: JsonObject, place: Place) -> Facts | None:
    """All facts of a capture, as the session had them that the line is a copy of; None
    where it has none. Raises InputError.
    """
    given = body.get("facts")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise place.error("facts is not an object", "leave it out")
    return Facts.from_json(given)


def exact_pieces(data: JsonObject, place: Place) -> Pieces:
    """The bytes of ids, given as base64 by id. Raises InputError."""
    given = data.get("pieces", {})
    if not isinstance(given, dict):
        raise place.error("pieces is not an object", 'give {"30010": "base64"}')
    pieces = {}
    for name, text in given.items():
        is_id = name.isascii() and name.isdigit()
        if not is_id or not isinstance(text, str):
            raise place.error(f"pieces.{name} is no id with a text")
        token_id = int(name)
        try:
            piece = base64.b64decode(text, validate=True)
            pieces[token_id] = piece
        except (binascii.Error, ValueError):
            raise place.error(f"pieces.{name} is not base64") from None
    return pieces


def _list(body: JsonObject, name: str, tokens: int, place: Place) -> JsonList:
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
    values: JsonList,
    place: Place,
    name: str,
    kind: str = "entropy",
) -> FloatArray:
    """f32[n] in nats; null is NaN. Raises InputError for what is no number, or none of
    its ``kind`` (`logdrift.core.session.parts.RANGES`).
    """
    plain = [_float(value, place, name) for value in values]
    out = np.asarray(plain, np.float32)
    low, high = RANGES[kind]
    is_low = out < low
    is_low &= out != -np.inf
    is_high = out > high
    is_out = is_low | is_high
    if is_out.any():
        first, *_ = out[is_out]
        remedy = f"give a number from {low:g} to {high:g}"
        raise place.error(f"{name} holds {first:g}", remedy)
    return out


def _float(value: Any, place: Place, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str) and value in _AS_TEXT:
        return _AS_TEXT[value]
    if is_real(value):
        return float(value)
    raise place.error(f"{name} holds {value!r}", "give a number or null")


def _ranks(values: JsonList, place: Place) -> IdArray:
    ranks = []
    for value in values:
        rank = value
        if value is None:
            rank = 0
        if not is_whole(rank):
            raise place.error(f"ranks holds {value!r}", "give a rank or null")
        ranks.append(rank)
    return np.asarray(ranks, np.int32)


def _nan(values: JsonList) -> FlagArray | None:
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


def _alternatives(body: JsonObject, tokens: int, place: Place) -> IdsAndLogprobs:
    """(top_ids i32[n, k], top_logprobs f32[n, k]) as they stand; null is a row that
    lists nothing.
    """
    has_ids = "top_ids" in body
    has_logprobs = "top_logprobs" in body
    if has_ids != has_logprobs:
        raise place.error("only one of top_ids and top_logprobs", "give both")
    if not has_ids:
        return empty_lists(tokens, 0)
    id_rows = _list(body, "top_ids", tokens, place)
    logprob_rows = _list(body, "top_logprobs", tokens, place)
    width = _width(id_rows)
    listed = [row is not None for row in id_rows]
    table = _Table(listed, width, place)
    ids, logprobs = empty_lists(tokens, width)
    flat_ids = table.entries(id_rows, "top_ids")
    flat_logprobs = table.entries(logprob_rows, "top_logprobs")
    checked_ids = _ids(flat_ids, place)
    numbers = _floats(flat_logprobs, place, "top_logprobs", "top_logprobs")
    ids[listed] = checked_ids.reshape(-1, width)
    logprobs[listed] = numbers.reshape(-1, width)
    return ids, logprobs


def _width(rows: JsonList) -> int:
    for row in rows:
        if isinstance(row, list):
            return len(row)
    return 0


@dataclass(frozen=True, slots=True)
class _Table:
    """Two lists of rows side by side: the rows that are ``listed`` have ``width``
    entries, the others are null.
    """

    listed: Sequence[bool]
    width: int
    place: Place

    def entries(self, rows: JsonList, name: str) -> JsonList:
        """The entries of all rows that are listed. Raises InputError for another
        form.
        """
        entries: list[Any] = []
        pairs = zip(rows, self.listed, strict=True)
        for row, is_listed in pairs:
            if not is_listed and row is None:
                continue
            if not is_listed or not self._fits(row):
                raise self.place.error(
                    f"{name} is not a table",
                    f"give {self.width} entries or null in each row of both lists",
                )
            entries += row
        return entries

    def _fits(self, row: Any) -> bool:
        if not isinstance(row, list):
            return False
        return len(row) == self.width


def _ids(values: JsonList, place: Place) -> IdArray:
    for value in values:
        if not is_whole(value) and value != _PADDING:
            raise place.error(f"top_ids holds {value!r}", "give an id, or -1 for none")
    return np.asarray(values, np.int32)
