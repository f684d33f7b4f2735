"""The sequences whose ids their own text does not give: their record in the manifest,
and counting them, part after part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from logdrift.core.numbers import counted
from logdrift.core.session.schema import COUNT, built, items, one_of, record

RetokenisedKind = Literal["special", "prompt", "completion"]
"""Where the ids of a sequence are first not those of its own text: special tokens that
their text spells or hides, the prompt, or what was sampled.
"""
MOST_PLACES = 1000
"""Sequences of `Retokenised` that are listed one by one."""


@dataclass(frozen=True, slots=True)
class RetokenisedPlace:
    """A sequence whose ids its own text does not give, and the first of them."""

    sequence: int
    index: int
    kind: RetokenisedKind


@dataclass(frozen=True, slots=True)
class Retokenised:
    """Of ``checked`` sequences, how many have other ids than the tokenizer makes of
    their text, by where they differ first; ``places`` lists `MOST_PLACES` of them, in
    the order in which parts were finished.
    """

    checked: int = 0
    special: int = 0
    prompt: int = 0
    completion: int = 0
    places: tuple[RetokenisedPlace, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_place = built(
    record(
        RetokenisedPlace,
        sequence=COUNT,
        index=COUNT,
        kind=one_of(*get_args(RetokenisedKind)),
    ),
    RetokenisedPlace,
)
RETOKENISED = built(
    record(
        Retokenised,
        checked=COUNT,
        special=COUNT,
        prompt=COUNT,
        completion=COUNT,
        places=items(_place),
    ),
    Retokenised,
)
"""A `Retokenised` of the manifest."""


def with_rows(
    before: Retokenised | None, first: int, rows: Iterable[Any]
) -> Retokenised | None:
    """What is known with the sequences from number ``first`` on; ``rows`` are those of
    `logdrift.core.worker.retokenise`. None where no sequence was checked.
    """
    known = before or Retokenised()
    for sequence, row in enumerate(rows, first):
        if row is None:
            continue
        known = replace(known, checked=known.checked + 1)
        if row:
            known = _with_place(known, RetokenisedPlace(sequence, row[1], row[0]))
    if not known.checked:
        return None
    return known


def _with_place(known: Retokenised, place: RetokenisedPlace) -> Retokenised:
    kind = place.kind
    counts: dict[str, Any] = {kind: getattr(known, kind) + 1}
    if len(known.places) < MOST_PLACES:
        counts["places"] = (*known.places, place)
    return replace(known, **counts)


def different(known: Retokenised) -> int:
    """How many sequences have other ids than their text gives."""
    return known.special + known.prompt + known.completion


_WHERE = {
    "special": "at special tokens",
    "prompt": "in the prompt",
    "completion": "in the completion, as sampled ids often are",
}
"""Where ids are first other ones, in words."""


def in_words(known: Retokenised) -> str:
    """``2 of 9 sequences have other ids than their own text gives: 2 in the prompt``,
    or that all of them are as their text gives them.
    """
    number = different(known)
    checked = counted(known.checked, "sequence")
    if not number:
        return f"{checked} checked: the ids are what the tokenizer makes of their text"
    verb = "have other ids than their own text gives"
    if number == 1:
        verb = "has other ids than its own text gives"
    return f"{number:,} of {checked} {verb}: {_places(known)}"


def _places(known: Retokenised) -> str:
    words = []
    for kind, where in _WHERE.items():
        count = getattr(known, kind)
        if count:
            words.append(f"{count:,} {where}")
    return ", ".join(words)
