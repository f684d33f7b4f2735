"""Lists of the most likely ids, as formats write them: some put the token itself in
front of them.
"""

from __future__ import annotations

from logdrift.core.errors import Place
from logdrift.core.session.importers.columns import Row


def most_likely(row: Row, target: int, place: Place, name: str) -> Row:
    """``row`` with `each_once`, without the entry that stands in front only because it
    is the token's own.

    vLLM's flat form and its chat answers list the token first, then the most likely
    ids. Where it is one of those too it stands twice; where it is not, it is less
    likely than all others, and ids between them are not listed. Raises InputError as
    `each_once` does.
    """
    entries = each_once(row, place, name)
    has_repeated = len(entries) < len(row)
    if has_repeated or not _only_in_front(entries, target):
        return entries
    return entries[1:]


def each_once(row: Row, place: Place, name: str) -> Row:
    """``row`` with each id once. Raises InputError for an id that stands twice with two
    values; ``name`` is what the list is called.
    """
    logprobs: dict[int, float] = {}
    for token_id, logprob in row:
        if token_id in logprobs and logprobs[token_id] != logprob:
            raise place.error(
                f"{name} lists id {token_id} twice, with two values",
                "list each id once",
            )
        logprobs[token_id] = logprob
    return list(logprobs.items())


def _only_in_front(entries: Row, target: int) -> bool:
    """The token is first and less likely than the others, which are sorted: how many
    ids lie between is not known.
    """
    if len(entries) < 2:
        return False
    first_id, first_logprob = entries[0]
    if first_id != target:
        return False
    rest = entries[1:]
    others = [logprob for _, logprob in rest]
    are_sorted = others == sorted(others, reverse=True)
    return are_sorted and first_logprob < min(others)
