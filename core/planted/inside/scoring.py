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
Rows = Scores
Transform = Callable[[Tensor, np.ndarray, int], Tensor]
"""(float32 logits [rows, V], the sequence's ids, the first row's position) -> logits of
the same shape.
"""

_BLOCK = 64
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
    tokenizer: Any

    @classmethod
    def load(cls, folder: Path, dtype: str, attention: str = "sdpa") -> Model:
        import transformers

        net = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation=attention
        ).eval()
        known = (folder / "tokenizer.json").exists() or (
            folder / "tokenizer_config.json"
        ).exists()
        if known:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        else:
            tokenizer = None
        return cls(net, dtype, int(net.config.vocab_size), tokenizer)

    def attention(self, name: str) -> None:
        """Switch the attention implementation of the loaded model."""
        self.net.set_attn_implementation(name)


def hidden_states(
    model: Model, sequences: Sequence[np.ndarray], **arguments: Any
) -> list[Tensor]:
    """The last hidden state [T, D] of each sequence. Those of one length go through the
    model together, unpadded.
    """
    out: list[Tensor] = [None] * len(sequences)
    for length in dict.fromkeys(len(ids) for ids in sequences):
        rows = [i for i, ids in enumerate(sequences) if len(ids) == length]
        many = max(1, _BATCH_TOKENS // length)
        for first in range(0, len(rows), many):
            batch = rows[first : first + many]
            tokens = torch.from_numpy(
                np.stack([sequences[i] for i in batch]).astype(np.int64)
            )
            with torch.inference_mode():
                states = model.net.model(
                    input_ids=tokens, use_cache=False, **arguments
                ).last_hidden_state
            for i, state in zip(batch, states, strict=True):
                out[i] = state
    return out


def head_logits(model: Model, hidden: Tensor) -> Tensor:
    """The model's own logits [rows, V] of hidden states, widened to float32; scale and
    softcap come along.
    """
    config = model.net.config
    with torch.inference_mode():
        logits = model.net.lm_head(hidden.to(model.net.lm_head.weight.dtype))
        if hasattr(config, "logit_scale"):
            logits = logits * getattr(config, "logit_scale", 1.0)
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
) -> Rows:
    """Entry i scores ids[i] from row i - 1 of ``hidden`` [>= T - 1, D]. ``normalised``:
    the transform gives logprobs.
    """
    out = Scores.empty(len(ids), top_k, entropy=True)
    targets = torch.from_numpy(np.asarray(ids, np.int64))
    reducer = _reducer(model.vocab, top_k)
    for start in range(0, len(ids) - 1, _BLOCK):
        stop = min(start + _BLOCK, len(ids) - 1)
        values = head_logits(model, hidden[start:stop])
        if transform is not None:
            values = transform(values, ids, start)
        if normalised:
            _as_they_are(out, start + 1, values, targets[start + 1 : stop + 1], top_k)
        else:
            reducer.into(
                out, start + 1, values[:, : model.vocab], targets[start + 1 : stop + 1]
            )
    return out


@cache
def _reducer(vocab: int, top_k: int) -> Reducer:
    return Reducer(vocab, top_k)


def _as_they_are(
    out: Rows, start: int, values: Tensor, targets: Tensor, top_k: int
) -> None:
    """Log-probabilities that are kept as the transform rounded them."""
    target = values.gather(1, targets[:, None])
    top = values.topk(top_k, -1)
    at = slice(start, start + len(targets))
    out.logprob[at] = target[:, 0].numpy()
    out.rank[at] = (1 + (values > target).sum(-1)).numpy()
    out.top_ids[at], out.top_logprobs[at] = top.indices.numpy(), top.values.numpy()
    assert out.entropy is not None
    out.entropy[at] = -(values.exp() * values).sum(-1).numpy()


def score(model: Model, sequences: Sequence[np.ndarray], top_k: int) -> list[Rows]:
    """Every sequence by itself, without padding."""
    states = hidden_states(model, sequences)
    return [
        reduce_rows(model, ids, hidden, top_k)
        for ids, hidden in zip(sequences, states, strict=True)
    ]
