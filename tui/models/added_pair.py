"""What became of backends that were added to a session, and the pair to look at."""

from __future__ import annotations

from typing import NamedTuple

from logdrift.core.compare.pair import list_pairs
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible


class AddedEnd(NamedTuple):
    """How the captures of added backends ended, in words."""

    words: str
    failed: bool = False


def how_it_ended(session: Session, names: tuple[str, ...]) -> AddedEnd | None:
    """How it ended; None while it goes on, and before each of them has a capture."""
    captures = [info for info in session.captures if info.backend in names]
    failed = {info.backend for info in captures if info.status == "failed"}
    if failed:
        words = f"{_in_words(failed)} failed: the log says why"
        return AddedEnd(words, failed=True)
    begun = {info.backend for info in captures}
    if begun != set(names):
        return None
    if any(info.status != "complete" for info in captures):
        return None
    return AddedEnd(f"{_in_words(names)} is captured")


def _in_words(names: set[str] | tuple[str, ...]) -> str:
    joined = ", ".join(sorted(names))
    return visible(joined)


def added_pair(session: Session, names: tuple[str, ...]) -> tuple[str, str] | None:
    """The most wanted pair with a capture of these backends in it."""
    backends = {info.label: info.backend for info in session.captures}
    for a, b in list_pairs(session):
        if backends[a] in names or backends[b] in names:
            return a, b
    return None
