"""A report as a file, from the screen: the ending of its name decides the form."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import user_path
from logdrift.core.report.forms import FORMS
from logdrift.core.report.output import check_output, without_flag, write_output
from logdrift.core.session.reader import Session
from logdrift.tui.models.state import Mark, load_state

if TYPE_CHECKING:
    from logdrift.core.report.marks import NotedToken


def default_name(session: Session, folder: Path) -> str:
    """A name for a Markdown file that is not in ``folder`` yet."""
    return offered_name(session.name, "-report.md", folder)


def offered_name(session: str, ending: str, folder: Path) -> str:
    """The name of a session with an ``ending`` (``-report.md``), as a file that is not
    in ``folder`` yet.
    """
    characters = map(_safe, session)
    stem = "".join(characters).strip(".")
    stem = stem[:60] or "session"
    return free_name(f"{stem}{ending}", folder)


def _safe(character: str) -> str:
    """The character where every file system takes it, or an underscore."""
    is_word = character.isascii() and character.isalnum()
    if is_word or character in "-_.":
        return character
    return "_"


def free_name(name: str, folder: Path) -> str:
    """The name, numbered where ``folder`` has it already."""
    stem, dot, ending = name.rpartition(".")
    free = name
    for number in itertools.count(2):
        path = folder / free
        if not path.exists():
            break
        free = f"{stem}-{number}{dot}{ending}"
    return free


def problem(
    name: str, session: Path | None, endings: Collection[str] = tuple(FORMS)
) -> str:
    """What is wrong with a file name, in one line; "" for nothing. No ``endings``: any
    will do.

    Nothing is written into the folder of ``session``.
    """
    if not name.strip():
        return "type a file name"
    try:
        path = user_path(name)
        ending = path.suffix.lower()
        if endings and ending not in endings:
            possible = " ".join(endings)
            return f"end the name in {possible}: it decides what is written"
        no_session = path / "none"
        check_output(path, session or no_session)
        taken = path.exists()
    except InputError as error:
        return without_flag(error)
    except OSError as error:
        return f"no file can have this name: {error.strerror}"
    if taken:
        return f"{name} exists: type another name"
    return ""


def write_report(name: str, text: str) -> str:
    """Write the file: what was done, in one line. Raises LogdriftError. Not for the
    event loop.
    """
    path = user_path(name)
    try:
        write_output(path, text)
    except LogdriftError as error:
        reason = without_flag(error)
        raise LogdriftError(reason) from None
    size = path.stat().st_size
    return f"written: {path.absolute()} ({size:,} bytes)"


def kept_marks(session: Session) -> tuple[NotedToken, ...]:
    """The marks that the explorer keeps of a session, for its report."""
    state, _ = load_state(session.manifest.id)
    return noted_tokens(state.marks)


def noted_tokens(marks: Iterable[Mark]) -> tuple[NotedToken, ...]:
    """The marks of the explorer as a report takes them."""
    from logdrift.core.report.marks import NotedToken

    return tuple(NotedToken(mark.position, mark.note) for mark in marks)
