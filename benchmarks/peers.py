"""What users write to get the log-probabilities of given tokens from a trainer's
logits, in plain torch: the peers of the scorer.

Each takes ``logits`` [T, V] in the model's dtype and ``targets`` int64[T], and gives
log-probabilities [T] in nats. They give that number alone; the scorer gives rank, top-k
and entropy as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Tensor = Any
Logprobs = Callable[[Tensor, Tensor], Tensor]


def whole(logits: Tensor, targets: Tensor) -> Tensor:
    """All log-probabilities in float32, then those of the targets."""
    logprobs = logits.float().log_softmax(-1)
    return logprobs.gather(-1, targets[:, None])[:, 0]


def by_row(logits: Tensor, targets: Tensor) -> Tensor:
    """A row at a time: TRL's ``selective_log_softmax`` and verl's
    ``logprobs_from_logits_v2``. In float32 the target less the row's log-sum-exp, in 16
    bits each row's own log-softmax.
    """
    import torch

    if logits.dtype == torch.float32:
        of_targets = logits.gather(-1, targets[:, None])[:, 0]
        totals = torch.stack([row.logsumexp(-1) for row in logits])
        return of_targets - totals
    rows = zip(logits, targets, strict=True)
    return torch.stack([row.log_softmax(-1)[target] for row, target in rows])


PEERS: dict[str, Logprobs] = {
    "full logits + log_softmax": whole,
    "row by row (TRL, verl)": by_row,
}
