"""The causes of a gap as blocks, each with its evidence and what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from logdrift.core.diagnose import Evidence, Ranked, Unchecked
from logdrift.core.diagnose.layers import Layers
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.numbers import fixed
from logdrift.core.report.document import (
    Block,
    Gap,
    LineBlock,
    SentenceBlock,
    SplitBlock,
    Tone,
)
from logdrift.core.report.experiments import COMBINED
from logdrift.core.report.why import EvidenceToken, ExplainedPair
from logdrift.core.words import certainty

_TOKENS = 3
"""Tokens of a piece of evidence that the text shows."""
_SCORE_ROOM = 14
"""Cells for how certain a cause is, at the end of its title."""
_OUTCOME_TONES: dict[str, Tone] = {
    "explains": "good",
    "worse": "warn",
    "failed": "warn",
}


def why_document(pairs: Sequence[ExplainedPair]) -> list[Block]:
    """What `logdrift why` prints of pairs."""
    blocks: list[Block] = []
    for explained in pairs:
        if blocks:
            blocks.append(Gap())
        blocks += _pair(explained)
    return blocks


def cause_document(explained: ExplainedPair, place: int) -> list[Block]:
    """The cause in ``place`` (from 1), with the pair that it is of."""
    cause = explained.diagnosis.causes[place - 1]
    head = SentenceBlock(f"{_pair_name(explained)} · MAE {fixed(explained.mae)}")
    return [head, *_cause(explained, place, cause, frozenset())]


def _pair_name(explained: ExplainedPair) -> str:
    return f"{explained.diagnosis.a} → {explained.diagnosis.b}"


def _pair(explained: ExplainedPair) -> Iterator[Block]:
    diagnosis = explained.diagnosis
    counts = f"{diagnosis.tokens:,} tokens · MAE {fixed(explained.mae)}"
    yield LineBlock(f"{_pair_name(explained)} · {counts}")
    yield SentenceBlock(diagnosis.answer.sentence)
    yield Gap()
    yield SentenceBlock(diagnosis.verdict, "good" if diagnosis.noise else "warn")
    yield from _causes(explained)
    for section in (
        outcome_blocks(explained.outcomes),
        _layers(explained.layers),
        _checked(diagnosis.checked),
        _not_checked(diagnosis.unchecked),
    ):
        blocks = list(section)
        if blocks:
            yield Gap()
            yield from blocks


def _causes(explained: ExplainedPair) -> Iterator[Block]:
    in_full, named = _in_full(explained)
    verdict = explained.diagnosis.verdict
    sentences = [
        evidence.sentence
        for cause in explained.diagnosis.causes
        for evidence in cause.evidence
    ]
    shown_before = frozenset(text for text in sentences if text in verdict)
    for place, cause in enumerate(in_full, 1):
        yield Gap()
        yield from _cause(explained, place, cause, shown_before)
        shown_before |= {evidence.sentence for evidence in cause.evidence}
    if named:
        yield Gap()
        names = ", ".join(f"{cause.title} {cause.score:.2f}" for cause in named)
        yield SentenceBlock(f"Also possible: {names}.")


def _in_full(explained: ExplainedPair) -> tuple[Sequence[Ranked], Sequence[Ranked]]:
    """The causes that are listed with their evidence, and those that are only named.

    Imported numbers cannot be captured again, so what is merely possible beside a
    likely cause is only named there.
    """
    causes = explained.diagnosis.causes
    imported = explained.diagnosis.imported
    if not imported or not causes or causes[0].sureness == "possible":
        return causes, ()
    likely = [cause for cause in causes if cause.sureness != "possible"]
    return likely, [cause for cause in causes if cause.sureness == "possible"]


def _cause(
    explained: ExplainedPair, place: int, cause: Ranked, shown_before: frozenset[str]
) -> Iterator[Block]:
    """One cause. Evidence in ``shown_before`` (of an earlier cause or in the verdict)
    is not repeated.
    """
    yield SplitBlock(
        left=f"{place}. {cause.title}",
        right=f"{certainty(cause.sureness, cause.shown)} {cause.score:.2f}",
        tone="bold",
        room=_SCORE_ROOM,
        gap=2,
    )
    for evidence in cause.evidence:
        if evidence.sentence not in shown_before:
            yield from _evidence(explained, evidence)
        elif place > 1:
            yield SentenceBlock("by the same sign as above", indent=3)
    if not cause.separable:
        yield SentenceBlock(
            f"cannot be told apart by numbers alone: {cause.otherwise}", indent=3
        )
    if cause.next_experiment:
        yield SentenceBlock(cause.next_experiment, indent=8, mark="   try ")


def _evidence(explained: ExplainedPair, evidence: Evidence) -> Iterator[Block]:
    yield SentenceBlock(evidence.sentence, indent=3)
    tokens = explained.tokens(evidence)
    if tokens:
        yield SentenceBlock(_places(tokens), indent=5)


def _places(tokens: Sequence[EvidenceToken]) -> str:
    places = [
        f"{token.sequence}:{token.position} {token.piece!r} {_delta(token.delta)}"
        for token in tokens[:_TOKENS]
    ]
    return f"at {', '.join(places)}"


def _delta(delta: float) -> str:
    if math.isnan(delta):
        return "NaN"
    return f"Δ {fixed(delta, sign=True)}"


def outcome_blocks(outcomes: Sequence[Outcome]) -> Iterator[Block]:
    """What experiments found; nothing without any."""
    if outcomes:
        yield LineBlock("Experiments")
    for outcome in outcomes:
        mark = COMBINED if outcome.experiment.combined else ""
        yield SentenceBlock(f"{outcome.experiment.title}{mark}", indent=3)
        yield SentenceBlock(outcome.sentence, _outcome_tone(outcome), indent=5)


def _outcome_tone(outcome: Outcome) -> Tone:
    tone = _OUTCOME_TONES.get(outcome.status, "")
    if tone and outcome.finding:
        return "warn"
    return tone


def _layers(layers: Layers | None) -> Iterator[Block]:
    """In short: which layer, without the table."""
    if layers is None:
        return
    yield LineBlock("Layers")
    for side in layers.sides:
        yield SentenceBlock(side.sentence, indent=2)
    where = f"sequence {layers.sequence}, positions {layers.first} to {layers.last}"
    more = f"--layers {layers.sequence} shows every layer"
    yield SentenceBlock(f"{where}, against {layers.standard}; {more}", indent=2)


def _checked(checked: Sequence[Evidence]) -> Iterator[Block]:
    if checked:
        yield LineBlock("Checked")
    for evidence in checked:
        yield SentenceBlock(evidence.sentence, indent=18, mark=f"  {evidence.cause}")


def _not_checked(unchecked: Sequence[Unchecked]) -> Iterator[Block]:
    if unchecked:
        yield LineBlock("Not checked")
        yield SentenceBlock(_to_be_surer(unchecked), indent=2)


def _to_be_surer(unchecked: Sequence[Unchecked]) -> str:
    """One paragraph: each thing to do, with the causes that it would check. ``--json``
    has the reasons one by one.
    """
    facts: dict[str, None] = {}
    causes_of: dict[str, list[str]] = {}
    for lack in unchecked:
        facts |= dict.fromkeys(lack.tell)
        if lack.tell:
            fix = f"tell {{facts}} {lack.tell_by}"
        else:
            fix = lack.fix
        causes_of.setdefault(fix, []).append(lack.cause)
    steps = [
        f"{fix.format(facts=', '.join(facts))} ({', '.join(dict.fromkeys(causes))})"
        for fix, causes in causes_of.items()
    ]
    return f"To be surer: {'; '.join(steps)}."
