"""Work that is done behind the one who asks for it: parts are written while the engine
computes the next ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

MOST = 4
"""Pieces of work that may wait: whoever asks for more is made to wait too, so that no
more than so many parts are in memory.
"""


class Behind:
    """Does pieces of work in a thread of its own, one after the other, in order.

    What a piece raises is raised by the next `do`, or at the end. At the end all that
    was asked for is done, whatever else has failed.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: deque[Future[None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        """Have one more piece of work done."""
        while self._waiting and self._waiting[0].done():
            self._wait_for_first()
        if len(self._waiting) >= MOST:
            self._wait_for_first()
        self._waiting.append(self._thread.submit(work))

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        while error is None and self._waiting:
            self._wait_for_first()

    def _wait_for_first(self) -> None:
        first = self._waiting.popleft()
        first.result()
