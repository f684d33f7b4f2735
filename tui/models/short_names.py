"""Names of captures in few cells: whole where they fit, told apart in any case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from logdrift.core.session.visible import visible

_SHORTER = {"forced_decode": "forced"}
_ELLIPSIS = "…"


class ShortName(NamedTuple):
    """The backend of a capture, and its path with the number of the repeat."""

    backend: str
    path: str


def short_names(labels: Sequence[str], width: int) -> list[ShortName]:
    """A name of two lines of ``width`` cells for each label, no two alike.

    Where two would look alike, their places in the list stand before them.
    """
    names = [_short(label, width) for label in labels]
    out = []
    for place, name in enumerate(names, 1):
        if names.count(name) > 1:
            backend = _cut(f"{place} {name.backend}", width)
            name = ShortName(backend, name.path)
        out.append(name)
    return out


def _short(label: str, width: int) -> ShortName:
    backend, _, path = visible(label).rpartition("/")
    for long, shorter in _SHORTER.items():
        if cell_len(path) > width:
            path = path.replace(long, shorter)
    return ShortName(_cut(backend, width), _cut_before_number(path, width))


def _cut_before_number(path: str, width: int) -> str:
    """The path cut where it must be, its ``#2`` kept."""
    name, mark, number = path.partition("#")
    repeat = f"{mark}{number}"
    room = width - cell_len(repeat)
    if room < 2:
        return _cut(path, width)
    return _cut(name, room) + repeat


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    beginning = set_cell_size(text, width - 1)
    return f"{beginning}{_ELLIPSIS}"
