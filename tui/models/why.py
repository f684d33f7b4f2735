"""A pair explained for the why screen: its diagnosis as a list of topics. Not for the
event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose import Diagnosis
from logdrift.core.diagnose.causes import BY_CODE, Cause
from logdrift.core.diagnose.evidence import Evidence, Number, Ranked
from logdrift.core.engines.knobs import Knob
from logdrift.core.numbers import number, signed
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.why import ExplainedPair, explain_pair
from logdrift.core.report.why_document import cause_document, why_document
from logdrift.core.session.experiments import FOLDER as EXPERIMENTS
from logdrift.core.session.experiments import RECORD
from logdrift.core.session.identity import FAILED, IDENTITY, saved_identities
from logdrift.core.session.layers import FOLDER as LAYERS
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import certainty
from logdrift.tui.glyphs import fit
from logdrift.tui.models.places import write_place
from logdrift.tui.models.token_text import token_text
from logdrift.tui.models.topics import (
    COMBINED,
    Topic,
    TopicLine,
    experiments_topic,
    gate_topic,
    identity_topic,
    unchecked_lines,
    unchecked_topic,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Stamp = tuple[tuple[str, int], ...]
"""Files with the times of their last change, in nanoseconds."""
TEXT_WIDTH = 100
"""Cells of a line of the text that is copied or saved."""
_CANVAS = Canvas(width=TEXT_WIDTH)
_EVIDENCE = (
    f"{EXPERIMENTS}/*/{RECORD}",
    f"{IDENTITY}/*.json",
    f"{IDENTITY}/{FAILED}/*.json",
    f"{LAYERS}/*.json",
)
"""The files of a session that a diagnosis weighs, beside its captures."""


@dataclass(frozen=True, eq=False)
class WhyView:
    """A pair explained.

    Attributes:
        topics: the causes, most likely first, then the gate, experiments, identity and
            what was not checked.
        text: all of it, as it is saved.
        causes: how many of the topics are causes.
        stamp: of the evidence that the folder held.
    """

    pair: Pair
    gate: Gate
    found: Diagnosis
    topics: tuple[Topic, ...]
    text: str
    causes: int
    stamp: Stamp

    @property
    def labels(self) -> tuple[str, str]:
        """The captures, as `a` and `b`."""
        return self.found.a, self.found.b


def explain(session: Session, pair: Pair) -> WhyView:
    """Diagnose a pair with all that is saved for it: some seconds for a million tokens.
    Raises LogdriftError.
    """
    a = pair.a.info.label
    b = pair.b.info.label
    session.verify(a, b)
    stamp = evidence_stamp(session)
    identities = saved_identities(session.folder)
    explained = explain_pair(session, pair, identities)
    diagnosis = explained.diagnosis
    gate = judge(session, pair)
    causes = list(_cause_topics(session, pair, explained))
    topics = (
        *causes,
        gate_topic(gate),
        *experiments_topic(explained.outcomes),
        *identity_topic(session, diagnosis, identities),
        *unchecked_topic(diagnosis.unchecked),
    )
    document = why_document([explained])
    return WhyView(
        pair=pair,
        gate=gate,
        found=diagnosis,
        topics=topics,
        text=paint_text(document, _CANVAS),
        causes=len(causes),
        stamp=stamp,
    )


def _cause_topics(
    session: Session, pair: Pair, explained: ExplainedPair
) -> Iterator[Topic]:
    """The causes of a diagnosis, the likeliest first."""
    diagnosis = explained.diagnosis
    for place, ranked in enumerate(diagnosis.causes, 1):
        lines = _cause_lines(session, pair, diagnosis, ranked)
        document = cause_document(explained, place)
        yield Topic(
            name=ranked.cause,
            title=ranked.title,
            lines=tuple(lines),
            text=paint_text(document, _CANVAS),
            score=ranked.score,
            sureness=certainty(ranked.sureness, ranked.shown),
        )


def evidence_stamp(session: Session) -> Stamp:
    """Changes when an experiment, an identity check or layers are saved. Looks at a
    handful of small files.
    """
    folder = session.folder
    files: list[Path] = []
    for pattern in _EVIDENCE:
        files += folder.glob(pattern)
    stamp = []
    for path in sorted(files):
        with contextlib.suppress(OSError):
            name = str(path.relative_to(folder))
            changed = path.stat().st_mtime_ns
            stamp.append((name, changed))
    return tuple(stamp)


def _cause_lines(
    session: Session, pair: Pair, diagnosis: Diagnosis, ranked: Ranked
) -> Iterator[TopicLine]:
    cause = BY_CODE.get(ranked.cause)
    sentence = "What rounding leaves between two correct engines."
    if cause is not None:
        sentence = cause.sentence
    yield TopicLine(ranked.title, "title")
    yield TopicLine(sentence, "muted")
    # The proof is what one looks for: it stands above the tokens of all other evidence.
    for evidence in sorted(ranked.evidence, key=_is_no_proof):
        yield TopicLine()
        yield from _evidence_lines(session, pair, evidence)
    if not ranked.separable:
        yield TopicLine()
        yield TopicLine(f"Cannot be told apart by numbers alone: {ranked.otherwise}.")
    unchecked = diagnosis.unchecked
    missing = [check for check in unchecked if check.cause == ranked.cause]
    if missing:
        yield TopicLine()
    for check in missing:
        yield from unchecked_lines(check, "Not checked")
    if cause is not None:
        yield from _advice_lines(cause, pair)


def _is_no_proof(evidence: Evidence) -> bool:
    return evidence.shows is None


def _evidence_lines(
    session: Session, pair: Pair, evidence: Evidence
) -> Iterator[TopicLine]:
    yield TopicLine(evidence.sentence, first=f"{evidence.signature}: ")
    numbers = [f"score {evidence.score:.2f}", *_numbers(evidence.numbers)]
    yield TopicLine(", ".join(numbers), "numbers", indent=2)
    yield from token_lines(session, pair, evidence.positions)


def _numbers(numbers: Mapping[str, Number]) -> Iterator[str]:
    for name, value in numbers.items():
        if value is not None:
            yield f"{name.replace('_', ' ')} {_write(value)}"


def _write(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        if value:
            return "yes"
        return "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return f"{value:,}"
    return visible(value)


def token_lines(
    session: Session, pair: Pair, positions: Sequence[int]
) -> Iterator[TopicLine]:
    """One line a token: where it is, its text, delta, and what both sides give it."""
    for at in positions:
        text = token_text(session, at)
        place = write_place(pair.sequences, at)
        dotted = text.replace(" ", "·")
        piece = fit(dotted, 14)
        difference = float(pair.delta[at])
        delta = signed(difference)
        a = _score(pair.logprob_a, pair.nan_a, at)
        b = _score(pair.logprob_b, pair.nan_b, at)
        yield TopicLine(
            text=f"{place:<8} {piece} Δ {delta:<8} A {a:<8} B {b}",
            kind="token",
            indent=2,
            first="▸ ",
            position=at,
        )


def _score(
    logprob: npt.NDArray[np.float32], broken: npt.NDArray[np.bool_], at: int
) -> str:
    if broken[at]:
        return "NaN"
    return number(float(logprob[at]))


def _advice_lines(cause: Cause, pair: Pair) -> Iterator[TopicLine]:
    """What to try, how large the gap of the cause usually is, and who says so."""
    yield TopicLine()
    yield from _experiment_lines(cause.knobs, pair)
    yield TopicLine()
    yield TopicLine(f"Usual size: {cause.size}", "muted")
    if cause.source != cause.link:
        yield TopicLine(f"Source: {cause.source}", "muted")
    yield TopicLine(f"Reported: {cause.link}", "muted")


def _experiment_lines(
    knobs: Mapping[str, tuple[Knob, ...]], pair: Pair
) -> Iterator[TopicLine]:
    """The next experiment, by the exact option of the engine of each side."""
    engines = {side.info.label: side.info.engine for side in (pair.b, pair.a)}
    options = [
        (label, knob)
        for label, engine in engines.items()
        for knob in knobs.get(engine, ())
    ]
    if not options:
        yield TopicLine("Neither engine has an option for this.", "muted")
        return
    yield TopicLine("Next experiment, everything else equal", "title")
    for label, knob in options:
        text = knob.setting
        if knob.effect:
            text += f" ({knob.effect})"
        if knob.combined:
            text += COMBINED
        yield TopicLine(
            text=text,
            kind="remedy",
            indent=2,
            first=f"{visible(label)}: ",
        )
