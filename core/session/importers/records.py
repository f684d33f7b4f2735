"""What every importer makes of a line of its format: one sequence and what its captures
say of it.

Files come from anywhere, so every value is checked here, and what is wrong is said with
the file and the line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import InputError
from logdrift.core.session.files import open_regular, parse_json
from logdrift.core.session.importers import foreign

Array = npt.NDArray[Any]

MINUS_INFINITY = -9999.0
"""What servers write where JSON has no -inf (vLLM: -9999.0 exactly); no logits of a
model lie this far apart.
"""
_SAID: Mapping[str, float] = {
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


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one capture says of a sequence of n tokens; NaN, 0 and -1 where it says
    nothing, as in a session.

    logprob f32[n] and entropy f32[n] (None: it has none) in nats, rank i32[n], top_ids
    i32[n, k], top_logprobs f32[n, k]. nan u8[n]: 1 where the file itself says NaN,
    which is a broken number and no missing score (None: nowhere).
    """

    logprob: Array
    rank: Array
    top_ids: Array
    top_logprobs: Array
    entropy: Array | None = None
    nan: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One sequence: token_ids i32[n], mask u8[n] (0 takes a token out of every metric),
    and its captures by name.

    ``given`` ids in front were given to a server that scored them, with tokens of its
    own behind. Where ``bounded`` is False the file does not say where the prompt ends,
    and ``prompt_length`` is 0. ``problem`` is why it must be refused, where nothing
    worse is found.
    """

    where: str
    token_ids: Array
    prompt_length: int
    captures: Mapping[str, Scores]
    mask: Array | None = None
    finish: str = "unknown"
    pieces: Mapping[int, bytes] = field(default_factory=dict)
    model: str | None = None
    given: int = 0
    bounded: bool = True
    problem: str | None = None


class Notes:
    """What an import changed or left out, counted by kind.

    Each kind is one sentence, with ``{n}`` for its number and ``{one|many}`` for words
    that depend on it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, sentence: str, number: int = 1) -> None:
        """Add ``number`` to what ``sentence`` counts."""
        if number:
            self._counts[sentence] = self._counts.get(sentence, 0) + number

    def sentences(self) -> tuple[str, ...]:
        """One sentence each, in the order in which they first came up."""
        return tuple(_worded(text, number) for text, number in self._counts.items())


_BY_NUMBER = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


def _worded(sentence: str, number: int) -> str:
    words = _BY_NUMBER.sub(lambda found: found[1 if number == 1 else 2], sentence)
    return words.replace("{n}", f"{number:,}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading files tells beside their records: ``sources`` by capture name, and
    ``notes``.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says of the backend behind one of its captures; None: it does not
    say.

    ``engine`` is what the format itself tells. ``told`` are facts that the file's
    author stated (`logdrift.core.told.TELLABLE`), ``observed`` those that an engine
    wrote into its own answers, by their names in `logdrift.core.facts.Facts`.
    """

    engine: str | None = None
    role: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    observed: Mapping[str, Any] = field(default_factory=dict)


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``FILE line N``, object) of each line of a JSONL file that is not blank. Raises
    InputError naming the line.
    """
    foreign.refuse_binary(path)
    try:
        with open(open_regular(path), "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield (where := f"{path} line {number}"), _object(line, where)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        data = parse_json(line)
    except ValueError as error:
        raise InputError(f"{where}: is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{where}: is {type(data).__name__}, not an object")
    return data


def ids_of(value: Any, where: str, key: str = "token_ids") -> Array:
    """Token ids, i32[n] with n >= 1. Raises InputError."""
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: {key} is no list of ids, or an empty one")
    for index, item in enumerate(value):
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < 2**31:
            raise InputError(
                f"{where}: {key}[{index}] is {item!r}: give an id, 0 or more"
            )
    return np.asarray(value, np.int32)


def length_of(value: Any, tokens: int, where: str) -> int:
    """The prompt's length, 0 to ``tokens``. Raises InputError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not 0 <= value <= tokens
    ):
        raise InputError(
            f"{where}: prompt_length is {value!r}: give a number from 0 to {tokens}"
        )
    return value


def spread(values: Any, tokens: int, prompt: int, where: str, key: str) -> list[Any]:
    """A list of one entry per token: as it is, or of the completion alone, with None
    before. Raises InputError.
    """
    if not isinstance(values, list):
        raise InputError(f"{where}: {key} is no list")
    if len(values) == tokens:
        return values
    if len(values) == tokens - prompt:
        return [None] * prompt + values
    raise InputError(
        f"{where}: {key} has {len(values)} entries: the sequence has {tokens} tokens,"
        f" its completion {tokens - prompt}"
    )


def scores_of(
    values: Sequence[Any],
    where: str,
    key: str,
    entropy: Array | None = None,
    first: bool = False,
) -> Scores:
    """A column of log-probabilities, None where there is no score, as scores without
    ranks and alternatives.

    It keeps apart what `logprobs_of` alone cannot: a token that was not scored, and one
    whose score is NaN. ``first`` is that of `logprobs_of`. Raises InputError.
    """
    return plain_scores(
        logprobs_of(values, where, key, first), entropy, nan_of(values, first)
    )


def nan_of(values: Sequence[Any], first: bool = False) -> Array | None:
    """u8[n]: 1 where a value is NaN itself (a number, or a text that says so), not
    None; None where none is.

    The first token has no score, whatever stands there, but for ``first``
    (`logprobs_of`).
    """
    flags = np.asarray(
        [_said(value) is not None and _said(value) != _said(value) for value in values],
        np.uint8,
    )
    if not first:
        flags[:1] = 0
    return flags if flags.any() else None


def _said(value: Any) -> Any:
    """A number where a text says NaN or minus infinity, which strict JSON has no other
    way to write; else the value.
    """
    return _SAID.get(value.strip().lower(), value) if isinstance(value, str) else value


def logprobs_of(
    values: Sequence[Any], where: str, key: str, first: bool = False
) -> Array:
    """Log-probabilities, f32[n] in nats; None and the first token's become NaN,
    sentinels -inf. Raises InputError.

    ``first`` says that the first entry is a score: the ids before it are known to its
    author and not in the sequence. A NaN of the file itself stays NaN: `nan_of` tells
    where, and `scores_of` does both.
    """
    out = np.asarray(
        [_logprob(value, where, f"{key}[{i}]") for i, value in enumerate(values)],
        np.float32,
    )
    if not first:
        out[:1] = np.nan
    return out


def _logprob(value: Any, where: str, key: str) -> float:
    value = _said(value)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {key} is {value!r}: give a log-probability or null")
    if value > _SLACK:
        raise InputError(
            f"{where}: {key} is {value:g}: a log-probability is at most 0 (a"
            " probability? give its logarithm)"
        )
    return -math.inf if value <= MINUS_INFINITY else float(value)


def entropy_of(
    values: Sequence[Any], where: str, key: str, first: bool = False
) -> Array:
    """Entropies, f32[n] in nats; None becomes NaN, and so does the first token's, but
    for ``first`` (`logprobs_of`).

    Raises InputError.
    """
    for index, value in enumerate(values):
        good = value is None or (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not value < -_SLACK
        )
        if not good:
            raise InputError(
                f"{where}: {key}[{index}] is {value!r}: give an entropy in nats or null"
            )
    out = np.asarray(
        [math.nan if value is None else value for value in values], np.float32
    )
    if not first:
        out[:1] = np.nan
    return out


def ranks_of(values: Sequence[Any], where: str, key: str) -> Array:
    """Ranks, i32[n]: 1 is the most likely, None becomes 0 (unknown). Raises
    InputError.
    """
    for index, value in enumerate(values):
        if value is not None and (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not 0 <= value < 2**31
        ):
            raise InputError(
                f"{where}: {key}[{index}] is {value!r}: give a rank, 1 for the most"
                " likely id, or null"
            )
    return np.asarray([value or 0 for value in values], np.int32)


def alternatives(rows: Sequence[Sequence[tuple[int, float]]]) -> tuple[Array, Array]:
    """(top_ids i32[n, k], top_logprobs f32[n, k]) of rows of (id, log-probability), the
    most likely first.

    k is the longest row; shorter ones end in -1 and NaN. An alternative without a
    number is left out.
    """
    rows = [[item for item in row if not math.isnan(item[1])] for row in rows]
    k = max((len(row) for row in rows), default=0)
    ids, logprobs = (
        np.full((len(rows), k), -1, np.int32),
        np.full((len(rows), k), np.nan, np.float32),
    )
    for index, row in enumerate(rows):
        best = sorted(row, key=lambda item: -item[1])
        ids[index, : len(best)] = [item[0] for item in best]
        logprobs[index, : len(best)] = [item[1] for item in best]
    return ids, logprobs


def plain_scores(
    logprob: Array, entropy: Array | None = None, nan: Array | None = None
) -> Scores:
    """Scores without ranks and alternatives."""
    n = len(logprob)
    return Scores(
        logprob=logprob,
        rank=np.zeros(n, np.int32),
        top_ids=np.empty((n, 0), np.int32),
        top_logprobs=np.empty((n, 0), np.float32),
        entropy=entropy,
        nan=nan,
    )
