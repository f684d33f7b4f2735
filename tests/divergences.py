"""Where the divergent tokens of a pair are, looked up in the plainest way."""

from __future__ import annotations

from logdrift.core.compare.pair import Pair


def count_beyond(pair: Pair, threshold: float) -> int:
    """How many tokens `Pair.divergences` has."""
    return len(pair.divergences(threshold))


def next_divergence(
    pair: Pair, position: int, threshold: float, step: int = 1
) -> int | None:
    """The nearest divergent token strictly behind (``step`` -1: before) a position."""
    positions = pair.divergences(threshold).tolist()
    if step > 0:
        return next((at for at in positions if at > position), None)
    return next((at for at in reversed(positions) if at < position), None)
