"""Streamed answers put together: the chunks of one answer to what the server would have
sent at once.

A chunk of OpenAI's or llama.cpp's form adds to what came before; one of SGLang's says
everything so far, unless the server was started to send only what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.documents import Document, Documents
from logdrift.core.session.importers.llamacpp_answers import (
    PROBABILITIES,
    is_llamacpp,
    probabilities,
)

Answer = dict[str, Any]
"""A server's answer, or a chunk of one; what is put together is changed in place."""
_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
_PACKED = "packed_top_logprobs"
_ADDED = ("output_token_logprobs", "output_top_logprobs", "output_token_ids_logprobs")


class Streams:
    """Answers in the order in which they began; chunks find theirs by its id."""

    def __init__(self) -> None:
        self._answers: list[Document] = []
        self._open: dict[Any, Answer] = {}

    def add(self, place: Place, answer: Answer) -> None:
        """Take one object: a whole answer, or a chunk. Raises InputError for a chunk
        that does not fit.
        """
        try:
            if "meta_info" in answer:
                self._add_sglang(place, answer)
            elif "choices" in answer:
                self._add_openai(place, answer)
            elif is_llamacpp(answer):
                self._add_llamacpp(place, answer)
            else:
                self._begin(place, answer)
        except (TypeError, AttributeError, KeyError) as error:
            kind = type(error).__name__
            raise place.error(
                f"is not an answer or a chunk of one: {kind}: {error}"
            ) from None

    def ready(self) -> Sequence[Document]:
        """The answers so far, each given once; none while one of them may go on."""
        if self._open:
            return ()
        ready = self._answers
        self._answers = []
        return ready

    def whole(self) -> Documents:
        """All answers that `ready` has not given."""
        yield from self._answers

    def _begin(self, place: Place, answer: Answer) -> None:
        begun = (place, answer)
        self._answers.append(begun)

    def _add_openai(self, place: Place, answer: Answer) -> None:
        key = _answer_id(answer)
        begun = self._open.get(key)
        if begun is not None and _continues(begun, answer):
            _extend(begun, answer)
            return
        if _is_chunk(answer):
            whole = {**answer, "choices": []}
            _extend(whole, answer)
            self._open[key] = whole
            answer = whole
        self._begin(place, answer)

    def _add_sglang(self, place: Place, answer: Answer) -> None:
        meta = answer["meta_info"]
        stream_id = meta.get("id")
        index = answer.get("index")
        key = ("sglang", stream_id, index)
        begun = self._open.get(key)
        if begun is not None:
            _extend_sglang(begun, answer)
        else:
            begun = dict(answer)
            self._begin(place, begun)
        goes_on = stream_id is not None and _is_unfinished(meta)
        self._keep_open(key, begun, goes_on)

    def _add_llamacpp(self, place: Place, answer: Answer) -> None:
        slot = answer.get("id_slot")
        index = answer.get("index")
        key = ("llama.cpp", slot, index)
        new = probabilities(answer)
        begun = self._open.get(key)
        if begun is None:
            begun = dict(answer)
            begun[PROBABILITIES] = list(new)
            self._begin(place, begun)
        else:
            before = begun[PROBABILITIES]
            begun.update(answer)
            begun[PROBABILITIES] = [*before, *new]
        goes_on = answer.get("stop") is False
        self._keep_open(key, begun, goes_on)

    def _keep_open(self, key: Any, answer: Answer, goes_on: bool) -> None:
        """Whether later chunks belong to this answer."""
        if goes_on:
            self._open[key] = answer
        else:
            self._open.pop(key, None)


def _answer_id(answer: JsonObject) -> Any:
    """What tells the chunks of an answer: vLLM's token-in-token-out server calls it
    ``request_id``.
    """
    own_id = answer.get("id")
    if own_id is not None:
        return own_id
    return answer.get("request_id")


def _is_unfinished(data: JsonObject) -> bool:
    """It has a reason to have finished, and that is null."""
    return data.get("finish_reason", "missing") is None


def _is_chunk(answer: JsonObject) -> bool:
    """Whether an object is one chunk of a stream.

    Chunks of chats say so; those of completions have an id, and null for the reason to
    have finished.
    """
    kind = answer.get("object", "")
    name = str(kind)
    if name.endswith(".chunk"):
        return True
    choices = answer["choices"]
    if not isinstance(choices, list):
        return False
    if not choices or _answer_id(answer) is None:
        return False
    return all(map(_is_partial, choices))


def _is_partial(choice: JsonObject) -> bool:
    return "delta" in choice or _is_unfinished(choice)


def _continues(begun: JsonObject, answer: JsonObject) -> bool:
    """Whether a chunk goes on with an answer: none of its choices has finished in
    it.
    """
    finished = set()
    for choice in begun["choices"]:
        reason = choice.get("finish_reason")
        if reason is not None:
            index = choice["index"]
            finished.add(index)
    for choice in answer["choices"]:
        index = choice.get("index", 0)
        if index in finished:
            return False
    return True


def _extend(whole: Answer, chunk: JsonObject) -> None:
    """Add a chunk of OpenAI's form to what came before, in place."""
    for key, value in chunk.items():
        if key == "choices" or value is None:
            continue
        if whole.get(key) is None:
            whole[key] = value
    choices = whole["choices"]
    for part in chunk["choices"]:
        index = part.get("index", 0)
        choice = _choice_at(index, choices)
        _extend_choice(choice, part)


def _choice_at(index: Any, choices: list[Answer]) -> Answer:
    """The choice with this index, added where it is not there yet."""
    for choice in choices:
        if choice["index"] == index:
            return choice
    empty = {
        "index": index,
        "logprobs": None,
        "token_ids": None,
        "finish_reason": None,
    }
    choices.append(empty)
    return empty


def _extend_choice(choice: Answer, part: JsonObject) -> None:
    ids = part.get("token_ids")
    if not ids:
        ids = part.get("response_token_ids")
    logprobs = part.get("logprobs")
    if isinstance(logprobs, dict):
        _extend_logprobs(choice, logprobs)
    if ids:
        before = choice["token_ids"] or []
        choice["token_ids"] = [*before, *ids]
    for key in ("prompt_token_ids", "prompt_logprobs", "weight_versions"):
        value = part.get(key)
        if value is not None:
            choice.setdefault(key, value)
    reason = part.get("finish_reason")
    if reason is not None:
        choice["finish_reason"] = reason


def _extend_logprobs(choice: Answer, logprobs: JsonObject) -> None:
    if choice["logprobs"] is None:
        choice["logprobs"] = {}
    whole = choice["logprobs"]
    content = logprobs.get("content")
    if isinstance(content, list):
        before = whole.setdefault("content", [])
        before.extend(content)
        return
    packed = logprobs.get(_PACKED)
    if packed:
        blocks = whole.setdefault(_PACKED, [])
        blocks.append(packed)
    tokens = logprobs.get("tokens") or ()
    count = len(tokens)
    for key in _LISTS:
        added = logprobs.get(key)
        if added is None:
            added = [None] * count
        before = whole.setdefault(key, [])
        before.extend(added)


def _extend_sglang(whole: Answer, chunk: JsonObject) -> None:
    """Add a chunk of SGLang's form to what came before, in place."""
    old = whole["meta_info"]
    new = chunk["meta_info"]
    before = old.get("output_token_logprobs") or []
    now = new.get("output_token_logprobs") or []
    meta = {**old, **new}
    count = len(before)
    beginning = now[:count]
    says_everything = beginning == before
    if says_everything:
        whole.update(chunk)
    else:
        for key in _ADDED:
            if key in meta:
                both = _both(old, new, key)
                meta[key] = both
        ids = _both(whole, chunk, "output_ids")
        whole["output_ids"] = ids
    # What the server wrote about the prompt stays: later chunks may leave it empty.
    for key, value in old.items():
        is_of_prompt = key.startswith("input_")
        if is_of_prompt and value:
            meta[key] = value
    whole["meta_info"] = meta


def _both(old: JsonObject, new: JsonObject, key: str) -> JsonList:
    """The list of ``old``, then that of ``new``."""
    before = old.get(key) or []
    added = new.get(key) or []
    return [*before, *added]
