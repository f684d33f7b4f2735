"""One key that differs, and the values of both sides at every key.

Configs, tokenizers and chat templates are compared with these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logdrift.core.json_values import alike, shown

NOT_THERE = "not there"
SHOWN = 4
"""Keys that a sentence names; `report --json` and the settings screen have all."""

DIGESTS_DIFFER = ("one", "another")
"""What stands for values of which digests alone are kept."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key with the values of both sides as text; ``counts`` says whether a score of
    given ids may depend on it.
    """

    name: str
    a: str
    b: str
    counts: bool = True

    @property
    def text(self) -> str:
        values = (self.a, self.b)
        if values == DIGESTS_DIFFER:
            return self.name
        return f"{self.name} {self.a} against {self.b}"

    @property
    def key(self) -> str:
        """The name without the place in a list."""
        key, _, _ = self.name.partition("[")
        return key


def name_in_table(table: str, difference: Difference) -> str:
    """``config.rope_theta``: the key with the table it is of."""
    # The names of a template's lines begin with the table's already.
    if difference.name.startswith(table):
        return difference.name
    return f"{table}.{difference.name}"


def sentence(differences: Sequence[Difference]) -> str:
    """The first differences in words: ``rope_theta 1000000 against 10000,
    sliding_window 64 against not there and 3 more``.
    """
    named = differences[:SHOWN]
    texts = [difference.text for difference in named]
    listed = ", ".join(texts)
    more = len(differences) - SHOWN
    if more > 0:
        return f"{listed} and {more:,} more"
    return listed


@dataclass(frozen=True, slots=True)
class ValuesOfSides:
    """Configs, tokenizers or chat templates of both sides, flat by dotted names."""

    a: Mapping[str, Any]
    b: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The keys of either side, those of A first."""
        names = dict.fromkeys(self.a)
        names |= dict.fromkeys(self.b)
        return list(names)

    def both_have(self, name: str) -> bool:
        return name in self.a and name in self.b

    def is_table_with_entries(self, name: str) -> bool:
        """Whether a key is an empty table on one side and has entries on the other."""
        values = self.values_at(name)
        if {} not in values:
            return False
        begin = f"{name}."
        return any(other.startswith(begin) for other in self.names)

    def values_at(self, name: str) -> tuple[Any, Any]:
        """The values of both sides, None where there is none."""
        value_a = self.a.get(name)
        value_b = self.b.get(name)
        return value_a, value_b

    def one_sided(self, name: str, *, counts: bool = True) -> Difference:
        """The difference at a key that only one side has."""
        return Difference(
            name=name,
            a=_shown_entry(self.a, name),
            b=_shown_entry(self.b, name),
            counts=counts,
        )


def _shown_entry(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return NOT_THERE
    value = values[name]
    return shown(value)


def value_differences(
    name: str, sides: ValuesOfSides, *, counts: bool = True
) -> Iterator[Difference]:
    """The difference at a key that both sides have, if there is one."""
    a, b = sides.values_at(name)
    if alike(a, b):
        return
    are_lists = isinstance(a, list) and isinstance(b, list)
    have_same_length = are_lists and len(a) == len(b)
    if have_same_length:
        name, a, b = _first_entry(name, a, b)
    text_a = shown(a)
    text_b = shown(b)
    yield Difference(name, text_a, text_b, counts)


def _first_entry(name: str, a: list[Any], b: list[Any]) -> tuple[str, Any, Any]:
    """The first entry that differs: its name, which says how many others do, and both
    values.
    """
    places = []
    entries = zip(a, b, strict=True)
    for place, (entry_a, entry_b) in enumerate(entries):
        if not alike(entry_a, entry_b):
            places.append(place)
    first = places[0]
    others = len(places) - 1
    name = f"{name}[{first}]"
    if others:
        name = f"{name} and {others:,} more"
    return name, a[first], b[first]
