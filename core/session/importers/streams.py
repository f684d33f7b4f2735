"""Streamed answers put together: the chunks of one answer to what the server would have
sent at once.

A chunk of OpenAI's or llama.cpp's form adds to what came before; one of SGLang's says
everything so far, unless the server was started to send only what is new.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from logdrift.core.errors import Place

_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
_PROBABILITIES = "completion_probabilities"
_ADDED = ("output_token_logprobs", "output_top_logprobs", "output_token_ids_logprobs")


class Streams:
    """Answers in the order in which they began; chunks find theirs by its id."""

    def __init__(self) -> None:
        self._answers: list[tuple[Place, dict[str, Any]]] = []
        self._open: dict[Any, dict[str, Any]] = {}

    def add(self, place: Place, answer: dict[str, Any]) -> None:
        """Take one object: a whole answer, or a chunk. Raises InputError for a chunk
        that does not fit.
        """
        try:
            if "meta_info" in answer:
                self._add_sglang(place, answer)
            elif "choices" in answer:
                self._add_openai(place, answer)
            else:
                self._add_llamacpp(place, answer)
        except (TypeError, AttributeError, KeyError) as error:
            raise place.error(
                f"is not an answer or a chunk of one: {type(error).__name__}: {error}"
            ) from None

    def whole(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """All answers."""
        yield from self._answers

    def _add_openai(self, place: Place, answer: dict[str, Any]) -> None:
        key = answer.get("id")
        begun = self._open.get(key)
        if begun is not None and _continues(begun, answer):
            _extend(begun, answer)
            return
        if _is_chunk(answer):
            whole = {**answer, "choices": []}
            _extend(whole, answer)
            self._open[key] = whole
            answer = whole
        self._answers.append((place, answer))

    def _add_sglang(self, place: Place, answer: dict[str, Any]) -> None:
        meta = answer["meta_info"]
        key = ("sglang", meta.get("id"), answer.get("index"))
        begun = self._open.get(key)
        if begun is not None:
            _extend_sglang(begun, answer)
        else:
            begun = copy.deepcopy(answer)
            self._answers.append((place, begun))
        if meta.get("id") is not None and meta.get("finish_reason", "given") is None:
            self._open[key] = begun
        else:
            self._open.pop(key, None)

    def _add_llamacpp(self, place: Place, answer: dict[str, Any]) -> None:
        key = ("llama.cpp", answer.get("id_slot"), answer.get("index"))
        begun = self._open.get(key)
        if begun is None:
            begun = {**answer, _PROBABILITIES: list(answer.get(_PROBABILITIES) or ())}
            self._answers.append((place, begun))
        else:
            begun[_PROBABILITIES].extend(answer.get(_PROBABILITIES) or ())
            begun.update(
                {
                    name: value
                    for name, value in answer.items()
                    if name != _PROBABILITIES
                }
            )
        if answer.get("stop") is False:
            self._open[key] = begun
        else:
            self._open.pop(key, None)


def _is_chunk(answer: Mapping[str, Any]) -> bool:
    """Chat chunks say what they are; those of completions have no reason to have
    finished, and an id to find.
    """
    if str(answer.get("object", "")).endswith(".chunk"):
        return True
    choices = answer["choices"]
    if not isinstance(choices, list) or not choices or "id" not in answer:
        return False
    return all(
        "delta" in choice or choice.get("finish_reason", "given") is None
        for choice in choices
    )


def _continues(begun: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Whether a chunk goes on with an answer: none of its choices has finished in
    it.
    """
    finished = {
        choice["index"]
        for choice in begun["choices"]
        if choice.get("finish_reason") is not None
    }
    return not any(choice.get("index", 0) in finished for choice in answer["choices"])


def _extend(whole: dict[str, Any], chunk: Mapping[str, Any]) -> None:
    for key, value in chunk.items():
        if key != "choices" and value is not None and whole.get(key) is None:
            whole[key] = value
    for part in chunk["choices"]:
        index = part.get("index", 0)
        choice = next((one for one in whole["choices"] if one["index"] == index), None)
        if choice is None:
            choice = {
                "index": index,
                "logprobs": None,
                "token_ids": None,
                "finish_reason": None,
            }
            whole["choices"].append(choice)
        _extend_choice(choice, part)


def _extend_choice(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    ids = part.get("token_ids") or part.get("response_token_ids")
    logprobs = part.get("logprobs")
    if isinstance(logprobs, dict):
        _extend_logprobs(choice, logprobs)
    if ids:
        choice["token_ids"] = [*(choice["token_ids"] or []), *ids]
    for key in ("prompt_token_ids", "prompt_logprobs"):
        if part.get(key) is not None:
            choice.setdefault(key, part[key])
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]


def _extend_logprobs(choice: dict[str, Any], logprobs: Mapping[str, Any]) -> None:
    if choice["logprobs"] is None:
        choice["logprobs"] = {}
    whole = choice["logprobs"]
    if isinstance(logprobs.get("content"), list):
        whole.setdefault("content", []).extend(logprobs["content"])
        return
    count = len(logprobs.get("tokens") or ())
    for key in _LISTS:
        added = logprobs.get(key)
        whole.setdefault(key, []).extend(added if added is not None else [None] * count)


def _extend_sglang(whole: dict[str, Any], chunk: Mapping[str, Any]) -> None:
    old = whole["meta_info"]
    new = chunk["meta_info"]
    before = old.get("output_token_logprobs") or []
    now = new.get("output_token_logprobs") or []
    of_prompt = {
        key: value for key, value in old.items() if key.startswith("input_") and value
    }
    if now[: len(before)] == before:
        # The chunk says everything so far.
        whole["meta_info"] = {**old, **new, **of_prompt}
        whole.update({key: value for key, value in chunk.items() if key != "meta_info"})
        return
    added = {key: _both(old, new, key) for key in _ADDED if key in old or key in new}
    whole["output_ids"] = _both(whole, chunk, "output_ids")
    whole["meta_info"] = {**old, **new, **added, **of_prompt}


def _both(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> list[Any]:
    """The list of ``old``, then that of ``new``."""
    return [*(old.get(key) or []), *(new.get(key) or [])]
