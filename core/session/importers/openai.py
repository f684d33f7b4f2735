"""Format ``openai``: answers of an OpenAI-compatible server, completions or chat, one JSON object a line.

A token is known by its id alone, which OpenAI's format lacks: ask vLLM for ``return_token_ids`` or
``return_tokens_as_token_ids``, SGLang for ``return_token_ids``. An answer without ids is refused: tokens of equal text
need not be the same. Numbers are of the completion, and of the prompt where the server echoed it (``echo``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.session.importers.records import (
    Array,
    Record,
    Scores,
    alternatives,
    ids_of,
    logprobs_of,
    read_lines,
    scores_of,
)

_ID = re.compile(r"token_id:(\d+)")
_ASK = 'ask vLLM with "return_token_ids": true, so that tokens are told apart by id'


def read(path: Path, name: str) -> Iterator[Record]:
    """Every choice of every answer as a sequence, its numbers as capture ``name``. Raises InputError naming the line."""
    for where, answer in _answers(path):
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise InputError(f"{where}: choices is missing: give answers of an OpenAI-compatible server")
        for index, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise InputError(f"{where}: choices[{index}] is no object")
            yield _record(answer, choice, f"{where}: choices[{index}]", name)


def _answers(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A line each, or the whole file as one answer, however it is spread over lines."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        yield from read_lines(path)
        return
    if not isinstance(data, dict):
        raise InputError(f"{path}: is {type(data).__name__}, not an object")
    yield str(path), data


def _record(answer: Mapping[str, Any], choice: Mapping[str, Any], where: str, name: str) -> Record:
    rows = _rows(choice.get("logprobs"), where)
    told = choice.get("token_ids")
    completion = ids_of(told, where).tolist() if told else [_own_id(row, where) for row in rows]
    asked = choice.get("prompt_token_ids") or answer.get("prompt_token_ids")
    prompt = ids_of(asked, where, "prompt_token_ids").tolist() if asked else []
    ids = np.asarray(prompt + completion, np.int32)
    if len(rows) not in (len(completion), len(ids)):
        raise InputError(f"{where}: {len(rows)} log-probabilities for {len(completion)} ids of the completion")
    rows = [_NO_ROW] * (len(ids) - len(rows)) + list(rows)
    model = answer.get("model")
    return Record(
        where,
        ids,
        len(prompt),
        {name: _scores(rows, where)},
        finish={"stop": "stop", "length": "length"}.get(str(choice.get("finish_reason")), "unknown"),
        pieces={int(i): row.bytes for i, row in zip(ids, rows, strict=True) if row.bytes is not None},
        model=model if isinstance(model, str) else None,
    )


class _Row:
    """One token of an answer: its text, its log-probability, and the alternatives that name their id."""

    __slots__ = ("bytes", "logprob", "text", "top")

    def __init__(self, text: Any, logprob: Any, raw: Any, top: Sequence[tuple[Any, Any]]) -> None:
        self.text, self.logprob, self.top = text, logprob, top
        self.bytes: bytes | None = None
        if isinstance(raw, list) and all(isinstance(b, int) and 0 <= b < 256 for b in raw):
            self.bytes = bytes(raw)
        elif isinstance(text, str) and not _ID.fullmatch(text):
            self.bytes = text.encode("utf-8", "surrogatepass")


_NO_ROW = _Row(None, None, None, ())


def _rows(logprobs: Any, where: str) -> list[_Row]:
    """The tokens of a chat's ``content`` or of a completion's four lists."""
    if not isinstance(logprobs, dict):
        raise InputError(f"{where}: logprobs is missing: ask with logprobs")
    content = logprobs.get("content")
    try:
        if isinstance(content, list):
            return [
                _Row(
                    entry["token"],
                    entry["logprob"],
                    entry.get("bytes"),
                    [(other["token"], other["logprob"]) for other in entry.get("top_logprobs") or ()],
                )
                for entry in content
            ]
        tokens, values = logprobs["tokens"], logprobs["token_logprobs"]
        tops = logprobs.get("top_logprobs") or [None] * len(tokens)
        return [
            _Row(token, value, None, list((top or {}).items()))
            for token, value, top in zip(tokens, values, tops, strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: logprobs is not OpenAI's: {type(error).__name__}: {error}") from None


def _own_id(row: _Row, where: str) -> int:
    found = _ID.fullmatch(row.text) if isinstance(row.text, str) else None
    if found is None:
        raise InputError(f"{where}: no token ids: {_ASK}")
    return int(found[1])


def _scores(rows: Sequence[_Row], where: str) -> Scores:
    top = [_alternatives(row, where) for row in rows]
    top_ids, top_logprobs = alternatives(top)
    plain = scores_of([row.logprob for row in rows], where, "logprob")
    return replace(plain, top_ids=top_ids, top_logprobs=top_logprobs)


def _alternatives(row: _Row, where: str) -> list[tuple[int, float]]:
    """Those whose id is known; a list with one that is not is left out, or the rest would pass for the whole."""
    found = [_ID.fullmatch(str(text)) for text, _ in row.top]
    if not all(found):
        return []
    values: Array = logprobs_of([None, *(value for _, value in row.top)], where, "top_logprobs")[1:]
    return [(int(m[1]), float(v)) for m, v in zip(found, values, strict=True) if m is not None]
