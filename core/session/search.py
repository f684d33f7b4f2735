"""Finding text and token ids in all sequences. Text may span tokens.

The index holds the text of a session in memory, and four bytes for each token.
"""

from __future__ import annotations

import itertools
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
        text = query.replace("↵", "\n").encode("utf-8", "surrogateescape")
        if not text:
            raise InputError("nothing to look for")
        flags = re.IGNORECASE if query == query.lower() else 0
        matches = re.finditer(re.escape(text), self.text, flags)
        starts = [match.start() for match in itertools.islice(matches, _MOST)]
        return self._tokens_of(np.array(starts, np.int64), len(text))

    def _tokens_of(self, at: Positions, size: int) -> Matches:
        """The tokens of ``size`` bytes from each of ``at`` on, where these lie within
        one sequence.
        """
        first = self._token_at(at)
        last = self._token_at(at + size - 1)
        within = _within_one(self.sequences, first, last)
        starts, index = np.unique(first[within], return_index=True)
        return Matches(starts, last[within][index] + 1)

    def _token_at(self, at: Positions) -> Positions:
        """The token that each byte belongs to, int64[n]: empty pieces, which start
        where the next one does, have none.
        """
        behind = np.searchsorted(self.starts, at.astype(self.starts.dtype), "right")
        return np.asarray(behind - 1, np.int64)


def text_index(sequences: Sequences, pieces: Pieces) -> TextIndex:
    """Join the pieces of all tokens. Not for an event loop."""
    ids, id_of_token = np.unique(sequences.token_ids, return_inverse=True)
    piece_of = [pieces.get(token_id) or b"" for token_id in ids.tolist()]
    lengths = np.array([len(piece) for piece in piece_of], np.int64)
    ends = np.cumsum(lengths[id_of_token])
    starts = np.concatenate([[0], ends])
    text = b"".join([piece_of[index] for index in id_of_token.tolist()])
    fits_32_bits = len(text) < 1 << 32
    dtype = np.uint32 if fits_32_bits else np.uint64
    return TextIndex(sequences, text, starts.astype(dtype))


def find_ids(sequences: Sequences, query: list[int]) -> Matches:
    """Where the ids of ``query`` follow one another within one sequence."""
    ids = sequences.token_ids
    room = len(ids) - len(query) + 1
    if not query or room <= 0:
        none = np.empty(0, np.int64)
        return Matches(none, none)
    starts = np.flatnonzero(ids[:room] == query[0])
    for step, token_id in enumerate(query[1:], 1):
        starts = starts[ids[starts + step] == token_id]
    last = starts + len(query) - 1
    within = _within_one(sequences, starts, last)
    return Matches(starts[within], last[within] + 1)


def _within_one(
    sequences: Sequences, first: Positions, last: Positions
) -> npt.NDArray[np.bool_]:
    """Whether both tokens lie in one sequence, bool[n]."""
    sequence_of_first = np.searchsorted(sequences.offsets, first, "right")
    sequence_of_last = np.searchsorted(sequences.offsets, last, "right")
    return np.asarray(sequence_of_first == sequence_of_last)


def parse_ids(query: str) -> list[int] | None:
    """The ids of ``#30010`` or ``#12 #7``; None where the query is text."""
    words = query.split()
    if not words or not all(re.fullmatch(r"#\d{1,9}", word) for word in words):
        return None
    return [int(word[1:]) for word in words]
