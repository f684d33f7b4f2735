"""Streamed answers put together: the chunks of one answer to what the server would have
sent at once.

A chunk of OpenAI's or llama.cpp's form adds to what came before; one of SGLang's says
everything so far, unless the server was started to send only what is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.documents import Documents
from logdrift.core.session.importers.llamacpp_answers import (
    PROBABILITIES,
    is_llamacpp,
    probabilities,
)
from logdrift.core.session.importers.scored_tokens import tokens_of

Answer = dict[str, Any]
"""A server's answer, or a chunk of one; what is put together is changed in place."""
_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
_PACKED = "packed_top_logprobs"
_ADDED = ("output_token_logprobs", "output_top_logprobs", "output_token_ids_logprobs")


_WINDOW = 4096
"""Objects that are read after the last one of a finished answer before it is given
away: what a server sends behind its end, as a count of tokens, stands within them.
"""
_LONGEST_GAP = 1 << 16
"""Objects between two chunks of one answer: one with a larger gap has broken off."""


@dataclass(slots=True)
class _Begun:
    """An answer so far; ``last`` is the number of the last object that was of it."""

    key: Any
    place: Place
    answer: Answer
    last: int = 0
    goes_on: bool = False

    @property
    def has_ended(self) -> bool:
        """The server has said its end; OpenAI's form says so for each choice."""
        if not self.goes_on:
            return True
        choices = self.answer.get("choices")
        if not choices:
            return False
        reasons = [choice["finish_reason"] for choice in choices]
        return None not in reasons


class Streams:
    """Answers in the order in which they began; chunks find theirs by its id.

    An answer that has ended is kept for a while, and so is one that has broken off:
    memory holds those that are sent at the same time.
    """

    def __init__(self) -> None:
        self._answers: list[_Begun] = []
        self._open: dict[Any, _Begun] = {}
        self._given: dict[Any, bool] = {}
        self._taken = 0

    def add(self, place: Place, answer: Answer) -> None:
        """Take one object: a whole answer, or a chunk. Raises InputError for a chunk
        that does not fit.
        """
        self._taken += 1
        try:
            if "meta_info" in answer:
                self._add_sglang(place, answer)
            elif "choices" in answer:
                self._add_openai(place, answer)
            elif is_llamacpp(answer):
                self._add_llamacpp(place, answer)
            else:
                self._begin(None, place, answer)
        except ValueError as error:
            reason = f"goes on too late: {error}"
            raise place.error(reason, "sort the chunks by their id") from None
        except (TypeError, AttributeError, KeyError) as error:
            kind = type(error).__name__
            raise place.error(
                f"is not an answer or a chunk of one: {kind}: {error}"
            ) from None

    def ready(self) -> Documents:
        """The answers that are whole, each given once: all while none may go on."""
        if not self._open:
            yield from self.whole()
        elif self._taken % _WINDOW == 0:
            yield from self._over()

    def whole(self) -> Documents:
        """All answers that `ready` has not given."""
        answers = self._answers
        self._answers = []
        for begun in answers:
            yield begun.place, begun.answer

    def _over(self) -> Documents:
        """The answers that have ended or broken off some time ago."""
        over = []
        kept = []
        for begun in self._answers:
            gap = self._taken - begun.last
            is_over = begun.has_ended and gap >= _WINDOW
            if is_over or gap >= _LONGEST_GAP:
                over.append(begun)
            else:
                kept.append(begun)
        self._answers = kept
        for begun in over:
            if self._open.get(begun.key) is begun:
                del self._open[begun.key]
                self._given[begun.key] = begun.has_ended
            yield begun.place, begun.answer

    def _begin(self, key: Any, place: Place, answer: Answer) -> _Begun:
        begun = _Begun(key, place, answer, last=self._taken)
        self._answers.append(begun)
        return begun

    def _add_openai(self, place: Place, answer: Answer) -> None:
        key = _answer_id(answer)
        begun = self._open.get(key)
        if begun is not None and _continues(begun.answer, answer):
            _extend(begun.answer, answer, place)
            begun.last = self._taken
            return
        if begun is None and key in self._given and not self._begins(key, answer):
            return
        if not _is_chunk(answer):
            self._begin(key, place, answer)
            return
        whole = {**answer, "choices": []}
        _extend(whole, answer, place)
        begun = self._begin(key, place, whole)
        self._keep_open(begun, goes_on=True)

    def _begins(self, key: Any, answer: Answer) -> bool:
        """Whether an object begins an answer, of which the id was there before; what
        stands behind an answer's end does not. Raises ValueError for a chunk of one
        that has broken off.
        """
        ended = self._given[key]
        if not ended:
            raise ValueError(
                f"its answer had no chunk in the {_LONGEST_GAP:,} objects before it"
            )
        return bool(answer["choices"])

    def _add_sglang(self, place: Place, answer: Answer) -> None:
        meta = answer["meta_info"]
        stream_id = meta.get("id")
        index = answer.get("index")
        key = ("sglang", stream_id, index)
        begun = self._open.get(key)
        if begun is not None:
            _extend_sglang(begun.answer, answer)
        else:
            begun = self._begin(key, place, dict(answer))
        goes_on = stream_id is not None and _is_unfinished(meta)
        self._keep_open(begun, goes_on)

    def _add_llamacpp(self, place: Place, answer: Answer) -> None:
        slot = answer.get("id_slot")
        index = answer.get("index")
        key = ("llama.cpp", slot, index)
        new = probabilities(answer)
        begun = self._open.get(key)
        if begun is None:
            whole = dict(answer)
            whole[PROBABILITIES] = list(new)
            begun = self._begin(key, place, whole)
        else:
            before = begun.answer[PROBABILITIES]
            begun.answer.update(answer)
            begun.answer[PROBABILITIES] = before
            before.extend(new)
        goes_on = answer.get("stop") is False
        self._keep_open(begun, goes_on)

    def _keep_open(self, begun: _Begun, goes_on: bool) -> None:
        """Whether later chunks belong to this answer."""
        begun.last = self._taken
        begun.goes_on = goes_on
        if goes_on:
            self._open[begun.key] = begun
        else:
            self._open.pop(begun.key, None)


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
    choices = begun["choices"]
    finished = [one["index"] for one in choices if one["finish_reason"] is not None]
    for choice in answer["choices"]:
        index = choice.get("index", 0)
        if index in finished:
            return False
    return True


def _extend(whole: Answer, chunk: JsonObject, place: Place) -> None:
    """Add a chunk of OpenAI's form, which stands at ``place``, to what came before, in
    place.
    """
    for key, value in chunk.items():
        if key == "choices" or value is None:
            continue
        if whole.get(key) is None:
            whole[key] = value
    choices = whole["choices"]
    for part in chunk["choices"]:
        index = part.get("index", 0)
        choice = _choice_at(index, choices)
        _extend_choice(choice, part, place)


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


def _extend_choice(choice: Answer, part: JsonObject, place: Place) -> None:
    ids = part.get("token_ids")
    if not ids:
        ids = part.get("response_token_ids")
    logprobs = part.get("logprobs")
    if isinstance(logprobs, dict):
        _extend_logprobs(choice, logprobs, place)
    if ids:
        if choice["token_ids"] is None:
            choice["token_ids"] = []
        choice["token_ids"].extend(ids)
    for key in ("prompt_token_ids", "prompt_logprobs", "weight_versions"):
        value = part.get(key)
        if value is not None:
            choice.setdefault(key, value)
    reason = part.get("finish_reason")
    if reason is not None:
        choice["finish_reason"] = reason


def _extend_logprobs(choice: Answer, logprobs: JsonObject, place: Place) -> None:
    if choice["logprobs"] is None:
        choice["logprobs"] = {}
    whole = choice["logprobs"]
    content = logprobs.get("content")
    if isinstance(content, list):
        # Tokens take a quarter of the memory of what they are read from.
        before = whole.setdefault("content", [])
        before.extend(tokens_of(logprobs, place))
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
