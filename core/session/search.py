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
    Flags = npt.NDArray[np.bool_]

_ID = re.compile(r"#(\d{1,9})")
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
        with_newlines = query.replace("↵", "\n")
        text = with_newlines.encode("utf-8", "surrogateescape")
        if not text:
            raise InputError("nothing to look for")
        flags = re.RegexFlag(0)
        if query == query.lower():
            flags = re.IGNORECASE
        pattern = re.compile(re.escape(text), flags)
        matches = pattern.finditer(self.text)
        first_matches = itertools.islice(matches, _MOST)
        starts = [match.start() for match in first_matches]
        at = np.array(starts, np.int64)
        return self._tokens_of(at, len(text))

    def _tokens_of(self, at: Positions, size: int) -> Matches:
        """The tokens of ``size`` bytes from each of ``at`` on, where these lie within
        one sequence.
        """
        last_byte = at + size - 1
        first = self._token_at(at)
        last = self._token_at(last_byte)
        within = _within_one(self.sequences, first, last)
        first = first[within]
        last = last[within]
        starts, index = np.unique(first, return_index=True)
        return Matches(starts, last[index] + 1)

    def _token_at(self, at: Positions) -> Positions:
        """The token that each byte belongs to, int64[n]: empty pieces, which start
        where the next one does, have none.
        """
        bytes_of_tokens = at.astype(self.starts.dtype)
        next_tokens = np.searchsorted(self.starts, bytes_of_tokens, "right")
        tokens = next_tokens - 1
        return np.asarray(tokens, np.int64)


def text_index(sequences: Sequences, pieces: Pieces) -> TextIndex:
    """Join the pieces of all tokens. Not for an event loop."""
    ids, id_of_token = np.unique(sequences.token_ids, return_inverse=True)
    piece_of = []
    for token_id in ids.tolist():
        piece = pieces.get(token_id)
        piece_of.append(piece or b"")
    piece_lengths = [len(piece) for piece in piece_of]
    lengths = np.array(piece_lengths, np.int64)
    token_lengths = lengths[id_of_token]
    ends = np.cumsum(token_lengths)
    starts = np.concatenate([[0], ends])
    indices = id_of_token.tolist()
    token_pieces = [piece_of[index] for index in indices]
    text = b"".join(token_pieces)
    fits_32_bits = len(text) < 1 << 32
    if fits_32_bits:
        starts = starts.astype(np.uint32)
    else:
        starts = starts.astype(np.uint64)
    return TextIndex(sequences, text, starts)


def find_ids(sequences: Sequences, query: list[int]) -> Matches:
    """Where the ids of ``query`` follow one another within one sequence."""
    ids = sequences.token_ids
    last_step = len(query) - 1
    room = len(ids) - last_step
    if not query or room <= 0:
        none = np.empty(0, np.int64)
        return Matches(none, none)
    first_id, *next_ids = query
    begins = ids[:room] == first_id
    starts = np.flatnonzero(begins)
    for step, token_id in enumerate(next_ids, 1):
        follows = ids[starts + step] == token_id
        starts = starts[follows]
    last = starts + last_step
    within = _within_one(sequences, starts, last)
    ends = last[within] + 1
    return Matches(starts[within], ends)


def _within_one(sequences: Sequences, first: Positions, last: Positions) -> Flags:
    """Whether both tokens lie in one sequence, bool[n]."""
    offsets = sequences.offsets
    sequence_of_first = np.searchsorted(offsets, first, "right")
    sequence_of_last = np.searchsorted(offsets, last, "right")
    return np.asarray(sequence_of_first == sequence_of_last)


def parse_ids(query: str) -> list[int] | None:
    """The ids of ``#30010`` or ``#12 #7``; None where the query is text."""
    words = query.split()
    if not words:
        return None
    ids = []
    for word in words:
        written = _ID.fullmatch(word)
        if written is None:
            return None
        ids.append(int(written[1]))
    return ids
