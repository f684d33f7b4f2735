"""The numbers of a pair as reports show them: intervals, multiples of the noise floor,
and words for what they are about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.decomposition import Decomposition, Term
from logdrift.core.compare.floor import Floor, SelfGap
from logdrift.core.compare.limits import Limit
from logdrift.core.compare.metric import METRICS, Metric
from logdrift.core.compare.metric.good import Standing
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.usual import UsualRange
from logdrift.core.numbers import UNKNOWN, counted, figure, is_number
from logdrift.core.report.records import PairReport
from logdrift.core.report.standing import standing_of

SCOPES = {
    "all": "all tokens",
    "prompt": "prompt tokens",
    "completion": "completion tokens",
}

FLOOR_PARTS = {
    "a": "repeat of A",
    "b": "repeat of B",
    "batch_a": "A alone in its batch",
    "batch_b": "B alone in its batch",
}

_SAMPLED_BY_B = Metric(
    path="mismatch.sampled_by_b",
    title="sampled by B",
    unit="",
    meaning="only then do k1 and k3 estimate the KL divergence of B from A",
    good="",
    heading="KL estimates and effective sample size",
    accessor=lambda numbers: numbers.mismatch.sampled_by_b,
)
"""A truth value and no metric: it says what k1 and k3 are worth."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One number of a pair: its 95% interval and its multiple of the noise floor where
    known, and where it stands against its good range.
    """

    metric: Metric
    value: float | None
    interval: tuple[float, float] | None
    multiple: float | None
    standing: Standing | None

    @property
    def text(self) -> str:
        return figure(self.value, self.metric.format)

    @property
    def meaning(self) -> str:
        """What the number means and what is good, in one line."""
        parts = []
        if self.metric.meaning:
            parts.append(self.metric.meaning)
        if self.metric.good:
            parts.append(f"good: {self.metric.good}")
        return "; ".join(parts)


def metric_value(
    metric: Metric, metrics: Metrics, usual: UsualRange | None
) -> MetricValue:
    """The number with all that is known of it; ``usual`` is the range of the pair's
    MAE, None where no dtype was observed.
    """
    value = metric.value(metrics)
    return MetricValue(
        metric=metric,
        value=value,
        interval=interval_of(metric.path, metrics),
        multiple=floor_multiple(metric.path, value, metrics.floor),
        standing=standing_of(metric, metrics, usual),
    )


def interval_of(path: str, metrics: Metrics) -> tuple[float, float] | None:
    """The 95% interval of a number, where both ends are finite."""
    ci95 = metrics.ci95
    known = {
        "errors.mae": ci95.mae,
        "errors.rmse": ci95.rmse,
        "errors.mean": ci95.mean,
        "mismatch.k3": ci95.k3,
    }
    ends = known.get(path)
    if ends is not None and all(map(is_number, ends)):
        return ends
    return None


def floor_multiple(path: str, value: float | None, floor: Floor | None) -> float | None:
    """How many times the noise floor a mean error is: inf over a floor of exactly 0,
    None where nothing can be said.
    """
    if floor is None:
        return None
    known = {"errors.mae": floor.mae, "errors.rmse": floor.rmse}
    least = known.get(path)
    if not is_number(least) or not is_number(value):
        return None
    if least > 0:
        return value / least
    if value > 0:
        return math.inf
    return None


def tables_of_numbers(
    metrics: Metrics, usual: UsualRange | None
) -> Iterator[tuple[str, list[MetricValue]]]:
    """Title and rows of the tables of all numbers; a section that the pair does not
    have is left out.
    """
    tables: dict[tuple[str, str], list[Metric]] = {}
    every_metric = (*METRICS.values(), _SAMPLED_BY_B)
    for metric in every_metric:
        section = metric.section
        if metric.heading and has_section(metrics, section):
            table = tables.setdefault((section, metric.heading), [])
            table.append(metric)
    for (_, title), rows in tables.items():
        if _SAMPLED_BY_B in rows:
            rows = [_SAMPLED_BY_B, *rows[:-1]]
        yield title, [metric_value(metric, metrics, usual) for metric in rows]


def has_section(metrics: Metrics, section: str) -> bool:
    """Whether the pair has the numbers of a section at all."""
    return section != "topk" or metrics.topk is not None


def left_out(pair: PairReport) -> str:
    """The tokens that the numbers of a pair leave out though they should not have to,
    by side; "" for none.
    """
    coverage = pair.metrics.coverage
    a, b = pair.labels
    counts = (
        (coverage.nan_a, "NaN", a),
        (coverage.nan_b, "NaN", b),
        (coverage.unscored_a, "not scored", a),
        (coverage.unscored_b, "not scored", b),
    )
    parts = [
        f"{counted(count, 'token')} {word} in {label}"
        for count, word, label in counts
        if count
    ]
    if parts:
        return f"left out: {', '.join(parts)}"
    return ""


def bounds_text(limit: Limit | WhatIf) -> str:
    """The range that is allowed or kept: ``<= 0.01``, ``>= 0.3``, ``0.5 to 2``."""
    low = limit.low
    high = limit.high
    if low is None:
        if high is None:
            return UNKNOWN
        return f"<= {high:g}"
    if high is None:
        return f">= {low:g}"
    if low == high:
        return f"{low:g}"
    return f"{low:g} to {high:g}"


_MEASURES = {"ratio": "", "tv": "p_A-p_B ", "kl": "KL "}
LEVELS = {"token": "token", "sequence": "sequence, sum", "geometric": "sequence, mean"}
"""Whose ratio a correction bounds: that of a sequence is exp of the sum of delta, or of
its mean, which frameworks call geometric.
"""


def kept_text(rule: WhatIf) -> str:
    """What a correction keeps: ``0.5 to 2`` of a ratio, ``KL <= 0.05``."""
    return _MEASURES[rule.measure] + bounds_text(rule)


def most_text(share: str, rule: WhatIf) -> str:
    """A share that a correction hits, as written; ``≤`` before the most it can hit."""
    if rule.at_most and rule.tokens:
        return f"≤{share}"
    return share


def floor_parts(floor: Floor) -> Iterator[tuple[str, SelfGap | None]]:
    """What the noise floor was measured with, in words."""
    gaps = (floor.a, floor.b, floor.batch_a, floor.batch_b)
    names = FLOOR_PARTS.values()
    yield from zip(names, gaps, strict=True)


def terms_of(split: Decomposition) -> list[tuple[str, Term | None]]:
    """The parts of a decomposition with their names, the whole first."""
    terms: list[tuple[str, Term | None]] = [
        ("whole gap", split.total),
        ("decode against prefill", split.decode_vs_prefill),
        ("prefill against trainer", split.prefill_vs_trainer),
    ]
    if split.reference is not None:
        terms += [
            ("trainer against the reference", split.reference.trainer),
            ("rollout against the reference", split.reference.rollout),
        ]
    return terms


def split_title(split: Decomposition) -> str:
    """What the parts of a gap are parts of."""
    return f"Where the gap of {split.trainer} → {split.rollout} comes from"
