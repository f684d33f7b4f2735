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
from logdrift.core.diagnose.noise import judge_size
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
    "weight_version": "weights",
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
_WEAK = {"padding": 0.5, "infinite": 0.5, "bos": 0.3, "processed": 0.5}


def facts(case: Case) -> Iterator[Evidence]:
    """One piece of evidence for each of the gate's reasons that is of a cause.

    What only rounds (`_KERNELS`) explains no more than rounding does, so it weighs
    little, whatever the gate says of it. Where the numbers are the same to the last
    bit, no difference in the facts has done anything.
    """
    found = judge_size(case)
    if found.verdict == "identical":
        return
    for reason in case.gate.reasons:
        code = CAUSE_OF.get(reason.code)
        if code is None or reason.code == "nan":  # `broken.nan` has its tokens
            continue
        weight = _WEIGHT[reason.severity] * _WEAK.get(reason.code, 1.0)
        if reason.code == "boundary":
            weight = _boundary_weight(case)
        if code in _KERNELS:
            weight = min(weight, 0.2 if found.verdict == "excess" else 0.45)
        if code == "head_dtype":
            weight *= _head_weight(case)
        if code == "compute_dtype" and case.with_reference:
            weight = 0.25  # the reference is float32 on purpose
        yield Evidence(
            cause=code,
            score=weight,
            signature="facts",
            sentence=reason.text,
            numbers=_numbers(reason),
        )
    a, b = case.infos
    if a.backend == b.backend and a.path != b.path:
        yield Evidence(
            cause="decode_path",
            score=0.85,
            signature="facts",
            sentence=f"{a.label} and {b.label} are two paths of one backend: nothing else"
            " differs.",
            numbers={},
        )
    if a.backend == b.backend and a.path == b.path:
        yield Evidence(
            cause="batch",
            score=0.85,
            signature="facts",
            sentence=f"{a.label} and {b.label} are one backend along one path: only the batch or"
            " chance differs.",
            numbers={},
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
_BORDER_IN_PLACE, _BORDER = 0.1, 0.25


def _boundary_weight(case: Case) -> float:
    """What a wrong end of the prompts says for a shift of one side. It is the same for
    both sides that begin at one token, and the numbers themselves say whether they
    stand in their places.
    """
    view = case.view
    a, b = (
        column[view.at].astype(np.float64)
        for column in (case.pair.logprob_a, case.pair.logprob_b)
    )
    if len(view.at) >= TOKENS.likely and correlation(a, b) > _IN_PLACE:
        return _BORDER_IN_PLACE
    same = np.array_equal(
        np.isfinite(case.pair.logprob_a), np.isfinite(case.pair.logprob_b)
    )
    return _BORDER_IN_PLACE if same else _BORDER


def _head_weight(case: Case) -> float:
    """Another body has another head as a rule; and logits that lie on a lattice on both
    sides are 16-bit on both.
    """
    a, b = case.lattices
    if a.step is not None and b.step is not None:
        return 0.3
    return 0.8 if any(reason.code == "dtype" for reason in case.gate.reasons) else 1.0
