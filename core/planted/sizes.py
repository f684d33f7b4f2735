"""How many sequences of how many tokens: standard library only, read in every
interpreter.

Forward passes are nearly all that planting costs, so sequences are as few and as short
as the signatures allow: a start that fades needs four of them and padded rows three of
each of two lengths; with three of each, growth with the position (whose error is over
sequences) is said of a layer at its initial values. A window of 256 needs one longer
sequence, and RoPE the same one to grow in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

LENGTHS = "40x4,68x4"
LONG = "296x1"
PROMPT = 20
_Row = TypeVar("_Row", bound=Sequence[int])


def lengths_of(text: str) -> list[int]:
    """``40x4,68x4``: four sequences of 40 tokens, four of 68."""
    lengths = []
    for part in text.split(","):
        if part:
            length, count = part.split("x")
            lengths += [int(length)] * int(count)
    return lengths


def take(
    sequences: Sequence[Sequence[int]], lengths: Sequence[int]
) -> list[Sequence[int]]:
    """For each length the first ids of the shortest sequence that has as many and is
    not taken yet.

    Raises ValueError where there is none.
    """
    free = sorted(sequences, key=len)
    taken = []
    for length in lengths:
        at = next((i for i, ids in enumerate(free) if len(ids) >= length), None)
        if at is None:
            raise ValueError(f"too few sequences of {length} ids or more")
        taken.append(free.pop(at)[:length])
    return taken
