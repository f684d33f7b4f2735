"""Format ``jsonl``: one sequence a line, with any number of captures. The way in for every tool of one's own.

    {"token_ids": [...], "prompt_length": 3, "captures": {"trainer": [...], "vllm/decode": {"logprobs": [...], ...}}}

docs/import.md has all keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.session.importers.records import (
    Array,
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

_KEYS = ("token_ids", "prompt_length", "captures", "tokens", "mask", "finish", "model")
_CAPTURE_KEYS = ("logprobs", "ranks", "entropy", "top_ids", "top_logprobs", "engine", "dtype", "role")
_FINISH = ("unknown", "stop", "length")


def read(path: Path, sources: dict[str, Source]) -> Iterator[Record]:
    """The records of a file; what it says of backends is added to ``sources``. Raises InputError naming the line."""
    for where, data in read_lines(path):
        _check_keys(data, _KEYS, where)
        ids = ids_of(data.get("token_ids"), where)
        prompt = length_of(data.get("prompt_length", 0), len(ids), where)
        given = data.get("captures")
        if not isinstance(given, dict) or not given:
            raise InputError(f'{where}: captures is missing: give {{"trainer": [log-probabilities], ...}}')
        captures = {}
        for name, value in given.items():
            body = value if isinstance(value, dict) else {"logprobs": value}
            _check_keys(body, _CAPTURE_KEYS, f"{where}: captures.{name}")
            captures[name] = _scores(body, len(ids), prompt, where, f"captures.{name}")
            sources.setdefault(name, _source(body, f"{where}: captures.{name}"))
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


def _scores(body: Mapping[str, Any], tokens: int, prompt: int, where: str, key: str) -> Scores:
    def column(name: str) -> list[Any]:
        return spread(body[name], tokens, prompt, where, f"{key}.{name}")

    if "logprobs" not in body:
        raise InputError(f"{where}: {key}.logprobs is missing")
    entropy = entropy_of(column("entropy"), where, f"{key}.entropy") if "entropy" in body else None
    plain = scores_of(column("logprobs"), where, f"{key}.logprobs", entropy)
    rank = ranks_of(column("ranks"), where, f"{key}.ranks") if "ranks" in body else plain.rank
    if ("top_ids" in body) != ("top_logprobs" in body):
        raise InputError(f"{where}: {key} has only one of top_ids and top_logprobs: give both")
    if "top_ids" not in body:
        return replace(plain, rank=rank)
    rows = [
        _alternatives(ids, logprobs, where, f"{key}.top_ids[{i}]")
        for i, (ids, logprobs) in enumerate(zip(column("top_ids"), column("top_logprobs"), strict=True))
    ]
    top_ids, top_logprobs = alternatives(rows)
    return replace(plain, rank=rank, top_ids=top_ids, top_logprobs=top_logprobs)


def _alternatives(ids: Any, logprobs: Any, where: str, key: str) -> list[tuple[int, float]]:
    if ids is None and logprobs is None:
        return []
    if not isinstance(ids, list) or not isinstance(logprobs, list) or len(ids) != len(logprobs):
        raise InputError(f"{where}: {key} and the log-probabilities beside it are no lists of one length")
    if not ids:
        return []
    # The first entry of a column is no token's score; here every entry counts.
    values = logprobs_of([None, *logprobs], where, key)[1:]
    return list(zip(ids_of(ids, where, key).tolist(), values.tolist(), strict=True))


def _source(body: Mapping[str, Any], where: str) -> Source:
    return Source(_text(body, "engine", where), _text(body, "dtype", where), _text(body, "role", where))


def _mask(data: Mapping[str, Any], tokens: int, prompt: int, where: str) -> Array | None:
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
    if not isinstance(texts, list) or len(texts) != len(ids) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: tokens is no list of {len(ids)} texts, one for each id")
    return {int(i): text.encode("utf-8", "surrogatepass") for i, text in zip(ids, texts, strict=True)}


def _text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise InputError(f"{where}: {key} is {value!r}: give a text")
    return value


def _check_keys(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    import difflib

    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise InputError(
                f"{where}: {key} is unknown: "
                + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")
            )
