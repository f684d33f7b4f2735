"""Where a reader was: kept outside the session folder, which the explorer never writes.

``$XDG_STATE_HOME/logdrift`` (or ``~/.local/state/logdrift``) holds one small file for
each session id. It is a convenience: whatever goes wrong with it is at most a notice.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from logdrift.core.compare.per_sequence import REDUCTIONS
from logdrift.core.config import state_folder
from logdrift.core.errors import InputError
from logdrift.core.session.below import replace_file
from logdrift.core.session.files import SMALL_BYTES, parse_json, read_file
from logdrift.core.session.schema import (
    Unfit,
    anything,
    fields,
    flag,
    items,
    number,
    text,
    whole,
)
from logdrift.tui.models.modes import MODES

SORTS = tuple(reduction.name for reduction in REDUCTIONS)
MODE_NAMES = tuple(mode.name for mode in MODES)
MAX_NOTE = 200
NOWHERE = -1
DEFAULT_THRESHOLD = 0.1
"""Nats: about a tenth more or less probable."""
THRESHOLDS = tuple(float(f"{m}e{e}") for e in range(-6, 2) for m in (1, 2, 5))


class Mark(NamedTuple):
    """A flat token index with a note."""

    position: int
    note: str = ""


class ViewState(NamedTuple):
    """``position`` is a flat token index, `NOWHERE` before the first look; ``pair``
    holds two capture labels or None for the default pair.

    ``threshold`` is in nats of delta; ``thresholds`` are those of modes with another
    scale, by name. ``marks`` are in the order of their positions. ``filter`` is what
    was typed, "" for all sequences. ``boundaries``: whether tokens within a word are
    told apart.
    """

    pair: tuple[str, str] | None = None
    position: int = NOWHERE
    sort: str = "number"
    threshold: float = DEFAULT_THRESHOLD
    mode: str = "delta"
    thresholds: tuple[tuple[str, float], ...] = ()
    filter: str = ""
    marks: tuple[Mark, ...] = ()
    boundaries: bool = False


def _file(session_id: str) -> Path | None:
    folder = state_folder()
    if not folder:
        return None
    # The id comes from a file, where it may be a number: what could lead out of the
    # folder is replaced, and the checksum keeps such ids apart.
    session_id = str(session_id)
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", session_id)
    safe = safe[:48]
    encoded = session_id.encode("utf-8", "surrogatepass")
    checksum = zlib.crc32(encoded)
    return folder / f"{safe}-{checksum:08x}.json"


def load_state(session_id: str) -> tuple[ViewState, str | None]:
    """The saved view and, where a file was damaged or could not be read, a notice in
    one line.
    """
    path = _file(session_id)
    if path is None:
        return ViewState(), None
    try:
        text = read_file(path, SMALL_BYTES)
        saved = parse_json(text)
        return _parse(saved), None
    except FileNotFoundError:
        return ViewState(), None
    except (OSError, InputError) as error:
        notice = f"the last view could not be read ({error}): starting at the top"
    except ValueError:
        notice = (
            "the saved view of this session is damaged and was ignored: starting at the"
            " top"
        )
    return ViewState(), notice


def _parse(data: Any) -> ViewState:
    given = _saved(data)
    if given["sort"] not in SORTS:
        raise ValueError
    # Files of older versions have fewer keys; a mode that only a newer version knows is
    # not damage.
    mode = given.get("mode", "delta")
    thresholds = given.get("thresholds", ())
    return ViewState(
        pair=given["pair"],
        position=given["position"],
        sort=given["sort"],
        threshold=given["threshold"],
        mode=mode if mode in MODE_NAMES else "delta",
        thresholds=tuple(entry for entry in thresholds if entry[0] in MODE_NAMES),
        filter=given.get("filter", ""),
        marks=_marks(given.get("marks", ())),
        boundaries=given.get("boundaries", False),
    )


def _pair(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    first, second = items(text)(value)
    return first, second


def _position(value: Any) -> int:
    return max(0, int(whole()(value)))


def _threshold(value: Any) -> float:
    threshold = float(number(value))
    if threshold <= 0:
        raise Unfit("is not above 0")
    return threshold


def _named_threshold(value: Any) -> tuple[str, float]:
    name, threshold = items(anything)(value)
    return text(name), _threshold(threshold)


_saved = fields(
    {
        "pair": _pair,
        "position": _position,
        "sort": text,
        "threshold": _threshold,
        "mode": text,
        "thresholds": items(_named_threshold),
        "filter": text,
        "boundaries": flag,
        "marks": items(
            fields(
                {"position": _position, "note": text}, frozenset({"position", "note"})
            )
        ),
    },
    frozenset({"pair", "position", "sort", "threshold"}),
)


def _marks(given: Iterable[Mapping[str, Any]]) -> tuple[Mark, ...]:
    marks: dict[int, str] = {}
    for mark in given:
        position = mark["position"]
        marks[position] = mark["note"][:MAX_NOTE]
    return tuple(Mark(position, marks[position]) for position in sorted(marks))


def merge_marks(
    mine: Iterable[Mark], seen: Iterable[Mark], theirs: Iterable[Mark]
) -> tuple[Mark, ...]:
    """``theirs``, with what ``mine`` has changed since ``seen``: added, another note,
    taken away.
    """
    known = {mark.position: mark for mark in seen}
    own = {mark.position: mark for mark in mine}
    removed = known.keys() - own.keys()
    kept = [mark for mark in theirs if mark.position not in removed]
    merged = {mark.position: mark for mark in kept}
    for position, mark in own.items():
        if known.get(position) != mark:
            merged[position] = mark
    positions = sorted(merged)
    ordered = [merged[position] for position in positions]
    return tuple(ordered)


def _as_json(state: ViewState) -> dict[str, Any]:
    marks = [mark._asdict() for mark in state.marks]
    return {**state._asdict(), "marks": marks}


def save_state(
    session_id: str, state: ViewState, seen: Iterable[Mark] | None = None
) -> bool:
    """Replace the file of this session. False where nothing could be written: a
    read-only home is not an error.

    ``seen``: the marks when this reader came; those that another reader has made since
    then are kept.
    """
    path = _file(session_id)
    if path is None:
        return False
    if seen is not None:
        saved, _ = load_state(session_id)
        marks = merge_marks(state.marks, seen, saved.marks)
        state = state._replace(marks=marks)
    content = json.dumps(_as_json(state))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path.parent, path.name, content.encode())
    except OSError:
        return False
    return True
