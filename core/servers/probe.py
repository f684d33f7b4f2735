"""Finding out from two answers what a server does not tell: whether the temperature is
in its log-probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from logdrift.core.facts import LogprobSemantics
from logdrift.core.plan import SamplingSpec
from logdrift.core.worker.base import IdArray, Scores

PROBE_IDS: IdArray = np.arange(10, 18, dtype=np.int32)
"""Eight ids that every vocabulary has. They make no sense together, so what comes next
is far from certain.
"""
PROBE_ALTERNATIVES = 5
"""Alternatives that are asked for where the capture keeps fewer than two."""
WARM = 1.0
COLD = 0.5
"""The two temperatures. At 0.5 all distances between log-probabilities are twice those
at 1, where the temperature is in them, and the same where it is not.
"""
_LEAST_DISTANCE = 0.1
"""Nats between the two alternatives, below which rounding could hide the ratio."""
_BETWEEN = 1.5
"""Half way between the ratios 1 and 2: rounding to bfloat16 moves a distance of 0.1
nats by a tenth of that.
"""
Mode = Literal["raw", "processed"]


def mode_of(warm: Scores, cold: Scores) -> Mode | None:
    """``raw`` where the log-probabilities are those of the untouched logits,
    ``processed`` where the temperature is in them; None: these two do not tell.

    ``warm`` and ``cold`` score one token after the same ids, sampled at `WARM` and
    `COLD`.
    """
    at_one = _alternatives(warm)
    at_half = _alternatives(cold)
    shared = [token_id for token_id in at_one if token_id in at_half]
    if len(shared) < 2:
        return None
    best, last = shared[0], shared[-1]
    before = at_one[best] - at_one[last]
    after = at_half[best] - at_half[last]
    if not np.isfinite(before) or before < _LEAST_DISTANCE:
        return None
    if after > _BETWEEN * before:
        return "processed"
    return "raw"


def _alternatives(scores: Scores) -> Mapping[int, float]:
    ids: Sequence[int] = scores.top_ids[-1].tolist()
    values: Sequence[float] = scores.top_logprobs[-1].tolist()
    return dict(zip(ids, values, strict=True))


def semantics_of(
    mode: Mode | None, sampling: SamplingSpec, *, cuts: bool
) -> LogprobSemantics | None:
    """What decode log-probabilities mean with this sampling.

    ``cuts``: processed log-probabilities are those after top-k, top-p and min-p, as in
    vLLM, and not before, as in SGLang.
    """
    if mode is None or mode == "raw":
        return mode
    if sampling.repetition_penalty != 1.0:
        return "processed"
    is_greedy = sampling.temperature == 0.0 or sampling.top_k == 1
    if is_greedy:
        return "raw"
    is_cut = sampling.top_p < 1.0 or sampling.top_k > 0 or sampling.min_p > 0.0
    if is_cut and cuts:
        return "processed"
    if sampling.temperature == 1.0:
        return "raw"
    return "temperature_scaled"
