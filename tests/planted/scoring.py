"""Scores of whole sequences by a plain forward pass: the model, its hidden states, and logits to what a session keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.backends.base import Scores

Tensor = Any
Rows = Scores
Transform = Callable[[Tensor, np.ndarray, int], Tensor]
"""(float32 logits [rows, V], the sequence's ids, the first row's position) -> logits of the same shape."""

_BLOCK = 64


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
        known = (folder / "tokenizer.json").exists() or (folder / "tokenizer_config.json").exists()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder) if known else None
        return cls(net, dtype, int(net.config.vocab_size), tokenizer)

    def attention(self, name: str) -> None:
        """Switch the attention implementation of the loaded model."""
        self.net.set_attn_implementation(name)


def hidden_states(model: Model, ids: np.ndarray, **arguments: Any) -> Tensor:
    """The last hidden state [T, D] of one sequence."""
    tokens = torch.from_numpy(np.asarray(ids, np.int64))[None]
    with torch.inference_mode():
        return model.net.model(input_ids=tokens, use_cache=False, **arguments).last_hidden_state[0]


def head_logits(model: Model, hidden: Tensor) -> Tensor:
    """The model's own logits [rows, V] of hidden states, widened to float32; scale and softcap come along."""
    config = model.net.config
    with torch.inference_mode():
        logits = model.net.lm_head(hidden.to(model.net.lm_head.weight.dtype))
        logits = logits * getattr(config, "logit_scale", 1.0) if hasattr(config, "logit_scale") else logits
        cap = getattr(config, "final_logit_softcapping", None)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits.float()


def reduce_rows(model: Model, ids: np.ndarray, hidden: Tensor, top_k: int, transform: Transform | None = None,
                normalised: bool = False) -> Rows:  # fmt: skip
    """Entry i scores ids[i] from row i - 1 of ``hidden`` [>= T - 1, D]. ``normalised``: the transform gives logprobs."""
    out = Scores.empty(len(ids), top_k, entropy=True)
    targets = torch.from_numpy(np.asarray(ids, np.int64))
    for start in range(0, len(ids) - 1, _BLOCK):
        stop = min(start + _BLOCK, len(ids) - 1)
        values = head_logits(model, hidden[start:stop])
        if transform is not None:
            values = transform(values, ids, start)
        if not normalised:
            values = values - torch.logsumexp(values - (peak := values.amax(-1, keepdim=True)), -1, keepdim=True) - peak
        target = values.gather(1, targets[start + 1 : stop + 1, None])
        top = values.topk(top_k, -1)
        plogp = (values.exp() * values.clamp(min=-1e30)).sum(-1)
        at = slice(start + 1, stop + 1)
        out.logprob[at] = target[:, 0].numpy()
        out.rank[at] = (1 + (values > target).sum(-1)).numpy()
        out.top_ids[at], out.top_logprobs[at] = top.indices.numpy(), top.values.numpy()
        assert out.entropy is not None
        out.entropy[at] = -plogp.numpy()
    return out


def score(model: Model, sequences: list[np.ndarray], top_k: int, transform: Transform | None = None,
          normalised: bool = False, **arguments: Any) -> list[Rows]:  # fmt: skip
    """Every sequence by itself."""
    return [
        reduce_rows(model, ids, hidden_states(model, ids, **arguments), top_k, transform, normalised)
        for ids in sequences
    ]


def empty_rows(length: int, top_k: int) -> Rows:
    """A sequence without a score."""
    return Scores.empty(length, top_k, entropy=True)
