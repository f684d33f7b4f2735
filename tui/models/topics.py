"""The topics of the why screen beside its causes: gate, experiments, identity, and what
was not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

Kind = Literal["title", "text", "muted", "token", "remedy"]
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
    return Topic(name=name, title=title, lines=tuple(lines), text=_plain(lines))


def _plain(lines: Sequence[TopicLine]) -> str:
    rows = (f"{' ' * line.indent}{line.first}{line.text}" for line in lines)
    return "".join(f"{row.rstrip()}\n" for row in rows)


def counted(count: int, thing: str) -> str:
    """``1 reason``, ``2 reasons``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def gate_topic(gate: Gate) -> Topic:
    """What the gate says of the pair."""
    lines = [TopicLine("Gate: may the two be compared at all?", "title")]
    for reason in gate.reasons:
        lines += [
            TopicLine(),
            TopicLine(visible(reason.text), first=_SEVERITIES[reason.severity]),
            TopicLine(reason.code, "muted", indent=3),
        ]
    if not gate.reasons:
        lines += [TopicLine(), TopicLine("Nothing to object to.")]
    verdict = gate.verdict.replace("_", " ")
    title = f"gate: {verdict}, {counted(len(gate.reasons), 'reason')}"
    return topic_of("gate", title, lines)


def experiments_topic(outcomes: Sequence[Outcome]) -> Iterator[Topic]:
    """What experiments have shown, the most telling first."""
    if not outcomes:
        return
    lines = [TopicLine("Experiments: one knob changed, everything else equal", "title")]
    for outcome in outcomes:
        experiment = outcome.experiment
        mark = COMBINED if experiment.combined else ""
        lines += [
            TopicLine(),
            TopicLine(visible(experiment.title) + mark, first=f"{experiment.cause}: "),
            TopicLine(visible(outcome.sentence), "remedy", indent=2),
        ]
    title = f"experiments: {len(outcomes)}"
    if outcomes[0].status == "explains":
        best = outcomes[0].sentence.partition(":")[0].partition(" (")[0]
        title = f"{title}, the best {best}"
    yield topic_of("experiments", title, lines)


def identity_topic(
    session: Session, diagnosis: Diagnosis, saved: Mapping[str, LoadedWeights]
) -> Iterator[Topic]:
    """Whether what each engine loaded is what is on disk."""
    if not saved:
        return
    question = "Identity: is what each engine loaded what is on disk?"
    lines = [TopicLine(question, "title")]
    for name, identity in identities_of(session, saved).items():
        lines += _identity_lines(name, identity)
    for evidence in diagnosis.checked:
        lines += [TopicLine(), TopicLine(visible(evidence.sentence))]
    title = f"identity: {counted(len(saved), 'backend')} asked"
    yield topic_of("identity", title, lines)


def _identity_lines(backend: str, identity: BackendIdentity) -> Iterator[TopicLine]:
    yield TopicLine()
    yield TopicLine(visible(summary(identity)), first=f"{visible(backend)}: ")
    for tensor in identity.weights.differing:
        yield TopicLine(visible(described(tensor)), "remedy", indent=2)
    if identity.outdated:
        words = f"no evidence any more: {visible(identity.outdated)}"
        yield TopicLine(words, "muted", indent=2)


def unchecked_topic(unchecked: Sequence[Unchecked]) -> Iterator[Topic]:
    """What was not checked, and how to check it."""
    if not unchecked:
        return
    lines = [TopicLine("Not checked: a missing observation is not a pass", "title")]
    for check in unchecked:
        lines += [TopicLine(), *unchecked_lines(check, _title_of(check))]
    yield topic_of("unchecked", f"not checked: {len(unchecked)}", lines)


def unchecked_lines(check: Unchecked, title: str) -> Iterator[TopicLine]:
    """Why one thing was not checked, and how to check it."""
    yield TopicLine(visible(check.why), first=f"? {title}: ")
    yield TopicLine(visible(check.fix), "remedy", indent=2, first="to check it: ")


def _title_of(check: Unchecked) -> str:
    cause = BY_CODE.get(check.cause)
    if cause is None:
        return check.cause
    return cause.title
