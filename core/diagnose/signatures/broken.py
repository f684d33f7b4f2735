"""Numbers that are broken or not there at all. They stand in no delta, so no other
signature can see them.

A NaN comes before every other finding: what a side says beside it is in doubt, and
rounding it never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from logdrift.core.compare.coverage import BrokenSide, broken_sides, nan_fix, nan_reason
from logdrift.core.diagnose.case import SHOWN, Case
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import Evidence, Ranked, Unchecked
from logdrift.core.engines import ENGINES
from logdrift.core.session.layout import CaptureInfo

OVERFLOW = "overflow"
"""The cause that NaN is evidence of."""
_OBSERVED = 0.99
"""A NaN is seen, not inferred; above what the gate's facts weigh, so that it stands
first.
"""
_DRAWN = " The tokens that it drew there mean nothing either."


def nan(case: Case) -> Iterator[Evidence]:
    """One piece of evidence for each side that computed NaN among the tokens that
    count.
    """
    flags = dict(zip(case.labels, (case.pair.nan_a, case.pair.nan_b), strict=True))
    paths = {info.label: info.path for info in case.infos}
    for side in broken_sides(case.pair, "all"):
        at = np.flatnonzero(flags[side.label] & case.pair.counted)
        yield Evidence(
            cause=OVERFLOW,
            score=_OBSERVED,
            signature="nan",
            sentence=_sentence(side)
            + (_DRAWN if paths[side.label] == "decode" else ""),
            numbers={
                "side": side.label,
                "dtype": side.dtype,
                "tokens": side.tokens,
                "prompt_tokens": side.prompt_tokens,
                "sequences": side.sequences,
                "sequence": side.first_sequence,
                "position": side.first_position,
            },
            positions=tuple(int(i) for i in at[:SHOWN]),
        )


def _sentence(side: BrokenSide) -> str:
    many = "one sequence" if side.sequences == 1 else f"{side.sequences:,} sequences"
    return (
        f"{side.label} gave NaN on {side.where}, in {many}; the first is {side.first}. "
        f"{nan_reason(side)[:1].upper()}{nan_reason(side)[1:]}."
    )


def verdict_of(case: Case) -> str:
    """The sentence for a pair with NaN."""
    said = [
        f"{side.label} gave NaN on {side.where}: {nan_reason(side)}: {nan_fix(side)}"
        for side in _sides(case)
    ]
    if not said:  # only a look at the layers has found it
        return (
            "broken numbers: no token here is NaN, but a residual stream was found that"
            " is not finite."
        )
    return "broken numbers: " + "; ".join(said) + "."


def _sides(case: Case) -> tuple[BrokenSide, ...]:
    return broken_sides(case.pair, "all")


def put_first(case: Case, causes: Iterable[Ranked]) -> tuple[Ranked, ...]:
    """The causes of a pair with NaN: that first, with what to do next, and never noise,
    which has nothing to fix.
    """
    kept = [_with_next_step(case, each) for each in causes if each.cause != NOISE]
    return tuple(sorted(kept, key=lambda each: each.cause != OVERFLOW))


def _with_next_step(case: Case, cause: Ranked) -> Ranked:
    if cause.cause != OVERFLOW:
        return cause
    side = _sides(case)[0]
    looked = any(each.signature == "layers" for each in cause.evidence)
    layers = "" if looked else _layers_step(case, side)
    return replace(cause, next_experiment=nan_fix(side) + layers)


def _layers_step(case: Case, side: BrokenSide) -> str:
    plan = case.session.plan
    planned = {spec.name for spec in plan.backends} if plan is not None else set()
    if not all(_can_be_looked_at(info, planned) for info in case.infos) or _one_backend(
        case
    ):
        return ""
    place = f"{side.first_sequence}:{max(side.first_position, 1)}"
    pair = ":".join(case.labels)
    return (
        f"; logdrift why SESSION --pair {pair} --layers {place} names the first layer"
        " whose stream is not finite"
    )


def _can_be_looked_at(info: CaptureInfo, planned: set[str]) -> bool:
    """Its layers can be read once more (`logdrift.core.investigate.layers`)."""
    engine = ENGINES.get(info.engine)
    return engine is not None and "layers" in engine.answers and info.backend in planned


def _one_backend(case: Case) -> bool:
    a, b = case.infos
    return a.backend == b.backend


def gaps(case: Case) -> tuple[Unchecked, ...]:
    """For each side, the completion tokens that the other one scored and it did not:
    nothing here is said of them.
    """
    pair = case.pair
    sides = (
        (case.labels[0], pair.missing_a, pair.logprob_b),
        (case.labels[1], pair.missing_b, pair.logprob_a),
    )
    found = []
    for label, missing, other in sides:
        holes = np.flatnonzero(missing & pair.in_completion)
        if not len(holes):
            continue
        scored = int(
            np.count_nonzero(pair.counted & pair.in_completion & ~np.isnan(other))
        )
        why = (
            f"{label} has no score for {len(holes):,} of {scored:,} completion tokens,"
            " which are in no number here"
        )
        found.append(
            Unchecked(
                cause="unscored",
                why=why,
                fix="capture or import it again, or set their mask to 0",
            )
        )
    return tuple(found)
