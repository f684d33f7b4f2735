"""One token as a server scored it, and the forms in which servers write lists of
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import is_whole
from logdrift.core.session.importers.named_ids import NAMED, each_named, id_named
from logdrift.core.session.importers.packed_lists import (
    NO_ALTERNATIVES,
    Alternatives,
    packed_rows,
)

_BAD_FORM = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_IDS = ("id", "token_id")
"""What llama.cpp and vLLM's token-in-token-out server call the id beside a token."""
_logprob_of = itemgetter("logprob")
_first_of = itemgetter(0)
_second_of = itemgetter(1)


class ScoredToken(NamedTuple):
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
    lists; none where it is null. A content of tokens is as it is.

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
    read = partial(_llamacpp, values)
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


def _llamacpp(values: Any) -> ScoredTokens:
    names = _names_of(values)
    token_ids = each_named(names)
    return _each(_of_llamacpp, token_ids, values)


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
        if content and isinstance(content[0], ScoredToken):
            return content
        return _chat_tokens(content)
    tokens = _of_completion(
        logprobs["tokens"],
        logprobs["token_logprobs"],
        logprobs.get("top_logprobs"),
    )
    packed = logprobs.get("packed_top_logprobs")
    if not packed:
        return tokens
    rows = packed_rows(packed)
    pairs = zip(tokens, rows, strict=True)
    return [token._replace(top=row, sure=True) for token, row in pairs]


def _chat_tokens(content: Sequence[JsonObject]) -> ScoredTokens:
    names = _names_of(content)
    token_ids = each_named(names)
    return list(map(_of_chat, token_ids, content))


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
    token_ids = each_named(texts)
    beside = zip(texts, token_ids, values, lists, strict=True)
    for text, token_id, value, top in beside:
        token = ScoredToken(
            token_id=token_id,
            logprob=value,
            top=Alternatives(top.keys(), top.values()),
            piece=_piece_of_text(text, token_id),
            sure=len(top) == k,
        )
        tokens.append(token)
    return tokens


def _of_chat(token_id: int | None, entry: JsonObject) -> ScoredToken:
    listed = entry.get("top_logprobs") or ()
    names = _names_of(listed)
    logprobs = list(map(_logprob_of, listed))
    rank = entry.get("rank")
    return ScoredToken(
        token_id=token_id,
        logprob=entry["logprob"],
        top=Alternatives(names, logprobs),
        rank=_whole(rank),
        piece=_piece_of(entry),
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
    names = list(map(int, entry))
    bodies = _bodies(entry)
    logprobs = list(map(_logprob_of, bodies))
    ranks = [body.get("rank") for body in bodies]
    top = _likely(names, logprobs, ranks)
    if target not in names:
        return ScoredToken(target, top=top)
    at = names.index(target)
    text = bodies[at].get("decoded_token")
    return ScoredToken(
        token_id=target,
        logprob=logprobs[at],
        top=top,
        rank=_whole(ranks[at]),
        piece=_piece(text),
    )


def _bodies(entry: JsonObject) -> Sequence[JsonObject]:
    """What an object of ids says of each: vLLM's ``Logprob``, or a number alone."""
    bodies = list(entry.values())
    kinds = set(map(type, bodies))
    if kinds == {dict}:
        return bodies
    return [_body(body) for body in bodies]


def _body(value: Any) -> JsonObject:
    if isinstance(value, Mapping):
        return value
    return {"logprob": value}


def _likely(names: JsonList, logprobs: JsonList, ranks: JsonList) -> Alternatives:
    """The alternatives without those of a rank above their number."""
    count = len(names)
    known = [rank for rank in ranks if type(rank) is int]
    if max(known, default=0) <= count:
        return Alternatives(names, logprobs)
    kept = [not is_whole(rank) or rank <= count for rank in ranks]
    kept_names = compress(names, kept)
    kept_logprobs = compress(logprobs, kept)
    return Alternatives(list(kept_names), list(kept_logprobs))


def _of_sglang(entry: JsonList, top: Any) -> ScoredToken:
    logprob, token_id, *rest = entry
    text = None
    if rest:
        text = rest[0]
    listed = top or ()
    names = list(map(_second_of, listed))
    logprobs = list(map(_first_of, listed))
    return ScoredToken(
        token_id=_whole(token_id),
        logprob=logprob,
        top=Alternatives(names, logprobs),
        piece=_piece(text),
    )


def _of_llamacpp(token_id: int | None, entry: JsonObject) -> ScoredToken:
    listed = _llamacpp_top(entry)
    names = _names_of(listed)
    logprobs = list(map(_logarithm, listed))
    return ScoredToken(
        token_id=token_id,
        logprob=_logarithm(entry),
        top=Alternatives(names, logprobs),
        piece=_piece_of(entry),
    )


def _llamacpp_top(entry: JsonObject) -> Sequence[JsonObject]:
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


def _names_of(listed: Sequence[JsonObject]) -> JsonList:
    """What names the token of each entry; the first entry tells under which key."""
    if not listed:
        return ()
    first = listed[0]
    named_by = "token"
    for key in _IDS:
        if first.get(key) is not None:
            named_by = key
            break
    try:
        return list(map(itemgetter(named_by), listed))
    except KeyError:
        return [entry.get(named_by) for entry in listed]


def _whole(value: Any) -> int | None:
    if is_whole(value):
        return int(value)
    return None


def _piece_of(entry: JsonObject) -> bytes | None:
    """The bytes of a token: those that its entry lists, else those of its text."""
    listed = _bytes(entry.get("bytes"))
    # vLLM lists the bytes of ``token_id:41`` where it knows no others.
    if listed is None or listed.startswith(NAMED):
        return _piece(entry.get("token"))
    return listed or None


def _bytes(values: Any) -> bytes | None:
    if not isinstance(values, list):
        return None
    try:
        return bytes(values)
    except (TypeError, ValueError):
        return None


def _piece(text: Any) -> bytes | None:
    """The bytes of a token's text, where it is not the name of its id."""
    return _piece_of_text(text, id_named(text))


def _piece_of_text(text: Any, token_id: int | None) -> bytes | None:
    """The bytes of a text, where it does not name ``token_id``."""
    if token_id is not None or not isinstance(text, str):
        return None
    return text.encode("utf-8", "surrogatepass") or None
