"""`logdrift check --baseline SESSION`: no worse than an earlier session, beyond noise.

Where both sessions score the same tokens (the same prompts, with completions that were
given or are sampled alike), the change of each number has an interval of its own, from
draws that take the same sequences on both sides (`logdrift.core.compare.changes`): the
number is worse where all of its 99% interval is, and the change is not below the noise
floor that either session measured. Where most tokens are others, as in rollouts that
were sampled anew, each session has a 95% interval of its own: worse is where the two do
not touch.

Of 60 drawn healthy pairs each, 2 with the same tokens and 1 with others are called
worse; an interval of 95% of the change would call 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from logdrift.core.compare.measured import MeasuredPair, measure_pair
from logdrift.core.compare.metric import metric
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.pair import default_pair, make_pair, parse_pair
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.compare.uncertainty import Interval
from logdrift.core.errors import InputError
from logdrift.core.numbers import counted, interval_text, six_digits
from logdrift.core.report.check import Result
from logdrift.core.report.diff import DiffReport, MetricChange, diff_sessions
from logdrift.core.session.reader import Session

BASELINE = "baseline"
"""The framework of a result that was held against an earlier session."""
GATED = ("errors.mae", "mismatch.k3")
"""What may not become worse: few numbers, because of many one moves by chance."""
_WIDER = 2.5758 / 1.9600
"""A 99% interval over one of 95%: the normal quantiles."""
_SAME_TOKENS = 0.5
"""Share of tokens that must be the same in both sessions for their change to speak for
the whole, by judgement.
"""


def baseline_results(
    session: Session, baseline: Session, pairs: Sequence[MeasuredPair]
) -> Iterator[Result]:
    """A result for each number of `GATED` and each pair. Raises InputError where the
    baseline has no pair.
    """
    for pair in pairs:
        labels = _labels(baseline, pair)
        diff = _diff(session, baseline, pair, labels)
        if diff is None:
            earlier = make_pair(baseline, *labels)
            measured = measure_pair(earlier, pair.metrics.scope)
            yield from _apart(pair, measured, baseline.name)
        else:
            yield from _together(pair, diff, baseline.name)


def _labels(baseline: Session, pair: MeasuredPair) -> PairLabels:
    """The pair of the baseline with the same labels, else its default pair."""
    try:
        return parse_pair(baseline, pair.name)
    except InputError:
        labels = default_pair(baseline)
    if labels is None:
        raise InputError(
            f"--baseline {baseline.name}: fewer than two captures have a finished"
            " sequence"
        )
    return labels


def _diff(
    session: Session, baseline: Session, pair: MeasuredPair, labels: PairLabels
) -> DiffReport | None:
    """The change over the same tokens; None where most tokens are others."""
    scope = pair.metrics.scope
    own = (pair.a, pair.b)
    try:
        diff = diff_sessions(baseline, session, labels, own, scope, shown=1)
    except InputError:
        return None  # nothing in common
    if diff.matched.scored < _SAME_TOKENS * pair.metrics.tokens:
        return None
    return diff


@dataclass(frozen=True, slots=True)
class _Held:
    """A number against that of the baseline: at most ``most`` is within noise; None:
    it cannot be told.
    """

    path: str
    earlier: float | None
    later: float | None
    most: float | None
    how: str


def _together(pair: MeasuredPair, diff: DiffReport, name: str) -> Iterator[Result]:
    """The same tokens in both sessions."""
    tokens = counted(diff.matched.scored, "token")
    refused = None
    if diff.verdict == "not_comparable":
        refused = _refusal(diff)
    for row in diff.metrics:
        if row.metric not in GATED:
            continue
        bounds = interval_text(_wider(row))
        held = _Held(
            path=row.metric,
            earlier=row.earlier,
            later=row.later,
            most=_most(row),
            how=f"99% interval of the change over the same {tokens}: {bounds}",
        )
        yield _result(pair, held, name, refused)


def _most(row: MetricChange) -> float | None:
    """The largest value whose change would include 0 or stay below the floor."""
    if row.change == 0:
        return row.later
    if row.earlier is None or row.change is None or row.ci95 is None:
        return None
    low, _ = row.ci95
    reach = _WIDER * (row.change - low)
    return row.earlier + max(reach, row.floor or 0.0)


def _wider(row: MetricChange) -> Interval | None:
    """The 99% interval of the change."""
    if row.ci95 is None or row.change is None:
        return None
    ends = [row.change + _WIDER * (end - row.change) for end in row.ci95]
    low, high = ends
    return low, high


def _refusal(diff: DiffReport) -> str:
    """Why the two sessions may not be compared."""
    reasons = [*diff.between, *diff.earlier.gate.reasons, *diff.later.gate.reasons]
    for reason in reasons:
        if reason.severity == "not_comparable":
            return reason.text
    return "the two sessions are not comparable"


def _apart(pair: MeasuredPair, earlier: MeasuredPair, name: str) -> Iterator[Result]:
    """Other tokens in each session."""
    refused = None
    if earlier.gate.verdict == "not_comparable":
        refused = "the baseline's pair is not comparable: its numbers mean nothing"
    for path in GATED:
        row = metric(path)
        old = _interval(earlier.metrics, path)
        new = _interval(pair.metrics, path)
        value = row.read(pair.metrics)
        most = None
        how = "other tokens in each session, and too few for an interval"
        if old is not None and new is not None and value is not None:
            most = old[1] + value - new[0]
            how = (
                f"other tokens in each session, 95% intervals {interval_text(old)} and"
                f" {interval_text(new)}"
            )
        held = _Held(path, row.read(earlier.metrics), value, most, how)
        yield _result(pair, held, name, refused)


def _interval(metrics: Metrics, path: str) -> Interval | None:
    if path == "errors.mae":
        return metrics.ci95.mae
    return metrics.ci95.k3


def _result(pair: MeasuredPair, held: _Held, name: str, refused: str | None) -> Result:
    earlier = "unknown"
    if held.earlier is not None:
        earlier = six_digits(held.earlier)
    reason = refused or _worse(held)
    return Result(
        pair=pair.name,
        metric=held.path,
        value=held.later,
        min=None,
        max=held.most,
        ok=reason is None,
        reason=reason,
        framework=BASELINE,
        name=name,
        note=f"{earlier} there; {held.how}",
    )


def _worse(held: _Held) -> str | None:
    """Why the number is worse than noise explains; None where it is not."""
    if held.later is None or held.most is None:
        return "cannot be told from noise: too few tokens for an interval"
    if held.later <= held.most:
        return None
    return (
        f"worse than the baseline beyond noise: up to {six_digits(held.most)} would be"
        " within it"
    )
