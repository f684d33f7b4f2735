"""Experiments of a pair: what was found out, and a plan before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.experiments import ChangedSide, Experiment, LeftOut
from logdrift.core.diagnose.outcomes import Outcome, outcomes_of
from logdrift.core.numbers import clock, counted
from logdrift.core.report.document import Blocks, LineBlock, SentenceBlock
from logdrift.core.report.strict_json import Json, list_json
from logdrift.core.session.experiments import saved
from logdrift.core.session.reader import Session

COMBINED = " [more than one change]"
"""Stands behind a knob or an experiment that turns more than one thing."""


def saved_outcomes(session: Session, pair: Pair) -> list[Outcome]:
    """What earlier experiments about this pair found, best explained first."""
    runs = saved(session.folder)
    label_a = pair.a.info.label
    label_b = pair.b.info.label
    return outcomes_of(runs, label_a, label_b)


def outcomes_json(outcomes: Sequence[Outcome]) -> list[Json]:
    """``experiments`` of `why --json`: `Outcome.to_json` of each."""
    return list_json(outcomes)


def plan_document(
    experiments: Sequence[Experiment],
    left_out: Sequence[LeftOut],
    unchanged: Sequence[ChangedSide],
    *,
    budget: float,
    repeats: int,
    others: Sequence[Experiment] = (),
) -> Blocks:
    """The plan as it will run, most telling first, ``others`` that could, and what is
    left out with its reason.

    ``unchanged`` are the controls (`logdrift.core.diagnose.experiments.controls`),
    ``budget`` is in seconds.
    """
    yield LineBlock(f"{_total(experiments)}; budget {clock(budget)}")
    captures = _captures(unchanged, repeats)
    yield SentenceBlock(captures, indent=3)
    for place, experiment in enumerate(experiments, 1):
        planned = _planned(experiment)
        mark = f"{place:2d} "
        yield SentenceBlock(planned, indent=4, mark=mark)
        if experiment.note:
            yield SentenceBlock(experiment.note, indent=5)
    if others:
        yield LineBlock("Not chosen (--only CODE or --only all runs them)")
    for experiment in others:
        yield SentenceBlock(
            f"{_title(experiment)} · {experiment.cause}", indent=6, mark="   "
        )
    yield from _left_out(left_out)


def _total(experiments: Sequence[Experiment]) -> str:
    """``3 experiments, about 1:20 and 1 of unknown length``."""
    lengths = [experiment.seconds for experiment in experiments]
    unknown = lengths.count(None)
    count = counted(len(lengths), "experiment")
    if lengths and unknown == len(lengths):
        return f"{count}, of unknown length"
    known = [seconds for seconds in lengths if seconds is not None]
    length = clock(sum(known))
    total = f"{count}, about {length}"
    if unknown:
        total += f" and {unknown} of unknown length"
    return total


def _captures(unchanged: Sequence[ChangedSide], repeats: int) -> str:
    text = f"each change is captured {repeats} times"
    if not unchanged:
        return text
    again = ", ".join(f"{side.backend} ({side.path})" for side in unchanged)
    return f"{text}; captured again unchanged as well, for the floor: {again}"


def _title(experiment: Experiment) -> str:
    return f"{experiment.title}{COMBINED if experiment.combined else ''}"


def _planned(experiment: Experiment) -> str:
    title = _title(experiment)
    if experiment.still:
        title += " (no number may move)"
    parts = (
        title,
        experiment.cause,
        _length(experiment),
        experiment.id,
    )
    return " · ".join(parts)


def _length(experiment: Experiment) -> str:
    if not experiment.runs:
        return "captured already"
    if experiment.seconds is None:
        return "unknown"
    return clock(experiment.seconds)


def _left_out(left_out: Sequence[LeftOut]) -> Blocks:
    if left_out:
        yield LineBlock("Left out")
    # A knob may stand for several causes.
    knobs: dict[str, dict[str, None]] = {}
    for item in left_out:
        names = knobs.setdefault(item.reason, {})
        knob = f"{item.backend} {item.setting}"
        names[knob] = None
    for reason, names in knobs.items():
        listed = ", ".join(names)
        yield SentenceBlock(f"{reason}: {listed}", indent=3)
