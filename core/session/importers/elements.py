"""The elements of a JSON list in a file, one after the other: a list of any length
takes the memory of its longest element.

Nothing is parsed here. Quotes and brackets tell where an element ends; NumPy looks at a
block of the file at once, in a small part of the time that parsing takes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import Place
from logdrift.core.session.importers.compressed import most_bytes
from logdrift.core.session.importers.text_lines import (
    check_length,
    text_blocks,
    together,
)

_Flags = npt.NDArray[np.bool_]
_QUOTE = ord('"')
_BACKSLASH = ord("\\")
_STEPS = {"{": 1, "[": 1, "}": -1, "]": -1}
"""By how much a bracket changes the depth."""

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_WORD = rb'[^\s",\[\]{}]+'
_WITHOUT_BRACKETS = re.compile(
    rb"(\s*(?:" + _TEXT + rb"|" + _WORD + rb")\s*),", re.DOTALL
)
"""An element that is a text, a number or a word, and the comma behind it."""


def _table(values: dict[str, int]) -> npt.NDArray[np.int8]:
    """A number for each byte, 0 for those that are not named."""
    table = np.zeros(256, np.int8)
    for character, value in values.items():
        table[ord(character)] = value
    return table


_STEP_OF = _table(_STEPS)
_IS_SEEN = _table({**_STEPS, '"': 1}) != 0


class Brackets:
    """What is open at a place of a text that is read block after block: ``depth``
    lists and objects, and perhaps a string.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._in_string = False
        self._escape = b""

    def ends(self, block: bytes, most: int) -> Sequence[tuple[int, int]]:
        """(place behind it, depth) of each bracket in a block that closes down to a
        depth of ``most`` or less.
        """
        characters = np.frombuffer(block, np.uint8)
        seen = np.flatnonzero(_IS_SEEN[characters])
        kinds = characters[seen]
        is_quote = kinds == _QUOTE
        if self._escape or b"\\" in block:
            is_quote &= ~self._escaped(characters)[seen]
        steps = _STEP_OF[kinds].astype(np.int64)
        quotes = np.cumsum(is_quote) + self._in_string
        is_outside = quotes % 2 == 0
        steps[~is_outside] = 0
        depths = np.cumsum(steps) + self.depth
        if len(seen):
            self.depth = int(depths[-1])
            self._in_string = not is_outside[-1]
        is_end = (steps < 0) & (depths <= most)
        places = seen[is_end] + 1
        pairs = zip(places.tolist(), depths[is_end].tolist(), strict=True)
        return list(pairs)

    def _escaped(self, characters: npt.NDArray[np.uint8]) -> _Flags:
        """b[n]: a backslash in front of the character takes its meaning away."""
        before = np.frombuffer(self._escape, np.uint8)
        joined = np.concatenate([before, characters])
        slashes = np.flatnonzero(joined == _BACKSLASH)
        # Of backslashes in a row each second one is escaped itself.
        is_first = np.diff(slashes, prepend=-2) != 1
        firsts = np.where(is_first, slashes, 0)
        run_starts = np.maximum.accumulate(firsts)
        escapes = slashes[(slashes - run_starts) % 2 == 0]
        flags = np.zeros(len(joined) + 1, np.bool_)
        flags[escapes + 1] = True
        self._escape = b""
        if flags[-1]:
            self._escape = b"\\"
        return flags[len(before) : -1]


class Element(NamedTuple):
    """The text of an element, and the line of its file on which it begins."""

    text: bytes
    line: int


class _Piece(NamedTuple):
    """An element with what stands in front of it, as numbers and texts; the last one
    ends with the bracket that closes the list.
    """

    text: bytes
    is_last: bool


class ListReader:
    """The list that begins where ``file``, which is at ``place``, is read: on
    ``line``, counted from 1.

    Iteration gives its elements, and raises ValueError in a few words where it is no
    whole list, InputError where it is no text; ``behind`` is then what stands behind
    it.
    """

    def __init__(self, file: BinaryIO, place: Place, line: int = 1) -> None:
        self.behind = b""
        self._blocks = text_blocks(file, place)
        self._most = most_bytes(file)
        self._place = place
        self._line = line

    def __iter__(self) -> Iterator[Element]:
        line = self._line
        in_front = b"["
        for piece in self._pieces():
            text = piece.text.lstrip()
            if piece.is_last and text == b"]":
                return
            if not text.startswith(in_front):
                raise ValueError("no comma stands in front of an element")
            inner = text[1:]
            if piece.is_last:
                inner = inner[:-1]
            line += piece.text.count(b"\n", 0, len(piece.text) - len(text))
            for part in _parts(inner):
                element = part.lstrip()
                spaces = len(part) - len(element)
                if element:
                    begin = line + part.count(b"\n", 0, spaces)
                    yield Element(element.rstrip(), begin)
                elif in_front == b",":
                    raise ValueError("a comma stands in front of the end of the list")
                line += part.count(b"\n")
                in_front = b","

    def _pieces(self) -> Iterator[_Piece]:
        brackets = Brackets()
        begun: list[bytes] = []
        for block in self._blocks:
            at = 0
            for end, depth in brackets.ends(block, 1):
                begun.append(block[at:end])
                at = end
                piece = b"".join(begun)
                begun = []
                if depth == 0:
                    rest = itertools.chain([block[at:]], self._blocks)
                    self.behind = together(rest, self._most, self._place)
                    yield _Piece(piece, is_last=True)
                    return
                yield _Piece(piece, is_last=False)
            begun.append(block[at:])
            check_length(sum(map(len, begun)), self._most, self._place)
        raise ValueError("the file ends within the list")


def _parts(inner: bytes) -> Iterator[bytes]:
    """The elements of a piece: numbers, texts and words, and then what has brackets."""
    begin = 0
    while found := _WITHOUT_BRACKETS.match(inner, begin):
        yield found[1]
        begin = found.end()
    yield inner[begin:]
