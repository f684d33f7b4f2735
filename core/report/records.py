"""A report as typed records: what every output of `logdrift report` is made of.

`SessionReport.to_json` is JSON schema 1. The schema is a promise (docs/report.md): keys
are added, never renamed or removed. What a session cannot tell is None. Floats may be
non-finite: `logdrift.core.report.strict_json` turns those into null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from logdrift.core.compare.decomposition import Decomposition
from logdrift.core.compare.gate import Gate
from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.compare.measured import MeasuredPair
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.compare.usual import UsualRange
from logdrift.core.report.contexts import ReadableContext
from logdrift.core.report.strict_json import Json, json_or_null, list_json
from logdrift.core.session.layout import CaptureInfo, ModelInfo
from logdrift.core.session.retokenised import Retokenised

if TYPE_CHECKING:
    from logdrift.core.diagnose.answer import Answer
    from logdrift.core.report.why import WhyReport

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class WorstToken:
    """A token with a large gap, and the text around it.

    ``position`` is within its sequence. ``delta`` and the log-probabilities are in
    nats, ``times_floor`` is |delta| as a multiple of the noise floor. A rank is None
    where the side has none. ``piece``, ``before`` and ``after`` are the texts of the
    tokens one by one, as the JSON has them; ``context`` is what people read.
    """

    sequence: int
    position: int
    token_id: int
    piece: str
    delta: float
    times_floor: float | None
    logprob_a: float
    logprob_b: float
    rank_a: int | None
    rank_b: int | None
    before: str
    after: str
    context: ReadableContext | None = None

    @property
    def readable(self) -> ReadableContext:
        """The context for people; that of the JSON where no other was made."""
        if self.context is not None:
            return self.context
        return ReadableContext(self.before, self.piece, self.after)

    @property
    def ranks(self) -> str:
        """``79→64``, ``?`` for a rank that is not known."""
        a = "?" if self.rank_a is None else self.rank_a
        b = "?" if self.rank_b is None else self.rank_b
        return f"{a}→{b}"

    def to_json(self) -> Json:
        """As an entry of ``worst`` in the JSON schema."""
        entry = asdict(self)
        del entry["context"]
        return entry


@dataclass(frozen=True, slots=True)
class PairReport:
    """A measured pair with the limits it was held against and its worst tokens.

    ``answer`` is None where the causes were not asked for, ``usual`` (the range of the
    MAE for the coarser dtype) where a dtype was not observed.
    """

    measured: MeasuredPair
    limits: tuple[JudgedLimit, ...]
    worst: tuple[WorstToken, ...]
    answer: Answer | None = None
    usual: UsualRange | None = None

    @property
    def labels(self) -> PairLabels:
        return self.measured.a, self.measured.b

    @property
    def name(self) -> str:
        """``A → B``."""
        return f"{self.measured.a} → {self.measured.b}"

    @property
    def gate(self) -> Gate:
        return self.measured.gate

    @property
    def metrics(self) -> Metrics:
        return self.measured.metrics

    @property
    def void(self) -> bool:
        """The two may not be compared, so the numbers mean nothing."""
        return self.gate.verdict == "not_comparable"

    @property
    def sentence(self) -> str:
        """The answer in a sentence; empty where it was not made."""
        if self.answer is not None:
            return self.answer.sentence
        return ""

    def to_json(self) -> Json:
        """As an entry of ``pairs`` in the JSON schema."""
        metrics = self.metrics
        return {
            "a": self.measured.a,
            "b": self.measured.b,
            "scope": metrics.scope,
            "tokens": metrics.tokens,
            # Those that both captures finished, as the schema has it.
            "sequences": metrics.finished,
            "gate": asdict(self.gate),
            "answer": json_or_null(self.answer),
            **metrics.to_json(),
            "thresholds": list_json(self.limits),
            "worst": list_json(self.worst),
        }


@dataclass(frozen=True, eq=False)
class SessionReport:
    """Everything that a report says of a session.

    ``why`` is None where the causes were not asked for, ``retokenised`` where no
    tokenizer was.
    """

    session: str
    title: str | None
    created: str
    state: str
    model: ModelInfo
    sequences: int
    sequences_planned: int
    tokens: int
    completion_tokens: int
    captures: tuple[CaptureInfo, ...]
    pairs: tuple[PairReport, ...]
    splits: tuple[Decomposition, ...]
    why: WhyReport | None = None
    retokenised: Retokenised | None = None

    def main_pair(self, labels: PairLabels | None) -> PairReport | None:
        """The pair of these labels, else the first; None where there is none."""
        for pair in self.pairs:
            if pair.labels == labels:
                return pair
        if self.pairs:
            return self.pairs[0]
        return None

    def capture(self, label: str) -> CaptureInfo | None:
        """The capture of a label; None where the report does not have it."""
        for info in self.captures:
            if info.label == label:
                return info
        return None

    def with_pair(self, changed: PairReport) -> SessionReport:
        """The same report, with ``changed`` in the place of the pair of its labels."""
        pairs = list(self.pairs)
        for place, pair in enumerate(pairs):
            if pair.labels == changed.labels:
                pairs[place] = changed
        return replace(self, pairs=tuple(pairs))

    def to_json(self) -> Json:
        """Schema 1 of `logdrift report --json`."""
        return {
            "schema": SCHEMA,
            "session": self.session,
            "title": self.title,
            "created": self.created,
            "state": self.state,
            "model": self.model._asdict(),
            "sequences": self.sequences,
            "sequences_planned": self.sequences_planned,
            "tokens": self.tokens,
            "completion_tokens": self.completion_tokens,
            "retokenised": json_or_null(self.retokenised),
            "captures": [_capture_json(info) for info in self.captures],
            "pairs": list_json(self.pairs),
            "decomposition": list_json(self.splits),
            "diagnosis": self._diagnosis(),
        }

    def _diagnosis(self) -> list[Json] | None:
        if self.why is None:
            return None
        diagnosis: list[Json] = self.why.to_json()["diagnosis"]
        return diagnosis


def _capture_json(info: CaptureInfo) -> Mapping[str, Any]:
    return {
        "label": info.label,
        "backend": info.backend,
        "role": info.role,
        "engine": info.engine,
        "dtype": info.dtype,
        "path": info.path,
        "repeat": info.repeat,
        "batch": info.batch,
        "sequences": info.sequences,
        "tokens": info.tokens,
        "status": info.status,
        "failure": info.failure,
        "facts": json_or_null(info.facts),
    }
