"""Entries for tokens that a mask takes out: frameworks fill them with a number that is
no score.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.session.files import JsonList
from logdrift.core.session.importers.columns import MINUS_INFINITY
from logdrift.core.session.importers.notes import Notes

PLACEHOLDERS = (0.0, 1.0, MINUS_INFINITY)
"""What frameworks write for a masked token: slime, miles, verl and OpenRLHF 0.0, others
1 or SkyRL's -9999.
"""
_MASKED = (
    "{n} {entry|entries} of %s {is|are} of masked tokens and only fill{s|} the list up:"
    " {it is not a score|they are not scores}"
)


def without_placeholders(
    values: JsonList, mask: Sequence[int], name: str, notes: Notes
) -> JsonList:
    """``values`` with None where the mask is 0 and a placeholder stands; those of the
    capture ``name`` are counted. Another number of a masked token stays.
    """
    scored = []
    masked = 0
    for value, counts in zip(values, mask, strict=True):
        fills = not counts and value in PLACEHOLDERS
        masked += fills
        scored.append(None if fills else value)
    notes.count(_MASKED % name, masked)
    return scored
