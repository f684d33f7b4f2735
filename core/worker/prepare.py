"""Prompts to token ids, in a worker: the supervisor has no tokenizer.

Everything that can be wrong with a prompt is refused here, before a session folder
exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logdrift.core.errors import InputError, LogdriftError, Place
from logdrift.core.plan import SamplingSpec
from logdrift.core.protocol import PrepareJob
from logdrift.core.session.message_roles import ASSISTANT
from logdrift.core.worker.hub import cannot_load
from logdrift.core.worker.hub_cache import plain_config
from logdrift.core.worker.message_spans import roles_in
from logdrift.core.worker.retokenise import Retokeniser, Row, without_torch
from logdrift.core.worker.tokens import TokenText


def prepare(job: PrepareJob) -> dict[str, Any]:
    """Tokenise ``job.prompts`` and check them against the model.

    Returns token_ids (list of lists), prompt_lengths, vocab_size and max_positions of
    the model (None where unknown), max_length (of the longest sequence, with what will
    be sampled), and of each prompt its ``roles`` (`logdrift.core.worker.message_spans`)
    and what becomes of its ids, ``retokenised`` (`logdrift.core.worker.retokenise`),
    None where not known.

    Raises InputError naming the line of a prompt that is empty, longer than the model
    or outside its vocabulary.
    """
    without_torch(trust_remote_code=job.trust_remote_code)
    config = _config(job)
    vocab_size = _number(config, "vocab_size")
    positions = _number(config, "max_position_embeddings")
    positions = positions or _number(config, "n_positions")
    tokenizer = None
    if any("token_ids" not in prompt for prompt in job.prompts):
        tokenizer = _tokenizer(job)
    places = []
    ids = []
    lengths = []
    for prompt in job.prompts:
        place = Place(**prompt["place"])
        row, length = _encode(tokenizer, prompt, place)
        _check_ids(row, vocab_size, place)
        places.append(place)
        ids.append(row)
        lengths.append(length)
    if positions is not None:
        _check_lengths(places, ids, lengths, positions)
    any_tokenizer = tokenizer or _tokenizer_if_any(job)
    return {
        "token_ids": ids,
        "prompt_lengths": lengths,
        "roles": _roles(tokenizer, job.prompts, ids, lengths),
        "retokenised": _retokenised(any_tokenizer, ids, lengths),
        "vocab_size": vocab_size,
        "max_positions": positions,
        "max_length": _longest(ids, lengths, job.sampling, positions),
    }


def _check_ids(row: list[int], vocab_size: int | None, place: Place) -> None:
    if not row:
        raise place.error(
            "the prompt has no token",
            "give at least one character that the tokenizer keeps",
        )
    if vocab_size is None:
        return
    for token_id in row:
        if not 0 <= token_id < vocab_size:
            raise place.error(
                f"token id {token_id} is outside the model's vocabulary of"
                f" {vocab_size} ids"
            )


def _encode(
    tokenizer: TokenText | None, prompt: Mapping[str, Any], place: Place
) -> tuple[list[int], int]:
    """Ids of a prompt and its completion, if it has one, and how many of them are the
    prompt.
    """
    if "token_ids" in prompt:
        return list(prompt["token_ids"]), int(prompt["prompt_length"])
    assert tokenizer is not None
    try:
        row = _prompt_ids(tokenizer, prompt)
        completion = []
        if "completion" in prompt:
            # Tokenised by itself, so that the ids of the prompt are those that an
            # engine is given to go on from.
            completion = tokenizer.encode_completion(prompt["completion"])
    except LogdriftError as error:
        raise place.error(str(error)) from None
    return row + completion, len(row)


def _prompt_ids(tokenizer: TokenText, prompt: Mapping[str, Any]) -> list[int]:
    if "messages" not in prompt:
        return tokenizer.encode(prompt["text"])
    return tokenizer.encode_messages(
        prompt["messages"],
        tools=prompt.get("tools"),
        arguments=prompt.get("chat_template_kwargs"),
        ending=prompt["ending"],
    )


def _check_lengths(
    places: list[Place], ids: list[list[int]], lengths: list[int], positions: int
) -> None:
    """Refuse what the model has no positions for: a prompt needs one more, for the
    first token of its completion.
    """
    too_long = []
    for index, row in enumerate(ids):
        is_sampled = lengths[index] == len(row)
        needed = len(row) + int(is_sampled)
        if needed > positions:
            too_long.append(index)
    if not too_long:
        return
    first = too_long[0]
    length = len(ids[first])
    what = f"{positions} is the longest sequence"
    if lengths[first] == length:
        what = f"{positions - 1} is the longest prompt"
    of_many = ""
    if len(ids) > 1:
        of_many = f" ({len(too_long):,} of {len(ids):,} are too long)"
    raise places[first].error(
        f"{length} tokens are too long for the model, which has {positions}"
        f" positions: {what}{of_many}"
    )


def _longest(
    ids: list[list[int]],
    lengths: list[int],
    sampling: SamplingSpec,
    positions: int | None,
) -> int:
    """Tokens of the longest sequence, completions that are yet to be sampled
    included.
    """
    longest = 0
    for row, length in zip(ids, lengths, strict=True):
        is_sampled = length == len(row)
        new_tokens = sampling.max_tokens if is_sampled else 0
        longest = max(longest, len(row) + new_tokens)
    if positions is None:
        return longest
    return min(longest, positions)


def _tokenizer(job: PrepareJob) -> TokenText:
    model = job.model
    try:
        return TokenText(model.name, model.revision, job.trust_remote_code)
    except ImportError:
        raise InputError(
            "text must become token ids, and there is no environment with a tokenizer",
            field="prompts",
            remedy="make one with logdrift env create transformers, or give token_ids",
        ) from None


def _tokenizer_if_any(job: PrepareJob) -> TokenText | None:
    """The tokenizer, where all prompts are ids and nothing depends on it."""
    try:
        return _tokenizer(job)
    except LogdriftError:
        return None


def _roles(
    tokenizer: TokenText | None,
    prompts: Sequence[Mapping[str, Any]],
    ids: Sequence[list[int]],
    lengths: Sequence[int],
) -> list[list[int] | None]:
    """The roles of each prompt and its completion, which is the assistant's."""
    found: list[list[int] | None] = []
    for prompt, row, length in zip(prompts, ids, lengths, strict=True):
        roles = None
        if tokenizer is not None:
            roles = roles_in(prompt, row[:length], tokenizer.encode_talk)
        if roles is not None:
            roles += [ASSISTANT] * (len(row) - length)
        found.append(roles)
    return found


def _retokenised(
    tokenizer: TokenText | None, ids: Sequence[list[int]], lengths: Sequence[int]
) -> list[Row]:
    if tokenizer is None:
        return [None] * len(ids)
    asked = Retokeniser(tokenizer.tokenizer)
    pairs = zip(ids, lengths, strict=True)
    return [asked.row(row, length) for row, length in pairs]


def _config(job: PrepareJob) -> Any:
    try:
        from transformers import AutoConfig
    except ImportError:
        return plain_config(job.model.name, job.model.revision)
    try:
        config = AutoConfig.from_pretrained(
            job.model.name,
            revision=job.model.revision,
            trust_remote_code=job.trust_remote_code,
        )
    except Exception as error:
        raise cannot_load(job.model.name, error) from None
    return config.get_text_config()


def _number(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    if isinstance(value, int):
        return value
    return None
