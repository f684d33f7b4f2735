"""When a request is sent again, and after how long."""

from __future__ import annotations

import datetime
import email.utils
import random
import time
from collections.abc import Callable

_FIRST_WAIT = 0.25
_LONGEST_WAIT = 8.0
_LONGEST_WAIT_OF_FAULTS = 1.0
FAULTS = 10
"""Times that one request may fail inside the server before it is given up: what one
request in three does by chance happens ten times in a row to one in 59,049.
"""
_TIMEOUTS = 2


class Transient(Exception):
    """A failure that may be over soon."""

    def __init__(
        self, reason: str, *, kind: str = "lost", after: float | None = None
    ) -> None:
        """``kind`` is ``lost`` (no answer came), ``busy`` (429 or 503), ``fault``
        (another 5xx) or ``timeout``; ``after`` how many seconds the server asked to be
        left alone.
        """
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.after = after


class Patience:
    """How long a server that fell silent is waited for: ``seconds``, and not at all
    before it has given its first answer, which is how a wrong address is told.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._is_known = False
        self._silent_since: float | None = None

    def answered(self) -> None:
        """The server gave an answer to any request."""
        self._is_known = True
        self._silent_since = None

    def failed(self) -> None:
        """It did not answer one."""
        if self._silent_since is None:
            self._silent_since = self._clock()

    def left(self) -> float:
        """Seconds that are left."""
        if not self._is_known:
            return 0.0
        if self._silent_since is None:
            return self._seconds
        return self._silent_since + self._seconds - self._clock()


class Retries:
    """The tries of one request."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures: list[str] = []

    @property
    def number(self) -> int:
        """Of the next try, from 1."""
        return len(self._failures) + 1

    def wait_after(self, failure: Transient) -> float | None:
        """Seconds until the request is sent again; None: it is given up.

        A server that is busy or gone is waited for as long as `Patience` allows.
        """
        self._failures.append(failure.kind)
        if failure.kind == "fault":
            # It works, though not for this request.
            self._patience.answered()
        else:
            self._patience.failed()
        if self._failures.count("fault") >= FAULTS:
            return None
        if self._failures.count("timeout") >= _TIMEOUTS:
            return None
        wait = self._next_wait(failure.kind)
        if failure.after is not None:
            wait = max(wait, failure.after)
        if failure.kind in ("lost", "busy") and wait > self._patience.left():
            return None
        return wait

    def _next_wait(self, kind: str) -> float:
        longest = _LONGEST_WAIT
        if kind == "fault":
            longest = _LONGEST_WAIT_OF_FAULTS
        doubled = _FIRST_WAIT * 2.0 ** (len(self._failures) - 1)
        wait = min(longest, doubled)
        # Requests that failed together must not come back together.
        return wait * random.uniform(0.5, 1.0)


def seconds_of(retry_after: str | None) -> float | None:
    """The header Retry-After in seconds: a number or a date (RFC 9110, 10.2.3); None
    where it is missing or says nothing.
    """
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=datetime.timezone.utc)
    now = datetime.datetime.now(datetime.timezone.utc)
    wait = (until - now).total_seconds()
    return max(0.0, wait)
