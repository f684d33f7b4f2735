"""One token as a server scored it, and the forms in which servers write lists of
them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import is_whole
from logdrift.core.session.importers.packed_lists import (
    NO_ALTERNATIVES,
    Alternatives,
    packed_rows,
)

_BAD_FORM = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_ID = re.compile(r"token_id:(\d+)")
"""How vLLM writes a token for ``return_tokens_as_token_ids``."""
_text_of = itemgetter("token")
_logprob_of = itemgetter("logprob")


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """``logprob`` is as written (None: no score); ``top`` are the alternatives.

    ``piece`` are the bytes of the token, ``rank`` 1 for the most likely id; None: not
    told. ``sure``: all that ``top`` lists are the most likely ids; else the token
    itself may stand in front of them.
    """

    token_id: int | None = None
    logprob: Any = None
    top: Alternatives = NO_ALTERNATIVES
    rank: int | None = None
    piece: bytes | None = None
    sure: bool = True


IdList = Sequence[int]
"""The ids of an answer, or of a part of one, in their order."""
ScoredTokens = list[ScoredToken]
"""The tokens of an answer, or of a part of one, in their order."""
_TokenOf = Callable[..., ScoredToken]
_ReadTokens = Callable[[], ScoredTokens]
_ByText = Mapping[Any, Any]
"""Log-probabilities by the text of the token."""


def tokens_of(logprobs: Any, place: Place) -> ScoredTokens:
    """The tokens of OpenAI's ``logprobs``: a chat's ``content`` or a completion's
    lists; none where it is null.

    Raises InputError for anything else.
    """
    if logprobs is None:
        return []
    reason = "logprobs is not OpenAI's"
    read = partial(_openai, logprobs)
    return _read(read, place, reason)


def prompt_tokens_of(values: Any, place: Place) -> ScoredTokens:
    """The tokens of vLLM's ``prompt_logprobs``: null, then ``{"id": {logprob, rank,
    decoded_token}, ...}``, target first.
    """
    if values is None:
        return []
    reason = "prompt_logprobs is not vLLM's"
    read = partial(_each, _of_prompt, values)
    return _read(read, place, reason)


def tokens_by_id(values: Any, ids: IdList, place: Place, key: str) -> ScoredTokens:
    """The tokens ``ids`` as an offline engine lists them under ``key``: null, a number,
    or ``{"id": {logprob, rank, decoded_token}, ...}`` in any order, for each.

    A token that its own object lacks has no score. Raises InputError where there are
    not as many.
    """
    if len(values) != len(ids):
        raise place.error(f"{key} has {len(values)} entries for {len(ids)} token ids")
    reason = f"{key} is not one object of log-probabilities a token"
    read = partial(_each, _listed, ids, values)
    return _read(read, place, reason)


def sglang_tokens(values: Any, tops: Any, place: Place, key: str) -> ScoredTokens:
    """The tokens of SGLang's ``*_token_logprobs``, ``[log-probability, id, text]``,
    with their ``*_top_logprobs``. ``key`` is the name of the list.
    """
    reason = f"{key} is not SGLang's"
    read = partial(_sglang, values, tops)
    return _read(read, place, reason)


def llamacpp_tokens(values: Any, place: Place) -> ScoredTokens:
    """The tokens of llama.cpp's ``completion_probabilities``; probabilities behind
    sampling are turned to logarithms.
    """
    reason = "completion_probabilities is not llama.cpp's"
    read = partial(_each, _of_llamacpp, values)
    return _read(read, place, reason)


def _each(token_of: _TokenOf, *columns: Any) -> ScoredTokens:
    """A token of the entries that stand beside one another in the columns."""
    tokens = map(token_of, *columns)
    return list(tokens)


def _read(read: _ReadTokens, place: Place, reason: str) -> ScoredTokens:
    """What ``read`` gives. Raises InputError where the form is another one."""
    try:
        return read()
    except _BAD_FORM as error:
        kind = type(error).__name__
        raise place.error(f"{reason}: {kind}: {error}") from None


def _sglang(values: Any, tops: Any) -> ScoredTokens:
    count = len(values)
    given = list(tops or ())
    lists = given[:count]
    missing = count - len(lists)
    lists += [None] * missing
    return _each(_of_sglang, values, lists)


def _openai(logprobs: JsonObject) -> ScoredTokens:
    content = logprobs.get("content")
    if isinstance(content, list):
        return [_of_chat(entry) for entry in content]
    tokens = _of_completion(
        logprobs["tokens"],
        logprobs["token_logprobs"],
        logprobs.get("top_logprobs"),
    )
    packed = logprobs.get("packed_top_logprobs")
    if not packed:
        return tokens
    rows = packed_rows(packed)
    with_rows = []
    pairs = zip(tokens, rows, strict=True)
    for token, row in pairs:
        with_row = replace(token, top=row, sure=True)
        with_rows.append(with_row)
    return with_rows


def _of_completion(
    texts: JsonList,
    values: JsonList,
    tops: Sequence[_ByText | None] | None,
) -> ScoredTokens:
    """The tokens of a completion: texts, log-probabilities and alternatives by text."""
    if not tops:
        tops = [None] * len(texts)
    lists = [top or {} for top in tops]
    lengths = [len(top) for top in lists]
    widths = {length for length in lengths if length > 0}
    # vLLM lists k ids, and the token before them where it is none of them: then the
    # rows have two widths.
    k = 0
    if len(widths) > 1:
        k = min(widths)
    tokens = []
    beside = zip(texts, values, lists, strict=True)
    for text, value, top in beside:
        token = ScoredToken(
            token_id=_named(text),
            logprob=value,
            top=_by_text(top),
            piece=_piece(text, None),
            sure=len(top) == k,
        )
        tokens.append(token)
    return tokens


def _by_text(top: _ByText) -> Alternatives:
    """The alternatives of an object of log-probabilities by text."""
    ids = [_named(text) for text in top]
    logprobs = list(top.values())
    return Alternatives(ids, logprobs)


def _of_chat(entry: JsonObject) -> ScoredToken:
    listed = entry.get("top_logprobs") or ()
    ids = _ids_of(listed)
    logprobs = list(map(_logprob_of, listed))
    text = entry.get("token")
    raw = entry.get("bytes")
    rank = entry.get("rank")
    return ScoredToken(
        token_id=_id_of(entry),
        logprob=entry["logprob"],
        top=Alternatives(ids, logprobs),
        rank=_whole(rank),
        piece=_piece(text, raw),
        sure=False,
    )


def _of_prompt(entry: JsonObject | None) -> ScoredToken:
    """vLLM lists the target before the k most likely ids."""
    if not entry:
        return ScoredToken()
    target = next(iter(entry))
    return _listed(int(target), entry)


def _listed(target: int, entry: Any) -> ScoredToken:
    """A token with its own object of ids, or with a number alone.

    An id of a rank above their number is none of the most likely ones: it is there
    because it is the token.
    """
    if not entry:
        return ScoredToken(target)
    if not isinstance(entry, Mapping):
        return ScoredToken(target, entry)
    token = ScoredToken(target)
    ids: list[int | None] = []
    logprobs = []
    for key, body in entry.items():
        token_id = int(key)
        listed = _body(body)
        logprob = listed["logprob"]
        rank = _whole(listed.get("rank"))
        if token_id == target:
            text = listed.get("decoded_token")
            piece = _piece(text, None)
            token = ScoredToken(
                target,
                logprob,
                rank=rank,
                piece=piece,
            )
        is_likely = rank is None or rank <= len(entry)
        if is_likely:
            ids.append(token_id)
            logprobs.append(logprob)
    top = Alternatives(ids, logprobs)
    return replace(token, top=top)


def _body(value: Any) -> JsonObject:
    """What an object of ids says of one: vLLM's ``Logprob``, or a number alone."""
    if isinstance(value, Mapping):
        return value
    return {"logprob": value}


def _of_sglang(entry: JsonList, top: Any) -> ScoredToken:
    logprob, token_id, *rest = entry
    text = None
    if rest:
        text = rest[0]
    listed = top or ()
    ids = [_whole(other[1]) for other in listed]
    logprobs = [other[0] for other in listed]
    return ScoredToken(
        token_id=_whole(token_id),
        logprob=logprob,
        top=Alternatives(ids, logprobs),
        piece=_piece(text, None),
    )


def _of_llamacpp(entry: JsonObject) -> ScoredToken:
    listed = list(_llamacpp_top(entry))
    ids = [_id_of(other) for other in listed]
    logprobs = [_logarithm(other) for other in listed]
    text = entry.get("token")
    raw = entry.get("bytes")
    return ScoredToken(
        token_id=_id_of(entry),
        logprob=_logarithm(entry),
        top=Alternatives(ids, logprobs),
        piece=_piece(text, raw),
    )


def _llamacpp_top(entry: JsonObject) -> Iterable[JsonObject]:
    """The alternatives of a token, under whichever name a release of llama.cpp has."""
    for key in ("top_logprobs", "top_probs", "probs"):
        if entry.get(key):
            return entry[key]  # type: ignore[no-any-return]
    return ()


def _logarithm(entry: JsonObject) -> Any:
    if "prob" not in entry:
        return entry.get("logprob")
    share = float(entry["prob"])
    if share > 0:
        return math.log(share)
    return -math.inf


def _ids_of(listed: Sequence[JsonObject]) -> list[int | None]:
    """The ids of alternatives, of which the first tells how all are named."""
    if not listed:
        return []
    first = listed[0]
    if "id" in first or "token_id" in first:
        return [_id_of(entry) for entry in listed]
    texts = map(_text_of, listed)
    return list(map(_named, texts))


def _id_of(entry: JsonObject) -> int | None:
    """llama.cpp writes ``id`` beside each token, vLLM's token-in-token-out server
    ``token_id``.
    """
    token_id = entry.get("id")
    if token_id is None:
        token_id = entry.get("token_id")
    whole = None
    if token_id is not None:
        whole = _whole(token_id)
    if whole is None:
        return _named(entry.get("token"))
    return whole


@lru_cache(1 << 17)
def _named(text: Any) -> int | None:
    """The id in a token text such as ``token_id:198``. It is kept: the same few ids are
    most of the alternatives of a file.
    """
    if not isinstance(text, str):
        return None
    written = _ID.fullmatch(text)
    if written is None:
        return None
    return int(written[1])


def _whole(value: Any) -> int | None:
    if is_whole(value):
        return int(value)
    return None


def _piece(text: Any, raw: Any) -> bytes | None:
    """The bytes of a token: ``raw`` where they are listed, else its text."""
    if _are_bytes(raw):
        return bytes(raw) or None
    if not isinstance(text, str):
        return None
    if _ID.fullmatch(text):
        return None
    return text.encode("utf-8", "surrogatepass") or None


def _are_bytes(values: Any) -> bool:
    if not isinstance(values, list):
        return False
    return all(_is_byte(value) for value in values)


def _is_byte(value: Any) -> bool:
    if not isinstance(value, int):
        return False
    return 0 <= value < 256
