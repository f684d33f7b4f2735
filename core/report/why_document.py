"""The causes of a gap as blocks, each with its evidence and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from logdrift.core.diagnose import Evidence, Ranked, Unchecked
from logdrift.core.diagnose.layers import Layers
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.numbers import counted, fixed
from logdrift.core.report.document import (
    Block,
    Blocks,
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
OUTCOME_TONES: dict[str, Tone] = {
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
    name = _pair_name(explained)
    head = SentenceBlock(f"{name} · MAE {fixed(explained.mae)}")
    in_full = _cause(explained, place, cause, frozenset())
    return [head, *in_full]


def _pair_name(explained: ExplainedPair) -> str:
    return f"{explained.diagnosis.a} → {explained.diagnosis.b}"


def _pair(explained: ExplainedPair) -> Blocks:
    diagnosis = explained.diagnosis
    mae = fixed(explained.mae)
    name = _pair_name(explained)
    yield LineBlock(f"{name} · {counted(diagnosis.tokens, 'token')} · MAE {mae}")
    yield SentenceBlock(diagnosis.answer.sentence)
    yield Gap()
    yield from cause_blocks(explained)
    sections = (
        outcome_blocks(explained.outcomes),
        layer_blocks(explained.layers),
        _checked(diagnosis.checked),
        _not_checked(diagnosis.unchecked),
    )
    for section in sections:
        blocks = list(section)
        if blocks:
            yield Gap()
            yield from blocks


def cause_blocks(explained: ExplainedPair) -> Blocks:
    """The verdict of the diagnosis, then the causes, each with its evidence."""
    diagnosis = explained.diagnosis
    tone: Tone = "good" if diagnosis.noise else "warn"
    yield SentenceBlock(diagnosis.verdict, tone)
    yield from _causes(explained)


def checked_blocks(explained: ExplainedPair) -> Blocks:
    """What was checked, and what was not."""
    yield from _checked(explained.diagnosis.checked)
    yield from _not_checked(explained.diagnosis.unchecked)


def _causes(explained: ExplainedPair) -> Blocks:
    in_full, named = _in_full(explained)
    verdict = explained.diagnosis.verdict
    sentences: list[str] = []
    for cause in explained.diagnosis.causes:
        sentences += _sentences(cause)
    in_verdict = [sentence for sentence in sentences if sentence in verdict]
    shown_before = frozenset(in_verdict)
    for place, cause in enumerate(in_full, 1):
        yield Gap()
        yield from _cause(explained, place, cause, shown_before)
        shown_before |= frozenset(_sentences(cause))
    if named:
        yield Gap()
        scores = [f"{cause.title} {cause.score:.2f}" for cause in named]
        names = ", ".join(scores)
        yield SentenceBlock(f"Also possible: {names}.")


def _sentences(cause: Ranked) -> list[str]:
    return [evidence.sentence for evidence in cause.evidence]


def _in_full(explained: ExplainedPair) -> tuple[Sequence[Ranked], Sequence[Ranked]]:
    """The causes that are listed with their evidence, and those that are only named.

    Imported numbers cannot be captured again, so what is merely possible beside a
    likely cause is only named there.
    """
    causes = explained.diagnosis.causes
    imported = explained.diagnosis.imported
    likely = [cause for cause in causes if cause.sureness != "possible"]
    possible = [cause for cause in causes if cause.sureness == "possible"]
    if not imported or not likely:
        return causes, ()
    first = causes[0]
    if first.sureness == "possible":
        return causes, ()
    return likely, possible


def _cause(
    explained: ExplainedPair, place: int, cause: Ranked, shown_before: frozenset[str]
) -> Blocks:
    """One cause. Evidence in ``shown_before`` (of an earlier cause or in the verdict)
    is not repeated.
    """
    sureness = certainty(cause.sureness, cause.shown)
    yield SplitBlock(
        left=f"{place}. {cause.title}",
        right=f"{sureness} {cause.score:.2f}",
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


def _evidence(explained: ExplainedPair, evidence: Evidence) -> Blocks:
    yield SentenceBlock(evidence.sentence, indent=3)
    tokens = explained.tokens(evidence)
    if tokens:
        yield SentenceBlock(_places(tokens), indent=5)


def _places(tokens: Sequence[EvidenceToken]) -> str:
    places = []
    for token in tokens[:_TOKENS]:
        delta = _delta(token.delta)
        places.append(f"{token.sequence}:{token.position} {token.readable!r} {delta}")
    return f"at {', '.join(places)}"


def _delta(delta: float) -> str:
    if math.isnan(delta):
        return "NaN"
    return f"Δ {fixed(delta, sign=True)}"


def outcome_blocks(outcomes: Sequence[Outcome]) -> Blocks:
    """What experiments found; nothing without any."""
    if outcomes:
        yield LineBlock("Experiments")
    for outcome in outcomes:
        mark = COMBINED if outcome.experiment.combined else ""
        tone = _outcome_tone(outcome)
        yield SentenceBlock(f"{outcome.experiment.title}{mark}", indent=3)
        yield SentenceBlock(outcome.sentence, tone, indent=5)


def _outcome_tone(outcome: Outcome) -> Tone:
    tone = OUTCOME_TONES.get(outcome.status, "")
    if tone and outcome.finding:
        return "warn"
    return tone


def layer_blocks(layers: Layers | None) -> Blocks:
    """In short: which layer, without the table."""
    if layers is None:
        return
    yield LineBlock("Layers")
    for side in layers.sides:
        yield SentenceBlock(side.sentence, indent=2)
    where = f"sequence {layers.sequence}, positions {layers.first} to {layers.last}"
    more = f"--layers {layers.sequence} shows every layer"
    yield SentenceBlock(f"{where}, against {layers.standard}; {more}", indent=2)


def _checked(checked: Sequence[Evidence]) -> Blocks:
    if checked:
        yield LineBlock("Checked")
    for evidence in checked:
        mark = f"  {evidence.cause}"
        yield SentenceBlock(evidence.sentence, indent=18, mark=mark)


def _not_checked(unchecked: Sequence[Unchecked]) -> Blocks:
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
            fix = f"state {{facts}} {lack.tell_by}"
        else:
            fix = lack.fix
        causes = causes_of.setdefault(fix, [])
        causes.append(lack.cause)
    names_of_facts = ", ".join(facts)
    steps = []
    for fix, causes in causes_of.items():
        step = fix.format(facts=names_of_facts)
        names = ", ".join(dict.fromkeys(causes))
        steps.append(f"{step} ({names})")
    return f"To be surer: {'; '.join(steps)}."
