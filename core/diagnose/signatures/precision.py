"""Which numbers occur: the lattice of 16-bit logits, the grid of 16-bit
log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from logdrift.core.diagnose.case import Case, clip
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.fits import (
    ON_LATTICE,
    bfloat16_share,
    gaps_on_step,
    row_steps,
    values_on_step,
)
from logdrift.core.diagnose.support import POSSIBLE_AT_MOST

_FP16_STEPS = 8
"""float16 has three bits of mantissa more than bfloat16, so on the same logits its
steps are 8 times finer.
"""
_GRID = 0.95
_NOT_ON_IT = 0.4
"""Share of gaps on a step up to which logits are not rounded to 16 bits. Chance gives
0.04, and 16-bit logits whose values were stored in four decimals any share up to
`ON_LATTICE`.
"""


def grid(case: Case) -> Iterator[Evidence]:
    """Log-probabilities that are bfloat16 numbers on one side: the log-softmax itself
    ran in bfloat16.
    """
    shares = [share for share, _ in case.grids]
    counts = [count for _, count in case.grids]
    if min(counts) < 50 or max(shares) < _GRID:
        return
    both = min(shares) >= _GRID
    side = 0 if shares[0] >= shares[1] else 1
    who = "both sides" if both else case.labels[side]
    yield Evidence(
        cause="log_softmax_dtype",
        score=0.6 if both else 0.97,
        signature="value grid",
        sentence=f"{shares[side]:.0%} of the {counts[side]:,} values of {who} are bfloat16"
        " numbers (chance: 0.002%): the log-softmax was computed or stored in 16"
        " bits.",
        numbers={
            "share_a": shares[0],
            "share_b": shares[1],
            "values": counts[side],
            "side": who,
        },
    )


def rounded(case: Case) -> Iterator[Evidence]:
    """Values with few digits: multiples of a power of ten, or float16 numbers.

    That the values are rounded is certain where it is seen; it is the cause of the gap
    only as far as such a rounding moves values.
    """
    for label, column in zip(
        case.labels, (case.pair.logprob_a, case.pair.logprob_b), strict=True
    ):
        values = column[case.view.at].astype(np.float64)
        values = values[np.abs(values) > _SMALLEST]
        if len(values) < _ENOUGH or case.view.mae == 0:
            continue
        found = _kept_digits(values)
        if found is None:
            continue
        name, moves = found
        explains = min(1.0, moves / case.view.mae) if case.view.mae else 0.0
        score = max(0.96 * clip(explains, *_EXPLAINS), _ROUNDED_ONLY)
        does = (
            "which explains the gap"
            if score > _ROUNDED_ONLY
            else f"which does not explain an MAE of {case.view.mae:.2g}"
        )
        yield Evidence(
            cause="cut",
            score=score,
            signature="few digits",
            sentence=(
                f"the {len(values):,} values of {label} are {name}: they were rounded"
                f" when they were recorded, and moved by about {moves:.1g} nats,"
                f" {does}."
            ),
            numbers={"side": label, "kept": name, "moves": moves, "explains": explains},
            explains=score if score > _ROUNDED_ONLY else 0.0,
        )


_SMALLEST = 0.02
"""Nats from which a value shows how many digits it has: smaller ones round to few
numbers by themselves.
"""
_ENOUGH = 16
_EXPLAINS = (0.25, 0.6)
"""Share of the MAE that the rounding moves values by."""
_ROUNDED_ONLY = 0.06
"""Score of a rounding that is seen and explains nothing: it is listed, and last."""
_SHARE = 0.97


def _kept_digits(values: npt.NDArray[np.float64]) -> tuple[str, float] | None:
    """What ``values`` (f64[n] nats) were rounded to, and the nats that this moves a
    value by on average; None where nothing shows.

    Chance: a float32 near 1 is a multiple of 10^-4 within 2 * 10^-7 once in 250 times,
    a float16 number once in 8,192.
    """
    for digits in (0, 1, 2, 3, 4):
        step = 10.0**-digits
        off = np.abs(values / step - np.round(values / step)) * step
        if np.mean(off <= 1.2e-7 * np.maximum(np.abs(values), 1.0)) >= _SHARE:
            return f"multiples of {step:g}", step / 4
    narrow = values.astype(np.float32).astype(np.float16).astype(np.float32)
    if (
        np.mean(narrow == values.astype(np.float32)) >= _SHARE
        and bfloat16_share(values.astype(np.float32))[0] < _GRID
    ):
        return "float16 numbers", float(np.mean(np.abs(values))) * 2.0**-12
    return None


def lattice(case: Case) -> Iterator[Evidence]:
    """Logits in 16 bits on one side alone, or in two kinds of 16 bits."""
    a, b = case.lattices
    if min(a.gaps, b.gaps) < 50 or case.with_reference or _rounded_values(case):
        return
    if a.step is not None and b.step is not None:
        ratio = max(a.step, b.step) / min(a.step, b.step)
        if ratio >= _FP16_STEPS:
            coarse, fine = (0, 1) if a.step > b.step else (1, 0)
            lists = (case.view.lists_a, case.view.lists_b)[fine][1]
            if gaps_on_step(lists, max(a.step, b.step)) > _NOT_ON_IT:
                return
            yield Evidence(
                cause="compute_dtype",
                score=0.93,
                signature="lattice",
                sentence=f"logits lie on steps of {_power(max(a.step, b.step))} in"
                f" {case.labels[coarse]} and {_power(min(a.step, b.step))} in"
                f" {case.labels[fine]}: bfloat16 against float16.",
                numbers={"step_a": a.step, "step_b": b.step},
            )
        return
    if (a.step is None) == (b.step is None):
        return
    side = 0 if a.step is not None else 1
    if (b, a)[side].share > _NOT_ON_IT:
        # neither on a lattice nor off it: two sides of one kind, about the bound
        return
    grids = case.grids
    if grids[side][0] >= _GRID > grids[1 - side][0]:
        return  # 16-bit values make 16-bit gaps: `grid` says it
    found = (a, b)[side]
    inside = _within_step(case, side)
    head, body, why = _head_or_body(case, side, inside)
    said = (
        f"{found.share:.0%} of the gaps between alternatives of {case.labels[side]} are"
        f" multiples of {_power(found.step or 0)} (chance 4%), of"
        f" {case.labels[1 - side]} {(a, b)[1 - side].share:.0%}: its logits are rounded"
        f" to 16 bits, the other's are not. {why}"
    )
    numbers = {
        "side": case.labels[side],
        "step": found.step,
        "share": found.share,
        "other_share": (a, b)[1 - side].share,
        "within_step": inside,
    }
    yield Evidence(
        cause="head_dtype",
        score=head,
        signature="lattice",
        sentence=said,
        numbers=numbers,
    )
    yield Evidence(
        cause="compute_dtype",
        score=body,
        signature="lattice",
        sentence=said,
        numbers=numbers,
    )


def _rounded_values(case: Case) -> bool:
    """Whether the values of a list, and not only the gaps between them, lie on the
    step: then they were rounded after the log-softmax, which says nothing about logits
    (it moves all values of a row by a number that lies on no step).
    """
    for found, (_, values) in zip(
        case.lattices, (case.view.lists_a, case.view.lists_b), strict=True
    ):
        if found.step is not None and values_on_step(values, found.step) >= ON_LATTICE:
            return True
    return False


def _head_or_body(case: Case, side: int, inside: float) -> tuple[float, float, str]:
    """Scores of the head's and the body's precision, with the reason."""
    dtypes = [facts.dtype for facts in case.facts]
    if None not in dtypes:
        if dtypes[0] == dtypes[1]:
            return (
                0.95,
                0.05,
                f"Both compute in {dtypes[0]}, so it is the head or the logits.",
            )
        return 0.3, 0.95, f"They compute in {dtypes[0]} and {dtypes[1]}."
    if inside > 0.9:
        return (
            0.93,
            0.4,
            (
                f"The gap stays within one step in {inside:.0%} of the rows: nothing"
                " but that rounding."
            ),
        )
    errors = case.errors
    if errors is not None:
        rounded, smooth = errors[side], errors[1 - side]
        if smooth < 0.2 * rounded:
            return (
                0.6,
                0.85,
                (
                    f"The other side is {smooth:.1e} from the float32 reference, this"
                    f" one {rounded:.1e}: its body is 16-bit too, or the head's"
                    " rounding is all."
                ),
            )
        return (
            0.93,
            0.3,
            (
                f"Both are as far from the float32 reference ({rounded:.1e},"
                f" {smooth:.1e}): the bodies are alike."
            ),
        )
    why = (
        "The dtypes were not observed, so head and body cannot be told apart: tell the"
        " dtypes, or capture a float32 reference."
    )
    return POSSIBLE_AT_MOST - 0.01, POSSIBLE_AT_MOST, why


def _within_step(case: Case, side: int) -> float:
    """Share of rows, of those with a step of their own, whose gaps all lie within that
    step: rounding and nothing else.

    Only the first values of a row are looked at: those further down may lie below a
    power of two, on a finer step.
    """
    shared = case.view.shared
    if not len(shared.at):
        return 0.0
    steps = row_steps((shared.a, shared.b)[side])
    gap = (shared.x - shared.y)[:, :6].astype(np.float64)
    gap[~shared.present[:, :6]] = np.nan
    rows = np.isfinite(steps) & (np.isfinite(gap).sum(axis=1) >= 4)
    if np.count_nonzero(rows) < 20:
        return 0.0
    spread = np.nanmax(gap[rows], axis=1) - np.nanmin(gap[rows], axis=1)
    return float(np.mean(spread <= steps[rows] * 1.02 + 1e-5))


def _power(step: float) -> str:
    """``2^-4``."""
    return f"2^{int(np.log2(step))}" if step > 0 else "0"
