"""What was typed before, newest last: searches, filters, commands. Kept for all
sessions in ``$XDG_STATE_HOME/logdrift``; whatever goes wrong with the file, there is no
history then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from logdrift.core.config import state_folder
from logdrift.core.errors import InputError
from logdrift.core.session.below import replace_file
from logdrift.core.session.files import SMALL_BYTES, parse_json, read_file

HistoryKind = Literal["search", "filter", "command", "text"]
KEPT = 100
"""Entries of a kind."""
_LONGEST = 1000


def typed_before(kind: HistoryKind) -> list[str]:
    """What was typed in lines of a kind, the newest last."""
    return _entries(_read(), kind)


def remember_typed(kind: HistoryKind, text: str) -> bool:
    """Add a text as the newest one; False where it could not be written.

    Others may write at the same time: the last one wins, and no file is torn.
    """
    path = _file()
    if path is None or not text.strip() or len(text) > _LONGEST:
        return False
    histories = _read()
    entries = [entry for entry in _entries(histories, kind) if entry != text]
    histories[kind] = [*entries, text][-KEPT:]
    content = json.dumps(histories)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path.parent, path.name, content.encode())
    except OSError:
        return False
    return True


def _file() -> Path | None:
    folder = state_folder()
    if folder is None:
        return None
    return folder / "typed.json"


def _read() -> dict[str, object]:
    path = _file()
    if path is None:
        return {}
    try:
        saved = parse_json(read_file(path, SMALL_BYTES))
    except (OSError, InputError, ValueError):
        return {}
    if isinstance(saved, dict):
        return saved
    return {}


def _entries(histories: dict[str, object], kind: HistoryKind) -> list[str]:
    saved = histories.get(kind)
    if not isinstance(saved, list):
        return []
    texts = [entry for entry in saved if isinstance(entry, str)]
    return texts[-KEPT:]


class Recall:
    """Going through what was typed before; what is typed now is its newest end.

    ``entries`` are the newest last.
    """

    def __init__(self, entries: list[str]) -> None:
        self._entries = entries
        self._place = len(entries)
        self._draft = ""

    def older(self, typed: str) -> str | None:
        """The entry before, None where there is none; ``typed`` is what stands there
        now.
        """
        if self._place == len(self._entries):
            self._draft = typed
        place = self._place - 1
        while place >= 0 and self._entries[place] == typed:
            place -= 1
        if place < 0:
            return None
        self._place = place
        return self._entries[place]

    def newer(self) -> str | None:
        """The entry after, at the end what was typed; None behind it."""
        if self._place >= len(self._entries):
            return None
        self._place += 1
        if self._place == len(self._entries):
            return self._draft
        return self._entries[self._place]
