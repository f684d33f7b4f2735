"""The two ways a command ends badly: one line that says what is wrong, where, and how to
fix it.

An error carries these as data. The line that is printed is made of them; no code looks
into that line to find out what it is about.
"""

from __future__ import annotations

import os


class LogdriftError(Exception):
    """A run that failed for a reason outside the input: exit code 1, one line, no
    traceback.

    ``reason`` says what is wrong; ``file`` and ``line`` (counted from 1) where it was
    read; ``remedy`` how to fix it. ``field`` is the dotted name of what was asked for
    that it is about (``model``, ``sampling.temperature``, ``backend[NAME].paths``,
    ``prompts[3]``): for a form that points at it; it is not printed.
    """

    exit_code = 1

    def __init__(
        self,
        reason: str,
        *,
        field: str | None = None,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.file = None if file is None else os.fspath(file)
        self.line = line
        self.remedy = remedy

    def __str__(self) -> str:
        """``FILE line N: REASON: REMEDY``, without what is not known."""
        parts = [self._place(), self.reason, self.remedy]
        return ": ".join(part for part in parts if part)

    def _place(self) -> str:
        numbered = "" if self.line is None else f"line {self.line}"
        return " ".join(part for part in (self.file, numbered) if part)


class InputError(LogdriftError):
    """Bad input (flags, plan, prompts, session folder): exit code 2, and nothing on
    disk was changed.
    """

    exit_code = 2


debugging = False
"""Whether faults are looked for (``--debug``): what nobody foresaw then ends the
program with its traceback.
"""
unforeseen: list[Exception] = []
"""The exceptions that no code foresaw, oldest first: each is a fault of logdrift. The
tests look at them.
"""
_FILE_SHOWN = 60
"""Characters of a file's path in an error."""
_KEPT = 20
"""Of the unforeseen ones: a fault that comes with every key must not fill the memory.
"""


def words_of(error: Exception) -> str:
    """What is said of an exception, in one line where it has none of its own.

    One that nothing foresaw is named by its type and kept in `unforeseen`.
    """
    if isinstance(error, LogdriftError):
        return str(error)
    if isinstance(error, OSError):
        return _system_words(error)
    if len(unforeseen) < _KEPT:
        unforeseen.append(error)
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}" + (f": {text}" if text else "")


def _system_words(error: OSError) -> str:
    """The file and what the system says of it: without a number, and the file cut where
    it is far too long.
    """
    said = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return said
    file = str(error.filename)
    return f"{file if len(file) <= _FILE_SHOWN else file[:_FILE_SHOWN] + '…'}: {said}"
