"""Experiments of a pair as text and for JSON: what was found out, and a plan before it
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide, Experiment, LeftOut
from logdrift.core.diagnose.outcomes import Outcome, outcomes_of
from logdrift.core.numbers import clock
from logdrift.core.report.layout import Canvas
from logdrift.core.session.experiments import saved
from logdrift.core.session.reader import Session

_MARK = " [more than one change]"


def saved_outcomes(session: Session, pair: Pair) -> list[Outcome]:
    """What earlier experiments about this pair found, best explained first."""
    return outcomes_of(saved(session.folder), pair.a.info.label, pair.b.info.label)


def outcomes_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """``experiments`` of `why --json`: `Outcome.to_json` of each."""
    return [outcome.to_json() for outcome in outcomes]


def outcome_lines(outcomes: Sequence[dict[str, Any]], canvas: Canvas) -> Iterator[str]:
    """The section of `why` that shows what experiments found; from `outcomes_json`.
    Nothing without any.
    """
    if not outcomes:
        return
    yield canvas.paint("Experiments", "bold")
    for outcome in outcomes:
        mark = _MARK if outcome["experiment"]["combined"] else ""
        style = {"explains": "good", "worse": "warn", "failed": "warn"}.get(
            outcome["status"], ""
        )
        yield from canvas.wrap(f"{outcome['experiment']['title']}{mark}", 3)
        for line in canvas.wrap(outcome["sentence"], 5):
            yield (
                canvas.paint(line, "warn" if outcome["finding"] else style)
                if style
                else line
            )


def plan_lines(
    experiments: Sequence[Experiment],
    left_out: Sequence[LeftOut],
    unchanged: Sequence[ChangedSide],
    canvas: Canvas,
    *,
    budget: float,
    repeats: int,
    others: Sequence[Experiment] = (),
) -> Iterator[str]:
    """The plan as it will run, most telling first, ``others`` that could, and what is
    left out with its reason. ``unchanged`` are the controls
    (`logdrift.core.diagnose.experiments.controls`).
    """
    known = sum(each.seconds for each in experiments if each.seconds is not None)
    unknown = sum(each.seconds is None for each in experiments)
    total = f"about {clock(known)}" + (
        f" and {unknown} of unknown length" if unknown else ""
    )
    if experiments and unknown == len(experiments):
        total = "of unknown length"
    count = (
        "1 experiment" if len(experiments) == 1 else f"{len(experiments)} experiments"
    )
    yield canvas.paint(f"{count}, {total}; budget {clock(budget)}", "bold")
    again = ", ".join(f"{side.backend} ({side.path})" for side in unchanged)
    more = (
        f"; captured again unchanged as well, for the floor: {again}" if again else ""
    )
    yield from canvas.wrap(f"each change is captured {repeats} times{more}", 3)
    for place, each in enumerate(experiments, 1):
        length = (
            "captured already"
            if not each.runs
            else clock(each.seconds)
            if each.seconds is not None
            else "unknown"
        )
        mark = _MARK if each.combined else ""
        still = " (no number may move)" if each.still else ""
        yield from canvas.wrap(
            f"{each.title}{mark}{still} · {each.cause} · {length} · {each.id}",
            4,
            f"{place:2d} ",
        )
        if each.note:
            yield from canvas.wrap(each.note, 5)
    if others:
        yield canvas.paint("Not chosen (--only CODE or --only all runs them)", "bold")
        for each in others:
            yield from canvas.wrap(
                f"{each.title}{_MARK if each.combined else ''} · {each.cause}", 6, "   "
            )
    if left_out:
        yield canvas.paint("Left out", "bold")
        reasons: dict[str, dict[str, None]] = {}  # a knob may stand for several causes
        for one in left_out:
            reasons.setdefault(one.reason, {})[f"{one.backend} {one.setting}"] = None
        for reason, knobs in reasons.items():
            yield from canvas.wrap(f"{reason}: {', '.join(knobs)}", 3)
