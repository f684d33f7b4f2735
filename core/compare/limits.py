"""Limits: a range that a framework publishes or the user sets for a metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from logdrift.core.compare.metric import metric
from logdrift.core.numbers import counted

if TYPE_CHECKING:
    from logdrift.core.compare.gate.case import Verdict
    from logdrift.core.compare.metrics import Metrics

LimitLevel = Literal["normal", "fault", "exact", "other", "own"]
"""What a limit says of a value within and outside.

normal: within is what the framework calls normal. fault: outside, it speaks of a fault,
or its tests fail. exact: holds only where trainer and engine run in a bitwise or
deterministic mode. other: published for another comparison than A against B, so it is
shown and never judged. own: the user's.
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """One range. ``low`` and ``high`` are in the unit of ``metric``, both ends allowed;
    None is open.

    ``name`` is the framework's own, ``metric`` a path of
    `logdrift.core.compare.metric`. ``scope`` is what the framework computes it over;
    None judges every scope.
    """

    framework: str
    name: str
    metric: str
    low: float | None
    high: float | None
    level: LimitLevel
    meaning: str
    source: str
    scope: str | None = "completion"

    def holds(self, value: float) -> bool:
        """Whether a value, in the unit of the metric, is within the range."""
        if self.low is not None and value < self.low:
            return False
        return self.high is None or value <= self.high


@dataclass(frozen=True, slots=True)
class JudgedLimit:
    """A limit and the number of a pair that it was held against.

    ``ok`` is None where the limit cannot be judged, and ``note`` says why: the number
    or the scope is another, the gate says not comparable, or the number leaves
    impossible tokens or NaN out.
    """

    limit: Limit
    value: float | None
    ok: bool | None
    note: str | None

    @property
    def unit(self) -> str:
        """The unit of the value."""
        return metric(self.limit.metric).unit

    def to_json(self) -> dict[str, Any]:
        """As an entry of ``thresholds`` in the JSON schema; ``limit`` is the upper
        end.
        """
        limit = self.limit
        return {
            "framework": limit.framework,
            "name": limit.name,
            "metric": limit.metric,
            "value": self.value,
            "low": limit.low,
            "limit": limit.high,
            "ok": self.ok,
            "level": limit.level,
            "unit": self.unit,
            "meaning": limit.meaning,
            "source": limit.source,
            "note": self.note,
        }


def judge_limits(
    metrics: Metrics, limits: Iterable[Limit], verdict: Verdict | None
) -> list[JudgedLimit]:
    """Hold limits against the numbers of a pair.

    ``verdict`` is the gate's. None leaves it out: `logdrift check` has a line of its
    own for the verdict, as it has for tokens that are NaN.
    """
    return [_judged(metrics, limit, verdict) for limit in limits]


def _judged(metrics: Metrics, limit: Limit, verdict: Verdict | None) -> JudgedLimit:
    value = metric(limit.metric).read(metrics)
    note = _why_not(metrics, limit, value, verdict)
    if value is not None and note is None:
        ok = limit.holds(value)
    else:
        ok = None
    return JudgedLimit(limit=limit, value=value, ok=ok, note=note)


def _why_not(
    metrics: Metrics, limit: Limit, value: float | None, verdict: Verdict | None
) -> str | None:
    """Why the limit cannot be judged; None where it can."""
    if limit.level == "other":
        return "published for another comparison"
    if value is None:
        return "not computed for this pair"
    if verdict == "not_comparable":
        return "the pair is not comparable, so its numbers mean nothing"
    if limit.scope not in (None, metrics.scope):
        return (
            f"published for the {limit.scope}; these are the tokens of scope"
            f" {metrics.scope}"
        )
    if not limit.holds(value):
        # It is outside, whatever the tokens would say that it leaves out.
        return None
    return _left_out(metrics, limit.metric, with_nan=verdict is not None)


def _left_out(metrics: Metrics, path: str, *, with_nan: bool) -> str | None:
    """Which tokens a number within its limit says nothing about."""
    row = metric(path)
    if row.leaves_out:
        impossible = metric(row.leaves_out).read(metrics)
    else:
        impossible = None
    if impossible:
        return (
            f"leaves out {counted(impossible, 'token')} that one side calls impossible"
        )
    nan = metrics.coverage.nan
    if with_nan and nan and row.section != "coverage":
        verb = "is" if nan == 1 else "are"
        return f"leaves out {counted(nan, 'token')} that {verb} NaN"
    return None
