"""Why the captures of pairs differ, as typed records: what `logdrift why` says.

The text is painted from them (`logdrift.core.report.why_document`), and the JSON of
schema 1 is their `WhyReport.to_json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.diagnose import Diagnosis, Evidence, diagnose
from logdrift.core.diagnose.evidence import Unchecked
from logdrift.core.diagnose.identity import identity_of
from logdrift.core.diagnose.layers import Layers, layers_evidence, layers_of, understood
from logdrift.core.diagnose.outcomes import Outcome, experiment_evidence
from logdrift.core.report.contexts import readable_context
from logdrift.core.report.experiments import outcomes_json, saved_outcomes
from logdrift.core.report.identity import identity_json
from logdrift.core.report.strict_json import Json, json_or_null, list_json
from logdrift.core.session.experiments import damaged_records
from logdrift.core.session.identity import (
    LoadedWeights,
    saved_failures,
    saved_identities,
)
from logdrift.core.session.layers import damaged_layers, saved_layers
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible

SCHEMA = 1
_ASK_AGAIN = "delete the damaged file and find out again"


@dataclass(frozen=True, slots=True)
class EvidenceToken:
    """A token that shows a cause: where it is, its text, and its delta in nats.

    ``readable`` is the text for people (`logdrift.core.session.joining`).
    """

    sequence: int
    position: int
    token_id: int
    piece: str
    delta: float
    readable: str

    def to_json(self) -> Json:
        entry = asdict(self)
        del entry["readable"]
        return entry


@dataclass(frozen=True, eq=False)
class ExplainedPair:
    """A pair with its diagnosis, and the experiments and layers that were saved."""

    session: Session
    pair: Pair
    diagnosis: Diagnosis
    outcomes: tuple[Outcome, ...]
    layers: Layers | None

    @property
    def mae(self) -> float | None:
        """Mean absolute error over all tokens that both sides scored, in nats."""
        mae = self.diagnosis.size.get("mae")
        if mae is None:
            return None
        return float(mae)

    def tokens(self, evidence: Evidence) -> list[EvidenceToken]:
        """The tokens of a piece of evidence."""
        return [self._token(at) for at in evidence.positions]

    def _token(self, at: int) -> EvidenceToken:
        pair = self.pair
        sequence = pair.sequence_of(at)
        start, stop = pair.sequences.bounds(sequence)
        token_id = int(pair.sequences.token_ids[at])
        context = readable_context(pair, at, (at, at + 1), (start, stop))
        return EvidenceToken(
            sequence=sequence,
            position=at - start,
            token_id=token_id,
            piece=self.session.pieces.text(token_id),
            delta=float(pair.delta[at]),
            readable=context.piece,
        )

    def to_json(self) -> Json:
        """An entry of ``pairs``: `Diagnosis.to_json` with tokens in place of flat
        positions, the pair's experiments and its layers.
        """
        out = self.diagnosis.to_json()
        out["experiments"] = outcomes_json(self.outcomes)
        out["layers"] = json_or_null(self.layers)
        entries = out["causes"]
        causes = zip(entries, self.diagnosis.causes, strict=True)
        for cause, ranked in causes:
            self._name_tokens(cause["evidence"], ranked.evidence)
        return out

    def _name_tokens(
        self, entries: Sequence[Json], evidences: Sequence[Evidence]
    ) -> None:
        """Put tokens in the place of the flat positions of each piece of evidence."""
        for entry, evidence in zip(entries, evidences, strict=True):
            tokens = self.tokens(evidence)
            del entry["positions"]
            entry["tokens"] = list_json(tokens)


@dataclass(frozen=True, eq=False)
class WhyReport:
    """What `logdrift why` says of a session. ``failures`` are identity checks that
    could not be made, by backend.
    """

    session: Session
    pairs: tuple[ExplainedPair, ...]
    identities: Mapping[str, LoadedWeights]
    failures: Mapping[str, str]

    def to_json(self) -> Json:
        """``{schema, session, pairs, diagnosis, identity, identity_failed}``;
        ``diagnosis`` lists the causes of all pairs as `report --json` does.
        """
        pairs = list_json(self.pairs)
        diagnosis: list[Json] = []
        for pair in pairs:
            diagnosis += _entries(pair)
        return {
            "schema": SCHEMA,
            "session": self.session.name,
            "pairs": pairs,
            "diagnosis": diagnosis,
            "identity": identity_json(self.session, self.identities),
            "identity_failed": self.failures,
        }


def _entries(pair: Mapping[str, Any]) -> Iterator[Json]:
    kept = ("cause", "score", "evidence", "next_experiment")
    for cause in pair["causes"]:
        labels = [pair["a"], pair["b"]]
        entry = {key: cause[key] for key in kept}
        yield {"pair": labels, **entry}


def explain_session(session: Session, pairs: Sequence[PairLabels]) -> WhyReport:
    """Diagnose ``pairs`` of labels. InputError for unknown labels."""
    identities = saved_identities(session.folder)
    explained = []
    for a, b in pairs:
        pair = make_pair(session, a, b)
        explained.append(explain_pair(session, pair, identities))
    return WhyReport(
        session=session,
        pairs=tuple(explained),
        identities=identities,
        failures=saved_failures(session.folder),
    )


def explain_pair(
    session: Session, pair: Pair, identities: Mapping[str, LoadedWeights]
) -> ExplainedPair:
    """Diagnose one pair with all that is saved for it: some seconds for a million
    tokens.
    """
    evidence = saved_evidence(session, pair, identities)
    diagnosis = diagnose(session, pair, evidence)
    unchecked = (*_damaged(session), *diagnosis.unchecked)
    return ExplainedPair(
        session=session,
        pair=pair,
        diagnosis=replace(diagnosis, unchecked=unchecked),
        outcomes=tuple(saved_outcomes(session, pair)),
        layers=_layers(session, pair),
    )


def saved_evidence(
    session: Session, pair: Pair, identities: Mapping[str, LoadedWeights]
) -> list[Evidence]:
    """What identity checks, experiments and looks at the layers that lie in the session
    say of the pair, for ``more`` of `diagnose`.
    """
    failures = saved_failures(session.folder)
    outcomes = saved_outcomes(session, pair)
    layers = _layers(session, pair)
    evidence = [
        *identity_of(session, pair, identities, failures),
        *experiment_evidence(outcomes),
    ]
    if layers is not None:
        evidence += layers_evidence(layers.sides)
    return evidence


def _layers(session: Session, pair: Pair) -> Layers | None:
    saved = understood(saved_layers(session.folder))
    label_a = pair.a.info.label
    label_b = pair.b.info.label
    return layers_of(label_a, label_b, saved)


def _damaged(session: Session) -> Iterator[Unchecked]:
    """Findings of the session that cannot be read, by the names of their files."""
    folder = session.folder
    for error in (*damaged_records(folder), *damaged_layers(folder)):
        file = Path(str(error.file)).relative_to(folder)
        yield Unchecked(cause=visible(str(file)), why=error.reason, fix=_ASK_AGAIN)
