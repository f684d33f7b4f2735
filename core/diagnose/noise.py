"""Is the gap of the size that rounding leaves? Repeats, the float32 reference and the precision of both sides tell.

`LIMITS` have an argument, not a fit: twice the largest MAE that healthy dense models in bfloat16 were measured or
published with (0.044 nats: SGLang against Transformers on a CPU; GPUs have 0.01 to 0.02); float16 has three more bits of
mantissa, hence an eighth, and float32 sixteen more, but its log-softmax alone is off by up to 2e-5 in common libraries,
hence ten times that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.diagnose.case import Case

LIMITS = {"bfloat16": 0.088, "float16": 0.011, "float32": 2e-4}
"""MAE in nats up to which a gap between two sides is what rounding in that dtype leaves."""
_LOPSIDED = 1.6
"""How many times as far from the float32 reference one side may be as the other, both in one dtype: other correct
implementations of one model were measured at 0.8 to 1.3 times (vLLM, SGLang, eager and sdpa attention in bfloat16)."""
_ABOVE_FLOOR = 1.5
"""Two independent repeats differ by up to 1.41 times the larger floor."""

Verdict = Literal["identical", "noise", "excess", "unknown"]


@dataclass(frozen=True, slots=True)
class Size:
    """``verdict`` with the sentence behind it. ``dtype`` is the coarser precision of both sides, None where unknown;
    ``limit`` the MAE that goes with it; ``suspect`` the side that is farther off than its precision explains;
    ``sure`` 0 to 1. ``times`` is how many times what was to be expected, where that is known.
    """

    verdict: Verdict
    sentence: str
    sure: float
    dtype: str | None
    limit: float
    suspect: str | None = None
    times: float | None = None


def judge_size(case: Case) -> Size:
    """What the size of the gap alone says, before any structure in it is looked for. Judged once for each case."""
    if "size" not in case.memo:
        case.memo["size"] = _judge(case)
    found: Size = case.memo["size"]
    return found


def _judge(case: Case) -> Size:
    mae = case.view.mae
    dtypes = precisions(case)
    known = [dtype for dtype in dtypes if dtype is not None]
    coarse = max(known, key=lambda dtype: LIMITS.get(dtype, 0.0)) if known else None
    limit = LIMITS.get(coarse or "bfloat16", LIMITS["bfloat16"])
    if case.view.impossible:
        said = f"{case.view.impossible:,} tokens are impossible (-inf) for one side alone, which no rounding does."
        return Size("unknown", said, 0.0, coarse, limit)
    if not len(case.view.at):
        return Size("unknown", "no token has a finite score on both sides.", 0.0, coarse, limit)
    if mae == 0.0:
        return Size("identical", "both sides give the same numbers.", 1.0, coarse, limit)
    floor = case.floor
    floors = (
        [g.mae for g in (floor.a, floor.b, floor.batch_a, floor.batch_b) if g is not None] if floor is not None else []
    )
    if floors and mae <= _ABOVE_FLOOR * max(floors):
        said = f"MAE {mae:.2g} is within what repeats of one side differ by ({max(floors):.2g})."
        return Size("noise", said, 0.98, coarse, limit)
    reached = _three_way(case, dtypes, limit)
    if reached is not None:
        return reached
    where = f"for {coarse}" if coarse else "for bfloat16, the coarsest usual precision (the dtypes were not observed)"
    if mae <= limit:
        sure = 0.6 if None in dtypes else 0.9 if case.with_reference else 0.8
        told = "" if case.with_reference else "; with a float32 reference smaller faults would show"
        return Size("noise", f"MAE {mae:.2g} is usual {where} (up to {limit:g}){told}.", sure, coarse, limit)
    said = f"MAE {mae:.2g} is {mae / limit:.1f} times what rounding leaves {where} ({limit:g})."
    return Size("excess", said, 0.9 if coarse else 0.7, coarse, limit, times=mae / limit)


def _three_way(case: Case, dtypes: tuple[str | None, str | None], limit: float) -> Size | None:
    """Both sides against the float32 reference. None where there is none, or where it cannot tell."""
    errors = case.errors
    if errors is None:
        return None
    coarse = max((d for d in dtypes if d), key=lambda d: LIMITS.get(d, 0.0), default=None)
    said = f"against the float32 reference {case.labels[0]} is off by {errors[0]:.2g} and {case.labels[1]} by {errors[1]:.2g}"
    low, high = min(errors), max(errors)
    suspect = case.labels[0] if errors[0] > errors[1] else case.labels[1]
    if dtypes[0] is not None and dtypes[0] == dtypes[1]:
        if high <= LIMITS["float32"]:
            return Size("noise", f"{said}: both at float32's own rounding.", 0.97, coarse, limit)
        if dtypes[0] != "float32" and high <= _LOPSIDED * low:
            if case.view.mae <= 1.6 * (low + high):
                return Size("noise", f"{said}: both as far as two correct {coarse} runs are.", 0.93, coarse, limit)
            return None
        times = high / max(low, LIMITS["float32"])
        return Size(
            "excess", f"{said}: {suspect} is {times:.1f} times as far off as the other in the same precision.",
            0.6 if high <= limit and times < 2 * _LOPSIDED else 0.9, coarse, limit, suspect, times,
        )  # fmt: skip
    for error, dtype, label in zip(errors, dtypes, case.labels, strict=True):
        if dtype is not None and error > LIMITS.get(dtype, limit):
            times = error / LIMITS.get(dtype, limit)
            return Size("excess", f"{said}: too far for {dtype} in {label}.", 0.8, coarse, limit, label, times)
    return None


def precisions(case: Case) -> tuple[str | None, str | None]:
    """The coarser of body, head and logits of each side: as observed, else bfloat16 where its logits lie on a lattice."""
    out = []
    for facts, lattice in zip(case.facts, case.lattices, strict=True):
        seen = [dtype for dtype in (facts.dtype, facts.head_dtype, facts.logits_dtype) if dtype in LIMITS]
        if facts.dtype is None:
            seen = [*seen, *(["bfloat16"] if lattice.step is not None and not seen else [])]
        out.append(max(seen, key=lambda dtype: LIMITS[dtype]) if seen else None)
    return out[0], out[1]
