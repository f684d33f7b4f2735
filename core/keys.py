"""Keys that are not known: what was perhaps meant, and what to do about the usual ones
that logdrift does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

_STOP = (
    "is not in this version: completions end at the model's end-of-sequence ids or"
    " after max_tokens; to score shorter ones, give token_ids with a prompt_length"
)
NOT_HERE = {
    "n": (
        "is not in this version: repeat the prompt instead, each one is sampled with a"
        " seed of its own"
    ),
    "stop": _STOP,
    "stop_strings": _STOP,
    "stop_token_ids": _STOP,
}
"""Sampling parameters that engines have and logdrift does not, with what to do instead.
"""


def near_key(key: str, known: Iterable[str]) -> str | None:
    """The known key that ``key`` was perhaps meant to be."""
    # Imported here: every start reads this module, few have a key that is not known.
    import difflib

    names = _in_order(known)
    letters = sorted(key)
    for name in names:
        # Two letters in the wrong order: `epxort` is as near to `report` otherwise.
        if sorted(name) == letters:
            return name
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        return near[0]
    return None


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key that ``key`` was perhaps meant to be, or all known ones in their
    order, as the end of a message.
    """
    names = _in_order(known)
    near = near_key(key, names)
    if near:
        return f"did you mean {near!r}?"
    return f"known are {', '.join(names)}"


def _in_order(known: Iterable[str]) -> list[str]:
    if isinstance(known, Set):
        return sorted(known)
    return list(known)
