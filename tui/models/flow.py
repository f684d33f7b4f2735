"""Token text laid out in lines: natural flow, wrapped by cell width, without a widget.

A token is one or more fragments: a newline ends a fragment and its line, a very long
piece is cut. Work is vectorised over tokens; Python runs once per distinct id, once per
line and once per token that is no whole UTF-8, so a sequence of any length is cheap.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.cells import cell_len

from logdrift.core.session.reader import Pieces
from logdrift.core.session.visible import visible

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_FRAGMENT = 32
"""Cells of the longest fragment: below the narrowest line there is, so a fragment
always fits one line.
"""
PART = "‹"
"""Stands on a token that is nothing but a part of the character that the next tokens
complete.
"""
_WORD_ROOM = 24
"""A line may stay this many cells short to break between words."""
_LINES = re.compile("[^↵]*↵|[^↵]+")


class Fragment(NamedTuple):
    """A stretch of one token that stays on one line."""

    text: str
    cells: int
    starts_word: bool
    ends_line: bool


def fragments_of(shown: str) -> tuple[Fragment, ...]:
    """Fragments of a visible piece. An empty piece still has one cell, or it could not
    be pointed at.
    """
    out: list[Fragment] = []
    for line in _LINES.findall(shown or "∅"):
        rest = line
        while rest:
            text = rest if cell_len(rest) <= MAX_FRAGMENT else _head(rest)
            rest = rest[len(text) :]
            ends = not rest and text.endswith("↵")
            out.append(Fragment(text, cell_len(text), text.startswith(" "), ends))
    return tuple(out)


def _head(text: str) -> str:
    """The longest start of ``text`` within `MAX_FRAGMENT` cells."""
    used = 0
    for index, char in enumerate(text):
        used += cell_len(char)
        if used > MAX_FRAGMENT:
            return text[:index]
    return text


class FragmentCache:
    """Fragments by token id, made when first met. Ids below 0 stand for texts that
    `joined` made.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._known: dict[int, tuple[Fragment, ...]] = {}
        self._broken: dict[int, bytes] = {}
        self._made: dict[str, int] = {}

    def __getitem__(self, token_id: int) -> tuple[Fragment, ...]:
        known = self._known.get(token_id)
        if known is None:
            return self._make(token_id)
        return known

    def _make(self, token_id: int) -> tuple[Fragment, ...]:
        fragments = fragments_of(self._pieces.text(token_id))
        self._known[token_id] = fragments
        piece = self._pieces.get(token_id)
        if piece is not None and not whole_text(piece):
            self._broken[token_id] = piece
        return fragments

    def joined(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """``ids`` with those replaced whose bytes are parts of characters that span
        tokens: the character stands on the token that completes it, and `PART` on one
        that holds nothing else than a part.
        """
        unique = distinct(ids)
        for token_id in unique.tolist():
            _ = self[token_id]
        is_broken = (token_id in self._broken for token_id in unique.tolist())
        broken = np.fromiter(is_broken, bool, len(unique))
        if not broken.any():
            return ids
        positions = np.flatnonzero(broken[np.searchsorted(unique, ids)])
        out = ids.copy()
        for run in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
            if len(run) > 1:
                out[run] = self._joined_run(ids[run])
        return out

    def _joined_run(self, ids: npt.NDArray[np.int32]) -> list[int]:
        """The ids of neighbouring parts of characters, shown together."""
        pieces = [self._broken[token_id] for token_id in ids.tolist()]
        return [self._made_id(text) for text in shown_together(pieces)]

    def _made_id(self, text: str) -> int:
        if text not in self._made:
            made_id = -1 - len(self._made)
            self._made[text] = made_id
            self._known[made_id] = fragments_of(text)
        return self._made[text]


_MANY = 20_000
"""Ids from which on NumPy's own way is faster, by more than its import."""


def distinct(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The distinct ids in order, as `numpy.unique`, whose first call imports masked
    arrays: 8 ms of every start.
    """
    ordered = np.sort(ids)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def whole_text(piece: bytes) -> bool:
    """Whether a piece is whole characters, in UTF-8."""
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shown_together(pieces: list[bytes]) -> list[str]:
    """Neighbouring pieces as visible text, each character in the piece that has its
    last byte; bytes that make no character even together stay escaped where they are.
    """
    texts = ["" for _ in pieces]
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    piece = 0
    for char, _, end in _chars(pieces):
        while ends[piece] < end:
            piece += 1
        texts[piece] += visible(char)
    return [
        text or (PART if raw else "") for text, raw in zip(texts, pieces, strict=True)
    ]


def _chars(pieces: list[bytes]) -> Iterator[tuple[str, int, int]]:
    """Each character of the joined pieces, with its first byte and the one behind it;
    a byte that makes none is one as a surrogate.
    """
    start = 0
    for char in b"".join(pieces).decode("utf-8", "surrogateescape"):
        is_byte = 0xDC80 <= ord(char) <= 0xDCFF
        end = start + (1 if is_byte else len(char.encode("utf-8")))
        yield char, start, end
        start = end


def part_of(pieces: list[bytes], index: int) -> tuple[str, int, int] | None:
    """The character, as visible text, of which piece ``index`` has some but not all
    bytes: with the first and the last piece that have the others. None where its bytes
    make no such character, even with those of its neighbours.
    """
    starts = np.cumsum([0, *(len(piece) for piece in pieces)]).tolist()
    for char, start, end in _chars(pieces):
        first = bisect_right(starts, start) - 1
        last = bisect_right(starts, end - 1) - 1
        if first <= index <= last and first < last:
            return visible(char), first, last
    return None


@dataclass(frozen=True, eq=False)
class Flow:
    """Lines of one sequence of n tokens in F fragments.

    ``kind`` i32[F] indexes ``fragments``; ``token`` i32[F] is the token of a fragment;
    ``first`` i32[n+1] the first fragment of a token; ``ends`` i64[F] the cells used up
    to and including a fragment (marks included); ``lines`` holds the first fragment of
    each line, and F at its end.
    """

    fragments: list[Fragment]
    kind: npt.NDArray[np.int32]
    token: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]
    lines: list[int]

    @property
    def height(self) -> int:
        return len(self.lines) - 1

    def line_of(self, token: int) -> int:
        """The line on which a token starts."""
        return bisect_right(self.lines, int(self.first[token])) - 1

    def last_line_of(self, token: int) -> int:
        """The line on which a token ends."""
        return bisect_right(self.lines, int(self.first[token + 1]) - 1) - 1

    def column_of(self, token: int) -> int:
        """The cell at which a token starts in its line."""
        fragment = int(self.first[token])
        return self._before(fragment) - self._before(self.lines[self.line_of(token)])

    def cells_of(self, token: int) -> int:
        """Cells of a token, its mark included."""
        return self._before(int(self.first[token + 1])) - self._before(
            int(self.first[token])
        )

    def token_at(self, line: int, column: int) -> int:
        """The token that covers a cell of a line, the nearest one where the line is
        shorter.
        """
        start = self.lines[line]
        stop = self.lines[line + 1]
        cell = self._before(start) + max(0, column)
        behind = int(np.searchsorted(self.ends[start:stop], cell, "right"))
        return int(self.token[min(start + behind, stop - 1)])

    def tokens_of(self, line: int) -> tuple[int, int]:
        """First and last token with a fragment on a line."""
        return int(self.token[self.lines[line]]), int(
            self.token[self.lines[line + 1] - 1]
        )

    def _before(self, fragment: int) -> int:
        if fragment:
            return int(self.ends[fragment - 1])
        return 0


def flow(
    ids: npt.NDArray[np.int32],
    marked: npt.NDArray[np.bool_],
    prompt: int,
    cache: FragmentCache,
    width: int,
) -> Flow:
    """Lay out tokens at ``width`` cells. ``marked`` tokens have one more cell for their
    mark; the completion, which starts at token ``prompt``, starts on a line of its own.
    """
    fragments, kind, first = _fragments(cache.joined(ids), cache)
    token = np.repeat(np.arange(len(ids), dtype=np.int32), np.diff(first))
    cells = _of_each(fragments, "cells", np.int64)[kind]
    cells[first[:-1]] += marked
    breaks = _of_each(fragments, "ends_line", np.bool_)[kind]
    if 0 < prompt < len(ids):
        breaks[first[prompt] - 1] = True
    words = _of_each(fragments, "starts_word", np.bool_)[kind]
    ends = np.cumsum(cells)
    return Flow(
        fragments=fragments,
        kind=kind,
        token=token,
        first=first,
        ends=ends,
        lines=_break_lines(ends, breaks, words, width),
    )


def _fragments(
    ids: npt.NDArray[np.int32], cache: FragmentCache
) -> tuple[list[Fragment], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The distinct fragments, the `Flow.kind` and the `Flow.first` of the tokens."""
    unique, which = _numbered(ids)
    of_id = [cache[token_id] for token_id in unique.tolist()]
    sizes = np.fromiter(map(len, of_id), np.int64, len(of_id))
    starts = np.cumsum(sizes) - sizes
    counts = sizes[which]
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    # Where the fragments of a token begin among the distinct ones, less where they
    # begin among all.
    shift = np.repeat(starts[which] - first[:-1], counts)
    kind = (np.arange(int(first[-1])) + shift).astype(np.int32)
    return [fragment for made in of_id for fragment in made], kind, first


def _numbered(
    ids: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The distinct ids, and which of them each token has."""
    if len(ids) > _MANY:
        unique, which = np.unique(ids, return_inverse=True)
        return unique, which
    unique = distinct(ids)
    return unique, np.searchsorted(unique, ids)


def _of_each(fragments: list[Fragment], field: str, dtype: Any) -> npt.NDArray[Any]:
    """A field of every fragment."""
    values = (getattr(fragment, field) for fragment in fragments)
    return np.fromiter(values, dtype, len(fragments))


def _break_lines(
    ends: npt.NDArray[np.int64],
    breaks: npt.NDArray[np.bool_],
    words: npt.NDArray[np.bool_],
    width: int,
) -> list[int]:
    """The first fragment of each line, and the number of fragments at its end."""
    total = len(ends)
    if not total:
        return [0]
    cells = ends.tolist()
    forced = [*(np.flatnonzero(breaks) + 1).tolist(), total]
    # The last fragment at or before each one that starts a word: where a full line may
    # break instead.
    word = np.maximum.accumulate(np.where(words, np.arange(total), -1)).tolist()
    most_left = min(_WORD_ROOM, width // 3)
    lines = [0]
    start = 0
    next_forced = 0
    while start < total:
        while forced[next_forced] <= start:
            next_forced += 1
        used = cells[start - 1] if start else 0
        stop = max(start + 1, bisect_right(cells, used + width, start))
        if stop >= forced[next_forced]:
            stop = forced[next_forced]
        else:
            back = word[stop]
            if back > start and cells[stop - 1] - cells[back - 1] <= most_left:
                stop = back
        lines.append(stop)
        start = stop
    return lines
