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
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from logdrift.core.worker.base import Scores

Tensor = Any

_GROUP = 64
_CACHE_BYTES = 6 << 20
_LOW = 0xFFFFFFFF
_ALL_BUT_SIGN = 0x7FFFFFFF
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
        row_bytes = 4 * width
        rows_in_cache = _CACHE_BYTES // row_bytes
        self.block_rows = block_rows or max(1, rows_in_cache)
        shape = (self.block_rows, width)
        self._values = torch.empty(shape, dtype=torch.float32, device=device)
        self._work = torch.empty_like(self._values)
        ids = torch.arange(width, dtype=torch.int64, device=device)
        id_keys = _LOW - ids
        self._id_keys = id_keys.view(groups, _GROUP)

    def into(self, scores: Scores, start: int, logits: Tensor, targets: Tensor) -> None:
        """Reduce ``logits`` [rows, vocab_size] (any float dtype, left as it is) for
        ``targets`` int64[rows].

        Entries ``start .. start + rows`` of ``scores`` are filled. A row with a NaN or
        +inf, or of -inf alone, has no distribution: its entries stay without a score
        and are marked as NaN.
        """
        rows = logits.shape[0]
        step = self.block_rows
        for first in range(0, rows, step):
            end = min(first + step, rows)
            in_block = slice(first, end)
            block = self._block(logits[in_block], targets[in_block])
            entries = slice(start + first, start + end)
            block.store(scores, entries)

    def _block(self, logits: Tensor, targets: Tensor) -> _Block:
        rows = logits.shape[0]
        values = self._values[:rows]
        work = self._work[:rows]
        values[:, : self.vocab_size].copy_(logits)
        padding = values[:, self.vocab_size :]
        # below every real id, and after it by id where that is -inf too
        padding.fill_(-math.inf)

        target = values.gather(1, targets[:, None])
        maxima = _grouped(values).amax(-1)
        top = self._top(values, maxima)
        is_greater = torch.gt(values, target, out=work)
        # float32 counts whole numbers exactly up to 2**24 ids
        count = is_greater.sum(-1)
        greater = count.to(torch.int32)

        peak = maxima.amax(-1, keepdim=True)
        padding.fill_(_PADDING)  # finite, so that 0 * padding is 0
        sums = _sums(values, work, peak)
        log_total = sums.total.log()
        peak = peak.double()
        target_over_peak = target.double() - peak
        top_over_peak = top.values.double() - peak
        weighted = math.log(2) * sums.weighted
        mean_over_peak = weighted / sums.total
        entropy = log_total - mean_over_peak
        has_peak = peak[:, 0].isfinite()
        return _Block(
            has_distribution=has_peak & log_total.isfinite(),
            logprob=target_over_peak[:, 0] - log_total,
            rank=greater + 1,
            top_ids=top.ids,
            top_logprobs=top_over_peak - log_total[:, None],
            entropy=entropy.clamp_(min=0.0),
        )

    def _top(self, values: Tensor, maxima: Tensor) -> _Top:
        """Best ids by (value descending, id ascending).

        Exact: an id outside the k best groups (by maximum, then by position) has k ids
        before it, one in each.
        """
        group_count = maxima.shape[1]
        k = min(self.top_k, self.vocab_size)
        best_groups = min(k, group_count)
        first_ids = self._id_keys[:, 0]
        group_keys = _order(maxima, first_ids)
        groups = _best(group_keys, best_groups).indices
        id_keys = self._id_keys[groups]
        group_index = groups[..., None].expand_as(id_keys)
        candidates = _grouped(values).gather(1, group_index)
        candidate_keys = _order(candidates, id_keys).flatten(1)
        keys = _best(candidate_keys, k).values
        ids = _LOW - (keys & _LOW)
        return _Top(values=values.gather(1, ids), ids=ids)


class _Top(NamedTuple):
    """The best ids of each row: ``values`` f32 and ``ids`` i64, both
    [rows, min(top_k, vocab)].
    """

    values: Tensor
    ids: Tensor


class _Sums(NamedTuple):
    """Of each row, float64[rows]: ``total`` is sum(e), ``weighted`` sum(e y)."""

    total: Tensor
    weighted: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """What is kept of a block of rows, on the device; ``has_distribution`` bool[rows]
    says which of them are valid.
    """

    has_distribution: Tensor
    logprob: Tensor
    rank: Tensor
    top_ids: Tensor
    top_logprobs: Tensor
    entropy: Tensor

    def store(self, scores: Scores, entries: slice) -> None:
        """Write the valid rows to ``entries`` of ``scores``, and mark the others."""
        valid = self.has_distribution.cpu().numpy()

        def store(array: Any, tensor: Tensor) -> None:
            _store(array[entries], tensor, valid)

        if scores.nan is not None:
            scores.nan[entries] = ~valid
        store(scores.logprob, self.logprob)
        store(scores.rank, self.rank)
        store(scores.top_logprobs, self.top_logprobs)
        store(scores.top_ids, self.top_ids)
        if scores.entropy is not None:
            store(scores.entropy, self.entropy)


def _sums(values: Tensor, work: Tensor, peak: Tensor) -> _Sums:
    """The sums of a block; ``values`` become y and ``work`` e y."""
    log2_e = math.log2(math.e)
    values.sub_(peak)
    values.mul_(log2_e)
    torch.exp2(values, out=work)
    total = _grouped_sum(work)
    work.mul_(values)
    weighted = _grouped_sum(work)
    has_nan = weighted.isnan().any()
    if bool(has_nan):  # ids at -inf: 0 * -inf, whose limit is 0
        work.nan_to_num_(nan=0.0)
        weighted = _grouped_sum(work)
    return _Sums(total=total, weighted=weighted)


def _best(keys: Tensor, count: int) -> Any:
    """The largest ``count`` keys of each row, with ``values`` and ``indices``."""
    return keys.topk(count, -1)


def _order(values: Tensor, id_keys: Tensor) -> Tensor:
    """int64 keys that sort as (value, then lower id first): float bits made monotone,
    over 2**32 - 1 - id.
    """
    # + 0.0 turns -0.0 into 0.0, which it ties with
    one_zero = values + 0.0
    bits = one_zero.view(torch.int32)
    # all ones for negative numbers: all bits but the sign are flipped
    is_negative = bits >> 31
    monotone = bits ^ (is_negative & _ALL_BUT_SIGN)
    upper_half = monotone.to(torch.int64) << 32
    return upper_half + id_keys


def _grouped(values: Tensor) -> Tensor:
    """[rows, groups, `_GROUP`] of [rows, width]."""
    rows = values.shape[0]
    return values.view(rows, -1, _GROUP)


def _grouped_sum(values: Tensor) -> Tensor:
    """float64[rows]: sums of each `_GROUP` neighbours in float32, then of these."""
    group_sums = _grouped(values).sum(-1)
    return group_sums.sum(-1, dtype=torch.float64)


def _store(array: Any, tensor: Tensor, valid: Any) -> None:
    """Write the ``valid`` rows of ``tensor`` into ``array``, which may be wider."""
    width = [slice(0, size) for size in tensor.shape[1:]]
    whole = slice(None)
    columns = array[(whole, *width)]
    rows = tensor.cpu().numpy()
    columns[valid] = rows[valid]
