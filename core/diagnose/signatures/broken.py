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
from logdrift.core.diagnose.case import Case, positions_of
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import Evidence, Ranked, Unchecked
from logdrift.core.diagnose.view import count_of
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
        if paths[side.label] == "decode":
            drawn = _DRAWN
        else:
            drawn = ""
        yield Evidence(
            cause=OVERFLOW,
            score=_OBSERVED,
            signature="nan",
            sentence=f"{_sentence(side)}{drawn}",
            numbers={
                "side": side.label,
                "dtype": side.dtype,
                "tokens": side.tokens,
                "prompt_tokens": side.prompt_tokens,
                "sequences": side.sequences,
                "sequence": side.first_sequence,
                "position": side.first_position,
            },
            positions=positions_of(at),
        )


def _sentence(side: BrokenSide) -> str:
    if side.sequences == 1:
        many = "one sequence"
    else:
        many = f"{side.sequences:,} sequences"
    reason = nan_reason(side)
    return (
        f"{side.label} gave NaN on {side.where}, in {many}; the first is {side.first}."
        f" {reason[:1].upper()}{reason[1:]}."
    )


def verdict_of(case: Case) -> str:
    """The sentence for a pair with NaN."""
    sides = _sides(case)
    if not sides:  # only a look at the layers has found it
        return (
            "broken numbers: no token here is NaN, but a residual stream was found that"
            " is not finite."
        )
    clauses = "; ".join(
        f"{side.label} gave NaN on {side.where}: {nan_reason(side)}: {nan_fix(side)}"
        for side in sides
    )
    return f"broken numbers: {clauses}."


def _sides(case: Case) -> tuple[BrokenSide, ...]:
    return broken_sides(case.pair, "all")


def put_first(case: Case, causes: Iterable[Ranked]) -> tuple[Ranked, ...]:
    """The causes of a pair with NaN: that first, with what to do next, and never noise,
    which has nothing to fix.
    """
    faults = [_with_next_step(case, cause) for cause in causes if cause.cause != NOISE]
    return tuple(sorted(faults, key=lambda cause: cause.cause != OVERFLOW))


def _with_next_step(case: Case, cause: Ranked) -> Ranked:
    if cause.cause != OVERFLOW:
        return cause
    side = _sides(case)[0]
    looked_at = any(piece.signature == "layers" for piece in cause.evidence)
    layers = "" if looked_at else _layers_step(case, side)
    return replace(cause, next_experiment=nan_fix(side) + layers)


def _layers_step(case: Case, side: BrokenSide) -> str:
    """The look at the layers that names where the stream breaks; empty where they
    cannot be looked at.
    """
    plan = case.session.plan
    if plan is not None:
        planned = {spec.name for spec in plan.backends}
    else:
        planned = set()
    a, b = case.infos
    answering = all(_can_be_looked_at(info, planned) for info in (a, b))
    if not answering or a.backend == b.backend:
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


def gaps(case: Case) -> tuple[Unchecked, ...]:
    """For each side, the completion tokens that the other one scored and it did not:
    nothing here is said of them.
    """
    pair = case.pair
    sides = (
        (case.labels[0], pair.missing_a, pair.logprob_b),
        (case.labels[1], pair.missing_b, pair.logprob_a),
    )
    unscored = []
    for label, missing, other in sides:
        holes = count_of(missing & pair.in_completion)
        counted = pair.counted & pair.in_completion
        scored = count_of(counted & ~np.isnan(other))
        if holes:
            unscored.append(_unscored(label, holes, scored))
    return tuple(unscored)


def _unscored(label: str, holes: int, scored: int) -> Unchecked:
    return Unchecked(
        cause="unscored",
        why=(
            f"{label} has no score for {holes:,} of {scored:,} completion tokens, which"
            " are in no number here"
        ),
        fix="capture or import it again, or set their mask to 0",
    )
