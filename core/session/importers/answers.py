"""Answers of servers, whatever they are wrapped in: batch results, streams of chunks,
arrays.

An answer is an object with ``choices`` (OpenAI's form, as vLLM, SGLang and llama.cpp
speak it), ``meta_info`` (SGLang's ``/generate``), ``completion_probabilities``
(llama.cpp's ``/completion``), ``outputs`` with token ids (vLLM's offline
``RequestOutput``) or ``gen_logprobs`` (lines of a public script).
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.documents import Documents, documents
from logdrift.core.session.importers.llamacpp_answers import is_llamacpp
from logdrift.core.session.importers.place import list_item
from logdrift.core.session.importers.records import ImportContext
from logdrift.core.session.importers.request_outputs import is_request_output
from logdrift.core.session.importers.streams import Streams

KINDS = {
    "choices": "openai",
    "meta_info": "sglang",
    "gen_logprobs": "engine-outputs",
}
"""The key that tells a kind of answer."""
_WRAPPERS = ("response", "body", "result")
_LISTS = ("responses", "answers", "results", "outputs", "data")
LISTS_OF_ANSWERS = ("responses", "answers", "results", "data")
"""The keys under which an object of a script of one's own has a list of any length; one
of ``outputs`` may itself be an answer.
"""
_FAILED = "{n} {request|requests} of %s failed and {has|have} no answer"


def kind_of(data: JsonObject) -> str | None:
    """The kind of an answer, None for what is none."""
    for key, kind in KINDS.items():
        if key in data:
            return kind
    if is_llamacpp(data):
        return "llama.cpp"
    if is_request_output(data):
        return "vllm"
    return None


def wraps(data: JsonObject) -> bool:
    """Whether an object is something around answers, as far as its keys tell."""
    if _wrapped(data) is not None:
        return True
    return _has_lists_of_answers(data)


def _wrapped(data: JsonObject) -> dict[str, Any] | None:
    """The object that is wrapped in another one."""
    for key in _WRAPPERS:
        inner = data.get(key)
        if isinstance(inner, dict):
            return inner
    return None


def _says_more(around: JsonObject) -> bool:
    """Whether what stands around a list tells of an error, or has answers itself."""
    inner = _wrapped(around)
    holds_one = inner is not None and _is_about_answers(inner)
    return holds_one or _is_about_answers(around) or _has_lists_of_answers(around)


def _has_lists_of_answers(data: JsonObject) -> bool:
    lists = [data.get(key) for key in _LISTS]
    return any(map(_holds_answer, lists))


def _listed(data: JsonObject) -> JsonList:
    """The items of all lists of an object that hold answers; of the first list that is
    not empty where none does.
    """
    lists = [data.get(key) for key in _LISTS]
    full = [items for items in lists if isinstance(items, list) and items]
    of_answers = [items for items in full if _holds_answer(items)]
    chosen = of_answers or full[:1]
    return list(chain.from_iterable(chosen))


def _holds_answer(items: Any) -> bool:
    """A list with an answer, something around answers, or what is there in the place of
    one that failed.
    """
    return isinstance(items, list) and any(map(_is_about_answers, items))


def _is_about_answers(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    return kind_of(item) is not None or has_failed(item) or wraps(item)


def answers(path: Path, context: ImportContext) -> Documents:
    """(place, answer) of each answer in a file, streams put together. Raises InputError
    naming the line.
    """
    streams = Streams(path.name, context.notes)
    left_out = context.bad.number
    for place, answer in _as_they_stand(path, context):
        if context.bad.number > left_out:
            streams.lack_one()
        with context.bad.left_out():
            streams.add(place, answer)
        del answer
        if streams.may_be_ready:
            yield from streams.ready()
        # What reads the answers may have left out some of them.
        left_out = context.bad.number
    if context.bad.number > left_out:
        streams.lack_one()
    yield from streams.whole()
    streams.tell()


def _as_they_stand(path: Path, context: ImportContext) -> Documents:
    """The answers and the chunks of a file."""
    for document in documents(path, context.bad, LISTS_OF_ANSWERS, _says_more):
        place, data = document
        if kind_of(data) is not None:
            yield document
        else:
            with context.bad.left_out():
                yield from unwrapped(place, data, path.name, context)
        # Its memory serves the next one: two do not fit into a processor's cache.
        del document


def unwrapped(place: Place, data: Any, name: str, context: ImportContext) -> Documents:
    """The answers in an object: itself, or what a batch or a script of one's own has
    put around them. Items of a list are bad each for itself.
    """
    if not isinstance(data, dict):
        raise place.error(f"is {type(data).__name__}, not an object")
    if kind_of(data):
        yield place, data
        return
    inner = _wrapped(data)
    listed = _listed(data)
    if inner is not None and not has_failed(inner):
        yield from unwrapped(place, inner, name, context)
        if not _holds_answer(listed):
            return
    elif inner is not None or has_failed(data):
        context.notes.count(_FAILED % name)
        if not _holds_answer(listed):
            return
    if not listed:
        raise place.error(
            "choices is missing",
            "give answers of an OpenAI-compatible server, of SGLang's /generate"
            " (meta_info) or of llama.cpp's /completion (completion_probabilities)",
        )
    for index, item in enumerate(listed):
        there = list_item(place, index)
        with context.bad.left_out():
            yield from unwrapped(there, item, name, context)


def has_failed(data: JsonObject) -> bool:
    """A server's error in place of an answer, as batches and streams hold them."""
    status = data.get("status_code")
    if isinstance(status, int) and status >= 400:
        return True
    is_answer = kind_of(data) is not None
    if data.get("error") and not is_answer:
        return True
    return data.get("object") == "error"
