"""The verdict of the gate and its reasons as blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from logdrift.core.compare.gate import Reason
from logdrift.core.report.document import SentenceBlock, Tone

VERDICT_TONES: Mapping[str, Tone] = {
    "comparable": "good",
    "caution": "warn",
    "not_comparable": "bad",
    "info": "dim",
}
"""The tone of a verdict, and of the severity of a reason."""

_MARKS = {"not_comparable": "!!", "caution": "!", "info": "i"}


def reason_blocks(reasons: Iterable[Reason]) -> Iterator[SentenceBlock]:
    """A sentence for each reason, its mark before it."""
    for reason in reasons:
        yield SentenceBlock(
            reason.text,
            indent=5,
            mark=f"  {_MARKS[reason.severity]}",
            mark_tone=VERDICT_TONES[reason.severity],
        )
