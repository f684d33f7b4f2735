"""What a diagnosis is made of: evidence from one signature, causes ranked by it, and
what could not be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from logdrift.core.diagnose.causes import BY_CODE, NOISE, Cause

Number = float | int | str | bool | None
Sureness = Literal["certain", "likely", "possible"]
Shown = Literal["proven", "refuted"]
"""What was shown of a cause by changing it, or by looking at what was loaded."""

CERTAIN = 0.9
LIKELY = 0.5
"""Scores from which a cause is called certain and likely."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one signature says for one cause.

    ``score``, 0 to 1, is how much more the numbers look like this cause than like
    rounding: 0 says nothing, 1 cannot be rounding. ``numbers`` are the measured values
    behind it, JSON-ready. ``positions`` are flat token positions that show it, the
    clearest first. ``sentence`` is for people. ``signature`` names the test; ``facts``
    for what the gate knows. ``explains``, where it is not the score: how much of other
    signatures' findings it accounts for (a sign that several causes share is weak
    evidence for each of them, and still explains what it shows). ``shows``: the cause
    was changed, or looked at, and that proved or refuted it; ``proof`` says it in a
    clause.
    """

    cause: str
    score: float
    signature: str
    sentence: str
    numbers: Mapping[str, Number] = field(default_factory=dict)
    positions: tuple[int, ...] = ()
    explains: float | None = None
    shows: Shown | None = None
    proof: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "signature": self.signature,
            "score": self.score,
            "sentence": self.sentence,
            "numbers": dict(self.numbers),
            "positions": list(self.positions),
        }


@dataclass(frozen=True, slots=True)
class Ranked:
    """One cause with its evidence, most telling first. ``next_experiment`` is one line,
    None where nothing is left to do.

    ``separable`` False: numbers alone do not tell this cause from others of its kind,
    ``otherwise`` does. ``shown``: it was proven or refuted, and ``proof`` says by what.
    """

    cause: str
    score: float
    evidence: tuple[Evidence, ...]
    next_experiment: str | None
    title: str
    separable: bool = True
    otherwise: str = ""
    shown: Shown | None = None
    proof: str = ""

    @property
    def sureness(self) -> Sureness:
        """What the score is called."""
        if self.score >= CERTAIN:
            return "certain"
        if self.score >= LIKELY:
            return "likely"
        return "possible"

    def to_json(self) -> dict[str, Any]:
        return {
            "cause": self.cause,
            "title": self.title,
            "score": self.score,
            "sureness": self.sureness,
            "separable": self.separable,
            "otherwise": self.otherwise or None,
            "shown": self.shown,
            "proof": self.proof or None,
            "evidence": [piece.to_json() for piece in self.evidence],
            "next_experiment": self.next_experiment,
        }


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A cause that could not be judged, why, and what would make it checkable.

    ``tell`` are the facts that settle it where the author of numbers from elsewhere
    knows them, ``tell_by`` is how to tell them.
    """

    cause: str
    why: str
    fix: str
    tell: tuple[str, ...] = ()
    tell_by: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "cause": self.cause,
            "why": self.why,
            "mend": self.fix,
            "tell": list(self.tell),
            "tell_by": self.tell_by or None,
        }


def known(code: str) -> Cause | None:
    """The table's entry; None for `NOISE`."""
    if code == NOISE:
        return None
    return BY_CODE[code]
