"""The answer of a pair in one sentence: comparable or not, usual or not for its dtype,
the cause, what to do next.

Report, limits, explorer and `why` print this sentence and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from logdrift.core.compare.gate import Gate, Verdict
from logdrift.core.compare.usual import USUAL, UsualRange, UsualStanding
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.causes import BY_CODE, NOISE
from logdrift.core.diagnose.evidence import LIKELY, Ranked, Sureness, Unchecked
from logdrift.core.diagnose.noise import is_more_than_usual, judge_size, precisions
from logdrift.core.diagnose.support import TOKENS
from logdrift.core.words import VERDICTS_IN_A_SENTENCE

Meaning = Literal["good", "warn", "bad"]
_STANDING: dict[UsualStanding, str] = {
    "below": "less than usual",
    "usual": "usual",
    "unusual": "unusual",
    "beyond": "more than rounding explains",
    "broken": "broken",
}

_TOO_FEW = "too few tokens to tell why"
_UNCLEAR = "the cause cannot be told from this"
_BRIEF_TITLES = {_TOO_FEW: "too few tokens", _UNCLEAR: "cause unclear"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The parts of the sentence.

    ``mae`` is over all ``tokens`` that both sides scored, in nats. ``standing`` is its
    place in ``usual``, the range of the coarser compute dtype; ``assumed``: no dtype
    was observed, and the range is bfloat16's. ``cause`` is a code of the cause table or
    ``noise``, None where nothing is likely; ``next`` is the one thing to do, empty
    where there is nothing. ``proof`` says what proved the cause, in a clause;
    ``refuted`` are causes that experiments excluded, each with what did.
    """

    comparable: Verdict
    tokens: int
    mae: float | None
    standing: UsualStanding | None
    usual: UsualRange | None
    assumed: bool
    cause: str | None
    title: str
    sureness: Sureness | None
    next: str
    proof: str = ""
    refuted: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The sentence, with a full stop."""
        parts = [VERDICTS_IN_A_SENTENCE[self.comparable]]
        if self.comparable == "not_comparable":
            # What was shown comes before the gate's reason, which may be long: lines
            # are cut at their end.
            parts.append(self._proven)
        else:
            parts += [self._size, _joined([self._cause, self._proven], ", ")]
        parts += [f"refuted: {cause}" for cause in self.refuted]
        if self.next:
            last = f": {self.next.rstrip('.')}"
        else:
            last = ""
        return f"{_joined(parts, '; ')}{last}."

    @property
    def brief_title(self) -> str:
        """The title in few words, where it says why no cause is named."""
        return _BRIEF_TITLES.get(self.title, self.title)

    @property
    def meaning(self) -> Meaning:
        """``good``: nothing to fix. ``bad``: what is compared is not the same, or
        something is certainly wrong. ``warn``: between.
        """
        fault = self.cause is not None and self.cause != NOISE
        surely_wrong = fault and self.sureness == "certain"
        not_the_same = self.comparable == "not_comparable"
        if not_the_same or self.standing == "broken" or surely_wrong:
            return "bad"
        only_noise = self.comparable == "comparable" and self.cause == NOISE
        if only_noise:
            return "good"
        return "warn"

    @property
    def _cause(self) -> str:
        """The cause, and how sure it is."""
        if self.sureness and self.cause != NOISE:
            return f"{self.sureness} {self.title}"
        return self.title

    @property
    def _size(self) -> str:
        """Where the MAE stands in the usual range."""
        if self.mae is None or self.usual is None or self.standing is None:
            return "no token has a finite score on both sides"
        if self.mae == 0:
            return "MAE 0"
        dtype = self.usual.dtype
        if self.assumed:
            dtype = "bfloat16, if that is what they computed in"
        return (
            f"MAE {self.mae:.3g} is {_STANDING[self.standing]} for {dtype}"
            f" ({self.usual.words})"
        )

    @property
    def _proven(self) -> str:
        if self.proof:
            return f"proven: {self.proof}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, with the sentence."""
        usual = self.usual
        return {
            "sentence": self.sentence,
            "comparable": self.comparable,
            "tokens": self.tokens,
            "mae": self.mae,
            "standing": self.standing,
            "usual": None if usual is None else self._usual_json(usual),
            "cause": self.cause,
            "sureness": self.sureness,
            "next": self.next or None,
            "proven": self.proof or None,
            "refuted": list(self.refuted),
        }

    def _usual_json(self, usual: UsualRange) -> dict[str, Any]:
        return {
            "dtype": usual.dtype,
            "low": usual.low,
            "high": usual.high,
            "source": usual.source,
            "assumed": self.assumed,
        }


def _joined(parts: Iterable[str], between: str) -> str:
    """The parts that are not empty."""
    return between.join(part for part in parts if part)


def answer_of(
    case: Case, gate: Gate, causes: Sequence[Ranked], missing: Sequence[Unchecked]
) -> Answer:
    """The answer of a diagnosed ``case``, with all its tokens."""
    tokens = len(case.view.at)
    dtypes = precisions(case)
    observed = [dtype for dtype in USUAL if dtype in dtypes]
    first = _likely(causes)
    answer = Answer(
        comparable=gate.verdict,
        tokens=tokens,
        mae=None,
        standing=None,
        usual=None,
        assumed=not observed,
        cause=None,
        title=_title(first, case),
        sureness=None,
        next=_next(gate, first, causes, missing, tokens),
        refuted=refuted_of(causes),
    )
    if tokens:
        mae = case.view.mae
        dtype, *_ = [*observed, "bfloat16"]
        usual = USUAL[dtype]
        answer = replace(answer, mae=mae, standing=usual.standing(mae), usual=usual)
    if first is not None:
        answer = replace(answer, cause=first.cause, sureness=first.sureness)
    if causes and causes[0].shown == "proven":
        answer = replace(answer, proof=causes[0].proof)
    return answer


def _likely(causes: Sequence[Ranked]) -> Ranked | None:
    """The first cause, where it is at least likely."""
    if causes and causes[0].score >= LIKELY:
        return causes[0]
    return None


def refuted_of(causes: Sequence[Ranked]) -> tuple[str, ...]:
    """The causes that experiments excluded, each with what did: ``attention kernel
    (vllm: x=1 has no effect)``.
    """
    return tuple(
        f"{_name(cause)} ({cause.proof})"
        for cause in causes
        if cause.shown == "refuted"
    )


def _name(ranked: Ranked) -> str:
    if ranked.cause == NOISE:
        return "numerical noise"
    return ranked.title


def _title(first: Ranked | None, case: Case) -> str:
    if first is not None:
        return _with_reason(first, case)
    tokens = len(case.view.at)
    if not tokens:
        return ""
    if tokens < TOKENS.likely:
        return _TOO_FEW
    return _UNCLEAR


def _with_reason(first: Ranked, case: Case) -> str:
    """The title of a cause; of noise that is more than usual with what shows it."""
    shown_by = judge_size(case).shown_by
    if first.cause == NOISE and is_more_than_usual(case) and shown_by:
        return f"{first.title}: {shown_by}"
    return first.title


def _next(
    gate: Gate,
    first: Ranked | None,
    causes: Sequence[Ranked],
    missing: Sequence[Unchecked],
    tokens: int,
) -> str:
    """What the gate refuses for, else the next step of the cause, else what the causes
    that remain lack.
    """
    if gate.verdict == "not_comparable":
        return gate.reasons[0].text
    if first is None:
        return _next_without_cause(tokens, causes, missing)
    if first.cause == NOISE:
        return ""
    if first.next_experiment:
        return f"try {first.next_experiment}"
    return BY_CODE[first.cause].fix or first.otherwise


def _next_without_cause(
    tokens: int, causes: Sequence[Ranked], missing: Sequence[Unchecked]
) -> str:
    """Of too few tokens nothing else would tell: more of them come first."""
    if 0 < tokens < TOKENS.likely:
        return "capture more tokens"
    return next_step(causes, missing)


def next_step(causes: Sequence[Ranked], missing: Sequence[Unchecked]) -> str:
    """The one thing to give next: what the causes that remain lack, else the first
    thing that is missing; empty for nothing.
    """
    order = {ranked.cause: place for place, ranked in enumerate(causes)}
    first = min(
        missing, key=lambda lack: order.get(lack.cause, len(causes)), default=None
    )
    if first is not None:
        return first.fix
    return ""
