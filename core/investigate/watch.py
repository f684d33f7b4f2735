"""Ending a capture in the middle: its time is up, or somebody cancels it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.2


class OverBudget(KeyboardInterrupt):
    """The time is up. It ends a capture as Ctrl-C does: the supervisor cleans up."""


@contextlib.contextmanager
def watched(
    time_is_up: Callable[[], bool], cancelled: Callable[[], bool]
) -> Iterator[None]:
    """Ask both functions again and again while the block runs, in the main thread.

    Raises KeyboardInterrupt in the block once ``cancelled`` is true, `OverBudget` once
    ``time_is_up`` is true.
    """

    def look(number: int, frame: object) -> None:
        if cancelled():
            _stop_looking()
            raise KeyboardInterrupt
        if time_is_up():
            _stop_looking()
            raise OverBudget

    old_handler = signal.signal(signal.SIGALRM, look)
    try:
        signal.setitimer(signal.ITIMER_REAL, _POLL_SECONDS, _POLL_SECONDS)
        yield
    finally:
        _stop_looking()
        signal.signal(signal.SIGALRM, old_handler)


def _stop_looking() -> None:
    # Before anything is raised: cleaning up must not be interrupted a second time.
    signal.setitimer(signal.ITIMER_REAL, 0)
