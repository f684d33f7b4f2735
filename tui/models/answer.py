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
    """The sentence on the pair of ``labels``; ``says_more``: it has something beside
    the gate's first reason.
    """

    labels: tuple[str, str]
    sentence: str
    meaning: Meaning
    says_more: bool


def answer_line(session: Session, pair: Pair) -> AnswerLine:
    """Diagnoses the pair: some tenths of a second for 100,000 tokens, so not for the
    event loop.

    Where another capture that it would look at cannot be read, the line says so.
    LogdriftError where the pair itself cannot be.
    """
    # Imported here because the first screen is drawn without it.
    from logdrift.core.report.answers import answer_of_pair

    labels = pair.a.info.label, pair.b.info.label
    try:
        return line_of(answer_of_pair(session, pair), pair)
    except (LogdriftError, OSError) as error:
        if any(session.damage(label) for label in ("", *labels)):
            raise
        words = f"not explained: {reason(session, error)}"
        return AnswerLine(labels=labels, sentence=words, meaning="warn", says_more=True)


def line_of(answer: Answer, pair: Pair) -> AnswerLine:
    """An answer that is known, as a line."""
    return AnswerLine(
        labels=(pair.a.info.label, pair.b.info.label),
        sentence=visible(answer.sentence),
        meaning=answer.meaning,
        says_more=answer.comparable != "not_comparable"
        or bool(answer.proof or answer.refuted),
    )
