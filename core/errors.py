"""The two ways a command ends badly: one line that says what is wrong, where, and how
to fix it.

An error carries these as data. The line that is printed is made of them; no code looks
into that line to find out what it is about.
"""

from __future__ import annotations

import os
from typing import NamedTuple, TypedDict, TypeVar

_Error = TypeVar("_Error", bound="LogdriftError")


class ErrorData(TypedDict):
    """An error as JSON, for another process."""

    reason: str
    field: str | None
    where: str | None
    file: str | None
    line: int | None
    remedy: str | None
    input: bool


class LogdriftError(Exception):
    """A run that failed for a reason outside the input: exit code 1, one line, no
    traceback.

    ``reason`` says what is wrong and ``remedy`` how to fix it. ``file`` and ``line``
    (counted from 1) say where it was read; ``where`` names the place in the words of
    the printed line, if these differ from ``FILE line N``. ``field`` is the dotted name
    of what was asked for that it is about (``model``, ``sampling.temperature``,
    ``backend[NAME].paths``, ``prompts[3]``): for a form that points at it; it is not
    printed.
    """

    exit_code = 1

    def __init__(
        self,
        reason: str,
        *,
        field: str | None = None,
        where: str | None = None,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.where = where
        self.file = None if file is None else os.fspath(file)
        self.line = line
        self.remedy = remedy

    def __str__(self) -> str:
        """``FILE line N: REASON: REMEDY``, without what is not known."""
        parts = [self._place(), self.reason, self.remedy]
        return ": ".join(part for part in parts if part)

    def _place(self) -> str:
        if self.where is not None:
            return self.where
        if self.line is None:
            numbered = ""
        else:
            numbered = f"line {self.line}"
        return " ".join(part for part in (self.file, numbered) if part)

    def within(
        self: _Error,
        where: str = "",
        *,
        field: str | None = None,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
    ) -> _Error:
        """This error, found inside of something larger: ``where`` is printed before
        its own place, and the rest fills in what it does not know itself.
        """
        self.where = ": ".join(part for part in (where, self._place()) if part)
        self.field = self.field or field
        if self.file is None and file is not None:
            self.file = os.fspath(file)
            self.line = self.line or line
        return self

    def to_json(self) -> ErrorData:
        """The error as data; `error_of` makes it again."""
        return ErrorData(
            reason=self.reason,
            field=self.field,
            where=self.where,
            file=self.file,
            line=self.line,
            remedy=self.remedy,
            input=isinstance(self, InputError),
        )


class InputError(LogdriftError):
    """Bad input (flags, plan, prompts, session folder): exit code 2, and nothing on
    disk was changed.
    """

    exit_code = 2


class CannotWrite(LogdriftError):
    """The disk does not take a file: whatever is written next would fail as well."""


class Place(NamedTuple):
    """Where something was given: ``words`` name it in the printed line, ``field``,
    ``file`` and ``line`` as in `LogdriftError`.
    """

    words: str
    field: str | None = None
    file: str | None = None
    line: int | None = None

    def error(self, reason: str, remedy: str | None = None) -> InputError:
        """An error about what was given here."""
        return InputError(
            reason,
            field=self.field,
            where=self.words,
            file=self.file,
            line=self.line,
            remedy=remedy,
        )

    def part(self, words: str) -> Place:
        """A part of what was given here."""
        return self._replace(words=f"{self.words}, {words}")


def error_of(data: ErrorData) -> LogdriftError:
    """The error that another process met, from its `LogdriftError.to_json`."""
    kind = InputError if data["input"] else LogdriftError
    return kind(
        data["reason"],
        field=data["field"],
        where=data["where"],
        file=data["file"],
        line=data["line"],
        remedy=data["remedy"],
    )


debugging = False
"""Whether faults are looked for (``--debug``): an exception that no code foresaw then
ends the program with its traceback.
"""
unforeseen: list[Exception] = []
"""The exceptions that no code foresaw, oldest first: each is a fault of logdrift. The
tests look at them.
"""
_FILE_SHOWN = 60
"""Characters of a file's path in an error."""
_KEPT = 20
"""Unforeseen exceptions kept: a fault that comes with every key must not fill the
memory.
"""


def words_of(error: Exception) -> str:
    """One line about an exception, for a screen or a log.

    An exception that no code foresaw is named by its type and kept in `unforeseen`.
    """
    if isinstance(error, LogdriftError):
        return str(error)
    if isinstance(error, OSError):
        return _system_words(error)
    if len(unforeseen) < _KEPT:
        unforeseen.append(error)
    kind = f"unexpected {type(error).__name__}"
    text = " ".join(str(error).split())
    if not text:
        return kind
    return f"{kind}: {text}"


def words_inside(error: Exception, folder: str | os.PathLike[str]) -> str:
    """`words_of` for a line that names ``folder`` already: files by their place in it,
    so that what is wrong is not cut off behind a long path.
    """
    if isinstance(error, LogdriftError) and error.file is not None:
        place = _place_in(error.file, folder)
        if place is not None:
            parts = [place, error.reason, error.remedy]
            return ": ".join(part for part in parts if part)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        place = _place_in(error.filename, folder)
        if place:
            return f"{place}: {error.strerror or type(error).__name__}"
    return words_of(error)


def _place_in(file: str, folder: str | os.PathLike[str]) -> str | None:
    """The path of a file in a folder; empty for the folder itself, None elsewhere."""
    top = os.fspath(folder)
    if file == top:
        return ""
    if file.startswith(f"{top}{os.sep}"):
        return file[len(top) + 1 :]
    return None


def _system_words(error: OSError) -> str:
    """The file and the system's own words, without the number of the error; a path that
    is far too long is cut.
    """
    words = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return words
    file = str(error.filename)
    if len(file) > _FILE_SHOWN:
        file = f"{file[:_FILE_SHOWN]}…"
    return f"{file}: {words}"
