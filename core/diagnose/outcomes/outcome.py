"""One experiment with what came of it, in words and as JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from logdrift.core.compare.units import Method
from logdrift.core.diagnose.experiments import Experiment
from logdrift.core.numbers import round_percentage, three_digits
from logdrift.core.session.experiments import SavedExperiment
from logdrift.core.session.schema import (
    Unfit,
    anything,
    fields,
    kinds_of,
    maybe,
    one_of,
)

Status = Literal[
    "explains", "no effect", "below the floor", "unclear", "worse", "failed", "not run"
]
STATUSES: tuple[str, ...] = get_args(Status)
JUDGED = ("explains", "no effect", "below the floor", "unclear", "worse")
"""Statuses of experiments that were made and compared."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One experiment with what came of it.

    ``mae_before`` and ``mae_after`` in nats over the ``tokens`` that both pairs scored;
    ``explained`` is 1 - after / before, ``low`` to ``high`` its 95% interval, both None
    where there is none. ``floor`` is the largest MAE between repeats, of the unchanged
    or the changed capture; ``moved`` the MAE between the changed capture and the
    unchanged one. ``finding`` says that numbers moved which must not. ``reason`` is for
    people.
    """

    experiment: Experiment
    status: Status
    mae_before: float | None = None
    mae_after: float | None = None
    explained: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    reason: str = ""
    tokens: int = 0
    moved: float | None = None
    finding: bool = False
    repeats: int = 0
    method: Method | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def judged(self) -> bool:
        """The experiment was made and compared."""
        return self.status in JUDGED

    @property
    def sentence(self) -> str:
        """One line: what it explains, or why it says nothing."""
        if not self.judged:
            return f"{self.status}: {self.reason}"
        maes = f"MAE {three_digits(self.mae_before)} → {three_digits(self.mae_after)}"
        if self.reason:
            more = f"; {self.reason}"
        else:
            more = ""
        return f"{self._effect}: {maes}{self._not_sure}{more}"

    @property
    def clause(self) -> str:
        """What it did, without numbers of the session: ``explains 88% of the MAE``; for
        what was judged alone.
        """
        if self.status == "explains":
            return f"explains {round_percentage(self.explained)} of the MAE"
        return _CLAUSES.get(self.status, f"is {self.status}")

    @property
    def _effect(self) -> str:
        """What the change did, with its interval where that is known."""
        if self.status == "explains":
            return f"{self.clause} ({_interval(self.low, self.high)})"
        if self.status != "worse":
            return self.status
        if self.explained is None:
            return "makes it worse from nothing"
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        grew = round_percentage(-self.explained)
        return f"makes it worse by {grew} ({_interval(low, high)})"

    @property
    def _not_sure(self) -> str:
        """The interval of what explains nothing surely."""
        if self.status in ("explains", "worse") or self.low is None or not self.moved:
            return ""
        return f" (explains {_interval(self.low, self.high)})"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, with the sentence."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            **values,
            "experiment": self.experiment.to_json(),
            "numbers": dict(self.numbers),
            "sentence": self.sentence,
        }

    @classmethod
    def from_json(cls, experiment: Experiment, data: Mapping[str, Any]) -> Outcome:
        """Inverse of `to_json`. Raises `logdrift.core.session.schema.Unfit` for what is
        none.
        """
        return cls(experiment, **_outcome(data))


_outcome_kinds = kinds_of(
    Outcome,
    experiment=anything,
    status=one_of(*STATUSES),
    method=maybe(one_of(*get_args(Method))),
)
_outcome = fields(
    {name: kind for name, kind in _outcome_kinds.items() if name != "experiment"},
    frozenset({"status"}),
)


_CLAUSES: Mapping[str, str] = {"no effect": "has no effect", "worse": "makes it worse"}


def _interval(low: float | None, high: float | None) -> str:
    """``88% to 90%``."""
    if low is None or high is None:
        return "no interval"
    return f"{round_percentage(low)} to {round_percentage(high)}"


def outcomes_of(saved: Iterable[SavedExperiment], a: str, b: str) -> list[Outcome]:
    """The outcomes about the pair of labels ``a`` -> ``b``, best explained first;
    records that are none are left out.
    """
    outcomes = []
    for experiment in saved:
        if experiment.pair == (a, b) and experiment.outcome is not None:
            with contextlib.suppress(KeyError, Unfit):
                made = Experiment.from_json(experiment.record["experiment"])
                outcomes.append(Outcome.from_json(made, experiment.outcome))
    return sorted(outcomes, key=_order)


def _order(outcome: Outcome) -> tuple[bool, float, str]:
    """Judged ones first, best explained first."""
    explained = -1e9 if outcome.explained is None else outcome.explained
    return not outcome.judged, -explained, outcome.experiment.id
