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
        past = self._past
        past.append(position)
        del past[:-_KEPT_JUMPS]
        self._future.clear()

    def back(self, position: int) -> int | None:
        """Where the last jump began; ``position`` is where the cursor is now."""
        if not self._past:
            return None
        self._future.append(position)
        return self._past.pop()

    def forth(self, position: int) -> int | None:
        """Where the jump led that was undone last; ``position`` as in `back`."""
        if not self._future:
            return None
        self._past.append(position)
        return self._future.pop()
