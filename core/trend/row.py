"""One step of a trend: what the report of its session says, in a row."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from logdrift.core.compare.usual import UsualStanding
from logdrift.core.report.strict_json import Json
from logdrift.core.session.files import JsonObject
from logdrift.core.session.schema import (
    COUNT,
    Unfit,
    items,
    maybe,
    one_of,
    record,
    shown,
    whole,
)
from logdrift.core.trend.step import SOURCE_WORDS, StepSource
from logdrift.core.words import SIZE_WORDS, VERDICTS_IN_A_SENTENCE

Interval = tuple[float, float]
RowName = tuple[str, int | None]
"""The name of a session and a step of it, or None: what a row stays when it is measured
again.
"""
RowMeaning = Literal["good", "warn", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendRow:
    """A pair of a session, or of one step of it. What is not known is None, or "" where
    it is a text.

    Attributes:
        session: name of the folder.
        measured: whether its numbers are there yet.
        part: whether it is one of several steps of its session, whose sequences begin
            with ``first_sequence``.
        step: the step of the training, and what told it.
        oldest, newest: versions of the weights that sampled, by name.
        verdict, standing, cause, sureness, sentence, meaning: of the answer; ``reason``
            is the gate's first where it refuses.
        mae: over the scope, nats, with its 95% interval.
        k3: nats. ess: per token, 0 to 1.
        beyond: share of tokens with |delta| above
            `logdrift.core.compare.groups.BEYOND`.
        entropy: mean in nats; ``entropy_sampled``: estimated as the mean of -log p of
            tokens that B sampled, where no side has entropies.
        length: mean tokens of a completion.
        lag: mean of how many versions the weights of a token are behind.
    """

    session: str
    created: str
    state: str
    model: str
    a: str
    b: str
    scope: str = ""
    measured: bool = True
    part: bool = False
    first_sequence: int = 0
    step: int | None = None
    step_source: StepSource | None = None
    oldest: str = ""
    newest: str = ""
    sequences: int = 0
    tokens: int = 0
    verdict: str = "comparable"
    standing: UsualStanding | None = None
    meaning: RowMeaning = "warn"
    cause: str | None = None
    cause_title: str = ""
    sureness: str | None = None
    sentence: str = ""
    reason: str = ""
    mae: float | None = None
    mae_interval: Interval | None = None
    k3: float | None = None
    ess: float | None = None
    beyond: float | None = None
    entropy: float | None = None
    entropy_sampled: bool = False
    length: float | None = None
    lag: float | None = None

    @property
    def name(self) -> RowName:
        """Its own in its line."""
        return self.session, self.step

    @property
    def void(self) -> bool:
        """The two may not be compared, so its numbers mean nothing."""
        return self.verdict == "not_comparable"

    @property
    def version(self) -> str:
        """The weights that sampled: ``39``, ``37-39``; "" where that is not known."""
        if self.oldest == self.newest:
            return self.newest
        return f"{self.oldest}-{self.newest}"

    @property
    def version_number(self) -> int | None:
        """The newest version, where it is a number."""
        if self.newest.isascii() and self.newest.isdigit():
            return int(self.newest)
        return None

    @property
    def verdict_words(self) -> str:
        """Whether the size is usual, or that the pair is not to be compared."""
        if self.standing is None or self.void:
            return VERDICTS_IN_A_SENTENCE.get(self.verdict, self.verdict)
        size = SIZE_WORDS[self.standing]
        if self.verdict == "caution":
            return f"{size}, caution"
        return size

    @property
    def cause_words(self) -> str:
        """The likeliest cause and how sure it is."""
        if self.cause is None or self.cause == "noise" or not self.sureness:
            return self.cause_title
        return f"{self.sureness} {self.cause_title}"

    def to_json(self) -> Json:
        """As an entry of ``rows`` in the JSON of a trend, and as it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: JsonObject) -> TrendRow:
        """Inverse of `to_json`. Raises `schema.Unfit`."""
        return cls(**_row(data))


def _float(value: Any) -> float:
    """Any number: what a far too large gap gives, is one as well."""
    if type(value) in (int, float):
        return float(value)
    raise Unfit(f"is {shown(value)}: a number is expected")


def _interval(value: Any) -> Interval:
    ends = items(_float)(value)
    if len(ends) != 2:
        raise Unfit("is not an interval")
    low, high = ends
    return low, high


_NUMBERS = ("mae", "k3", "ess", "beyond", "entropy", "length", "lag")
_row = record(
    TrendRow,
    **{name: maybe(_float) for name in _NUMBERS},
    mae_interval=maybe(_interval),
    step=maybe(whole(0)),
    step_source=maybe(one_of(*SOURCE_WORDS)),
    sequences=COUNT,
    first_sequence=COUNT,
    tokens=COUNT,
    standing=maybe(one_of(*get_args(UsualStanding))),
    meaning=one_of(*get_args(RowMeaning)),
)
