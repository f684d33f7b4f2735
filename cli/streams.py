"""The standard streams of a command: output is whole, or an error is raised.

Python drops what a short write leaves over where output is unbuffered, and reports a
full disk only at its very end. Streams that were closed make files, sockets and engines
take their descriptors, and then get what was meant for them.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any, TextIO, cast

from logdrift.core.errors import LogdriftError


class OutputError(LogdriftError):
    """Standard output did not take everything: exit code 1."""


class _Output(io.FileIO):
    """Writes all, waits for a reader that is slow, and raises OutputError in one
    line.
    """

    def write(self, data: Any) -> int:
        try:
            while (count := super().write(data)) is None:
                select.select([], [self], [])  # a pipe that does not block, and is full
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write to standard output: {error.strerror}"
            ) from None
        return count


class _Narration(io.FileIO):
    """Narration: nothing ends because it cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def steady_streams() -> None:
    """Take the place of the interpreter's standard streams, for a program that was just
    started.
    """
    _hold_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the program
    sys.stdout = _text(
        _Output(1, "w", closefd=False), like=sys.stdout, by_line=os.isatty(1)
    )
    sys.stderr = _text(_Narration(2, "w", closefd=False), like=sys.stderr, by_line=True)


def _hold_descriptors() -> None:
    """Where one of 0, 1 and 2 is closed, the next file would become it. Nothing can be
    read from, or written to, what takes its place; narration is lost.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)


def _text(raw: io.FileIO, *, like: TextIO | None, by_line: bool) -> TextIO:
    """A text stream with the encoding of ``like``; a character that it lacks is written
    as an escape, unless ``like`` has another way.
    """
    encoding = "utf-8"
    errors = "backslashreplace"
    if like is not None:
        encoding = like.encoding
        if like.errors not in (None, "strict"):
            errors = like.errors
        at_once = getattr(like, "write_through", False)
        by_line = by_line or at_once or getattr(like, "line_buffering", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors=errors,
        line_buffering=bool(by_line),
    )


def abandon_output() -> None:
    """The reader is gone, or the disk is full: drop what is left, without a message of
    the interpreter.
    """
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def write_document(text: str) -> None:
    """Write a document that says itself that it is UTF-8, or is read as that, whatever
    the terminal's encoding is.
    """
    sys.stdout.flush()
    bytes_out = cast(Any, getattr(sys.stdout, "buffer", None))
    if bytes_out is None:
        sys.stdout.write(text)
        return
    bytes_out.write(text.encode("utf-8", "backslashreplace"))
    bytes_out.flush()
