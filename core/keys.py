"""Keys that are not known: what was perhaps meant, and what to do about the usual ones
that logdrift does not have.
"""

from __future__ import annotations

import difflib
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
"""Sampling parameters that every engine has and logdrift has not, with what to do
instead.
"""


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key that ``key`` was perhaps meant to be, or all known ones in their
    order, as the end of a message.
    """
    names = sorted(known) if isinstance(known, Set) else list(known)
    near = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
