"""Scores of whole sequences by a plain forward pass: the model, its hidden states, and
logits to what a session keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logdrift.core.worker.base import Scores
from logdrift.core.worker.reduce import Reducer

Tensor = Any
COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "entropy")
"""The fields of `Scores` that a plain forward pass fills in."""
Transform = Callable[[Tensor, np.ndarray, int], Tensor]
"""(float32 logits [rows, V], the sequence's ids, the first row's position) -> logits of
the same shape.
"""

_BLOCK = 64
"""Tokens whose logits are in memory at once."""
_BATCH_TOKENS = 2048
"""Tokens that go through the model at once, at most: wide enough for its matrix
products, small enough for any memory.
"""


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
        ).eval()
        return cls(net=net, dtype=dtype, vocab=int(net.config.vocab_size))

    def attention(self, name: str) -> None:
        """Switch the attention implementation of the loaded model."""
        self.net.set_attn_implementation(name)


def hidden_states(
    model: Model, sequences: Sequence[np.ndarray], **arguments: Any
) -> list[Tensor]:
    """The last hidden state [T, D] of each sequence. Those of one length go through the
    model together, unpadded.
    """
    by_sequence: dict[int, Tensor] = {}
    for length, numbers in of_one_length(sequences).items():
        batch_size = max(1, _BATCH_TOKENS // length)
        for first in range(0, len(numbers), batch_size):
            batch = numbers[first : first + batch_size]
            ids = np.stack([sequences[i] for i in batch]).astype(np.int64)
            with torch.inference_mode():
                output = model.net.model(
                    input_ids=torch.from_numpy(ids), use_cache=False, **arguments
                )
            by_sequence.update(zip(batch, output.last_hidden_state, strict=True))
    return [by_sequence[i] for i in range(len(sequences))]


def of_one_length(sequences: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """Length -> the numbers of the sequences that have it, in their own order."""
    numbers: dict[int, list[int]] = {}
    for i, ids in enumerate(sequences):
        numbers.setdefault(len(ids), []).append(i)
    return numbers


def head_logits(model: Model, hidden: Tensor) -> Tensor:
    """The model's own logits [rows, V] of hidden states, widened to float32; scale and
    softcap come along.
    """
    config = model.net.config
    head = model.net.lm_head
    with torch.inference_mode():
        logits = head(hidden.to(head.weight.dtype))
        if hasattr(config, "logit_scale"):
            logits = logits * config.logit_scale
        cap = getattr(config, "final_logit_softcapping", None)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits.float()


def reduce_rows(
    model: Model,
    ids: np.ndarray,
    hidden: Tensor,
    top_k: int,
    transform: Transform | None = None,
    normalised: bool = False,
) -> Scores:
    """The scores of ``ids`` i32[T]: entry i from row i - 1 of ``hidden`` [>= T - 1, D].

    ``transform`` changes the logits; where it is ``normalised`` it gives
    log-probabilities, which are kept as they are.
    """
    scores = Scores.empty(len(ids), top_k, entropy=True)
    ids_tensor = torch.from_numpy(np.asarray(ids, np.int64))
    reducer = _reducer(model.vocab, top_k)
    rows = len(ids) - 1
    for first_row in range(0, rows, _BLOCK):
        end_row = min(first_row + _BLOCK, rows)
        first_token = first_row + 1
        targets = ids_tensor[first_token : end_row + 1]
        values = head_logits(model, hidden[first_row:end_row])
        if transform is not None:
            values = transform(values, ids, first_row)
        if normalised:
            _keep_logprobs(scores, first_token, values, targets, top_k)
        else:
            logits = values[:, : model.vocab]
            reducer.into(scores, first_token, logits, targets)
    return scores


@cache
def _reducer(vocab: int, top_k: int) -> Reducer:
    return Reducer(vocab, top_k)


def _keep_logprobs(
    scores: Scores, first: int, logprobs: Tensor, targets: Tensor, top_k: int
) -> None:
    """Put log-probabilities [rows, V] into ``scores`` from token ``first`` on, as the
    transform rounded them.
    """
    of_targets = logprobs.gather(1, targets[:, None])
    more_likely = (logprobs > of_targets).sum(-1)
    top = logprobs.topk(top_k, -1)
    at = slice(first, first + len(targets))
    scores.logprob[at] = of_targets[:, 0].numpy()
    scores.rank[at] = (1 + more_likely).numpy()
    scores.top_ids[at] = top.indices.numpy()
    scores.top_logprobs[at] = top.values.numpy()
    assert scores.entropy is not None
    scores.entropy[at] = -(logprobs.exp() * logprobs).sum(-1).numpy()


def score(model: Model, sequences: Sequence[np.ndarray], top_k: int) -> list[Scores]:
    """Every sequence by itself, without padding."""
    states = hidden_states(model, sequences)
    return [
        reduce_rows(model, ids, hidden, top_k)
        for ids, hidden in zip(sequences, states, strict=True)
    ]
