"""What a report says of captures and of the size of a gap, in the same words
everywhere.
"""

from __future__ import annotations

from logdrift.core.report.records import PairReport, SessionReport
from logdrift.core.report.usual import in_words
from logdrift.core.session.layout import CaptureInfo


def failure_log(info: CaptureInfo) -> list[str]:
    """The lines of a capture's failure, at least one."""
    failure = info.failure or ""
    lines = [line for line in failure.splitlines() if line.strip()]
    return lines or ["no reason was recorded"]


def observed_facts(info: CaptureInfo) -> tuple[str | None, ...]:
    """Version, dtype, device and attention as they were observed."""
    facts = info.facts
    if facts is None:
        return (None,) * 4
    return facts.engine_version, facts.dtype, facts.device, facts.attention_backend


def size_in_words(report: SessionReport, pair: PairReport) -> str:
    """Is the MAE usual? Empty where the report does not have the pair's captures."""
    a, b = map(report.capture, pair.labels)
    if a is None or b is None:
        return ""
    mae = pair.metrics.errors.mae
    return in_words(mae, a, b)
