"""Places in a session: as they are typed (``3:120``, ``120``), and the nearest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logdrift.core.errors import InputError
from logdrift.core.session.reader import Sequences

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]


def parse_place(text: str, sequences: Sequences, sequence: int) -> int:
    """The flat position of a place as it is typed.

    ``SEQUENCE:POSITION``, ``SEQUENCE:`` (its first token), or ``POSITION`` in
    ``sequence``. Raises InputError where there is no such place.
    """
    parts = text.strip().partition(":")
    before, colon, after = map(str.strip, parts)
    index_text = before
    if colon:
        sequence = _number(before, text)
        index_text = after or "0"
    count = len(sequences)
    if sequence >= count:
        last = count - 1
        raise InputError(f"there is no sequence {sequence}: they are 0 to {last}")
    start, stop = sequences.bounds(sequence)
    tokens = stop - start
    index = _number(index_text, text)
    if index >= tokens:
        last = tokens - 1
        raise InputError(
            f"sequence {sequence} has no position {index}: they are 0 to {last}"
        )
    return start + index


def write_place(sequences: Sequences, position: int) -> str:
    """A flat position as ``parse_place`` reads it."""
    sequence = sequence_of(sequences, position)
    start = int(sequences.offsets[sequence])
    index = position - start
    return f"{sequence}:{index}"


def sequence_of(sequences: Sequences, position: int) -> int:
    """The sequence that holds a flat position; the last one for a position after
    all.
    """
    offsets = sequences.offsets
    starts_before = int(offsets.searchsorted(position, "right"))
    return min(starts_before, len(sequences)) - 1


def beside(positions: Positions, position: int, step: int) -> int | None:
    """The nearest of ascending ``positions`` strictly after a position.

    ``step`` -1: the nearest strictly before it. None where there is none.
    """
    if step > 0:
        index = int(positions.searchsorted(position, "right"))
    else:
        count_before = int(positions.searchsorted(position, "left"))
        index = count_before - 1
    if 0 <= index < len(positions):
        nearest = positions[index]
        return int(nearest)
    return None


def _number(text: str, typed: str) -> int:
    """A typed number; ``typed`` is the whole place, for the error."""
    is_number = text.isascii() and text.isdigit()
    if not is_number or len(text) >= 10:
        place = typed.strip()
        raise InputError(f"{place!r} is not a place: write 120, 3:120 or #30010")
    return int(text)
