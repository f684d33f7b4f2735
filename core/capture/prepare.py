"""Prompts to token ids, in a worker: the supervisor has no tokenizer.

Everything that can be wrong with a prompt is said here, before a session folder exists.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

from core.backends.tokens import TokenText, one_line
from core.capture.protocol import WorkerJob
from core.errors import InputError, LogdriftError
from core.plan import SamplingSpec


def prepare(job: WorkerJob) -> dict[str, Any]:
    """Tokenise ``job.prompts`` and check them against the model.

    Returns token_ids (list of lists), prompt_lengths, vocab_size and max_positions. Raises InputError naming the
    line of a prompt that is empty, longer than the model or outside its vocabulary.
    """
    if not job.trust_remote_code and "torch" not in sys.modules:
        # Tokenizers and configurations do without torch, whose import takes three times as long as all else here.
        sys.modules["torch"] = cast(Any, None)
    config = _config(job)
    vocab_size = _number(config, "vocab_size")
    positions = _number(config, "max_position_embeddings") or _number(config, "n_positions")
    needs_text = any("token_ids" not in prompt for prompt in job.prompts)
    tokenizer = TokenText(job.model, job.revision, job.trust_remote_code) if needs_text else None
    ids, lengths = [], []
    for prompt in job.prompts:
        where = prompt["where"]
        row = _encode(tokenizer, prompt, where)
        if not row:
            raise InputError(f"{where}: the prompt has no token: give at least one character that the tokenizer keeps")
        bad = next((i for i in row if vocab_size is not None and not 0 <= i < vocab_size), None)
        if bad is not None:
            raise InputError(f"{where}: token id {bad} is outside the model's vocabulary of {vocab_size} ids")
        length = prompt.get("prompt_length")
        complete = length is not None and length < len(row)
        # Engines need room for one token more than they score, and a prompt needs room for one to generate.
        if positions is not None and len(row) + (1 if complete else 2) > positions:
            raise InputError(
                f"{where}: {len(row)} tokens are too long for the model, which has {positions} positions: "
                f"{positions - 2} is the longest prompt"
            )
        ids.append(row)
        lengths.append(len(row) if length is None else length)
    return {
        "token_ids": ids,
        "prompt_lengths": lengths,
        "vocab_size": vocab_size,
        "max_positions": positions,
        "max_length": _longest(ids, lengths, SamplingSpec(**job.sampling), positions),
    }


def _encode(tokenizer: TokenText | None, prompt: Mapping[str, Any], where: str) -> list[int]:
    if "token_ids" in prompt:
        return list(prompt["token_ids"])
    assert tokenizer is not None
    try:
        if "messages" in prompt:
            return tokenizer.encode_messages(prompt["messages"])
        return tokenizer.encode(prompt["text"])
    except LogdriftError as error:
        raise InputError(f"{where}: {error}") from None


def _longest(ids: list[list[int]], lengths: list[int], sampling: SamplingSpec, positions: int | None) -> int:
    longest = max(
        len(row) + (sampling.max_tokens if length == len(row) else 0) for row, length in zip(ids, lengths, strict=True)
    )
    return longest if positions is None else min(longest, positions - 1)


def _config(job: WorkerJob) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(job.model, revision=job.revision, trust_remote_code=job.trust_remote_code)
    except Exception as error:
        raise InputError(f"model {job.model}: cannot be loaded: {one_line(error)}") from None
    return config.get_text_config()


def _number(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int) else None
