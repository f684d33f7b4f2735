"""The words of verdicts and of how certain a cause is, the same wherever they are read.

The keys are those of the JSON schema. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

VERDICTS: Mapping[str, str] = {
    "comparable": "COMPARABLE",
    "caution": "CAUTION",
    "not_comparable": "NOT COMPARABLE",
}
"""The verdict of the gate over a pair, as it stands in a heading."""

VERDICTS_IN_A_SENTENCE: Mapping[str, str] = {
    "comparable": "comparable",
    "caution": "comparable with caution",
    "not_comparable": "not comparable",
}

SIZE_WORDS: Mapping[str, str] = {
    "below": "less than usual",
    "usual": "usual",
    "unusual": "unusual",
    "beyond": "too large",
    "broken": "broken",
}
"""Where an MAE stands in the usual range of its dtype, as rows and bars say it."""

SEVERITIES: Mapping[str, str] = {
    "not_comparable": "not comparable",
    "caution": "caution",
    "info": "note",
}
"""How much a reason of the gate weighs, the heaviest first."""

MEANINGLESS = "The numbers of this pair mean nothing until the reasons are fixed."
"""Stands before the numbers of a pair that is not comparable."""

CERTAINTIES: Mapping[str, str] = {
    "proven": "✓",
    "certain": "●",
    "likely": "◐",
    "possible": "○",
    "refuted": "✗",
}
"""The words for how certain a cause is, and their marks on the screen."""


def certainty(sureness: str, shown: str | None) -> str:
    """The word for a cause: what an experiment has ``shown`` ("proven", "refuted"), or
    else how sure the evidence is.
    """
    return shown or sureness
