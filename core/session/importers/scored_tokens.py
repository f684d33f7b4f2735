"""One token as a server scored it, and the forms in which servers write lists of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.importers.columns import is_whole

_ID = re.compile(r"token_id:(\d+)")
"""How vLLM writes a token for ``return_tokens_as_token_ids``."""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """``logprob`` is as written (None: no score); ``top`` lists (id, log-probability),
    id None where text alone is named.

    ``piece`` are the bytes of the token, ``rank`` 1 for the most likely id; None: not
    told. ``sure``: all that ``top`` lists are the most likely ids; else the token
    itself may stand in front of them.
    """

    token_id: int | None = None
    logprob: Any = None
    top: tuple[tuple[int | None, Any], ...] = ()
    rank: int | None = None
    piece: bytes | None = None
    sure: bool = True


def tokens_of(logprobs: Any, place: Place) -> list[ScoredToken]:
    """The tokens of OpenAI's ``logprobs``: a chat's ``content`` or a completion's
    lists; none where it is null.

    Raises InputError for anything else.
    """
    if logprobs is None:
        return []
    return _read(lambda: _openai(logprobs), place, "logprobs is not OpenAI's")


def prompt_tokens_of(values: Any, place: Place) -> list[ScoredToken]:
    """The tokens of vLLM's ``prompt_logprobs``: null, then ``{"id": {logprob, rank,
    decoded_token}, ...}``, target first.
    """
    if values is None:
        return []
    return _read(
        lambda: [_of_prompt(entry) for entry in values],
        place,
        "prompt_logprobs is not vLLM's",
    )


def sglang_tokens(values: Any, tops: Any, place: Place, key: str) -> list[ScoredToken]:
    """The tokens of SGLang's ``*_token_logprobs``, ``[log-probability, id, text]``,
    with their ``*_top_logprobs``. ``key`` is the name of the list.
    """

    def read() -> list[ScoredToken]:
        alternatives = list(tops or ())[: len(values)]
        alternatives += [None] * (len(values) - len(alternatives))
        return [
            _of_sglang(entry, top)
            for entry, top in zip(values, alternatives, strict=True)
        ]

    return _read(read, place, f"{key} is not SGLang's")


def llamacpp_tokens(values: Any, place: Place) -> list[ScoredToken]:
    """The tokens of llama.cpp's ``completion_probabilities``; probabilities behind
    sampling are turned to logarithms.
    """
    return _read(
        lambda: [_of_llamacpp(entry) for entry in values],
        place,
        "completion_probabilities is not llama.cpp's",
    )


def _read(
    tokens: Callable[[], list[ScoredToken]], place: Place, reason: str
) -> list[ScoredToken]:
    try:
        return tokens()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise place.error(f"{reason}: {type(error).__name__}: {error}") from None


def _openai(logprobs: Mapping[str, Any]) -> list[ScoredToken]:
    content = logprobs.get("content")
    if isinstance(content, list):
        return [_of_chat(entry) for entry in content]
    tokens = logprobs["tokens"]
    values = logprobs["token_logprobs"]
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    widths = {len(top) for top in tops if top}
    # vLLM lists k ids, and the token before them where it is none of them: then the
    # rows have two widths.
    k = min(widths) if len(widths) > 1 else 0
    return [
        ScoredToken(
            token_id=_named(token),
            logprob=value,
            top=tuple((_named(text), other) for text, other in (top or {}).items()),
            piece=_piece(token, None),
            sure=len(top or ()) == k,
        )
        for token, value, top in zip(tokens, values, tops, strict=True)
    ]


def _of_chat(entry: Mapping[str, Any]) -> ScoredToken:
    top: Iterable[Mapping[str, Any]] = entry.get("top_logprobs") or ()
    return ScoredToken(
        token_id=_id_of(entry),
        logprob=entry["logprob"],
        top=tuple((_id_of(other), other["logprob"]) for other in top),
        rank=_whole(entry.get("rank")),
        piece=_piece(entry.get("token"), entry.get("bytes")),
        sure=False,
    )


def _of_prompt(entry: Mapping[str, Any] | None) -> ScoredToken:
    """vLLM lists the target before the k most likely ids; one of rank above their
    number is none of them.
    """
    if not entry:
        return ScoredToken()
    listed = [(int(key), value) for key, value in entry.items()]
    target, body = listed[0]
    text = body.get("decoded_token")
    return ScoredToken(
        token_id=target,
        logprob=body["logprob"],
        top=tuple(
            (i, value["logprob"])
            for i, value in listed
            if (_whole(value.get("rank")) or 1) <= len(listed)
        ),
        rank=_whole(body.get("rank")),
        piece=_piece(text, None),
    )


def _of_sglang(entry: Sequence[Any], top: Any) -> ScoredToken:
    logprob, token_id, *rest = entry
    text = rest[0] if rest else None
    return ScoredToken(
        token_id=_whole(token_id),
        logprob=logprob,
        top=tuple((_whole(other[1]), other[0]) for other in top or ()),
        piece=_piece(text, None),
    )


def _of_llamacpp(entry: Mapping[str, Any]) -> ScoredToken:
    top = (
        entry.get("top_logprobs") or entry.get("top_probs") or entry.get("probs") or ()
    )
    return ScoredToken(
        token_id=_id_of(entry),
        logprob=_logarithm(entry),
        top=tuple((_id_of(other), _logarithm(other)) for other in top),
        piece=_piece(entry.get("token"), entry.get("bytes")),
    )


def _logarithm(entry: Mapping[str, Any]) -> Any:
    if "prob" not in entry:
        return entry.get("logprob")
    share = float(entry["prob"])
    if share > 0:
        return math.log(share)
    return -math.inf


def _id_of(entry: Mapping[str, Any]) -> int | None:
    """llama.cpp writes ``id`` beside each token, vLLM's token-in-token-out server
    ``token_id``.
    """
    for key in ("id", "token_id"):
        token_id = _whole(entry.get(key))
        if token_id is not None:
            return token_id
    return _named(entry.get("token"))


def _named(text: Any) -> int | None:
    """The id in a token text such as ``token_id:198``."""
    if not isinstance(text, str):
        return None
    written = _ID.fullmatch(text)
    if written is None:
        return None
    return int(written[1])


def _whole(value: Any) -> int | None:
    return value if is_whole(value) else None


def _piece(text: Any, raw: Any) -> bytes | None:
    if isinstance(raw, list) and all(isinstance(b, int) and 0 <= b < 256 for b in raw):
        return bytes(raw) or None
    if isinstance(text, str) and not _ID.fullmatch(text):
        return text.encode("utf-8", "surrogatepass") or None
    return None
