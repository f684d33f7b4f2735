"""The steps that a session has, before any is measured: what its manifest says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.pair import default_pair
from logdrift.core.compare.pairs import PairLabels, parse_pair
from logdrift.core.errors import InputError
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.reader import Session
from logdrift.core.session.selected import with_sequences
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.step import TrainingStep, recorded_steps, step_of_session
from logdrift.core.trend.wish import TrendWish

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class StepOfSession:
    """A step of a session that is to be measured: the whole of it, or a part."""

    session: Session
    labels: PairLabels
    step: TrainingStep | None
    chosen: Array | None = None

    @property
    def selected(self) -> Session:
        """The session, or those of its sequences that are of the step."""
        if self.chosen is None:
            return self.session
        return with_sequences(self.session, self.labels, self.chosen)


def steps_of(session: Session, wanted: TrendWish) -> list[StepOfSession]:
    """What there is to measure, a step each.

    Raises InputError where the session has no pair, or lacks the one that is asked for.
    """
    labels = _labels(session, wanted)
    numbers = recorded_steps(session)
    if len(numbers) < 2:
        step = step_of_session(session)
        return [StepOfSession(session, labels, step)]
    return list(_recorded(session, labels, numbers))


def _recorded(
    session: Session, labels: PairLabels, numbers: list[int]
) -> Iterator[StepOfSession]:
    of_sequence = session.sequences.steps
    assert of_sequence is not None
    for number in numbers:
        chosen = np.flatnonzero(of_sequence == number)
        step = TrainingStep(number, "sequences")
        yield StepOfSession(session, labels, step, chosen)


def left_out_words(session: Session) -> str:
    """What is said of sequences without a step beside others that have one; "" for
    none.
    """
    steps = session.sequences.steps
    if steps is None or len(recorded_steps(session)) < 2:
        return ""
    unknown = int(np.count_nonzero(steps == NO_STEP))
    if not unknown:
        return ""
    return f"{unknown:,} of its sequences tell no step and are left out"


def _labels(session: Session, wanted: TrendWish) -> PairLabels:
    if wanted.pair is not None:
        return parse_pair(session, wanted.pair)
    labels = default_pair(session)
    if labels is None:
        raise InputError("has no two captures to compare yet")
    return labels


def named_row(step: StepOfSession) -> TrendRow:
    """The row of a step before it is measured: what its manifest says."""
    session = step.session
    manifest = session.manifest
    a, b = step.labels
    row = TrendRow(
        measured=False,
        session=session.name,
        created=manifest.created,
        state=session.state,
        model=manifest.model.id,
        a=a,
        b=b,
    )
    if step.chosen is not None:
        first, *_ = step.chosen.tolist()
        row = replace(row, part=True, first_sequence=first)
    if step.step is None:
        return row
    return replace(row, step=step.step.number, step_source=step.step.source)
