"""What came of an experiment: how much of the gap went away, how sure that is, and what
it says of the cause.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.uncertainty import Interval, mae_ratio
from logdrift.core.compare.units import Method, unit_sums
from logdrift.core.diagnose.causes import BY_CODE
from logdrift.core.diagnose.evidence import LIKELY, Evidence, Shown
from logdrift.core.diagnose.experiments import Experiment
from logdrift.core.numbers import round_percentage, three_digits
from logdrift.core.session.experiments import SavedExperiment
from logdrift.core.session.reader import Capture
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
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LEAVES = {
    "explains": 1.0,
    "no effect": 0.3,
    "below the floor": 0.5,
    "unclear": 1.0,
    "worse": 0.3,
}
"""What is left of a cause's other evidence when its knob was turned: a change that
removes nothing speaks against it. Too few tokens for an interval speak neither way.
"""
_REFUTED = ("no effect", "worse")
_COMBINED = 0.6
_MOST = 0.97
_ROUNDING = 1e-9
"""Nats below which a change of the MAE is the rounding of its own sum."""


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
        return self.status in JUDGED

    @property
    def sentence(self) -> str:
        """One line: what it explains, or why it says nothing."""
        if not self.judged:
            return f"{self.status}: {self.reason}"
        said = f"MAE {three_digits(self.mae_before)} → {three_digits(self.mae_after)}"
        if self.status == "explains":
            return (
                f"explains {round_percentage(self.explained)} of the MAE ({self._range}):"
                f" {said}{self._more}"
            )
        if self.status == "worse":
            grew = (
                "from nothing"
                if self.explained is None
                else f"by {round_percentage(-self.explained)} ({self._worse})"
            )
            return f"makes it worse {grew}: {said}{self._more}"
        share = (
            f" (explains {self._range})" if self.low is not None and self.moved else ""
        )
        return f"{self.status}: {said}{share}{self._more}"

    @property
    def clause(self) -> str:
        """What it did, without numbers of the session: ``explains 88% of the MAE``; for
        what was judged alone.
        """
        if self.status == "explains":
            return f"explains {round_percentage(self.explained)} of the MAE"
        return {"no effect": "has no effect", "worse": "makes it worse"}.get(
            self.status, f"is {self.status}"
        )

    @property
    def _range(self) -> str:
        return _between(self.low, self.high)

    @property
    def _worse(self) -> str:
        return (
            "no interval"
            if self.low is None or self.high is None
            else _between(-self.high, -self.low)
        )

    @property
    def _more(self) -> str:
        return f"; {self.reason}" if self.reason else ""

    def to_json(self) -> dict[str, Any]:
        out = {name: getattr(self, name) for name in self.__slots__}
        return {
            **out,
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


def judge(
    experiment: Experiment,
    before: Pair,
    after: Sequence[Pair],
    unchanged: Sequence[Sequence[Capture]] = (),
    reason: str = "",
) -> Outcome:
    """What the change explains of the MAE of ``before``; ``after`` are the same pair
    with the changed captures, one for each repeat, over the same token ids.
    ``unchanged`` has one group for each changed side: the unchanged capture and its
    repeats, the first of a group is the one in ``before``.

    The effect is 1 - mean |delta after| / mean |delta before| over the tokens that all
    of them scored, each repeat alike; its interval is
    `logdrift.core.compare.uncertainty.mae_ratio`, over sequences. It "explains" only
    where the interval excludes 0 and the MAE changed by more than the floor: running a
    capture once more changes the pair's MAE by at most the MAE between both runs.
    ValueError without any repeat.
    """
    if not after:
        raise ValueError("no changed capture")
    keep = _common(before, after)
    tokens = int(keep.sum())
    which = [0 if side.which == "a" else 1 for side in experiment.sides]
    changed = [[(p.a, p.b)[side] for p in after] for side in which]
    floors = [_self_gap(group, keep) for group in (*unchanged, *changed)]
    known = [value for value in floors if value is not None]
    floor = max(known, default=None)
    moved = max(
        _gap((before.a, before.b)[side], group[0], keep)
        for side, group in zip(which, changed, strict=True)
    )
    if tokens == 0:
        return Outcome(
            experiment,
            "unclear",
            reason="no token is scored on all sides",
            repeats=len(after),
        )
    old = np.abs(before.delta[keep].astype(np.float64))
    new = np.mean(
        [np.abs(pair.delta[keep].astype(np.float64)) for pair in after], axis=0
    )
    mae_before, mae_after = float(old.mean()), float(new.mean())
    ratio, method = _interval(before, keep, old, new)
    explained = 1 - mae_after / mae_before if mae_before > 0 else None
    low, high = (1 - ratio[1], 1 - ratio[0]) if ratio is not None else (None, None)
    status = _status(mae_before, mae_after, low, high, floor)
    finding = experiment.still and moved > (floor or 0.0)
    said = [
        text
        for text in (
            _movement(experiment, moved, finding),
            _doubt(unchanged, floors, ratio),
            reason,
        )
        if text
    ]
    return Outcome(
        experiment,
        status,
        mae_before,
        mae_after,
        explained,
        low,
        high,
        floor,
        "; ".join(said),
        tokens,
        moved,
        finding,
        len(after),
        method,
    )


def _status(
    before: float,
    after: float,
    low: float | None,
    high: float | None,
    floor: float | None,
) -> Status:
    change = before - after
    if abs(change) <= _ROUNDING:
        return "no effect"
    if floor is None or abs(change) <= floor:
        return "below the floor"
    if low is None or high is None:
        # Without a gap before there is nothing to take a share of; whatever came is
        # worse.
        return "worse" if before == 0 else "unclear"
    return "explains" if low > 0 else "worse" if high < 0 else "no effect"


def _movement(experiment: Experiment, moved: float, finding: bool) -> str:
    if finding:
        return (
            f"its own numbers moved by {moved:.2g} nats, and none may: a fault of the"
            " scorer or of this machine"
        )
    still = ", as it must be" if experiment.still else ""
    return (
        f"no number moved{still}"
        if moved == 0
        else f"its own numbers moved by {moved:.2g} nats"
    )


def _doubt(
    unchanged: Sequence[object], floors: Sequence[float | None], ratio: Interval | None
) -> str:
    said = [] if ratio is not None else ["too few tokens for an interval"]
    if all(value is None for value in floors):
        said.append("nothing was repeated, so the floor is unknown")
    elif any(value is None for value in floors[: len(unchanged)]):
        said.append("the floor is of the changed capture alone")
    return "; ".join(said)


def _interval(
    pair: Pair, keep: Bools, old: Floats, new: Floats
) -> tuple[Interval | None, Method | None]:
    counts = pair.count_per_sequence(keep)
    a, b = unit_sums(old, counts), unit_sums(new, counts)
    return mae_ratio(a, b), b.method


def _common(before: Pair, after: Sequence[Pair]) -> Bools:
    """bool[N]: tokens that every pair scored, with a finite delta. ValueError where the
    ids differ.
    """
    pairs = [before, *after]
    tokens = min(pair.tokens for pair in pairs)
    ids = before.sequences.token_ids[:tokens]
    keep = np.zeros(before.tokens, bool)
    keep[:tokens] = True
    for pair in pairs:
        if not np.array_equal(pair.sequences.token_ids[:tokens], ids):
            raise ValueError("the experiment was made on other token ids")
        keep[:tokens] &= pair.scored[:tokens] & np.isfinite(pair.delta[:tokens])
    return keep


def _gap(a: Capture, b: Capture, keep: Bools) -> float:
    """MAE between two captures over the tokens of ``keep`` that both scored; 0 where
    there are none.
    """
    count = min(len(keep), a.tokens, b.tokens)
    x, y = (
        a.logprob.whole()[:count][keep[:count]],
        b.logprob.whole()[:count][keep[:count]],
    )
    with np.errstate(invalid="ignore"):
        delta = np.abs(x.astype(np.float64) - y)
    delta = delta[np.isfinite(delta)]
    return float(delta.mean()) if len(delta) else 0.0


def _self_gap(group: Sequence[Capture], keep: Bools) -> float | None:
    """The largest MAE of repeats to the first of them; None without repeats."""
    return max((_gap(group[0], other, keep) for other in group[1:]), default=None)


def _between(low: float | None, high: float | None) -> str:
    return (
        "no interval"
        if low is None or high is None
        else f"{round_percentage(low)} to {round_percentage(high)}"
    )


def experiment_evidence(outcomes: Iterable[Outcome]) -> list[Evidence]:
    """What experiments say of causes. Where a knob explains a share, its cause has that
    as score (a combined knob less of it); where it explains nothing,
    ``numbers["leaves"]`` takes away from the cause's other evidence
    (`logdrift.core.diagnose.discount`).

    float32 on both sides that had one 16-bit dtype shows no other precision of one side
    but rounding: that is evidence for noise (`Experiment.proves`).
    """
    out = []
    for outcome in outcomes:
        if not outcome.judged or outcome.experiment.cause not in BY_CODE:
            continue
        experiment = outcome.experiment
        if experiment.still:
            if outcome.finding:
                out.append(_evidence(experiment.cause, 0.8, outcome, 1.0))
            continue
        share = (
            outcome.low
            if outcome.status == "explains" and outcome.low is not None
            else 0.0
        )
        # A change of more than one thing neither proves a cause nor refutes it.
        shows = None if experiment.combined else _shows(outcome)
        score = min(_MOST, max(0.0, share)) * (
            _COMBINED if experiment.combined else 1.0
        )
        # A combined knob that removes nothing may hide one change behind another: it
        # takes nothing away.
        leaves = LEAVES[outcome.status] if not experiment.combined else 1.0
        out.append(
            _evidence(
                experiment.proves or experiment.cause, score, outcome, leaves, shows
            )
        )
    return out


def _shows(outcome: Outcome) -> Shown | None:
    """Proven: most of the gap is gone, and its interval says so. Refuted: nothing of it
    is.
    """
    if outcome.status == "explains":
        return "proven" if outcome.low is not None and outcome.low >= LIKELY else None
    return "refuted" if outcome.status in _REFUTED else None


def _evidence(
    cause: str,
    score: float,
    outcome: Outcome,
    leaves: float,
    shows: Shown | None = None,
) -> Evidence:
    numbers: dict[str, Any] = {
        "experiment": outcome.experiment.id,
        "mae_before": outcome.mae_before,
        "mae_after": outcome.mae_after,
        "explained": outcome.explained,
        "low": outcome.low,
        "high": outcome.high,
        "floor": outcome.floor,
        "moved": outcome.moved,
        "leaves": leaves,
    }
    mark = " (more than one change)" if outcome.experiment.combined else ""
    title = outcome.experiment.title
    return Evidence(
        cause=cause,
        score=score,
        signature="experiment",
        sentence=f"{title}{mark}: {outcome.sentence}.",
        numbers=numbers,
        shows=shows,
        proof=f"{title} {outcome.clause}" if shows else "",
    )


def outcomes_of(saved: Iterable[SavedExperiment], a: str, b: str) -> list[Outcome]:
    """The outcomes about the pair of labels ``a`` -> ``b``, best explained first;
    records that are none are left out.
    """
    out = []
    for each in saved:
        if each.pair == (a, b) and each.outcome is not None:
            with contextlib.suppress(KeyError, Unfit):
                out.append(
                    Outcome.from_json(
                        Experiment.from_json(each.record["experiment"]), each.outcome
                    )
                )
    return sorted(
        out,
        key=lambda o: (
            not o.judged,
            -(o.explained if o.explained is not None else -1e9),
            o.experiment.id,
        ),
    )
