"""What every check of the gate sees, and what it answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from logdrift.core.compare.coverage import BrokenSide, broken_sides
from logdrift.core.compare.loaded.difference import Difference
from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.plan import BackendSpec, SamplingSpec

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]
    Positions = npt.NDArray[np.int64]
    Differences = tuple[Difference, ...]

Verdict = Literal["comparable", "caution", "not_comparable"]
Severity = Literal["info", "caution", "not_comparable"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: a stable code for programs and one sentence for people, with what to
    do about it.

    ``differences`` are the keys that it is about, all of them, where the sentence names
    the first.
    """

    code: str
    severity: Severity
    text: str
    differences: Differences = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """The worst severity of all reasons. ``info`` reasons do not lower the verdict."""

    verdict: Verdict
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, eq=False)
class GateSide:
    """One capture of the pair: its facts as observed (all unknown where it has none)
    and its plan, if there is one.
    """

    info: CaptureInfo
    facts: Facts
    spec: BackendSpec | None

    @property
    def label(self) -> str:
        return self.info.label

    @property
    def decodes(self) -> bool:
        """Its numbers come from decode steps, so the prompt has none."""
        return self.info.path in ("decode", "forced_decode")

    @property
    def options(self) -> Mapping[str, Any]:
        if self.spec is not None:
            return self.spec.options
        return {}

    def option(self, *names: str) -> Any:
        """The first of ``names`` that was observed among the extra facts or else asked
        for; None: neither.
        """
        for where in (self.facts.extra, self.options):
            for name in names:
                value = where.get(name)
                if value is not None:
                    return value
        return None


Sides = tuple[GateSide, GateSide]


@dataclass(frozen=True, eq=False)
class GateCase:
    """A pair of ``session`` with its two sides."""

    session: Session
    pair: Pair
    a: GateSide
    b: GateSide
    scope: Scope = "all"

    @property
    def sides(self) -> Sides:
        return self.a, self.b

    @property
    def crossed(self) -> tuple[Sides, Sides]:
        """Each side with the other one."""
        return (self.a, self.b), (self.b, self.a)

    def sampling_of(self, side: GateSide) -> SamplingSpec | None:
        """The settings by which a side sampled or scored; None where no plan made its
        numbers, as those of another tool.
        """
        return self.session.sampling_of(side.info)

    @property
    def same_backend(self) -> bool:
        return self.a.info.backend == self.b.info.backend

    @property
    def same_engine(self) -> bool:
        """Both run on one engine: what differs between them was set by somebody."""
        return self.a.info.engine == self.b.info.engine

    @property
    def against_reference(self) -> bool:
        a_is_reference = self.a.info.role == "reference"
        b_is_reference = self.b.info.role == "reference"
        return a_is_reference != b_is_reference

    def both(self, name: str) -> tuple[Any, Any]:
        """A fact of both sides."""
        return getattr(self.a.facts, name), getattr(self.b.facts, name)

    def differ(self, name: str) -> bool:
        """Both sides were observed, and they are not the same."""
        a, b = self.both(name)
        if a is None or b is None:
            return False
        return bool(a != b)

    def with_and_without(self, name: str) -> Sides:
        """Of a fact that differs: the side for which it is true, and the other."""
        if getattr(self.a.facts, name):
            return self.a, self.b
        return self.b, self.a

    def setting(self, code: str, text: str) -> Reason:
        """A difference in how the engines run: always there between two engines, a
        cause between two of one kind.
        """
        between_engines = not self.same_engine
        if self.against_reference or between_engines:
            return note(code, text)
        return caution(code, text)

    @cached_property
    def lengths(self) -> Positions:
        """Tokens of each sequence, i64[S]."""
        return self.ends - self.starts

    @cached_property
    def starts(self) -> Positions:
        """The first position of each sequence, flat, i64[S]."""
        return self.pair.offsets[:-1]

    @cached_property
    def ends(self) -> Positions:
        """The position behind each sequence, flat, i64[S]."""
        return self.pair.offsets[1:]

    @cached_property
    def prompt_lengths(self) -> npt.NDArray[np.int32]:
        """i32[S]."""
        prompt_lengths = self.pair.sequences.prompt_lengths
        return prompt_lengths[: self.pair.count]

    @cached_property
    def counted(self) -> Bools:
        """bool[N]: the session's mask counts the token."""
        return self.pair.counted

    def logprob(self, side: GateSide) -> Floats:
        """f32[N] in nats of one side; NaN where it has no score."""
        if side is self.a:
            return self.pair.logprob_a
        return self.pair.logprob_b

    def answered(self, side: GateSide) -> Bools:
        """bool[N]: the side has a score, or computed one that is NaN: either way it has
        seen the token.
        """
        if side is self.a:
            broken = self.pair.nan_a
        else:
            broken = self.pair.nan_b
        logprob = self.logprob(side)
        has_score = ~np.isnan(logprob)
        return has_score | broken

    @cached_property
    def broken(self) -> tuple[BrokenSide, ...]:
        """The sides that have NaN."""
        return broken_sides(self.pair, self.scope)


Check = Callable[[GateCase], Iterator[Reason]]


def open_case(session: Session, pair: Pair, scope: Scope = "all") -> GateCase:
    """The case of a pair of ``session``."""
    return GateCase(
        session=session,
        pair=pair,
        a=_side(session, pair.a.info),
        b=_side(session, pair.b.info),
        scope=scope,
    )


def _side(session: Session, info: CaptureInfo) -> GateSide:
    facts = info.facts or Facts()
    if session.plan is None:
        return GateSide(info, facts, None)
    for spec in session.plan.backends:
        if spec.name == info.backend:
            return GateSide(info, facts, spec)
    return GateSide(info, facts, None)


def refuse(code: str, text: str, differences: Differences = ()) -> Reason:
    """The two numbers are different quantities, or none at all."""
    return Reason(code, "not_comparable", text, differences)


def caution(code: str, text: str, differences: Differences = ()) -> Reason:
    """A known cause of a gap differs between the sides, or may differ."""
    return Reason(code, "caution", text, differences)


def note(code: str, text: str, differences: Differences = ()) -> Reason:
    """Context that does not lower the verdict."""
    return Reason(code, "info", text, differences)
