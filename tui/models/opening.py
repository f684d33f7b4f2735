"""Where the cursor stands when a session is opened for the first time."""

from __future__ import annotations

import numpy as np

from logdrift.core.compare.pair import Pair


def worst_position(pair: Pair) -> int | None:
    """The flat position of the largest |delta|, the first of equal ones.

    A token that is NaN on a side is worse than any number. None where no token has a
    score on both sides.
    """
    if pair.a.nan is not None or pair.b.nan is not None:
        broken = np.flatnonzero(pair.broken)
        if len(broken):
            return int(broken[0])
    worst = np.nan_to_num(pair.worst, nan=-1.0, posinf=np.inf)
    if not len(worst) or worst.max() < 0:
        return None
    sequence = int(np.argmax(worst))
    start, stop = pair.sequences.bounds(sequence)
    stop = min(stop, pair.tokens)
    sizes = np.abs(pair.delta[start:stop])
    sizes = np.where(pair.scored[start:stop], sizes, -1.0)
    return start + int(np.argmax(sizes))
