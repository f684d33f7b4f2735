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

    While the engine starts, it runs helpers that come and go. So only a process counts
    that *failed* and whose end its parent has not collected. From `engine_is_up` on,
    every process of the engine that is gone counts as well. A process without which the
    engine goes on working no longer counts, and its compilers, which torch ends when
    they are idle, never do.
    """

    def __init__(self, lost: Callable[[int], None], patience: float = PATIENCE) -> None:
        """``lost`` is called once, from the watching thread, with the number of dead
        processes; ``patience`` is in seconds.
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
        """Note that the engine has just done something, so it is not stuck."""
        self._last_sign = time.monotonic()

    def engine_is_up(self) -> None:
        """All processes started so far belong to the engine and must keep running."""
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
        """Whether the engine, which is not being closed, was silent for too long."""
        quiet = now - max(since, self._last_sign)
        return quiet > self._patience and self._watching
