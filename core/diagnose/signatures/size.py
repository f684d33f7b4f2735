"""What is left when nothing has a shape: rounding, or more than rounding."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from core.diagnose.case import Case, clip, worst
from core.diagnose.causes import NOISE
from core.diagnose.evidence import Evidence
from core.diagnose.fits import correlation
from core.diagnose.noise import judge_size

_EXPERTS = re.compile(r"moe|mixtral|deepseek|expert", re.IGNORECASE)
# What noise that is too large has been found to be, and how often next to the others: an order, not a measurement.
_SHAPELESS = (("weights", 0.8), ("kv_cache", 0.45), ("attention", 0.1))


def size(case: Case) -> Iterator[Evidence]:
    """Rounding leaves a gap of a known size; one that is larger and has no shape is of weights, cache or kernels."""
    found = judge_size(case)
    numbers = {
        "mae": case.view.mae, "limit": found.limit, "dtype": found.dtype, "suspect": found.suspect, "times": found.times,
        **_moments(case),
    }  # fmt: skip
    if found.verdict in ("identical", "noise"):
        yield Evidence(NOISE, found.sure, "size", found.sentence, numbers)
    if found.verdict == "excess":
        for code, prior in _SHAPELESS:
            yield Evidence(code, prior * found.sure, "size", found.sentence, numbers, worst(case))


def _moments(case: Case) -> dict[str, float | None]:
    """Mean, skew and what |delta| goes with; None where there is too little."""
    view = case.view
    d = view.delta
    if len(d) < 3 or view.mae == 0:
        return {}
    spread = float(d.std())
    position = view.position.astype(np.float64)
    return {
        "mean_over_mae": float(d.mean()) / view.mae,
        "skew": float((((d - d.mean()) / spread) ** 3).mean()) if spread > 0 else None,
        "r_position": correlation(position, view.size),
        "r_surprise": correlation(-case.pair.logprob_a[view.at].astype(np.float64), view.size),
        "r_next": _persistence(case),
    }


def _persistence(case: Case) -> float:
    """Correlation of |delta| (as ranks, so that one token decides nothing) with that of the token before."""
    view = case.view
    follows = (np.diff(view.sequence) == 0) & (np.diff(view.at) == 1)
    log = np.log(view.size + 1e-9)
    return correlation(log[1:][follows], log[:-1][follows])


def unlike(case: Case) -> Iterator[Evidence]:
    """No likeness between both sides' alternatives: a wrong tensor, not noise on a right one."""
    line = case.line
    if min(case.pair.a.top_k, case.pair.b.top_k) < 2 or not len(case.view.sample):
        return
    rows = len(case.view.shared.at) / len(case.view.sample)
    r2 = line.r2 if line is not None else 0.0
    score = 0.93 * max(clip(1 - r2, 0.35, 0.7), clip(1 - rows, 0.4, 0.8))
    if score > 0.02:
        yield Evidence(
            "weights", score, "no likeness",
            f"the alternatives of both sides have little in common (R2 {r2:.2f} over {rows:.0%} of the tokens that share "
            "five of them): one side runs a wrong or uninitialised tensor, or another model.",
            {"r2": r2, "rows": rows},
            worst(case),
        )  # fmt: skip


def routing(case: Case) -> Iterator[Evidence]:
    """Rare tokens far out, the others as in a dense model: experts that flip. Said of mixtures of experts alone."""
    classes = [facts.model_class for facts in case.facts if facts.model_class]
    if not any(_EXPERTS.search(name) for name in classes) or len(case.view.at) < 500:
        return
    size = case.view.size
    far = size > 1.0
    share, middle = float(far.mean()), float(np.median(size))
    if 0 < share < 0.02 and middle < 0.1:
        yield Evidence(
            "routing", 0.75, "heavy tail",
            f"{share:.2%} of the tokens differ by more than 1 nat and half of them by less than {middle:.2g}, in a mixture of "
            "experts: rounding sends tokens to other experts.",
            {"share": share, "median": middle, "persistence": _persistence(case)},
            worst(case, far),
        )  # fmt: skip
