"""What the why screen is given: frozen records made from a diagnosis, with no widget in
sight. Not for the event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose import Diagnosis
from logdrift.core.diagnose.causes import BY_CODE
from logdrift.core.diagnose.evidence import Number, Ranked, Unchecked
from logdrift.core.diagnose.identity import described
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.engines.knobs import Knob
from logdrift.core.numbers import number, signed
from logdrift.core.report.identity import identities_of, summary
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.why import explain_pair
from logdrift.core.report.why_document import cause_document, why_document
from logdrift.core.session.experiments import FOLDER as EXPERIMENTS
from logdrift.core.session.experiments import RECORD
from logdrift.core.session.identity import (
    FAILED,
    IDENTITY,
    LoadedWeights,
    saved_identities,
)
from logdrift.core.session.layers import FOLDER as LAYERS
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.words import certainty
from logdrift.tui.glyphs import fit
from logdrift.tui.places import write_place

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["title", "text", "muted", "token", "mend"]
Stamp = tuple[tuple[str, int], ...]
TEXT_WIDTH = 100
"""Cells of a line of the text that is copied or saved."""


@dataclass(frozen=True, slots=True)
class TopicLine:
    """A line of what is told of a topic: wrapped with ``indent`` blanks before it, the
    first row after ``first``.

    ``position``: the flat position of the token that it is about.
    """

    text: str = ""
    kind: Kind = "text"
    indent: int = 0
    first: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of the list: a cause with its score, or something else that is to be known.
    ``text`` is what is copied.
    """

    name: str
    title: str
    lines: tuple[TopicLine, ...]
    text: str
    score: float | None = None
    sureness: str = ""


@dataclass(frozen=True, eq=False)
class WhyView:
    """A pair explained: its causes first, most likely first, then the gate and what was
    not checked.
    """

    pair: Pair
    gate: Gate
    found: Diagnosis
    topics: tuple[Topic, ...]
    text: str
    causes: int
    stamp: Stamp
    """Of the evidence that the folder held."""

    @property
    def labels(self) -> tuple[str, str]:
        return self.found.a, self.found.b


def explain(session: Session, pair: Pair) -> WhyView:
    """Diagnose a pair with all that is saved for it: some seconds for a million tokens.
    Raises LogdriftError.
    """
    session.verify(pair.a.info.label, pair.b.info.label)
    stamp = evidence_stamp(session)
    identities = saved_identities(session.folder)
    explained = explain_pair(session, pair, identities)
    found = explained.diagnosis
    gate = judge(session, pair)
    canvas = Canvas(width=TEXT_WIDTH)
    causes = tuple(
        Topic(
            ranked.cause,
            ranked.title,
            tuple(_cause_lines(session, pair, found, ranked)),
            paint_text(cause_document(explained, place), canvas),
            ranked.score,
            certainty(ranked.sureness, ranked.shown),
        )
        for place, ranked in enumerate(found.causes, 1)
    )
    return WhyView(
        pair,
        gate,
        found,
        (
            *causes,
            _gate_topic(gate),
            *_experiments_topic(explained.outcomes),
            *_checked_topic(session, found, identities),
            *_unchecked_topic(found.unchecked),
        ),
        paint_text(why_document([explained]), canvas),
        len(causes),
        stamp,
    )


def evidence_stamp(session: Session) -> Stamp:
    """Changes when an experiment, an identity check or layers are saved. Looks at a
    handful of small files.
    """
    folder = session.folder
    files = [
        *folder.glob(f"{EXPERIMENTS}/*/{RECORD}"),
        *folder.glob(f"{IDENTITY}/*.json"),
        *folder.glob(f"{IDENTITY}/{FAILED}/*.json"),
        *folder.glob(f"{LAYERS}/*.json"),
    ]
    found = []
    for path in sorted(files):
        with contextlib.suppress(OSError):
            found.append((str(path.relative_to(folder)), path.stat().st_mtime_ns))
    return tuple(found)


def _cause_lines(
    session: Session, pair: Pair, found: Diagnosis, ranked: Ranked
) -> Iterator[TopicLine]:
    entry = BY_CODE.get(ranked.cause)
    yield TopicLine(ranked.title, "title")
    yield TopicLine(
        (
            "What rounding leaves between two correct engines."
            if entry is None
            else entry.sentence
        ),
        "muted",
    )
    for evidence in ranked.evidence:
        yield TopicLine()
        yield TopicLine(
            evidence.sentence, first=f"{evidence.signature} {evidence.score:.2f}: "
        )
        # The sentence of an experiment has its numbers.
        if evidence.numbers and evidence.signature != "experiment":
            yield TopicLine(", ".join(_numbers(evidence.numbers)), "muted", 2)
        yield from token_lines(session, pair, evidence.positions)
    if not ranked.separable:
        yield TopicLine()
        yield TopicLine(
            f"Numbers alone do not tell this from its like: {ranked.otherwise}."
        )
    missing = [each for each in found.unchecked if each.cause == ranked.cause]
    if missing:
        yield TopicLine()
        yield from _unchecked_lines(missing, named=False)
    if entry is not None:
        yield TopicLine()
        yield from _experiment_lines(entry.knobs, pair)
        yield TopicLine()
        yield TopicLine(f"Usual size: {entry.size}", "muted")
        if entry.source != entry.link:
            yield TopicLine(f"Source: {entry.source}", "muted")
        yield TopicLine(f"Reported: {entry.link}", "muted")


def token_lines(
    session: Session, pair: Pair, positions: Sequence[int]
) -> Iterator[TopicLine]:
    """One line a token: where it is, its text, delta, and what both sides give it."""
    for at in positions:
        piece = session.pieces.text(int(pair.sequences.token_ids[at])).replace(" ", "·")
        a = "NaN" if pair.nan_a[at] else number(float(pair.logprob_a[at]))
        b = "NaN" if pair.nan_b[at] else number(float(pair.logprob_b[at]))
        yield TopicLine(
            f"{write_place(pair.sequences, at):<8} {fit(piece, 14)} Δ"
            f" {signed(float(pair.delta[at])):<8} A {a:<8} B {b}",
            "token",
            2,
            "▸ ",
            at,
        )


def _numbers(numbers: Mapping[str, Number]) -> Iterator[str]:
    for name, value in numbers.items():
        if value is None:
            continue
        if isinstance(value, bool):
            shown = "yes" if value else "no"
        elif isinstance(value, float):
            shown = number(value)
        else:
            shown = visible(f"{value:,}" if isinstance(value, int) else value)
        yield f"{name.replace('_', ' ')} {shown}"


def _experiment_lines(
    knobs: Mapping[str, tuple[Knob, ...]], pair: Pair
) -> Iterator[TopicLine]:
    """The next experiment, by the exact option of the engine of each side."""
    said = False
    for info in dict.fromkeys((pair.b.info.label, pair.a.info.label)):
        engine = next(
            side.info.engine for side in (pair.a, pair.b) if side.info.label == info
        )
        for knob in knobs.get(engine, ()):
            if not said:
                yield TopicLine("Next experiment, everything else equal", "title")
                said = True
            effect = f" ({knob.effect})" if knob.effect else ""
            mark = " [more than one change]" if knob.combined else ""
            yield TopicLine(
                f"{knob.setting}{effect}{mark}", "mend", 2, f"{visible(info)}: "
            )
    if not said:
        yield TopicLine("Neither engine has an option for this.", "muted")


def _gate_topic(gate: Gate) -> Topic:
    marks = {"not_comparable": "!! ", "caution": "!  ", "info": "·  "}
    lines = [TopicLine("Gate: may the two be compared at all?", "title")]
    for reason in gate.reasons:
        lines += [
            TopicLine(),
            TopicLine(visible(reason.text), first=marks[reason.severity]),
        ]
        lines.append(TopicLine(reason.code, "muted", 3))
    if not gate.reasons:
        lines += [TopicLine(), TopicLine("Nothing to object to.")]
    count = len(gate.reasons)
    title = (
        f"gate: {gate.verdict.replace('_', ' ')}, {count}"
        f" reason{'' if count == 1 else 's'}"
    )
    return Topic("gate", title, tuple(lines), plain(lines))


def _experiments_topic(outcomes: Sequence[Outcome]) -> Iterator[Topic]:
    if not outcomes:
        return
    lines = [TopicLine("Experiments: one knob changed, everything else equal", "title")]
    for outcome in outcomes:
        mark = " [more than one change]" if outcome.experiment.combined else ""
        lines += [
            TopicLine(),
            TopicLine(
                visible(outcome.experiment.title) + mark,
                first=f"{outcome.experiment.cause}: ",
            ),
        ]
        lines.append(TopicLine(visible(outcome.sentence), "mend", 2))
    best = outcomes[0]
    told = (
        f", the best {best.sentence.partition(':')[0].partition(' (')[0]}"
        if best.status == "explains"
        else ""
    )
    yield Topic(
        "experiments", f"experiments: {len(outcomes)}{told}", tuple(lines), plain(lines)
    )


def _checked_topic(
    session: Session, found: Diagnosis, saved: Mapping[str, LoadedWeights]
) -> Iterator[Topic]:
    if not saved:
        return
    lines = [
        TopicLine("Identity: is what each engine loaded what is on disk?", "title")
    ]
    for name, identity in identities_of(session, saved).items():
        lines += [
            TopicLine(),
            TopicLine(visible(summary(identity)), first=f"{visible(name)}: "),
        ]
        lines += [
            TopicLine(visible(described(tensor)), "mend", 2)
            for tensor in identity.weights.differing
        ]
        if identity.outdated:
            words = f"no evidence any more: {visible(identity.outdated)}"
            lines.append(TopicLine(words, "muted", 2))
    for evidence in found.checked:
        lines += [TopicLine(), TopicLine(visible(evidence.sentence))]
    yield Topic(
        "identity",
        f"identity: {len(saved)} backend{'' if len(saved) == 1 else 's'} asked",
        tuple(lines),
        plain(lines),
    )


def _unchecked_topic(unchecked: Sequence[Unchecked]) -> Iterator[Topic]:
    if unchecked:
        lines = (
            TopicLine("Not checked: a missing observation is not a pass", "title"),
            *_unchecked_lines(unchecked),
        )
        yield Topic("unchecked", f"not checked: {len(unchecked)}", lines, plain(lines))


def _unchecked_lines(
    unchecked: Sequence[Unchecked], *, named: bool = True
) -> Iterator[TopicLine]:
    for each in unchecked:
        cause = BY_CODE.get(each.cause)
        title = each.cause if cause is None else cause.title
        if named:
            yield TopicLine()
        yield TopicLine(
            visible(each.why), first=f"? {title}: " if named else "? Not checked: "
        )
        yield TopicLine(visible(each.fix), "mend", 2, "to check it: ")


def plain(lines: Sequence[TopicLine]) -> str:
    """The lines as text."""
    return "".join(
        f"{' ' * line.indent}{line.first}{line.text}".rstrip() + "\n" for line in lines
    )
