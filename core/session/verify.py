"""Whether parts are as they were written: their SHA-256 against the manifest's.

A file is hashed once in a process, and before a number is made of a part. A screen does
not wait: hashing a part takes longer than reading the few rows that it shows. It says
that the part is not checked yet until the digest is known.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from logdrift.core.errors import InputError
from logdrift.core.session.tensors import FileStamp, OpenFile

_BLOCK = 1 << 20

_Opened = tuple[Path, FileStamp]
"""A file as it was when it was opened."""
_digests: dict[_Opened, str] = {}
_locks: dict[_Opened, threading.Lock] = {}


class Trust:
    """Whether some files, a capture's parts, are as they were written. ``remedy`` says
    what to do where one is not.
    """

    def __init__(self, files: Sequence[tuple[OpenFile, str]], remedy: str) -> None:
        # Sessions of others may have no digests: those parts cannot be checked.
        self.files = [entry for entry in files if entry[1]]
        self.remedy = remedy
        self._damaged: Path | None = None
        self.known = not self.files
        self._begun = False

    def wait(self) -> None:
        """Find out, if that was not done yet. Raises InputError that names the damaged
        file.
        """
        if not self.known:
            self._damaged = self._first_damaged()
            self.known = True
        problem = self.problem
        if problem is not None:
            raise problem

    @property
    def problem(self) -> InputError | None:
        """The error about the first damaged file, where one was found."""
        if self._damaged is None:
            return None
        reason = "is damaged: its digest is not the one in session.json"
        return InputError(reason, file=self._damaged, remedy=self.remedy)

    def _first_damaged(self) -> Path | None:
        for file, digest in self.files:
            if not _as_written(file, digest):
                return file.path
        return None

    def wait_off_screen(self) -> None:
        """As `wait` does, but in the main thread, which draws a screen: there it is
        only begun, in the background.
        """
        thread = threading.current_thread()
        draws_screen = thread is threading.main_thread()
        if not draws_screen:
            self.wait()
        elif not self.known and not self._begun:
            self._begun = True
            _background(self)


def _as_written(file: OpenFile, digest: str) -> bool:
    """Whether the file has its digest. Raises InputError where it cannot be read, or
    has changed since it was opened.
    """
    key = (file.path, file.stamp)
    lock = _locks.setdefault(key, threading.Lock())
    with lock:
        if key not in _digests:
            _digests[key] = _digest(file)
    return _digests[key] == digest


def _digest(file: OpenFile) -> str:
    # loading OpenSSL is a tenth of opening a session, which needs no digest
    import hashlib

    hasher = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with file.descriptor() as descriptor:
        at = 0
        while count := os.preadv(descriptor, [buffer], at):
            hasher.update(view[:count])
            at += count
    with file.descriptor():  # it has not changed meanwhile
        pass
    return f"sha256:{hasher.hexdigest()}"


_LATER = 0.5
"""Seconds before the first file is hashed in the background: until then the first
screen needs the processor.
"""
_waiting: queue.SimpleQueue[Trust] = queue.SimpleQueue()
_starting = threading.Lock()
_worker: threading.Thread | None = None


def _background(trust: Trust) -> None:
    global _worker
    _waiting.put(trust)
    with _starting:
        if _worker is not None:
            return
        _worker = threading.Thread(target=_work, name="digests", daemon=True)
        _worker.start()


def _work() -> None:
    time.sleep(_LATER)
    while True:
        trust = _waiting.get()
        # The result is kept in `trust`; a file that cannot be read is reported where
        # it is read.
        with contextlib.suppress(InputError):
            trust.wait()
