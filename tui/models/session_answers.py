"""The answer of a session's default pair, as its row in the list has it. Not for the
event loop.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.compare.pair import Pair, default_pair, make_pair
from logdrift.core.errors import LogdriftError, words_inside
from logdrift.core.session.experiments import FOLDER as EXPERIMENTS
from logdrift.core.session.identity import IDENTITY
from logdrift.core.session.layers import FOLDER as LAYERS
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import SIZE_WORDS

if TYPE_CHECKING:
    from logdrift.core.diagnose.answer import Meaning
    from logdrift.tui.models.answer_parts import Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAnswer:
    """The answer of a pair in the words of a row.

    Attributes:
        sentence: all of it, as report and `why` print it.
        meaning: of all of it.
        mae: over all tokens that both sides scored, in nats.
        size: where the MAE stands in the usual range; "" where that means nothing.
        size_tone: what the size means.
        cause: the likeliest cause in few words.
    """

    sentence: str
    meaning: Meaning
    mae: float | None = None
    size: str = ""
    size_tone: Tone = "plain"
    cause: str = ""


def session_answer(session: Session) -> SessionAnswer | None:
    """The answer of the default pair, None where there is none to give."""
    labels = default_pair(session)
    if labels is None:
        return None
    pair = make_pair(session, *labels)
    return _answer(session, pair)


def _answer(session: Session, pair: Pair) -> SessionAnswer:
    # The numbers come second: the list is drawn without what they need.
    from logdrift.tui.models.answer import answer_line
    from logdrift.tui.models.answer_parts import cause_part, size_part

    line = answer_line(session, pair)
    answer = line.answer
    if answer is None:
        return SessionAnswer(sentence=line.sentence, meaning=line.meaning)
    size = ""
    refused = answer.comparable == "not_comparable"
    if answer.standing is not None and not refused:
        size = SIZE_WORDS[answer.standing]
    return SessionAnswer(
        sentence=line.sentence,
        meaning=line.meaning,
        mae=answer.mae,
        size=size,
        size_tone=size_part(answer, None).tone,
        cause=cause_part(answer).short,
    )


def first_damage(session: Session) -> str:
    """What is wrong with the first capture that cannot be opened; "" for nothing.

    A part that is missing or cut is found by its head: no numbers are read.
    """
    for info in session.captures:
        try:
            session.capture(info.label)
        except LogdriftError as error:
            return visible(words_inside(error, session.folder))
    return ""


def evidence_of(folder: Path) -> tuple[tuple[str, int], ...]:
    """Changes when an experiment, an identity check or layers are saved: of most
    sessions, which have none, it asks for three folders that are not there.
    """
    return tuple(sorted(_changes(folder)))


def _changes(folder: Path) -> Iterator[tuple[str, int]]:
    for name in (EXPERIMENTS, IDENTITY, LAYERS):
        with contextlib.suppress(OSError):
            for entry in sorted(
                os.scandir(folder / name), key=lambda entry: entry.name
            ):
                yield entry.path, entry.stat().st_mtime_ns
