"""What the gate found in the facts, as evidence: a difference that was observed is no
guess.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.compare.gate import Reason
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.fits import correlation
from logdrift.core.diagnose.noise import are_equal, judge_size
from logdrift.core.diagnose.signatures.older_weights import difference_weighs
from logdrift.core.diagnose.support import TOKENS

CAUSE_OF = {
    "ids": "ids",
    "truncated": "ids",
    "boundary": "alignment",
    "bos": "ids",
    "padding": "padding",
    "temperature": "temperature",
    "nan": "overflow",
    "semantics": "processed",
    "processed": "processed",
    "infinite": "processed",
    "positive": "units",
    "vocabulary": "weights",
    "tokenizer": "ids",
    "weights": "weights",
    "model": "weights",
    "weight_version": "stale",
    "quantization": "weights",
    "config": "config",
    "overrides": "config",
    "logits_size": "processed",
    "architecture": "norm_rope",
    "dtype": "compute_dtype",
    "head_dtype": "head_dtype",
    "logits_dtype": "head_dtype",
    "kv_cache": "kv_cache",
    "tf32": "tf32",
    "attention": "attention",
    "execution": "compile",
    "batch": "batch",
    "batch_invariant": "batch",
    "chunked_prefill": "chunked_prefill",
    "prefix_cache": "prefix_cache",
    "speculative": "speculative",
    "tensor_parallel": "tensor_parallel",
    "settings": "norm_rope",
    "environment": "norm_rope",
    "versions": "norm_rope",
    "device": "attention",
}
"""Codes of the gate's reasons by the cause that they are of; the others (`unknown`,
`sampling`, ...) are of none.
"""

_WEIGHT = {"not_comparable": 0.97, "caution": 0.88, "info": 0.25}
"""What a reason weighs by its severity. By judgement: certain, likely, a hint."""
_WEAK = {"padding": 0.5, "infinite": 0.5, "bos": 0.3, "processed": 0.5}
"""What is left of that for reasons that healthy pairs have too. By judgement."""
_ONE_BACKEND = 0.85
"""Weight where both sides are one backend, so that hardly anything can differ. By
judgement.
"""
_KERNELS = frozenset(
    (
        "attention",
        "compile",
        "graphs",
        "batch",
        "chunked_prefill",
        "prefix_cache",
        "tensor_parallel",
        "norm_rope",
        "speculative",
    )
)
"""Causes that only ever make rounding noise, where they are right: a difference in them
is expected between engines.
"""
_KERNELS_OF_EXCESS = 0.2
_KERNELS_AT_MOST = 0.45
"""The largest weight of such a cause, where the gap is larger than rounding and where
it is not. By judgement.
"""
_ON_PURPOSE = 0.25
"""Weight of another dtype than the reference's, which is float32 on purpose. By
judgement.
"""


def facts(case: Case) -> Iterator[Evidence]:
    """One piece of evidence for each of the gate's reasons that is of a cause.

    What only rounds (`_KERNELS`) explains no more than rounding does, so it weighs
    little, whatever the gate says of it. Where the numbers are the same to the last
    bit, no difference in the facts has done anything.
    """
    if are_equal(case):
        return
    for reason in case.gate.reasons:
        cause = CAUSE_OF.get(reason.code)
        if cause is None or reason.code == "nan":  # `broken.nan` has its tokens
            continue
        yield Evidence(
            cause=cause,
            score=_weight(case, cause, reason),
            signature="facts",
            sentence=reason.text,
            numbers=_numbers(reason),
        )
    yield from _one_backend(case)


def _weight(case: Case, cause: str, reason: Reason) -> float:
    """What one of the gate's reasons says for its cause, 0 to 1."""
    if cause == "compute_dtype" and case.with_reference:
        return _ON_PURPOSE
    if reason.code == "boundary":
        return _boundary_weight(case)
    weight = _WEIGHT[reason.severity] * _WEAK.get(reason.code, 1.0)
    if reason.code == "weight_version":
        return weight * difference_weighs(case)
    if cause in _KERNELS:
        larger = judge_size(case).verdict == "excess"
        return min(weight, _KERNELS_OF_EXCESS if larger else _KERNELS_AT_MOST)
    if cause == "head_dtype":
        return weight * _head_weight(case)
    return weight


def _one_backend(case: Case) -> Iterator[Evidence]:
    """Both sides are one backend: along two paths, or along one, twice."""
    a, b = case.infos
    if a.backend != b.backend:
        return
    if a.path != b.path:
        cause = "decode_path"
        what = "two paths of one backend: nothing else differs"
    else:
        cause = "batch"
        what = "one backend along one path: only the batch or chance differs"
    yield Evidence(
        cause=cause,
        score=_ONE_BACKEND,
        signature="facts",
        sentence=f"{a.label} and {b.label} are {what}.",
    )


def _numbers(reason: Reason) -> dict[str, Number]:
    numbers: dict[str, Number] = {"reason": reason.code, "severity": reason.severity}
    if reason.differences:
        numbers["named"] = len(reason.differences)
    return numbers


_IN_PLACE = 0.8
"""Correlation of both sides' values, token by token, from which they stand in their
places: of neighbours it is 0.0 to 0.5.
"""
_BORDER_IN_PLACE = 0.1
_BORDER = 0.25
"""What a wrong end of the prompts says for a shift, where the values stand in their
places and where nothing tells. By judgement.
"""


def _boundary_weight(case: Case) -> float:
    """What a wrong end of the prompts says for a shift of one side.

    It is the same for both sides that begin at one token, and the numbers themselves
    say whether they stand in their places.
    """
    view = case.view
    pair = case.pair
    enough = len(view.at) >= TOKENS.likely
    if enough and correlation(view.a, view.b) > _IN_PLACE:
        return _BORDER_IN_PLACE
    begin_alike = np.array_equal(
        np.isfinite(pair.logprob_a), np.isfinite(pair.logprob_b)
    )
    if begin_alike:
        return _BORDER_IN_PLACE
    return _BORDER


_BOTH_ROUNDED = 0.3
_BODY_TOO = 0.8
"""What is left of a difference of heads where both sides' logits are on a lattice, and
where the bodies differ as well. By judgement.
"""


def _head_weight(case: Case) -> float:
    """What is left of a difference of heads: another body has another head as a rule,
    and logits that lie on a lattice on both sides are 16-bit on both.
    """
    if all(lattice.step is not None for lattice in case.lattices):
        return _BOTH_ROUNDED
    bodies_differ = any(reason.code == "dtype" for reason in case.gate.reasons)
    if bodies_differ:
        return _BODY_TOO
    return 1.0
