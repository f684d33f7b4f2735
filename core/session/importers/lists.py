"""Lists of the most likely ids, as formats write them: some put the token itself in
front of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.errors import Place

Entry = tuple[int, float]
"""(id, log-probability in nats)."""


def most_likely(
    row: Sequence[Entry], target: int, place: Place, name: str
) -> list[Entry]:
    """``row`` with `each_once`, without the entry that stands in front only because it
    is the token's own.

    vLLM's flat form and its chat answers list the token first, then the most likely
    ids. Where it is one of those too it stands twice; where it is not, it is less
    likely than all others, and ids between them are not listed. Raises InputError as
    `each_once` does.
    """
    entries = each_once(row, place, name)
    repeated = len(entries) < len(row)
    if repeated or not _only_in_front(entries, target):
        return entries
    return entries[1:]


def each_once(row: Sequence[Entry], place: Place, name: str) -> list[Entry]:
    """``row`` with each id once. Raises InputError for an id that stands twice with two
    values; ``name`` is what the list is called.
    """
    values: dict[int, float] = {}
    for token_id, value in row:
        if token_id in values and values[token_id] != value:
            raise place.error(
                f"{name} lists id {token_id} twice, with two values",
                "list each id once",
            )
        values[token_id] = value
    return list(values.items())


def _only_in_front(entries: Sequence[Entry], target: int) -> bool:
    """The token is first and less likely than the others, which are sorted: how many
    ids lie between is not known.
    """
    if len(entries) < 2 or entries[0][0] != target:
        return False
    rest = [value for _, value in entries[1:]]
    return entries[0][1] < min(rest) and rest == sorted(rest, reverse=True)
