"""Rows of logits to what a session keeps: target logprob and rank, top-k, entropy.
Needs torch and NumPy only.

The cost is passes over memory, not arithmetic, so every reduction of a block of rows is
done while the block is in cache, in two buffers that live as long as the `Reducer`.
Nothing of the size of all rows is ever made.

Numerics. With m = max x, y = (x - m) log2(e) and e = 2**y (exp2 is three times as fast
as exp on a CPU): log-sum-exp = m + ln(sum e) and entropy = ln(sum e) - ln(2) sum(e y) /
sum(e). Sums are float32 over 64 neighbours, then float64; what is left of a row is
float64 until it is stored as float32. Against float64 throughout, on the same logits,
this is within 1e-6 nats, where torch's float32 log_softmax is off by up to 2e-5 on a
CPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from logdrift.core.worker.base import Scores

Tensor = Any

_GROUP = 64
_CACHE_BYTES = 6 << 20
_LOW = 0xFFFFFFFF
_PADDING = -1e30


class Reducer:
    """Reduces blocks of rows over a vocabulary of ``vocab_size`` ids on one device.

    ``block_rows`` rows are in work at once; by default as many as keep a buffer near 6
    MiB, which is a matter of CPU caches: on a GPU give the rows of a whole chunk.

    Ties. Equality is equality of the logits as the model gave them (bfloat16 logits tie
    often). Top-k is ordered by value, descending, and equal values by id, ascending, so
    also at the last place the lower id is in and the higher one out. A rank is 1 + the
    number of ids whose logit is greater, whatever ties with the target.
    """

    def __init__(
        self,
        vocab_size: int,
        top_k: int,
        device: Any = "cpu",
        block_rows: int | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.top_k = top_k
        groups = math.ceil(vocab_size / _GROUP)
        width = groups * _GROUP
        rows_in_cache = _CACHE_BYTES // (width * 4)
        self.block_rows = block_rows or max(1, rows_in_cache)
        self._values = torch.empty(
            (self.block_rows, width), dtype=torch.float32, device=device
        )
        self._work = torch.empty_like(self._values)
        ids = torch.arange(width, dtype=torch.int64, device=device)
        self._id_keys = (_LOW - ids).view(groups, _GROUP)

    def into(self, scores: Scores, start: int, logits: Tensor, targets: Tensor) -> None:
        """Reduce ``logits`` [rows, vocab_size] (any float dtype, left as it is) for
        ``targets`` int64[rows].

        Entries ``start .. start + rows`` of ``scores`` are filled. A row with a NaN or
        +inf, or of -inf alone, has no distribution: its entries stay without a score
        and are marked as NaN.
        """
        for first in range(0, logits.shape[0], self.block_rows):
            block = slice(first, min(first + self.block_rows, logits.shape[0]))
            self._block(scores, start + first, logits[block], targets[block])

    def _block(self, scores: Scores, at: int, logits: Tensor, targets: Tensor) -> None:
        rows = logits.shape[0]
        values = self._values[:rows]
        work = self._work[:rows]
        values[:, : self.vocab_size].copy_(logits)
        padding = values[:, self.vocab_size :]
        # below every real id, and after it by id where that is -inf too
        padding.fill_(-math.inf)

        target = values.gather(1, targets[:, None])
        maxima = values.view(rows, -1, _GROUP).amax(-1)
        top_values, top_ids = self._top(values, maxima)
        # float32 counts whole numbers exactly up to 2**24 ids
        greater = torch.gt(values, target, out=work).sum(-1).to(torch.int32)

        peak = maxima.amax(-1, keepdim=True)
        padding.fill_(_PADDING)  # finite, so that 0 * padding is 0
        total, weighted = self._sums(values, work, peak)
        log_total = total.log()
        peak = peak.double()
        logprob = (target.double() - peak)[:, 0] - log_total
        top_logprobs = top_values.double() - peak - log_total[:, None]
        entropy = log_total - math.log(2) * weighted / total

        is_distribution = peak[:, 0].isfinite() & log_total.isfinite()
        valid = is_distribution.cpu().numpy()
        entries = slice(at, at + rows)
        if scores.nan is not None:
            scores.nan[entries] = ~valid
        _store(scores.logprob[entries], logprob, valid)
        _store(scores.rank[entries], greater + 1, valid)
        _store(scores.top_logprobs[entries], top_logprobs, valid)
        _store(scores.top_ids[entries], top_ids, valid)
        if scores.entropy is not None:
            _store(scores.entropy[entries], entropy.clamp_(min=0.0), valid)

    def _top(self, values: Tensor, maxima: Tensor) -> tuple[Tensor, Tensor]:
        """Best ids by (value descending, id ascending): values f32 and ids i64, both
        [rows, min(top_k, vocab)].

        Exact: an id outside the k best groups (by maximum, then by position) has k ids
        before it, one in each.
        """
        rows = values.shape[0]
        k = min(self.top_k, self.vocab_size)
        group_order = _order(maxima, self._id_keys[:, 0])
        group_count = min(k, maxima.shape[1])
        groups = group_order.topk(group_count, -1).indices
        group_ids = groups[..., None].expand(-1, -1, _GROUP)
        candidates = values.view(rows, -1, _GROUP).gather(1, group_ids)
        candidate_order = _order(candidates, self._id_keys[groups]).flatten(1)
        keys = candidate_order.topk(k, -1).values
        ids = _LOW - (keys & _LOW)
        return values.gather(1, ids), ids

    def _sums(
        self, values: Tensor, work: Tensor, peak: Tensor
    ) -> tuple[Tensor, Tensor]:
        """sum(e) and sum(e y), float64[rows]; ``values`` become y and ``work`` e y."""
        values.sub_(peak).mul_(math.log2(math.e))
        torch.exp2(values, out=work)
        total = _grouped_sum(work)
        work.mul_(values)
        weighted = _grouped_sum(work)
        if bool(weighted.isnan().any()):  # ids at -inf: 0 * -inf, whose limit is 0
            weighted = _grouped_sum(work.nan_to_num_(nan=0.0))
        return total, weighted


def _order(values: Tensor, id_keys: Tensor) -> Tensor:
    """int64 keys that sort as (value, then lower id first): float bits made monotone,
    over 2**32 - 1 - id.
    """
    # + 0.0 turns -0.0 into 0.0, which it ties with
    bits = (values + 0.0).view(torch.int32)
    monotone = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (monotone.to(torch.int64) << 32) + id_keys


def _grouped_sum(values: Tensor) -> Tensor:
    """float64[rows]: sums of each `_GROUP` neighbours in float32, then of these."""
    groups = values.view(values.shape[0], -1, _GROUP)
    return groups.sum(-1).sum(-1, dtype=torch.float64)


def _store(array: Any, tensor: Tensor, valid: Any) -> None:
    """Write the ``valid`` rows of ``tensor`` into ``array``, which may be wider."""
    width = tuple(slice(0, size) for size in tensor.shape[1:])
    array[(slice(None), *width)][valid] = tensor.cpu().numpy()[valid]
