"""Errors by turn, for `tests.recompute`: sessions without roles and versions, where the
mask alone tells turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.common import Fields
from tests.recompute_files import Pair
from tests.recompute_numbers import k3_mean, mean, rms, signed_mean

BEYOND = 0.1


def turns(pair: Pair) -> list[int]:
    """The turn of each token, from 1: a stretch of the completion that counts; 0 for a
    token in none.
    """
    files = pair.files
    found = [0] * len(pair.delta)
    for start, stop in zip(files.starts, files.stops, strict=True):
        number = 0
        before = False
        for i in range(start, min(stop, len(found))):
            counts = files.in_completion[i] and files.mask[i] == 1
            number += counts and not before
            before = counts
            found[i] = number if counts else 0
    return found


def by_turn(pair: Pair, at: Sequence[int]) -> list[Fields] | None:
    """None where no sequence has two turns."""
    turn = turns(pair)
    if max(turn, default=0) < 2:
        return None
    numbers = sorted({turn[i] for i in at} - {0})
    return [group(str(n), pair, [i for i in at if turn[i] == n]) for n in numbers]


def group(name: str, pair: Pair, at: Sequence[int]) -> Fields:
    names = ("mean", "mae", "rmse", "max_abs", "k3", "beyond")
    delta = [pair.delta[i] for i in at]
    finite = [d for d in delta if math.isfinite(d)]
    out: Fields = {"name": name, "tokens": len(at)} | dict.fromkeys(names)
    out["sequences"] = len({pair.sequence_of(i) for i in at})
    if not finite:
        return out
    size = [abs(d) for d in finite]
    return out | {
        "mean": signed_mean(finite),
        "mae": mean(size),
        "rmse": rms(finite),
        "max_abs": max(size),
        "k3": k3_mean(finite),
        "beyond": mean([abs(d) > BEYOND for d in delta]),
    }
