"""Which numbers occur: the lattice of 16-bit logits, the grid of 16-bit
log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import Evidence, Number
from logdrift.core.diagnose.fits import (
    MIN_GAPS,
    ON_LATTICE,
    bfloat16_grid,
    gaps_on_step,
    row_steps,
    values_on_step,
)
from logdrift.core.diagnose.ramp import Ramp
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

_FP16_STEPS = 8
"""float16 has three bits of mantissa more than bfloat16, so on the same logits its
steps are 8 times finer.
"""
_GRID = 0.95
"""Share of values on the bfloat16 grid from which they were rounded to it; chance gives
2^-16. By judgement.
"""
_GRID_VALUES = 50
"""Values that each side needs for that. By judgement."""
_ONE_SIDE = 0.97
_BOTH_SIDES = 0.6
"""Scores of a grid on one side, and on both, where it is not what sets them apart. By
judgement.
"""
_NOT_ON_IT = 0.4
"""Share of gaps on a step up to which logits are not rounded to 16 bits. Chance gives
0.04, and 16-bit logits whose values were stored in four decimals any share up to
`ON_LATTICE`.
"""


def grid(case: Case) -> Iterator[Evidence]:
    """Log-probabilities that are bfloat16 numbers on one side: the log-softmax itself
    ran in bfloat16.
    """
    a, b = case.grids
    if min(a.values, b.values) < _GRID_VALUES or max(a.share, b.share) < _GRID:
        return
    if a.share >= b.share:
        on_grid = a
        label = case.labels[0]
    else:
        on_grid = b
        label = case.labels[1]
    score = _ONE_SIDE
    if min(a.share, b.share) >= _GRID:
        score = _BOTH_SIDES
        label = "both sides"
    yield Evidence(
        cause="log_softmax_dtype",
        score=score,
        signature="value grid",
        sentence=(
            f"{on_grid.share:.0%} of the {on_grid.values:,} values of {label} are"
            " bfloat16 numbers (chance: 0.002%): the log-softmax was computed or stored"
            " in 16 bits."
        ),
        numbers={
            "share_a": a.share,
            "share_b": b.share,
            "values": on_grid.values,
            "side": label,
        },
    )


_TELLING = 0.02
"""Nats from which a value shows how many digits it has: smaller ones round to few
numbers by themselves. By judgement.
"""
_ENOUGH = 16
"""Such values that are needed. By judgement."""
_EXPLAINS = Ramp(starts=0.25, full=0.6)
"""Share of the MAE that the rounding moves values by. By judgement."""
_MOST = 0.96
"""The largest score of a rounding. By judgement."""
_ROUNDED_ONLY = 0.06
"""Score of a rounding that is seen and explains nothing: it is listed, and last."""
_SHARE = 0.97
"""Share of the values that must be rounded. By chance a float32 near 1 is a multiple of
10^-4 within 2 * 10^-7 once in 250 times, a float16 number once in 8,192.
"""
_FLOAT32 = 1.2e-7
"""Relative rounding of float32, 2^-23."""


@dataclass(frozen=True, slots=True)
class _Rounding:
    """What values were rounded to, in words, and the nats that this moves a value by on
    average.
    """

    kept: str
    moves: float


def rounded(case: Case) -> Iterator[Evidence]:
    """Values with few digits: multiples of a power of ten, or float16 numbers.

    That the values are rounded is certain where it is seen; it is the cause of the gap
    only as far as such a rounding moves values.
    """
    if case.view.mae == 0:
        return
    for label, column in zip(case.labels, (case.view.a, case.view.b), strict=True):
        values = column[np.abs(column) > _TELLING]
        rounding = _rounding(values) if len(values) >= _ENOUGH else None
        if rounding is not None:
            yield _of_rounding(label, len(values), rounding, case.view.mae)


def _of_rounding(label: str, values: int, rounding: _Rounding, mae: float) -> Evidence:
    explains = min(1.0, rounding.moves / mae)
    score = max(_MOST * _EXPLAINS.score(explains), _ROUNDED_ONLY)
    is_cause = score > _ROUNDED_ONLY
    if is_cause:
        does = "which explains the gap"
    else:
        does = f"which does not explain an MAE of {mae:.2g}"
    return Evidence(
        cause="cut",
        score=score,
        signature="few digits",
        sentence=(
            f"the {values:,} values of {label} are {rounding.kept}: they were rounded"
            f" when they were recorded, and moved by about {rounding.moves:.1g} nats,"
            f" {does}."
        ),
        numbers={
            "side": label,
            "kept": rounding.kept,
            "moves": rounding.moves,
            "explains": explains,
        },
        explains=score if is_cause else 0.0,
    )


def _rounding(values: npt.NDArray[np.float64]) -> _Rounding | None:
    """What ``values`` (f64[n] nats) were rounded to; None where nothing shows.

    A uniform error of a step s has a mean absolute value of s / 4; a float16 number of
    11 bits is off by up to 2^-11 of itself, half of that on average.
    """
    size = np.maximum(np.abs(values), 1.0)
    for digits in (0, 1, 2, 3, 4):
        step = 10.0**-digits
        off = np.abs(values / step - np.round(values / step)) * step
        if np.mean(off <= _FLOAT32 * size) >= _SHARE:
            return _Rounding(f"multiples of {step:g}", moves=step / 4)
    wide = values.astype(np.float32)
    narrow = wide.astype(np.float16).astype(np.float32)
    is_bfloat16 = bfloat16_grid(wide).share >= _GRID
    if np.mean(narrow == wide) >= _SHARE and not is_bfloat16:
        moves = float(np.mean(np.abs(values))) * 2.0**-12
        return _Rounding("float16 numbers", moves=moves)
    return None


_TWO_STEPS = 0.93
"""Score of two kinds of 16 bits. By judgement."""


def lattice(case: Case) -> Iterator[Evidence]:
    """Logits in 16 bits on one side alone, or in two kinds of 16 bits."""
    a, b = case.lattices
    if min(a.gaps, b.gaps) < MIN_GAPS or case.with_reference or _rounded_values(case):
        return
    if a.step is not None and b.step is not None:
        yield from _two_steps(case, a.step, b.step)
    elif a.step is not None:
        yield from _one_step(case, 0, a.step)
    elif b.step is not None:
        yield from _one_step(case, 1, b.step)


def _two_steps(case: Case, step_a: float, step_b: float) -> Iterator[Evidence]:
    """bfloat16 against float16: both on a lattice, one of them 8 times as fine."""
    large = max(step_a, step_b)
    small = min(step_a, step_b)
    if large / small < _FP16_STEPS:
        return
    coarse = 0 if step_a > step_b else 1
    fine = 1 - coarse
    fine_lists = (case.view.lists_a, case.view.lists_b)[fine]
    if gaps_on_step(fine_lists.values, large) > _NOT_ON_IT:
        return
    yield Evidence(
        cause="compute_dtype",
        score=_TWO_STEPS,
        signature="lattice",
        sentence=(
            f"logits lie on steps of {_power(large)} in {case.labels[coarse]} and"
            f" {_power(small)} in {case.labels[fine]}: bfloat16 against float16."
        ),
        numbers={"step_a": step_a, "step_b": step_b},
    )


def _one_step(case: Case, side: int, step: float) -> Iterator[Evidence]:
    """16 bits on one ``side`` alone (0 or 1): of its head, or of its body."""
    own = case.lattices[side]
    other = case.lattices[1 - side]
    if other.share > _NOT_ON_IT:
        # Neither on a lattice nor off it: two sides of one kind, about the bound.
        return
    grids = case.grids
    if grids[side].share >= _GRID > grids[1 - side].share:
        return  # 16-bit values make 16-bit gaps: `grid` says it
    within_step = _within_step(case, side)
    scores = _head_or_body(case, side, within_step)
    sentence = (
        f"{own.share:.0%} of the gaps between alternatives of {case.labels[side]} are"
        f" multiples of {_power(step)} (chance 4%), of {case.labels[1 - side]}"
        f" {other.share:.0%}: its logits are rounded to 16 bits, the other side's are"
        f" not. {scores.why}"
    )
    numbers: dict[str, Number] = {
        "side": case.labels[side],
        "step": step,
        "share": own.share,
        "other_share": other.share,
        "within_step": within_step,
    }
    for cause, score in (
        ("head_dtype", scores.head),
        ("compute_dtype", scores.body),
    ):
        yield Evidence(
            cause=cause,
            score=score,
            signature="lattice",
            sentence=sentence,
            numbers=numbers,
        )


def _rounded_values(case: Case) -> bool:
    """Whether the values of a list, and not only the gaps between them, lie on the
    step.

    Then they were rounded after the log-softmax, which says nothing about logits (it
    moves all values of a row by a number that lies on no step).
    """
    sides = (case.view.lists_a, case.view.lists_b)
    for lattice, lists in zip(case.lattices, sides, strict=True):
        if lattice.step is None:
            continue
        if values_on_step(lists.values, lattice.step) >= ON_LATTICE:
            return True
    return False


_WITHIN = 0.9
"""Share of the rows from which the gap is nothing but the head's rounding. By
judgement.
"""
_MUCH_CLOSER = 0.2
"""The other side's distance from the float32 reference over this one's, below which its
body is more precise too. By judgement.
"""


@dataclass(frozen=True, slots=True)
class _HeadOrBody:
    """Scores of the head's and the body's precision, by judgement, with the reason."""

    head: float
    body: float
    why: str


def _head_or_body(case: Case, side: int, within_step: float) -> _HeadOrBody:
    """What tells apart a 16-bit head of ``side`` and a 16-bit body: the dtypes, else
    the size of the gap, else the reference.
    """
    dtypes = [facts.dtype for facts in case.facts]
    if None not in dtypes:
        return _by_dtypes(dtypes[0], dtypes[1])
    if within_step > _WITHIN:
        why = (
            f"The gap stays within one step in {within_step:.0%} of the rows: nothing"
            " but that rounding."
        )
        return _HeadOrBody(head=0.93, body=0.4, why=why)
    if case.errors is not None:
        return _by_reference(case.errors[side], case.errors[1 - side])
    return _HeadOrBody(
        head=POSSIBLE_AT_MOST - 0.01,
        body=POSSIBLE_AT_MOST,
        why=(
            "The dtypes were not observed, so head and body cannot be told apart: state"
            " the dtypes, or capture a float32 reference."
        ),
    )


def _by_dtypes(a: str | None, b: str | None) -> _HeadOrBody:
    if a == b:
        why = f"Both compute in {a}, so it is the head or the logits."
        return _HeadOrBody(head=0.95, body=0.05, why=why)
    return _HeadOrBody(head=0.3, body=0.95, why=f"They compute in {a} and {b}.")


def _by_reference(rounded_side: float, other: float) -> _HeadOrBody:
    """``rounded_side`` and ``other`` are the MAE in nats against the reference."""
    if other < _MUCH_CLOSER * rounded_side:
        why = (
            f"The other side is {other:.1e} from the float32 reference, this one"
            f" {rounded_side:.1e}: its body is 16-bit too, or the head's rounding is"
            " all."
        )
        return _HeadOrBody(head=0.6, body=0.85, why=why)
    why = (
        f"Both are as far from the float32 reference ({rounded_side:.1e},"
        f" {other:.1e}): the bodies are alike."
    )
    return _HeadOrBody(head=0.93, body=0.3, why=why)


_FIRST_VALUES = 6
"""Values of a row that are looked at: those further down may lie below a power of two,
on a finer step.
"""
_FEWEST_VALUES = 4
_FEWEST_ROWS = 20
"""Shared values that a row needs, and rows in all. By judgement."""


def _within_step(case: Case, side: int) -> float:
    """Share of rows, of those with a step of their own, whose gaps all lie within that
    step: rounding and nothing else.
    """
    shared = case.view.shared
    if not len(shared.at):
        return 0.0
    steps = row_steps((shared.a, shared.b)[side])
    gap = (shared.x - shared.y)[:, :_FIRST_VALUES].astype(np.float64)
    gap[~shared.present[:, :_FIRST_VALUES]] = np.nan
    wide = np.isfinite(gap).sum(axis=1) >= _FEWEST_VALUES
    rows = np.isfinite(steps) & wide
    if np.count_nonzero(rows) < _FEWEST_ROWS:
        return 0.0
    spread = np.nanmax(gap[rows], axis=1) - np.nanmin(gap[rows], axis=1)
    return float(np.mean(spread <= steps[rows] * 1.02 + 1e-5))


def _power(step: float) -> str:
    """``2^-4``."""
    return f"2^{int(np.log2(step))}"
