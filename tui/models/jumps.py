"""Where the cursor jumped from, and back again."""

from __future__ import annotations

_KEPT_JUMPS = 500


class Jumps:
    """Where the cursor jumped from: back and forth, as in a browser."""

    def __init__(self) -> None:
        self._past: list[int] = []
        self._future: list[int] = []

    def leave(self, position: int) -> None:
        """Remember where the cursor was before a jump."""
        self._past.append(position)
        del self._past[:-_KEPT_JUMPS]
        self._future.clear()

    def back(self, position: int) -> int | None:
        """Where the last jump began; ``position`` is where the cursor is now."""
        return _travel(self._past, self._future, position)

    def forth(self, position: int) -> int | None:
        """Where the jump led that was undone last; ``position`` as in `back`."""
        return _travel(self._future, self._past, position)


def _travel(source: list[int], other: list[int], position: int) -> int | None:
    """Take the last place of ``source`` and leave ``position`` on ``other``."""
    if not source:
        return None
    other.append(position)
    return source.pop()
