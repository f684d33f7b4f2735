"""Is the gap of the size that rounding leaves? Repeats, the float32 reference and the
precision of both sides tell.

A gap counts as larger than rounding only where its lower bound is: the mean less
`_SURE` of its standard errors, sequences being the units where there are enough of
them. The ranges themselves are those of `logdrift.core.compare.usual`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.usual import USUAL, UsualRange, coarser
from logdrift.core.diagnose.case import Case, clip
from logdrift.core.diagnose.support import TOKENS

_SURE = 3.3
"""Standard errors that a mean must exceed its bound by: 1 in 2,000 for normal errors.
The false alarms that are left are counted by `logdrift.core.planted.healthy`.
"""
_LOPSIDED = 1.6
"""How many times as far from the float32 reference one side may be as the other, both
in one dtype, for the pair to be called noise; twice the logarithm of
`_LARGEST_MEASURED`, rounded down.
"""
_LARGEST_MEASURED = 1.3
"""Other correct implementations of one model were measured at 0.8 to 1.3 times the
distance of Transformers from the float32 reference (vLLM, SGLang, eager and sdpa
attention in bfloat16).
"""
_ABOVE_FLOOR = 1.5
"""Two independent repeats differ by up to 1.41 times the larger floor."""
_UNUSUAL = 0.4
"""How sure noise may be of a gap that is larger than usual and smaller than what
rounding cannot do: never likely.
"""
_UNITS = 8
"""Sequences from which they, and not their tokens, are the units of a standard error.
"""

Verdict = Literal["identical", "noise", "excess", "unclear", "unknown"]


@dataclass(frozen=True, slots=True)
class Size:
    """``verdict`` with the sentence behind it.

    ``dtype`` is the coarser precision of both sides, None where unknown; ``limit`` the
    MAE in nats above which rounding in it does not explain a gap; ``suspect`` the side
    that is farther off than its precision explains; ``sure`` 0 to 1; ``times`` how many
    times what was to be expected, where that is known. ``unclear``: larger than usual,
    and too few tokens to be sure.
    """

    verdict: Verdict
    sentence: str
    sure: float
    dtype: str | None
    limit: float
    suspect: str | None = None
    times: float | None = None


def judge_size(case: Case) -> Size:
    """What the size of the gap alone says, before any structure in it is looked for.
    Judged once for each case.
    """
    if "size" not in case.memo:
        case.memo["size"] = _judge(case)
    found: Size = case.memo["size"]
    return found


def standard_error(case: Case, values: npt.NDArray[Any]) -> float:
    """Of the mean of ``values`` f64[n] over the case's tokens: sequences are the units
    where there are `_UNITS` of them.
    """
    n = len(values)
    if n < 2:
        return float("inf")
    by_token = float(values.std(ddof=1)) / np.sqrt(n)
    rest = values - values.mean()
    sums = np.bincount(case.view.sequence, rest, case.pair.count)
    sums = sums[np.bincount(case.view.sequence, minlength=case.pair.count) > 0]
    if len(sums) < _UNITS:
        return float(by_token)
    by_sequence = np.sqrt(float((sums**2).sum()) * len(sums) / (len(sums) - 1)) / n
    return float(max(by_token, by_sequence))


def _judge(case: Case) -> Size:
    mae = case.view.mae
    dtypes = precisions(case)
    coarse = coarser(dtypes)
    usual = USUAL[coarse or "bfloat16"]
    if not len(case.view.at):
        return _unknown("no token has a finite score on both sides.", coarse, usual)
    if case.view.impossible:
        many = (
            f"{case.view.impossible:,} tokens are"
            if case.view.impossible > 1
            else "1 token is"
        )
        return _unknown(
            f"{many} impossible (-inf) for one side alone, which no rounding does.",
            coarse,
            usual,
        )
    if mae == 0.0:
        return Size(
            verdict="identical",
            sentence="both sides give the same numbers.",
            sure=1.0,
            dtype=coarse,
            limit=usual.beyond,
        )
    return (
        _within_floor(case, coarse, usual)
        or _three_way(case, dtypes, usual)
        or _by_dtype(case, dtypes, usual)
    )


def _unknown(sentence: str, dtype: str | None, usual: UsualRange) -> Size:
    return Size(
        verdict="unknown", sentence=sentence, sure=0.0, dtype=dtype, limit=usual.beyond
    )


def _within_floor(case: Case, coarse: str | None, usual: UsualRange) -> Size | None:
    """Noise where the gap is within what repeats of one side differ by; None where it
    is not, or nothing was repeated.
    """
    floor = case.floor
    if floor is None:
        return None
    known = [
        gap.mae
        for gap in (floor.a, floor.b, floor.batch_a, floor.batch_b)
        if gap is not None
    ]
    if not known or case.view.mae > _ABOVE_FLOOR * max(known):
        return None
    said = (
        f"MAE {case.view.mae:.2g} is within what repeats of one side differ by"
        f" ({max(known):.2g})."
    )
    return Size(
        verdict="noise", sentence=said, sure=0.98, dtype=coarse, limit=usual.beyond
    )


def _by_dtype(
    case: Case, dtypes: tuple[str | None, str | None], usual: UsualRange
) -> Size:
    """The gap against the usual range of the coarser dtype."""
    mae, coarse = case.view.mae, coarser(dtypes)
    assumed = (
        ""
        if coarse
        else "; the dtypes were not observed, and bfloat16 is the coarsest usual one"
    )
    where = f"for {usual.dtype} ({usual.words}{assumed})"
    if mae <= usual.beyond:
        told = (
            ""
            if case.with_reference
            else "; with a float32 reference smaller faults would show"
        )
        sure = 0.6 if None in dtypes else 0.9 if case.with_reference else 0.8
        if mae <= usual.high:
            said = f"MAE {mae:.2g} is usual {where}{told}."
        else:
            said = f"MAE {mae:.2g} is a little more than usual {where}{told}."
            sure = _UNUSUAL
        return Size(
            verdict="noise", sentence=said, sure=sure, dtype=coarse, limit=usual.beyond
        )
    times = mae / usual.beyond
    said = f"MAE {mae:.2g} is {mae / usual.high:.1f} times what is usual {where}."
    lowest = mae - _SURE * standard_error(case, case.view.size)
    if lowest <= usual.beyond:
        return Size(
            verdict="unclear",
            sentence=said,
            sure=0.3,
            dtype=coarse,
            limit=usual.beyond,
            times=times,
        )
    return Size(
        verdict="excess",
        sentence=said,
        sure=0.9 if coarse else 0.7,
        dtype=coarse,
        limit=usual.beyond,
        times=times,
    )


def _three_way(
    case: Case, dtypes: tuple[str | None, str | None], usual: UsualRange
) -> Size | None:
    """Both sides against the reference. None where there is none, or where it cannot
    tell.
    """
    errors = case.errors
    if errors is None:
        return None
    said = (
        f"against {case.reference_words} {case.labels[0]} is off by {errors[0]:.2g} and"
        f" {case.labels[1]} by {errors[1]:.2g}"
    )
    if dtypes[0] is not None and dtypes[0] == dtypes[1]:
        return _in_one_dtype(case, dtypes[0], errors, said, usual)
    coarse = coarser(dtypes)
    for error, dtype, label in zip(errors, dtypes, case.labels, strict=True):
        bound = USUAL[dtype].beyond if dtype is not None else usual.beyond
        if dtype is not None and error > bound and len(case.view.at) >= TOKENS.likely:
            return Size(
                verdict="excess",
                sentence=f"{said}: too far for {dtype} in {label}.",
                sure=0.8,
                dtype=coarse,
                limit=usual.beyond,
                suspect=label,
                times=error / bound,
            )
    return None


def _in_one_dtype(
    case: Case, dtype: str, errors: tuple[float, float], said: str, usual: UsualRange
) -> Size | None:
    low, high = min(errors), max(errors)
    smallest = USUAL["float32"].beyond
    if high <= smallest:
        return Size(
            verdict="noise",
            sentence=f"{said}: both at float32's own rounding.",
            sure=0.97,
            dtype=dtype,
            limit=usual.beyond,
        )
    suspect = case.labels[0] if errors[0] > errors[1] else case.labels[1]
    times = high / max(low, smallest)
    if dtype != "float32" and high <= _LOPSIDED * low:
        if case.view.mae <= 1.6 * (low + high):
            return Size(
                verdict="noise",
                sentence=f"{said}: both as far as two correct {dtype} runs are.",
                sure=0.93,
                dtype=dtype,
                limit=usual.beyond,
            )
        return None
    allowed = _LARGEST_MEASURED if dtype != "float32" else 1.0
    lowest = times * np.exp(-_SURE * case.errors_spread)
    sentence = (
        f"{said}: {suspect} is {times:.1f} times as far off as the other in the same"
        " precision."
    )
    if lowest <= allowed:
        return Size(
            verdict="unclear",
            sentence=sentence,
            sure=0.3,
            dtype=dtype,
            limit=usual.beyond,
            suspect=suspect,
            times=times,
        )
    within = high <= usual.beyond and times < 2 * _LOPSIDED
    sure = 0.6 + 0.3 * clip(float(lowest), allowed, _LOPSIDED) if within else 0.9
    return Size(
        verdict="excess",
        sentence=sentence,
        sure=sure,
        dtype=dtype,
        limit=usual.beyond,
        suspect=suspect,
        times=times,
    )


def precisions(case: Case) -> tuple[str | None, str | None]:
    """The coarser of body, head and logits of each side: as observed, else bfloat16
    where its logits lie on a lattice.
    """
    out = []
    for facts, lattice in zip(case.facts, case.lattices, strict=True):
        seen = [
            dtype
            for dtype in (facts.dtype, facts.head_dtype, facts.logits_dtype)
            if dtype in USUAL
        ]
        if not seen and facts.dtype is None and lattice.step is not None:
            seen = ["bfloat16"]
        out.append(coarser(seen))
    return out[0], out[1]
