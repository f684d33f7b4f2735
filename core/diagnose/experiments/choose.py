"""Which of the proposed experiments are run, and the controls that they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from logdrift.core.diagnose.evidence import LIKELY, Ranked
from logdrift.core.diagnose.experiments.experiment import ChangedSide, Experiment
from logdrift.core.errors import InputError
from logdrift.core.session.reader import Session

ALL = "all"
"""Names all experiments that are proposed, for `chosen`."""
_ON_TOP = 3
"""Causes whose experiments are chosen where none is likely."""


def chosen(experiments: Sequence[Experiment], only: Sequence[str]) -> list[Experiment]:
    """Those that ``only`` names by cause, by id or by the beginning of an id, in their
    own order; all without any name, and for `ALL`. InputError for a name that fits
    none.
    """
    called: set[str] = set()
    for name in only:
        ids = _called(experiments, name)
        if name != ALL and not ids:
            causes = [experiment.cause for experiment in experiments]
            proposed = ", ".join(dict.fromkeys(causes)) or "none"
            raise InputError(
                f"no experiment {name!r} fits this pair: there are {proposed}"
            )
        called |= ids
    if not only or ALL in only:
        return list(experiments)
    return [experiment for experiment in experiments if experiment.id in called]


def _called(experiments: Sequence[Experiment], name: str) -> set[str]:
    """The ids of the experiments that a name fits."""
    ids = set()
    for experiment in experiments:
        if name == experiment.cause or experiment.id.startswith(name):
            ids.add(experiment.id)
    return ids


def deciding(
    experiments: Sequence[Experiment], causes: Sequence[Ranked]
) -> list[Experiment]:
    """Those that can prove or refute what is likely, in their own order: what is chosen
    where the user says nothing.

    ``causes`` are the diagnosis', most likely first. Where none is likely, it is those
    of the causes on top; so it is where the likely one has no experiment and numbers
    alone do not tell it from others. Where nothing is suspected, all.
    """
    likely = [ranked for ranked in causes if ranked.score >= LIKELY]
    about_likely = _about(experiments, likely)
    if about_likely:
        return about_likely
    if likely and likely[0].separable:
        return []
    if not causes:
        return [experiment for experiment in experiments if not experiment.still]
    testable = [ranked for ranked in causes if _about(experiments, [ranked])]
    return _about(experiments, testable[:_ON_TOP])


def _about(
    experiments: Sequence[Experiment], causes: Sequence[Ranked]
) -> list[Experiment]:
    """What is evidence for or against one of ``causes``; a change of more than one
    thing only where it is the one way.
    """
    ids: set[str] = set()
    for ranked in causes:
        own = []
        for experiment in experiments:
            proves = experiment.proves or experiment.cause
            if proves == ranked.cause:
                own.append(experiment)
        single = [experiment for experiment in own if not experiment.combined]
        ids |= {experiment.id for experiment in single or own}
    return [experiment for experiment in experiments if experiment.id in ids]


def controls(
    session: Session, experiments: Iterable[Experiment]
) -> tuple[ChangedSide, ...]:
    """The unchanged backends that have to be captured again for the floor, because the
    session has no repeat of them along the path and in the batch that an experiment is
    compared with; each once.
    """
    unchanged: dict[tuple[str, str, str], ChangedSide] = {}
    for experiment in experiments:
        for side in experiment.sides:
            control = _control(session, experiment, side)
            if control is not None:
                key = (control.backend, control.path, control.batch)
                unchanged.setdefault(key, control)
    return tuple(unchanged.values())


def _control(
    session: Session, experiment: Experiment, side: ChangedSide
) -> ChangedSide | None:
    """The side as it was; None where its floor is known, or cannot be."""
    info = session.manifest.capture(side.label)
    path = info.path if experiment.rescored else side.path
    if path == "decode" or side.given is not None:
        return None
    key = (side.backend, path, info.batch)
    repeats = 0
    for capture in session.captures:
        is_same = (capture.backend, capture.path, capture.batch) == key
        if is_same and capture.status == "complete":
            repeats += 1
    if repeats >= 2:
        return None
    return replace(side, path=path, batch=info.batch, changes={}, given=None)
