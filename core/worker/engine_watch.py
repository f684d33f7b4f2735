"""Noticing an engine's process that died while the engine itself only waits for it,
maybe forever.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from logdrift.core.processes import (
    command_of,
    descendants,
    failed_zombies,
    name_of,
)

PATIENCE = 15.0
"""Seconds an engine has to report by itself that one of its processes died, before it
is given up.
"""
_PERIOD = 1.0
_COMPILER = "torch/_inductor/compile_worker"


class EngineWatch:
    """Watches the processes below this one, from before the engine starts until `stop`.

    While the engine starts it runs helpers that come and go, so only a process that
    *failed* and that nobody asks about counts; from `engine_is_up` on also every one of
    the engine's processes that is gone. What the engine is seen to work on without is
    forgotten, and its compilers, which torch ends when they have had nothing to do,
    never count.
    """

    def __init__(self, lost: Callable[[int], None], patience: float = PATIENCE) -> None:
        """``lost`` is called once, from the watching thread, with the number of dead
        processes.
        """
        self._lost = lost
        self._patience = patience
        self._before = descendants(os.getpid())
        self._engine: set[int] = set()
        self._survived: set[int] = set()
        self._watching = True
        self._last_sign = time.monotonic()
        threading.Thread(target=self._run, daemon=True).start()

    def sign(self) -> None:
        """The engine has just done something, so it is not waiting in vain."""
        self._last_sign = time.monotonic()

    def engine_is_up(self) -> None:
        """All processes that have appeared are the engine's and are to stay."""
        self._engine = {
            pid
            for pid in descendants(os.getpid()) - self._before
            if _COMPILER not in command_of(pid)
        }
        names = ", ".join(sorted({name_of(pid) for pid in self._engine}))
        print(
            f"logdrift: watching {len(self._engine)} engine processes: {names}",
            flush=True,
        )

    def stop(self) -> None:
        """The engine is being closed: its processes may end."""
        self._watching = False

    def _run(self) -> None:
        noticed: float | None = None
        while self._watching:
            dead = self._dead()
            now = time.monotonic()
            if noticed is not None and self._last_sign - noticed > self._patience:
                self._survived |= dead
                dead = set()
            if not dead:
                noticed = None
            elif noticed is None:
                noticed = now
            if noticed is not None and self._is_silent(now, since=noticed):
                self._lost(len(dead))
                return
            time.sleep(_PERIOD)

    def _dead(self) -> set[int]:
        """Processes that failed or are gone, but for those that the engine outlived."""
        here = os.getpid()
        gone = self._engine - descendants(here)
        return (failed_zombies(here) | gone) - self._survived

    def _is_silent(self, now: float, since: float) -> bool:
        """Whether too long nothing came of the engine, which is not being closed."""
        quiet = now - max(since, self._last_sign)
        return quiet > self._patience and self._watching
