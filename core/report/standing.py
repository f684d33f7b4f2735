"""Where a number stands against its good range, as every report marks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from logdrift.core.compare.metric import Metric
from logdrift.core.compare.metric.good import Standing
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.usual import UsualRange
from logdrift.core.report.document import Span, TagCell, Tone

MARKS: Mapping[Standing | None, str] = {
    "good": "✓",
    "outside": "✗",
    "unknown": "?",
    None: "",
}
"""None: the number is neither good nor bad by itself."""
LEGEND = "✓ within its good range  ✗ outside it  ? cannot be judged"
_TONES: Mapping[Standing | None, Tone] = {"good": "good", "outside": "bad"}
_KINDS: Mapping[Standing | None, str] = {
    "good": "comparable",
    "outside": "not_comparable",
}
_MAE = "errors.mae"


def standing_of(
    metric: Metric, metrics: Metrics, usual: UsualRange | None
) -> Standing | None:
    """Where a number of a pair stands; ``usual`` is the range of the MAE for its
    dtypes, None where they were not observed.
    """
    if metric.path != _MAE:
        return metric.standing(metrics)
    mae = metric.read(metrics)
    if mae is None or usual is None:
        return "unknown"
    if usual.standing(mae) in ("below", "usual"):
        return "good"
    return "outside"


def mark_cell(standing: Standing | None) -> Span:
    """The mark in its tone."""
    mark = MARKS[standing]
    tone = _TONES.get(standing, "")
    return Span(mark, tone)


def standing_tag(standing: Standing | None) -> TagCell:
    """The mark in the colour of a verdict, for Markdown and HTML."""
    mark = MARKS[standing]
    kind = _KINDS.get(standing, "muted")
    return TagCell(mark, kind)


def counts_in_words(standings: Iterable[Standing | None]) -> str:
    """``17 of 18 numbers are within their good range, 1 is outside.``"""
    counts = Counter(standings)
    good = counts["good"]
    outside = counts["outside"]
    judged = good + outside
    if not judged:
        return "No number could be judged."
    if not outside:
        return f"All {judged} numbers that can be judged are within their good range."
    verb = "is" if outside == 1 else "are"
    return (
        f"{good} of {judged} numbers are within their good range, {outside} {verb}"
        " outside."
    )
