"""Token text laid out in lines: natural flow, wrapped by cell width, without a widget.

A token is one or more fragments: a newline ends a fragment and its line, a very long
piece is cut. The work over all tokens is done by NumPy. Python loops over distinct ids,
lines, and tokens that hold only a part of a character, so long sequences are cheap.
"""

from __future__ import annotations

import itertools
import operator
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.cells import cell_len

from logdrift.core.session.joining import shown_together, whole_text
from logdrift.core.session.reader import Pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    Ids = npt.NDArray[np.int32]
    Flags = npt.NDArray[np.bool_]
    Indices = npt.NDArray[np.int32]
    Positions = npt.NDArray[np.int64]

MAX_FRAGMENT = 32
"""Cells of the longest fragment. Every pane is wider, so a fragment fits in a line."""
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
    """The fragments of a visible piece.

    An empty piece is shown as ∅: the cursor has to be seen on it.
    """
    fragments: list[Fragment] = []
    for line in _LINES.findall(shown or "∅"):
        rest = line
        while rest:
            text = _head(rest)
            size = len(text)
            rest = rest[size:]
            is_last = not rest
            fragment = Fragment(
                text=text,
                cells=cell_len(text),
                starts_word=text.startswith(" "),
                ends_line=is_last and text.endswith("↵"),
            )
            fragments.append(fragment)
    return tuple(fragments)


def _head(text: str) -> str:
    """The longest start of ``text`` within `MAX_FRAGMENT` cells."""
    if cell_len(text) <= MAX_FRAGMENT:
        return text
    used = 0
    for index, char in enumerate(text):
        used += cell_len(char)
        if used > MAX_FRAGMENT:
            return text[:index]
    return text


class FragmentCache:
    """The fragments of each token id, made when an id is first asked for.

    Ids below 0 stand for the texts that `joined` puts in place of parts of characters.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._known: dict[int, tuple[Fragment, ...]] = {}
        self._broken: dict[int, bytes] = {}
        self._made: dict[str, int] = {}

    def __getitem__(self, token_id: int) -> tuple[Fragment, ...]:
        fragments = self._known.get(token_id)
        if fragments is None:
            fragments = self._make(token_id)
        return fragments

    def _make(self, token_id: int) -> tuple[Fragment, ...]:
        pieces = self._pieces
        text = pieces.text(token_id)
        fragments = fragments_of(text)
        self._known[token_id] = fragments
        piece = pieces.get(token_id)
        if piece is not None and not whole_text(piece):
            self._broken[token_id] = piece
        return fragments

    def joined(self, ids: Ids) -> Ids:
        """``ids`` i32[n], with ids below 0 for tokens that share a character.

        The character is shown on the token that completes it, and `PART` on a token
        that holds only a part of it.
        """
        positions = self._broken_positions(ids)
        if not len(positions):
            return ids
        shown = ids.copy()
        is_end_of_run = np.diff(positions) > 1
        starts_of_runs = np.flatnonzero(is_end_of_run) + 1
        runs = np.split(positions, starts_of_runs)
        for run in runs:
            if len(run) > 1:
                parts = ids[run]
                shown[run] = self._joined_run(parts)
        return shown

    def _broken_positions(self, ids: Ids) -> Positions:
        """Where the tokens are whose bytes are not whole characters, ascending."""
        unique = distinct(ids)
        count = len(unique)
        broken = np.zeros(count, np.bool_)
        token_ids = unique.tolist()
        for index, token_id in enumerate(token_ids):
            _ = self[token_id]  # makes it, and notes whether it is broken
            broken[index] = token_id in self._broken
        if not broken.any():
            return np.empty(0, np.int64)
        which = np.searchsorted(unique, ids)
        is_broken = broken[which]
        return np.flatnonzero(is_broken)

    def _joined_run(self, ids: Ids) -> list[int]:
        """The ids below 0 of neighbouring parts of characters, shown together."""
        broken = self._broken
        token_ids = ids.tolist()
        pieces = [broken[token_id] for token_id in token_ids]
        texts = shown_together(pieces)
        return [self._made_id(text) for text in texts]

    def _made_id(self, text: str) -> int:
        made_id = self._made.get(text)
        if made_id is None:
            made_id = -1 - len(self._made)
            self._made[text] = made_id
            self._known[made_id] = fragments_of(text)
        return made_id


_MANY = 20_000
"""Tokens from which on `numpy.unique` is faster, even with what it imports."""


def distinct(ids: Ids) -> Ids:
    """The distinct ids, ascending.

    `numpy.unique` gives the same, but imports masked arrays: 8 ms of every start.
    """
    ordered = np.sort(ids)
    before = ordered[:-1]
    after = ordered[1:]
    count = len(ordered)
    is_first = np.ones(count, np.bool_)
    of_rest = is_first[1:]
    np.not_equal(after, before, out=of_rest)
    return ordered[is_first]


@dataclass(eq=False, repr=False)
class Flow:
    """Lines of one sequence of n tokens in F fragments.

    ``fragments`` are the distinct ones, and ``kind`` i32[F] indexes them. ``token``
    i32[F] is the token of a fragment, ``first`` i32[n+1] the first fragment of a token.
    ``ends`` i64[F] counts the cells from the start of the sequence up to the end of a
    fragment, marks included. ``lines`` holds the first fragment of each line, and F at
    its end. ``joints`` bool[n] are the tokens whose begin the text does not show: they
    go on with a word.
    """

    fragments: list[Fragment]
    kind: Indices
    token: Indices
    first: Indices
    ends: Positions
    lines: list[int]
    joints: Flags

    @property
    def height(self) -> int:
        return len(self.lines) - 1

    def line_of(self, token: int) -> int:
        """The line on which a token starts."""
        first = self._first_of(token)
        return self._line_with(first)

    def last_line_of(self, token: int) -> int:
        """The line on which a token ends."""
        stop = self._first_of(token + 1)
        return self._line_with(stop - 1)

    def _first_of(self, token: int) -> int:
        """The first fragment of a token; F for the token after the last one."""
        fragment = self.first[token]
        return int(fragment)

    def _line_with(self, fragment: int) -> int:
        """The line of a fragment."""
        lines_begun = bisect_right(self.lines, fragment)
        return lines_begun - 1

    def column_of(self, token: int) -> int:
        """The cell at which a token starts in its line."""
        first = self._first_of(token)
        line = self._line_with(first)
        line_start = self.lines[line]
        cell_of_line = self._before(line_start)
        return self._before(first) - cell_of_line

    def cells_of(self, token: int) -> int:
        """Cells of a token, its mark included."""
        first = self._first_of(token)
        stop = self._first_of(token + 1)
        cell = self._before(first)
        return self._before(stop) - cell

    def token_at(self, line: int, column: int) -> int:
        """The token at a cell of a line; the last one where the line is shorter."""
        start = self.lines[line]
        stop = self.lines[line + 1]
        column = max(0, column)
        cell = self._before(start) + column
        ends = self.ends[start:stop]
        passed = np.searchsorted(ends, cell, "right")
        fragment = start + int(passed)
        last = stop - 1
        fragment = min(fragment, last)
        token = self.token[fragment]
        return int(token)

    def tokens_of(self, line: int) -> tuple[int, int]:
        """First and last token with a fragment on a line."""
        first = self.lines[line]
        stop = self.lines[line + 1]
        first_token = self.token[first]
        last_token = self.token[stop - 1]
        return int(first_token), int(last_token)

    def _before(self, fragment: int) -> int:
        """Cells from the start of the sequence up to a fragment."""
        if fragment:
            end_before = self.ends[fragment - 1]
            return int(end_before)
        return 0


def flow(
    ids: Ids,
    marked: Flags,
    prompt: int,
    cache: FragmentCache,
    width: int,
    *,
    joints_marked: bool = False,
) -> Flow:
    """Lay out the tokens ``ids`` i32[n] in lines of ``width`` cells.

    ``marked`` bool[n] tokens have one more cell for their mark, and with
    ``joints_marked`` the joints too. The completion begins at token ``prompt``, on a
    new line.
    """
    count = len(ids)
    joined = cache.joined(ids)
    fragments, kind, first = _fragments(joined, cache)
    indices = np.arange(count, dtype=np.int32)
    counts = np.diff(first)
    token = np.repeat(indices, counts)
    cells_of_kind = _of_each(fragments, "cells", np.int64)
    cells = cells_of_kind[kind]
    ends_line = _of_each(fragments, "ends_line", np.bool_)
    breaks = ends_line[kind]
    if 0 < prompt < count:
        last_of_prompt = first[prompt] - 1
        breaks[last_of_prompt] = True
    starts_word = _of_each(fragments, "starts_word", np.bool_)
    words = starts_word[kind]
    joints = _joints(words, breaks, first)
    if joints_marked:
        marked = marked | joints
    cells[first[:-1]] += marked
    ends = np.cumsum(cells)
    lines = _break_lines(ends, breaks, words, width)
    return Flow(
        fragments=fragments,
        kind=kind,
        token=token,
        first=first,
        ends=ends,
        lines=lines,
        joints=joints,
    )


def _joints(words: Flags, breaks: Flags, first: Indices) -> Flags:
    """The `Flow.joints` of the tokens: those that neither start a word nor a line."""
    starts = first[:-1]
    joints = ~words[starts]
    if len(joints):
        joints[0] = False
        ends_before = starts[1:] - 1
        joints[1:] &= ~breaks[ends_before]
    return joints


def every_other(joints: Flags) -> Flags:
    """Every other token of each word, bool[n]: never its first one."""
    indices = np.arange(len(joints))
    starts = np.where(joints, 0, indices)
    nearest = np.maximum.accumulate(starts)
    place = indices - nearest
    is_odd: Flags = place % 2 == 1
    return is_odd


def _fragments(
    ids: Ids, cache: FragmentCache
) -> tuple[list[Fragment], Indices, Indices]:
    """The distinct fragments, the `Flow.kind` and the `Flow.first` of the tokens."""
    unique, which = _numbered(ids)
    distinct_ids = unique.tolist()
    of_id = [cache[token_id] for token_id in distinct_ids]
    chain = itertools.chain.from_iterable(of_id)
    distinct_fragments = list(chain)
    count = len(of_id)
    sizes_of_ids = map(len, of_id)
    sizes = np.fromiter(sizes_of_ids, np.int64, count)
    starts = np.cumsum(sizes)
    starts -= sizes

    counts = sizes[which]
    tokens = len(ids)
    first = np.zeros(tokens + 1, np.int32)
    ends_of_tokens = first[1:]
    np.cumsum(counts, out=ends_of_tokens)
    # Fragment f of a token, counted among all fragments, is fragment f + shift among
    # the distinct ones.
    starts_of_tokens = first[:-1]
    shift_of_token = starts[which] - starts_of_tokens
    shift = np.repeat(shift_of_token, counts)
    indices = np.arange(len(shift))
    shifted = indices + shift
    kind = shifted.astype(np.int32)
    return distinct_fragments, kind, first


def _numbered(ids: Ids) -> tuple[Ids, Positions]:
    """The distinct ids, and for each token which of them it has, i64[n]."""
    if len(ids) > _MANY:
        unique, which = np.unique(ids, return_inverse=True)
        return unique, which
    unique = distinct(ids)
    which = np.searchsorted(unique, ids)
    return unique, which


def _of_each(fragments: list[Fragment], field: str, dtype: Any) -> npt.NDArray[Any]:
    """A field of every fragment, as an array of ``dtype``."""
    field_of = operator.attrgetter(field)
    values = map(field_of, fragments)
    count = len(fragments)
    return np.fromiter(values, dtype, count)


def _break_lines(
    ends: Positions,
    breaks: Flags,
    words: Flags,
    width: int,
) -> list[int]:
    """The first fragment of each line, and the number of fragments at its end.

    ``ends`` as in `Flow`. A line ends after a fragment of ``breaks``; a full one breaks
    before one of ``words`` rather than within a word.
    """
    total = len(ends)
    if not total:
        return [0]
    cells = ends.tolist()
    line_ends = np.flatnonzero(breaks) + 1
    forced_breaks = line_ends.tolist()
    forced_breaks.append(total)
    word_start = _word_starts(words)
    most_left = min(_WORD_ROOM, width // 3)

    lines = [0]
    start = 0
    used = 0
    for forced in forced_breaks:
        while start < forced:
            most = used + width
            fitting = bisect_right(cells, most, start)
            full = max(start + 1, fitting)
            stop = min(full, forced)
            if full < forced:
                word = word_start[full]
                used_at_word = cells[word - 1]
                left_empty = cells[full - 1] - used_at_word
                if word > start and left_empty <= most_left:
                    stop = word
            lines.append(stop)
            start = stop
            used = cells[stop - 1]
    return lines


def _word_starts(words: Flags) -> list[int]:
    """For each fragment the last one at or before it that starts a word, else -1."""
    indices = np.arange(len(words))
    starts = np.where(words, indices, -1)
    nearest = np.maximum.accumulate(starts)
    starts_of_words: list[int] = nearest.tolist()
    return starts_of_words
