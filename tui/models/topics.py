"""The topics of the why screen beside its causes: gate, experiments, identity, and what
was not checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from logdrift.core.compare.gate import Gate
from logdrift.core.diagnose import Diagnosis
from logdrift.core.diagnose.causes import BY_CODE
from logdrift.core.diagnose.evidence import Unchecked
from logdrift.core.diagnose.loaded import described
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.report.identity import BackendIdentity, identities_of, summary
from logdrift.core.session.identity import LoadedWeights
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

Kind = Literal["title", "text", "muted", "numbers", "token", "remedy"]
"""What a line is; ``numbers`` are shown only where they are asked for."""
COMBINED = " [more than one change]"
"""Behind an experiment that changes more than one thing."""
_SEVERITIES = {"not_comparable": "!! ", "caution": "!  ", "info": "·  "}


@dataclass(frozen=True, slots=True)
class TopicLine:
    """A line of a topic, wrapped.

    ``indent`` blanks stand before it, and ``first`` before its first row. ``position``
    is the flat position of the token that it is about.
    """

    text: str = ""
    kind: Kind = "text"
    indent: int = 0
    first: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of the list: a cause with its score, or something else that matters.
    ``text`` is what is copied.
    """

    name: str
    title: str
    lines: tuple[TopicLine, ...]
    text: str
    score: float | None = None
    sureness: str = ""


def topic_of(name: str, title: str, lines: Sequence[TopicLine]) -> Topic:
    """A topic that is copied as it stands."""
    text = _plain(lines)
    return Topic(name=name, title=title, lines=tuple(lines), text=text)


def _plain(lines: Sequence[TopicLine]) -> str:
    rows = []
    for line in lines:
        indent = " " * line.indent
        row = f"{indent}{line.first}{line.text}"
        row = row.rstrip()
        rows.append(f"{row}\n")
    return "".join(rows)


def counted(count: int, thing: str) -> str:
    """``1 reason``, ``2 reasons``."""
    if count == 1:
        return f"1 {thing}"
    return f"{count} {thing}s"


def gate_topic(gate: Gate) -> Topic:
    """What the gate says of the pair."""
    blank = TopicLine()
    lines = [TopicLine("Gate: may the two be compared at all?", "title")]
    for reason in gate.reasons:
        code = reason.code
        text = visible(reason.text)
        mark = _SEVERITIES[reason.severity]
        lines += [
            blank,
            TopicLine(text, first=mark),
            TopicLine(code, "muted", indent=3),
        ]
    if not gate.reasons:
        lines += [blank, TopicLine("Nothing to object to.")]
    verdict = gate.verdict.replace("_", " ")
    count = len(gate.reasons)
    reasons = counted(count, "reason")
    title = f"gate: {verdict}, {reasons}"
    return topic_of("gate", title, lines)


def experiments_topic(outcomes: Sequence[Outcome]) -> Iterator[Topic]:
    """What experiments have shown, the most telling first."""
    if not outcomes:
        return
    lines = [TopicLine("Experiments: one knob changed, everything else equal", "title")]
    for outcome in outcomes:
        lines += _outcome_lines(outcome)
    title = f"experiments: {len(outcomes)}"
    best = outcomes[0]
    if best.status == "explains":
        words, _, _ = best.sentence.partition(":")
        words, _, _ = words.partition(" (")
        title = f"{title}, the best {words}"
    yield topic_of("experiments", title, lines)


def _outcome_lines(outcome: Outcome) -> Iterator[TopicLine]:
    """What one experiment changed, and what it has shown."""
    experiment = outcome.experiment
    title = visible(experiment.title)
    if experiment.combined:
        title += COMBINED
    cause = f"{experiment.cause}: "
    sentence = visible(outcome.sentence)
    yield TopicLine()
    yield TopicLine(title, first=cause)
    yield TopicLine(sentence, "remedy", indent=2)


def identity_topic(
    session: Session, diagnosis: Diagnosis, saved: Mapping[str, LoadedWeights]
) -> Iterator[Topic]:
    """Whether what each engine loaded is what is on disk."""
    if not saved:
        return
    question = "Identity: is what each engine loaded what is on disk?"
    lines = [TopicLine(question, "title")]
    identities = identities_of(session, saved)
    for name, identity in identities.items():
        lines += _identity_lines(name, identity)
    for evidence in diagnosis.checked:
        sentence = visible(evidence.sentence)
        lines += [TopicLine(), TopicLine(sentence)]
    title = f"identity: {_identity_result(saved.values())}"
    yield topic_of("identity", title, lines)


def _identity_result(saved: Collection[LoadedWeights]) -> str:
    """What the checks of all backends found together."""
    others = [weights.backend for weights in saved if weights.differing]
    if others:
        names = visible(", ".join(others))
        return f"other tensors than on disk in {names}"
    backends = counted(len(saved), "backend")
    if all(weights.as_on_disk for weights in saved):
        return f"{backends} as on disk"
    return f"{backends} asked, not every tensor could be read"


def _identity_lines(backend: str, identity: BackendIdentity) -> Iterator[TopicLine]:
    head = f"{visible(backend)}: "
    result = visible(summary(identity))
    yield TopicLine()
    yield TopicLine(result, first=head)
    for tensor in identity.weights.differing:
        words = visible(described(tensor))
        yield TopicLine(words, "remedy", indent=2)
    if identity.outdated:
        change = visible(identity.outdated)
        words = f"no evidence any more: {change}"
        yield TopicLine(words, "muted", indent=2)


def unchecked_topic(unchecked: Sequence[Unchecked]) -> Iterator[Topic]:
    """What was not checked, and how to check it."""
    if not unchecked:
        return
    lines = [TopicLine("Not checked: a missing observation is not a pass", "title")]
    for check in unchecked:
        title = _title_of(check)
        lines.append(TopicLine())
        lines += unchecked_lines(check, title)
    count = len(unchecked)
    yield topic_of("unchecked", f"not checked: {count}", lines)


def unchecked_lines(check: Unchecked, title: str) -> Iterator[TopicLine]:
    """Why one thing was not checked, and how to check it."""
    why = visible(check.why)
    fix = visible(check.fix)
    yield TopicLine(why, first=f"? {title}: ")
    yield TopicLine(fix, "remedy", indent=2, first="to check it: ")


def _title_of(check: Unchecked) -> str:
    cause = BY_CODE.get(check.cause)
    if cause is None:
        return check.cause
    return cause.title
