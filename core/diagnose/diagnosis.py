"""What came of the diagnosis of one pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from logdrift.core.diagnose.answer import Answer
from logdrift.core.diagnose.evidence import Evidence, Number, Ranked, Unchecked


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why capture ``a`` and capture ``b`` differ: ``causes`` most likely first, and one
    sentence, ``verdict``.

    ``imported``: a side was recorded elsewhere, so nothing can be run again. ``answer``
    is the sentence that all surfaces print. ``noise`` True: nothing to fix, the gap is
    what rounding leaves (or none at all). ``size`` holds the numbers that this was
    judged by. ``checked`` are identity checks that found nothing to explain the gap.
    """

    a: str
    b: str
    tokens: int
    verdict: str
    noise: bool
    causes: tuple[Ranked, ...]
    unchecked: tuple[Unchecked, ...]
    answer: Answer
    imported: bool = False
    size: Mapping[str, Number] = field(default_factory=dict)
    checked: tuple[Evidence, ...] = ()

    @property
    def next_experiment(self) -> str | None:
        """The most telling thing to do now."""
        return next(
            (
                ranked.next_experiment
                for ranked in self.causes
                if ranked.next_experiment
            ),
            None,
        )

    def to_json(self) -> dict[str, Any]:
        """One entry of ``why --json``; its ``causes`` are what `report --json` calls
        ``diagnosis``.
        """
        return {
            "a": self.a,
            "b": self.b,
            "tokens": self.tokens,
            "answer": self.answer.to_json(),
            "verdict": self.verdict,
            "noise": self.noise,
            "imported": self.imported,
            "size": dict(self.size),
            "causes": [ranked.to_json() for ranked in self.causes],
            "checked": [
                {"cause": e.cause, "signature": e.signature, "why": e.sentence}
                for e in self.checked
            ],
            "not_checked": [lack.to_json() for lack in self.unchecked],
            "next_experiment": self.next_experiment,
        }
