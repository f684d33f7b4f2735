"""Scores of whole sequences by a plain forward pass: the model, its hidden states, and
logits to what a session keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logdrift.core.worker.base import Scores
from logdrift.core.worker.reduce import Reducer

Tensor = Any
Ids = np.ndarray
"""The token ids of one sequence, i32[T]."""
COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "entropy")
"""The fields of `Scores` that a plain forward pass fills in."""

_BLOCK = 64
"""Tokens whose logits are in memory at once."""
_BATCH_TOKENS = 2048
"""Tokens that go through the model at once, at most: wide enough for its matrix
products, small enough for any memory.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRows:
    """Some rows of one sequence as the head gives them: float32 ``logits`` [rows, V],
    the sequence's ``ids``, and the position of the first row.
    """

    logits: Tensor
    ids: Ids
    first_row: int


Transform = Callable[[HeadRows], Tensor]
"""Rows of the head -> logits of the same shape."""


@dataclass
class Model:
    """A causal model of the Llama layout: ``model.layers``, ``lm_head``."""

    net: Any
    dtype: str
    vocab: int

    @classmethod
    def load(cls, folder: Path, dtype: str, attention: str = "sdpa") -> Model:
        import transformers

        net = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation=attention
        )
        vocab = int(net.config.vocab_size)
        return cls(net=net.eval(), dtype=dtype, vocab=vocab)

    def attention(self, name: str) -> None:
        """Switch the attention implementation of the loaded model."""
        self.net.set_attn_implementation(name)


def hidden_states(
    model: Model, sequences: Sequence[Ids], **arguments: Any
) -> list[Tensor]:
    """The last hidden state [T, D] of each sequence. Those of one length go through the
    model together, unpadded.
    """
    by_sequence: dict[int, Tensor] = {}
    for length, numbers in of_one_length(sequences).items():
        batch_size = max(1, _BATCH_TOKENS // length)
        for batch in _batches(numbers, batch_size):
            batch_ids = [sequences[number] for number in batch]
            states = _batch_states(model, batch_ids, arguments)
            by_sequence.update(zip(batch, states, strict=True))
    return [by_sequence[number] for number in range(len(sequences))]


def _batches(numbers: list[int], size: int) -> Iterator[list[int]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def _batch_states(
    model: Model, batch: Sequence[Ids], arguments: Mapping[str, Any]
) -> Tensor:
    """The last hidden states [S, T, D] of sequences of one length."""
    input_ids = _tensor_of(np.stack(batch))
    with torch.inference_mode():
        output = model.net.model(input_ids=input_ids, use_cache=False, **arguments)
    return output.last_hidden_state


def of_one_length(sequences: Sequence[Ids]) -> dict[int, list[int]]:
    """Length -> the numbers of the sequences that have it, in their own order."""
    by_length: dict[int, list[int]] = {}
    for number, ids in enumerate(sequences):
        numbers = by_length.setdefault(len(ids), [])
        numbers.append(number)
    return by_length


def head_logits(model: Model, hidden: Tensor) -> Tensor:
    """The model's own logits [rows, V] of hidden states, widened to float32; scale and
    softcap come along.
    """
    config = model.net.config
    head = model.net.lm_head
    head_dtype = head.weight.dtype
    with torch.inference_mode():
        logits = head(hidden.to(head_dtype))
        if hasattr(config, "logit_scale"):
            logits = logits * config.logit_scale
        cap = getattr(config, "final_logit_softcapping", None)
        if cap is not None:
            capped = torch.tanh(logits / cap)
            logits = capped * cap
        return logits.float()


def reduce_rows(
    model: Model,
    ids: Ids,
    hidden: Tensor,
    top_k: int,
    transform: Transform | None = None,
    normalised: bool = False,
) -> Scores:
    """The scores of ``ids`` i32[T]: entry i from row i - 1 of ``hidden`` [>= T - 1, D].

    ``transform`` changes the logits; where it is ``normalised`` it gives
    log-probabilities, which are kept as they are.
    """
    length = len(ids)
    scores = Scores.empty(length, top_k, entropy=True)
    token_ids = _tensor_of(ids)
    reducer = _reducer(model.vocab, top_k)
    for first_token in range(1, length, _BLOCK):
        end_token = min(first_token + _BLOCK, length)
        targets = token_ids[first_token:end_token]
        first_row = first_token - 1
        rows = hidden[first_row : end_token - 1]
        values = head_logits(model, rows)
        if transform is not None:
            head_rows = HeadRows(logits=values, ids=ids, first_row=first_row)
            values = transform(head_rows)
        if normalised:
            _keep_logprobs(scores, first_token, values, targets)
        else:
            logits = values[:, : model.vocab]
            reducer.into(scores, first_token, logits, targets)
    return scores


def _tensor_of(ids: Ids) -> Tensor:
    """i64 ids, as torch takes them."""
    return torch.from_numpy(ids.astype(np.int64))


@cache
def _reducer(vocab: int, top_k: int) -> Reducer:
    return Reducer(vocab, top_k)


def _keep_logprobs(
    scores: Scores, first: int, logprobs: Tensor, targets: Tensor
) -> None:
    """Put log-probabilities [rows, V] into ``scores`` from token ``first`` on, as the
    transform rounded them.
    """
    assert scores.entropy is not None
    of_targets = logprobs.gather(1, targets[:, None])
    is_more_likely = logprobs > of_targets
    rank = 1 + is_more_likely.sum(-1)
    top_k = scores.top_ids.shape[1]
    top = logprobs.topk(top_k, -1)
    probability = logprobs.exp()
    expected_logprob = (probability * logprobs).sum(-1)
    entropy = -expected_logprob
    at = slice(first, first + len(targets))
    scores.logprob[at] = of_targets[:, 0].numpy()
    scores.rank[at] = rank.numpy()
    scores.top_ids[at] = top.indices.numpy()
    scores.top_logprobs[at] = top.values.numpy()
    scores.entropy[at] = entropy.numpy()


def score(model: Model, sequences: Sequence[Ids], top_k: int) -> list[Scores]:
    """Every sequence by itself, without padding."""
    states = hidden_states(model, sequences)
    scores = []
    for ids, hidden in zip(sequences, states, strict=True):
        scores.append(reduce_rows(model, ids, hidden, top_k))
    return scores
