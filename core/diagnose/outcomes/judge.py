"""How much of a gap a change explains, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.pair import Pair
from logdrift.core.compare.uncertainty import Interval, mae_ratio
from logdrift.core.compare.units import Method, unit_sums
from logdrift.core.diagnose.experiments import ChangedSide, Experiment
from logdrift.core.diagnose.outcomes.outcome import Outcome, Status
from logdrift.core.session.reader import Capture

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-9
"""Nats below which a change of the MAE is the rounding of its own sum."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What became of the MAE: ``before`` and ``after`` in nats, ``low`` to ``high`` the
    95% interval of 1 - after / before, both None where there is none.
    """

    before: float
    after: float
    low: float | None
    high: float | None
    method: Method | None

    @property
    def explained(self) -> float | None:
        """1 - after / before; None without a gap before."""
        if self.before > 0:
            return 1 - self.after / self.before
        return None

    def status(self, floor: float | None) -> Status:
        """What it is called, ``floor`` being what repeats differ by."""
        change = self.before - self.after
        if abs(change) <= _ROUNDING:
            return "no effect"
        if floor is None or abs(change) <= floor:
            return "below the floor"
        if self.low is None or self.high is None:
            # Without a gap before there is nothing to take a share of; whatever came is
            # worse.
            if self.before == 0:
                return "worse"
            return "unclear"
        if self.low > 0:
            return "explains"
        if self.high < 0:
            return "worse"
        return "no effect"


@dataclass(frozen=True, slots=True)
class _Floors:
    """The largest MAE of repeats: of each unchanged side that was repeated or not
    (None), then of each changed one.
    """

    unchanged: tuple[float | None, ...]
    changed: tuple[float | None, ...]

    @property
    def largest(self) -> float | None:
        floors = [floor for floor in self.all if floor is not None]
        return max(floors, default=None)

    @property
    def all(self) -> tuple[float | None, ...]:
        return *self.unchanged, *self.changed


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
    if tokens == 0:
        return _nothing_in_common(experiment, after)
    change = _change(before, after, keep)
    floors = _floors(experiment, after, unchanged, keep)
    moved = _moved(experiment, before, after[0], keep)
    floor = floors.largest
    finding = experiment.still and moved > (floor or 0.0)
    movement = _movement(experiment, moved, finding)
    doubt = _doubt(floors, change)
    reasons = filter(None, (movement, doubt, reason))
    return Outcome(
        experiment=experiment,
        status=change.status(floor),
        mae_before=change.before,
        mae_after=change.after,
        explained=change.explained,
        low=change.low,
        high=change.high,
        floor=floor,
        reason="; ".join(reasons),
        tokens=tokens,
        moved=moved,
        finding=finding,
        repeats=len(after),
        method=change.method,
    )


def _nothing_in_common(experiment: Experiment, after: Sequence[Pair]) -> Outcome:
    """No judgement, for want of tokens."""
    return Outcome(
        experiment=experiment,
        status="unclear",
        reason="no token is scored on all sides",
        repeats=len(after),
    )


def _floors(
    experiment: Experiment,
    after: Sequence[Pair],
    unchanged: Sequence[Sequence[Capture]],
    keep: Bools,
) -> _Floors:
    """What repeats differ by over the tokens of ``keep`` bool[N]: those of each
    unchanged side, and those of each changed one.
    """
    changed = [[_side_of(pair, side) for pair in after] for side in experiment.sides]
    return _Floors(
        unchanged=_self_gaps(unchanged, keep),
        changed=_self_gaps(changed, keep),
    )


def _moved(experiment: Experiment, before: Pair, after: Pair, keep: Bools) -> float:
    """The largest MAE in nats between a changed capture and the unchanged one."""
    gaps = []
    for side in experiment.sides:
        unchanged = _side_of(before, side)
        changed = _side_of(after, side)
        gaps.append(_gap(unchanged, changed, keep))
    return max(gaps)


def _self_gaps(
    groups: Sequence[Sequence[Capture]], keep: Bools
) -> tuple[float | None, ...]:
    """What the repeats of each group differ by, None without repeats."""
    return tuple(_self_gap(group, keep) for group in groups)


def _side_of(pair: Pair, side: ChangedSide) -> Capture:
    """The capture of ``pair`` that stands where ``side`` is changed."""
    if side.which == "a":
        return pair.a
    return pair.b


def _change(before: Pair, after: Sequence[Pair], keep: Bools) -> _Change:
    """|delta| over the tokens of ``keep`` bool[N], the mean of all repeats after."""
    old = _sizes(before, keep)
    repeats = [_sizes(pair, keep) for pair in after]
    new = np.mean(repeats, axis=0)
    counts = before.count_per_sequence(keep)
    old_sums = unit_sums(old, counts)
    new_sums = unit_sums(new, counts)
    ratio: Interval | None = mae_ratio(old_sums, new_sums)
    low = high = None
    if ratio is not None:
        smallest, largest = ratio
        low = 1 - largest
        high = 1 - smallest
    return _Change(
        before=float(old.mean()),
        after=float(new.mean()),
        low=low,
        high=high,
        method=new_sums.method,
    )


def _sizes(pair: Pair, keep: Bools) -> Floats:
    """|delta| of the tokens of ``keep`` bool[N], f64[n] nats."""
    delta = pair.delta[keep].astype(np.float64)
    return np.abs(delta)


def _movement(experiment: Experiment, moved: float, finding: bool) -> str:
    if finding:
        return (
            f"its own numbers moved by {moved:.2g} nats, and none may: a fault of the"
            " scorer or of this machine"
        )
    if moved:
        return f"its own numbers moved by {moved:.2g} nats"
    if experiment.still:
        return "no number moved, as it must be"
    return "no number moved"


def _doubt(floors: _Floors, change: _Change) -> str:
    """What makes the judgement less sure."""
    if change.low is not None:
        doubts = []
    else:
        doubts = ["too few tokens for an interval"]
    if all(floor is None for floor in floors.all):
        doubts.append("nothing was repeated, so the floor is unknown")
    elif None in floors.unchanged:
        doubts.append("only repeats of the changed capture give the noise floor")
    return "; ".join(doubts)


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
        own_ids = pair.sequences.token_ids[:tokens]
        if not np.array_equal(own_ids, ids):
            raise ValueError("the experiment was made on other token ids")
        finite = np.isfinite(pair.delta[:tokens])
        keep[:tokens] &= pair.scored[:tokens] & finite
    return keep


def _gap(a: Capture, b: Capture, keep: Bools) -> float:
    """MAE in nats between two captures over the tokens of ``keep`` bool[N] that both
    scored; 0 where there are none.
    """
    count = min(len(keep), a.tokens, b.tokens)
    among = keep[:count]
    logprob_a = a.logprob.whole()[:count]
    logprob_b = b.logprob.whole()[:count]
    wide_a = logprob_a[among].astype(np.float64)
    with np.errstate(invalid="ignore"):
        delta = np.abs(wide_a - logprob_b[among])
    finite = delta[np.isfinite(delta)]
    if len(finite):
        return float(finite.mean())
    return 0.0


def _self_gap(group: Sequence[Capture], keep: Bools) -> float | None:
    """The largest MAE of repeats to the first of them; None without repeats."""
    first, *repeats = group
    gaps = [_gap(first, repeat, keep) for repeat in repeats]
    return max(gaps, default=None)
