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
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.fits import Lattice
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.support import TOKENS
from logdrift.core.facts import Facts

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
_SUM_OF_ERRORS = 1.6
"""The MAE of a pair over the sum of both sides' distances from the reference, up to
which it is called noise: above 1 it is no longer what two errors add up to. By
judgement.
"""
_UNITS = 8
"""Sequences from which they, and not their tokens, are the units of a standard error.
"""

_WITHIN_FLOOR = 0.98
_AT_FLOAT32 = 0.97
_AS_FAR = 0.93
_WITH_REFERENCE = 0.9
_OBSERVED = 0.8
_ASSUMED = 0.6
"""How sure noise is: within what repeats differ by; with both sides at float32's own
rounding, or about as far from the reference; by the usual range alone, where one side
is the reference, where both dtypes were observed, and where one was not. By judgement.
"""
_UNUSUAL = 0.4
"""How sure noise may be of a gap that is larger than usual and smaller than what
rounding cannot do: never likely.
"""
_UNCLEAR = 0.3
_TOO_FAR = 0.8
_EXCESS = 0.9
_EXCESS_ASSUMED = 0.7
_LOPSIDED_FROM = 0.6
_LOPSIDED_BY = 0.3
"""How sure it is that a gap is larger than rounding: with too few tokens; with one side
farther from the reference than its dtype explains; above the range of a dtype that was
observed, or assumed; and with one side farther off than the other, which grows between
`_LARGEST_MEASURED` and `_LOPSIDED`. By judgement.
"""

SizeVerdict = Literal["identical", "noise", "excess", "unclear", "unknown"]


@dataclass(frozen=True, slots=True)
class Size:
    """``verdict`` with the sentence behind it.

    ``dtype`` is the coarser precision of both sides, None where unknown; ``limit`` the
    MAE in nats above which rounding in it does not explain a gap; ``suspect`` the side
    that is farther off than its precision explains; ``sure`` 0 to 1; ``times`` how many
    times what was to be expected, where that is known. ``unclear``: larger than usual,
    and too few tokens to be sure. ``shown_by``: what shows that it is noise, in a
    clause, where that is more than the usual range.
    """

    verdict: SizeVerdict
    sentence: str
    sure: float
    dtype: str | None
    limit: float
    suspect: str | None = None
    times: float | None = None
    shown_by: str = ""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What rounding leaves between two sides of ``dtypes``: the ``usual`` range of the
    coarser one, ``dtype``; of bfloat16 where that is unknown (None).
    """

    dtypes: tuple[str | None, str | None]
    dtype: str | None
    usual: UsualRange

    def size(
        self,
        verdict: SizeVerdict,
        sentence: str,
        sure: float,
        *,
        suspect: str | None = None,
        times: float | None = None,
        shown_by: str = "",
    ) -> Size:
        """A judgement by this expectation."""
        return Size(
            verdict=verdict,
            sentence=sentence,
            sure=sure,
            dtype=self.dtype,
            limit=self.usual.beyond,
            suspect=suspect,
            times=times,
            shown_by=shown_by,
        )


def noise_title(case: Case) -> str:
    """What noise is called as a cause: nothing at all where both sides are equal; of a
    gap that is larger than usual, something else than its size must have shown it.
    """
    if are_equal(case):
        return "both sides are equal bit for bit, nothing to fix"
    if is_more_than_usual(case):
        return "numerical noise all the same"
    return "numerical noise, nothing to fix"


def are_equal(case: Case) -> bool:
    """Whether every token has the same number on both sides."""
    return judge_size(case).verdict == "identical"


def is_more_than_usual(case: Case) -> bool:
    """Whether the gap is above the usual range of the coarser dtype."""
    dtype = judge_size(case).dtype or "bfloat16"
    return bool(case.view.mae > USUAL[dtype].high)


def judge_size(case: Case) -> Size:
    """What the size of the gap alone says, before any structure in it is looked for.
    Judged once for each case.
    """
    if "size" not in case.memo:
        case.memo["size"] = _judge(case)
    size: Size = case.memo["size"]
    return size


def standard_error(case: Case, values: npt.NDArray[Any]) -> float:
    """Of the mean of ``values`` f64[n] over the case's tokens: sequences are the units
    where there are `_UNITS` of them, and inf with fewer than two tokens.
    """
    n = len(values)
    if n < 2:
        return float("inf")
    spread = float(values.std(ddof=1))
    by_token = spread / np.sqrt(n)
    sequence = case.view.sequence
    count = case.pair.count
    has_tokens = np.bincount(sequence, minlength=count) > 0
    centred = values - values.mean()
    sums = np.bincount(sequence, centred, count)[has_tokens]
    units = len(sums)
    if units < _UNITS:
        return float(by_token)
    squares = float((sums**2).sum()) * units / (units - 1)
    by_sequence = np.sqrt(squares) / n
    return float(max(by_token, by_sequence))


def _judge(case: Case) -> Size:
    dtypes = precisions(case)
    dtype = coarser(dtypes)
    usual = USUAL[dtype or "bfloat16"]
    expected = _Expected(dtypes=dtypes, dtype=dtype, usual=usual)
    view = case.view
    if not len(view.at):
        sentence = "no token has a finite score on both sides."
        return expected.size("unknown", sentence, sure=0.0)
    if view.impossible:
        return expected.size("unknown", _of_impossible(case), sure=0.0)
    if view.mae == 0.0:
        sentence = "no token differs."
        return expected.size("identical", sentence, sure=1.0)
    return (
        _within_floor(case, expected)
        or _three_way(case, expected)
        or _by_dtype(case, expected)
    )


def _of_impossible(case: Case) -> str:
    impossible = case.view.impossible
    if impossible == 1:
        tokens = "1 token is"
    else:
        tokens = f"{impossible:,} tokens are"
    return f"{tokens} impossible (-inf) for one side alone, which no rounding does."


def _within_floor(case: Case, expected: _Expected) -> Size | None:
    """Noise where the gap is within what repeats of one side differ by; None where it
    is not, or nothing was repeated.
    """
    floor = case.floor
    if floor is None:
        return None
    gaps = (floor.a, floor.b, floor.batch_a, floor.batch_b)
    repeated = [gap.mae for gap in gaps if gap is not None]
    if not repeated:
        return None
    largest = max(repeated)
    mae = case.view.mae
    if mae > _ABOVE_FLOOR * largest:
        return None
    sentence = (
        f"MAE {mae:.2g} is within what repeats of one side differ by ({largest:.2g})."
    )
    return expected.size(
        "noise",
        sentence,
        sure=_WITHIN_FLOOR,
        shown_by="repeats of one side differ by as much",
    )


def _by_dtype(case: Case, expected: _Expected) -> Size:
    """The gap against the usual range of the coarser dtype."""
    mae = case.view.mae
    usual = expected.usual
    if mae <= usual.beyond:
        return _within_range(case, expected)
    times_usual = mae / usual.high
    where = _for_dtype(expected)
    sentence = f"MAE {mae:.2g} is {times_usual:.1f} times what is usual {where}."
    times = mae / usual.beyond
    error = standard_error(case, case.view.size)
    lowest = mae - _SURE * error
    if lowest <= usual.beyond:
        return expected.size("unclear", sentence, sure=_UNCLEAR, times=times)
    sure = _EXCESS if expected.dtype else _EXCESS_ASSUMED
    return expected.size("excess", sentence, sure=sure, times=times)


def _within_range(case: Case, expected: _Expected) -> Size:
    """Noise: usual, or no more than rounding may still leave."""
    where = _for_dtype(expected)
    if not case.with_reference:
        where += "; with a float32 reference smaller faults would show"
    mae = case.view.mae
    if mae > expected.usual.high:
        sentence = f"MAE {mae:.2g} is a little more than usual {where}."
        return expected.size("noise", sentence, sure=_UNUSUAL)
    sentence = f"MAE {mae:.2g} is usual {where}."
    return expected.size("noise", sentence, sure=_sure_of_usual(case, expected))


def _sure_of_usual(case: Case, expected: _Expected) -> float:
    """How sure noise is of a usual gap."""
    if None in expected.dtypes:
        return _ASSUMED
    if case.with_reference:
        return _WITH_REFERENCE
    return _OBSERVED


def _for_dtype(expected: _Expected) -> str:
    """``for bfloat16 (LOW to HIGH)``, with what had to be assumed."""
    words = expected.usual.words
    if not expected.dtype:
        words += (
            "; the dtypes were not observed, and bfloat16 is the coarsest usual one"
        )
    return f"for {expected.usual.dtype} ({words})"


def _three_way(case: Case, expected: _Expected) -> Size | None:
    """Both sides against the reference. None where there is none, or where it cannot
    tell.
    """
    errors = case.errors
    dtype, other = expected.dtypes
    if errors is None:
        return None
    errors_text = (
        f"against {case.reference_words} {case.labels[0]} is off by {errors[0]:.2g} and"
        f" {case.labels[1]} by {errors[1]:.2g}"
    )
    if dtype is not None and dtype == other:
        return _in_one_dtype(case, expected, dtype, errors, errors_text)
    if len(case.view.at) < TOKENS.likely:
        return None
    for error, own, label in zip(errors, expected.dtypes, case.labels, strict=True):
        if own is not None and error > USUAL[own].beyond:
            return expected.size(
                "excess",
                f"{errors_text}: too far for {own} in {label}.",
                sure=_TOO_FAR,
                suspect=label,
                times=error / USUAL[own].beyond,
            )
    return None


def _in_one_dtype(
    case: Case,
    expected: _Expected,
    dtype: str,
    errors: tuple[float, float],
    errors_text: str,
) -> Size | None:
    """Two sides of one ``dtype``, off by ``errors`` nats from the reference: as far as
    each other, or one of them farther. None where they are as far and yet farther from
    each other.
    """
    low = min(errors)
    high = max(errors)
    smallest = USUAL["float32"].beyond
    if high <= smallest:
        sentence = f"{errors_text}: both at float32's own rounding."
        return expected.size(
            "noise",
            sentence,
            sure=_AT_FLOAT32,
            shown_by="both sides are at float32's own rounding",
        )
    if dtype != "float32" and high <= _LOPSIDED * low:
        if case.view.mae > _SUM_OF_ERRORS * (low + high):
            return None
        sentence = f"{errors_text}: both as far as two correct {dtype} runs are."
        return expected.size(
            "noise",
            sentence,
            sure=_AS_FAR,
            shown_by=f"both are as far from float32 as correct {dtype} runs are",
        )
    return _one_is_farther(case, expected, dtype, errors, errors_text)


def _one_is_farther(
    case: Case,
    expected: _Expected,
    dtype: str,
    errors: tuple[float, float],
    errors_text: str,
) -> Size:
    """Two sides of one ``dtype`` of which one is farther from the reference: an excess
    where that is more than measured of correct runs.
    """
    high = max(errors)
    if errors[0] > errors[1]:
        suspect = case.labels[0]
    else:
        suspect = case.labels[1]
    times = high / max(min(errors), USUAL["float32"].beyond)
    sentence = (
        f"{errors_text}: {suspect} is {times:.1f} times as far off as the other in the"
        " same precision."
    )
    allowed = _LARGEST_MEASURED if dtype != "float32" else 1.0
    lowest = float(times * np.exp(-_SURE * case.errors_spread))
    if lowest <= allowed:
        return expected.size(
            "unclear", sentence, sure=_UNCLEAR, suspect=suspect, times=times
        )
    sure = _EXCESS
    if high <= expected.usual.beyond and times < 2 * _LOPSIDED:
        grown = Ramp(starts=allowed, full=_LOPSIDED).score(lowest)
        sure = _LOPSIDED_FROM + _LOPSIDED_BY * grown
    return expected.size("excess", sentence, sure=sure, suspect=suspect, times=times)


def precisions(case: Case) -> tuple[str | None, str | None]:
    """The coarser of body, head and logits of each side: as observed, else bfloat16
    where its logits lie on a lattice.
    """
    facts_a, facts_b = case.facts
    lattice_a, lattice_b = case.lattices
    precision_a = _precision(facts_a, lattice_a)
    precision_b = _precision(facts_b, lattice_b)
    return precision_a, precision_b


def _precision(facts: Facts, lattice: Lattice) -> str | None:
    dtypes = (facts.dtype, facts.head_dtype, facts.logits_dtype)
    observed = [dtype for dtype in dtypes if dtype in USUAL]
    if observed or facts.dtype is not None:
        return coarser(observed)
    if lattice.step is not None:
        return "bfloat16"
    return coarser(observed)
