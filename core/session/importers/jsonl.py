"""Format ``jsonl``: one sequence a line, with any number of captures. The way in for
every tool of one's own.

    {"token_ids": [...], "prompt_length": 3, "captures": {"trainer": [...],
    "vllm/decode": {"logprobs": [...], ...}}}

docs/import.md has all keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core import told
from logdrift.core.errors import InputError
from logdrift.core.session.importers import foreign
from logdrift.core.session.importers.lists import most_likely
from logdrift.core.session.importers.records import (
    Array,
    Notes,
    Reading,
    Record,
    Scores,
    Source,
    alternatives,
    entropy_of,
    ids_of,
    length_of,
    logprobs_of,
    ranks_of,
    read_lines,
    scores_of,
    spread,
)

KEYS = ("token_ids", "prompt_length", "captures", "tokens", "mask", "finish", "model")
_SCORE_KEYS = (
    "logprobs",
    "ranks",
    "entropy",
    "top_ids",
    "top_logprobs",
    "mask",
    "role",
)
_CAPTURE_KEYS = (*_SCORE_KEYS, *told.TELLABLE)
_FINISH = ("unknown", "stop", "length")
SHOWN_VERSIONS = 8

NO_FIRST = (
    "{n} {entry|entries} of %s for first tokens {is|are} left out: nothing stands"
    " before the first token of a prompt, so an entry for it is no score"
)
_MERGED = (
    "{n} {list|lists} of %s {has|have} an id twice, or the token itself in front of the"
    " most likely ids, as vLLM's flat form has: merged"
)
_MASKED = "{n} {entry|entries} of %s {is|are} no score, by its mask"


def read(path: Path, reading: Reading) -> Iterator[Record]:
    """The records of a file; what it says of backends is added to ``reading``. Raises
    InputError naming the line.
    """
    for where, data in read_lines(path):
        foreign.refuse_line(data, KEYS, where)
        _check_keys(data, KEYS, where)
        ids = ids_of(data.get("token_ids"), where)
        prompt = length_of(data.get("prompt_length", 0), len(ids), where)
        given = data.get("captures")
        if not isinstance(given, dict) or not given:
            raise InputError(
                f'{where}: captures is missing: give {{"trainer": [log-probabilities],'
                " ...}"
            )
        captures = {}
        for name, value in given.items():
            body = value if isinstance(value, dict) else {"logprobs": value}
            _check_keys(body, _CAPTURE_KEYS, f"{where}: captures.{name}")
            line = _Line(where, name, ids, prompt, reading.notes)
            captures[name] = _scores(body, line)
            _tell(
                reading.sources,
                name,
                _source(body, f"{where}: captures.{name}"),
                f"{where}: captures.{name}",
            )
        yield Record(
            where,
            ids,
            prompt,
            captures,
            mask=_mask(data, len(ids), prompt, where),
            finish=_finish(data, where),
            pieces=_pieces(data, ids, where),
            model=_text(data, "model", where),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """Where a capture's numbers stand: capture ``name`` of the sequence at
    ``where``.
    """

    where: str
    name: str
    ids: Array
    prompt: int
    notes: Notes

    @property
    def key(self) -> str:
        return f"captures.{self.name}"

    @property
    def first(self) -> bool:
        """An entry for the first token is a score: its author knew the prompt, which is
        not in the file.
        """
        return self.prompt == 0


def _scores(body: Mapping[str, Any], line: _Line) -> Scores:
    where, key = line.where, line.key

    def column(name: str) -> list[Any]:
        return spread(body[name], len(line.ids), line.prompt, where, f"{key}.{name}")

    if "logprobs" not in body:
        raise InputError(f"{where}: {key}.logprobs is missing")
    values = _unmasked(column("logprobs"), body, line)
    if not line.first and values[0] not in (None, 0):
        line.notes.count(NO_FIRST % line.name)
    entropy = (
        entropy_of(column("entropy"), where, f"{key}.entropy", line.first)
        if "entropy" in body
        else None
    )
    plain = scores_of(values, where, f"{key}.logprobs", entropy, line.first)
    rank = (
        ranks_of(column("ranks"), where, f"{key}.ranks")
        if "ranks" in body
        else plain.rank
    )
    if ("top_ids" in body) != ("top_logprobs" in body):
        raise InputError(
            f"{where}: {key} has only one of top_ids and top_logprobs: give both"
        )
    if "top_ids" not in body:
        return replace(plain, rank=rank)
    rows = [
        _alternatives(ids, logprobs, int(line.ids[i]), line, f"{key}.top_ids[{i}]")
        for i, (ids, logprobs) in enumerate(
            zip(column("top_ids"), column("top_logprobs"), strict=True)
        )
    ]
    top_ids, top_logprobs = alternatives(rows)
    return replace(plain, rank=rank, top_ids=top_ids, top_logprobs=top_logprobs)


def _unmasked(values: list[Any], body: Mapping[str, Any], line: _Line) -> list[Any]:
    """Log-probabilities with null where the capture's own mask says that an entry only
    fills the list up.
    """
    mask = _mask(body, len(line.ids), line.prompt, f"{line.where}: {line.key}")
    if mask is None:
        return values
    line.notes.count(
        _MASKED % line.name,
        sum(v is not None and not m for v, m in zip(values, mask, strict=True)),
    )
    return [value if kept else None for value, kept in zip(values, mask, strict=True)]


def _alternatives(
    ids: Any, logprobs: Any, target: int, line: _Line, key: str
) -> list[tuple[int, float]]:
    where = line.where
    if ids is None and logprobs is None:
        return []
    if (
        not isinstance(ids, list)
        or not isinstance(logprobs, list)
        or len(ids) != len(logprobs)
    ):
        raise InputError(
            f"{where}: {key} and the log-probabilities beside it are no lists of one"
            " length"
        )
    if not ids:
        return []
    values = logprobs_of(logprobs, where, key, first=True)
    row = list(zip(ids_of(ids, where, key).tolist(), values.tolist(), strict=True))
    kept = most_likely(row, target, f"{where}: {key}")
    line.notes.count(_MERGED % line.name, len(kept) < len(row))
    return kept


def _source(body: Mapping[str, Any], where: str) -> Source:
    known = {
        key: told.value_of(key, body[key], f"{where}.{key}")
        for key in told.TELLABLE
        if body.get(key) is not None
    }
    return Source(role=_text(body, "role", where), told=known)


def _tell(sources: dict[str, Source], name: str, new: Source, where: str) -> None:
    """Add what a line tells of a capture to what earlier lines told; one capture has
    one value of each fact.
    """
    old = sources.get(name, new)
    if new.role is not None and old.role is not None and new.role != old.role:
        raise InputError(
            f"{where}.role is {new.role!r} and {old.role!r} in a line before: give one"
        )
    facts = dict(old.told)
    for key, value in new.told.items():
        before = facts.setdefault(key, value)
        if before == value:
            continue
        if key != "weight_version":
            raise InputError(
                f"{where}.{key} is {value!r} and {before!r} in a line before: name two"
                " captures, or import two sessions"
            )
        versions = dict.fromkeys([*str(before).split(","), value])
        facts[key] = ",".join(list(versions)[:SHOWN_VERSIONS])
    sources[name] = replace(old, role=old.role or new.role, told=facts)


def _mask(
    data: Mapping[str, Any], tokens: int, prompt: int, where: str
) -> Array | None:
    if "mask" not in data:
        return None
    values = spread(data["mask"], tokens, prompt, where, "mask")
    if any(value is not None and value not in (0, 1, True, False) for value in values):
        raise InputError(f"{where}: mask holds something else than 0 and 1")
    return np.asarray([1 if value is None else value for value in values], np.uint8)


def _finish(data: Mapping[str, Any], where: str) -> str:
    value = data.get("finish", "unknown")
    if value not in _FINISH:
        raise InputError(f"{where}: finish is {value!r}: use {', '.join(_FINISH)}")
    return str(value)


def _pieces(data: Mapping[str, Any], ids: Array, where: str) -> dict[int, bytes]:
    texts = data.get("tokens")
    if texts is None:
        return {}
    if (
        not isinstance(texts, list)
        or len(texts) != len(ids)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise InputError(
            f"{where}: tokens is no list of {len(ids)} texts, one for each id"
        )
    return {
        int(i): text.encode("utf-8", "surrogatepass")
        for i, text in zip(ids, texts, strict=True)
    }


def _text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise InputError(f"{where}: {key} is {value!r}: give a text")
    return value


def _check_keys(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    import difflib

    for key in data:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1)
        said = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise InputError(f"{where}: {key} is unknown: {said}")
