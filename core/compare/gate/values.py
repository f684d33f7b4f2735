"""What the numbers themselves say: unfinished captures, values that are no
log-probabilities, impossible tokens, holes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.compare.coverage import nan_fix, nan_reason
from logdrift.core.compare.gate.case import GateCase, Reason, caution, refuse
from logdrift.core.numbers import counted

# A log-probability is at most 0; a float32 sum of exponentials overshoots by a few
# units in the last place.
_ABOVE_ZERO = 1e-4


def check_status(case: GateCase) -> Iterator[Reason]:
    """A failed or unfinished capture says how much of it there is."""
    for side in case.sides:
        done = (
            f"{side.info.sequences} of"
            f" {counted(case.session.manifest.sequences.planned, 'sequence')}"
        )
        if side.info.status == "failed":
            yield caution(
                "failed",
                f"{side.label} failed after {done} and the numbers cover only those:"
                " read its log, fix the cause and go on with --resume.",
            )
        elif side.info.status != "complete":
            yield caution(
                "partial",
                f"{side.label} has {done} and the numbers cover only those: wait for"
                " it, or go on with --resume.",
            )


def check_positive(case: GateCase) -> Iterator[Reason]:
    """Numbers that cannot be log-probabilities."""
    for side in case.sides:
        if above := int(np.count_nonzero(case.logprob(side) > _ABOVE_ZERO)):
            yield refuse(
                "positive",
                f"{side.label} has values above 0 ({counted(above, 'token')}), which"
                " a log-probability cannot be: check what the engine returned.",
            )


def check_nan(case: GateCase) -> Iterator[Reason]:
    """Scores that a side computed and that are NaN: it says nothing there, and what it
    says elsewhere is in doubt.
    """
    for side in case.broken:
        say = refuse if side.whole_scope else caution
        if side.tokens == 1:
            which = "which"
        else:
            which = "the first"
        if side.everything:
            first = ""
        else:
            first = f" ({which} is {side.first})"
        yield say(
            "nan",
            f"{side.label} gave NaN on {side.where}{first}: {nan_reason(side)}:"
            f" {nan_fix(side)}.",
        )


def check_unscored(case: GateCase) -> Iterator[Reason]:
    """Completion tokens that one side alone has."""
    pair = case.pair
    holes = {case.a: pair.missing_a, case.b: pair.missing_b}
    in_completion = case.counted & pair.in_completion
    for side, other in case.crossed:
        missing = np.count_nonzero(holes[side] & in_completion)
        if not missing:
            continue
        has_score = ~np.isnan(case.logprob(other))
        scored = int(np.count_nonzero(in_completion & has_score))
        yield caution(
            "unscored",
            f"{side.label} has no score for {missing:,} of the"
            f" {counted(scored, 'completion token')} that {other.label} scored, and the"
            " numbers leave them out: capture or import it again, or set their mask"
            " to 0.",
        )


def check_infinite(case: GateCase) -> Iterator[Reason]:
    """Tokens that one side alone calls impossible."""
    is_infinite = np.isinf(case.pair.delta) & case.pair.scored
    infinite = int(np.count_nonzero(is_infinite))
    if infinite:
        are = "is" if infinite == 1 else "are"
        yield caution(
            "infinite",
            f"{counted(infinite, 'token')} {are} impossible (-inf) for one side alone"
            " and in no mean: look for truncated sampling, a masked vocabulary or wrong"
            " ids.",
        )
