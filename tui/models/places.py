"""Places in a session as they are typed: ``3:120``, ``120``."""

from __future__ import annotations

from logdrift.core.errors import InputError
from logdrift.core.session.reader import Sequences


def parse_place(text: str, sequences: Sequences, sequence: int) -> int:
    """The flat position of ``SEQUENCE:POSITION``, ``SEQUENCE:`` or ``POSITION`` in
    ``sequence``. InputError says what is wrong.
    """
    before, colon, after = (part.strip() for part in text.strip().partition(":"))
    index_text = before
    if colon:
        sequence = _number(before, text)
        index_text = after or "0"
    if sequence >= len(sequences):
        last = len(sequences) - 1
        raise InputError(f"there is no sequence {sequence}: they are 0 to {last}")
    start, stop = sequences.bounds(sequence)
    index = _number(index_text, text)
    if index >= stop - start:
        last = stop - start - 1
        raise InputError(
            f"sequence {sequence} has no position {index}: they are 0 to {last}"
        )
    return start + index


def write_place(sequences: Sequences, position: int) -> str:
    """A flat position as ``parse_place`` reads it."""
    sequence = sequence_of(sequences, position)
    return f"{sequence}:{position - int(sequences.offsets[sequence])}"


def sequence_of(sequences: Sequences, position: int) -> int:
    """The sequence that holds a flat position, the last one for a position behind
    all.
    """
    sequence = int(sequences.offsets.searchsorted(position, "right")) - 1
    return min(sequence, len(sequences) - 1)


def _number(text: str, typed: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(
            f"{typed.strip()!r} is not a place: write 120, 3:120 or #30010"
        )
    return int(text)
