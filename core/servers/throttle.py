"""How many requests a server is sent at once: few at first, as many as it bears
later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

FIRST = 4
"""Requests at once before anything is known of the server."""


class Throttle:
    """At most ``limit`` requests at once, which follows what the server does.

    Each answer raises the limit by one, as long as the server never pushed back; from
    then on by one for as many answers as the limit is. Being pushed back halves it
    (additive increase, multiplicative decrease; Chiu and Jain 1989).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(min(FIRST, most))
        self._running = 0
        self._was_pushed_back = False
        self._free = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Requests that may run at once now."""
        return int(self._limit)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places, once there is one."""
        async with self._free:
            await self._free.wait_for(lambda: self._running < self.limit)
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            async with self._free:
                self._free.notify_all()

    def answered(self) -> None:
        """The server bore a request."""
        step = 1.0
        if self._was_pushed_back:
            step = 1.0 / self._limit
        self._limit = min(float(self._most), self._limit + step)

    def pushed_back(self) -> None:
        """The server was too busy for a request, or lost it."""
        self._was_pushed_back = True
        self._limit = max(1.0, self._limit / 2)
