"""Finding text and token ids in all sequences. Text is looked for in the bytes, so it
may span tokens.

The index is the text of a session once more in memory: a byte for each of it and four
for each token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.session.reader import Pieces, Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

    Positions = npt.NDArray[np.int64]

_MOST = 1_000_000
"""Matches at most: more are of no use, and each costs time."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Flat tokens that matches start at, ascending and different, and the token behind
    the end of each: int64[n].
    """

    starts: Positions
    ends: Positions

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, eq=False)
class TextIndex:
    """``text`` is every piece, one after the other; ``starts`` u32 or u64[N+1] where
    the piece of each token begins.
    """

    sequences: Sequences
    text: bytes
    starts: npt.NDArray[np.unsignedinteger]

    def find(self, query: str) -> Matches:
        """Where the text of ``query`` stands within one sequence. All lower case finds
        upper case too (ASCII letters).

        ``↵`` stands for a newline. InputError for an empty query.
        """
        wanted = query.replace("↵", "\n").encode("utf-8", "surrogateescape")
        if not wanted:
            raise InputError("nothing to look for")
        flags = re.IGNORECASE if query == query.lower() else 0
        found = []
        for match in re.finditer(re.escape(wanted), self.text, flags):
            found.append(match.start())
            if len(found) >= _MOST:
                break
        return self._within(np.array(found, np.int64), len(wanted))

    def _within(self, at: Positions, size: int) -> Matches:
        # The token of the first and of the last byte: empty pieces, which start where
        # the next one does, are neither.
        first = np.searchsorted(self.starts, at.astype(self.starts.dtype), "right") - 1
        last = (
            np.searchsorted(
                self.starts, (at + size - 1).astype(self.starts.dtype), "right"
            )
            - 1
        )
        offsets = self.sequences.offsets
        same = np.searchsorted(offsets, first, "right") == np.searchsorted(
            offsets, last, "right"
        )
        starts, index = np.unique(first[same], return_index=True)
        return Matches(starts, last[same][index] + 1)


def text_index(sequences: Sequences, pieces: Pieces) -> TextIndex:
    """Join the pieces of all tokens. Not for an event loop."""
    ids, inverse = np.unique(sequences.token_ids, return_inverse=True)
    known = [pieces.get(token_id) or b"" for token_id in ids.tolist()]
    lengths = np.fromiter((len(piece) for piece in known), np.int64, len(known))
    starts = np.concatenate([[0], np.cumsum(lengths[inverse])])
    kind = np.uint32 if int(starts[-1]) < 1 << 32 else np.uint64
    return TextIndex(
        sequences, b"".join([known[i] for i in inverse.tolist()]), starts.astype(kind)
    )


def find_ids(sequences: Sequences, wanted: list[int]) -> Matches:
    """Where the ids of ``wanted`` follow one another within one sequence."""
    ids = sequences.token_ids
    room = len(ids) - len(wanted) + 1
    if not wanted or room <= 0:
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64))
    starts = np.flatnonzero(ids[:room] == wanted[0])
    for step, token_id in enumerate(wanted[1:], 1):
        starts = starts[ids[starts + step] == token_id]
    offsets = sequences.offsets
    last = starts + len(wanted) - 1
    same = np.searchsorted(offsets, starts, "right") == np.searchsorted(
        offsets, last, "right"
    )
    return Matches(starts[same], last[same] + 1)


def parse_ids(query: str) -> list[int] | None:
    """The ids of ``#30010`` or ``#12 #7``; None where the query is text."""
    words = query.split()
    if not words or not all(re.fullmatch(r"#\d{1,9}", word) for word in words):
        return None
    return [int(word[1:]) for word in words]
