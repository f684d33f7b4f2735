"""The answer of a pair for one line of a screen: the sentence that report and `why`
print, and what it means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logdrift.core.compare.pair import Pair
from logdrift.core.errors import LogdriftError
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.tui.models.pairs import reason

if TYPE_CHECKING:
    from logdrift.core.diagnose.answer import Answer, Meaning


class AnswerLine(NamedTuple):
    """The sentence on the pair of ``labels``; ``answer`` has its parts, None where the
    pair could not be explained.
    """

    labels: tuple[str, str]
    sentence: str
    meaning: Meaning
    answer: Answer | None = None


def answer_line(session: Session, pair: Pair) -> AnswerLine:
    """Diagnoses the pair: some tenths of a second for 100,000 tokens, so not for the
    event loop.

    Where another capture that it would look at cannot be read, the line says so.
    LogdriftError where the pair itself cannot be.
    """
    # Imported here because the first screen is drawn without it.
    from logdrift.core.report.answers import answer_of_pair

    labels = _labels(pair)
    try:
        answer = answer_of_pair(session, pair)
        return line_of(answer, pair)
    except (LogdriftError, OSError) as error:
        own_parts = ("", *labels)
        if any(map(session.damage, own_parts)):
            raise
        words = reason(session, error)
        return AnswerLine(
            labels=labels,
            sentence=f"not explained: {words}",
            meaning="warn",
        )


def _labels(pair: Pair) -> tuple[str, str]:
    a = pair.a.info
    b = pair.b.info
    return a.label, b.label


def line_of(answer: Answer, pair: Pair) -> AnswerLine:
    """An answer that is known, as a line."""
    return AnswerLine(
        labels=_labels(pair),
        sentence=visible(answer.sentence),
        meaning=answer.meaning,
        answer=answer,
    )
