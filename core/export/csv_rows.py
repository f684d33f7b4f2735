"""Rows as CSV that a spreadsheet opens without running anything.

A cell that begins with =, +, -, @, a tab or a carriage return is a formula to
spreadsheets, unless it is a number. The text of a token is written as a JSON string, in
quotes of its own, and so is any other text that begins like that or holds a control.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from logdrift.core.export.choice import ExportChoice
from logdrift.core.export.digits import json_numbers, number_texts
from logdrift.core.export.pieces import distinct, exact_text
from logdrift.core.export.rows import (
    COLUMNS,
    FINISHES,
    SCORES,
    SEGMENTS,
    TokenRows,
    chosen,
    token_rows,
)
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.message_roles import MESSAGE_ROLES
from logdrift.core.session.reader import Pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", '"', "'")
"""What makes a cell a formula, and the quotes that mark what was escaped."""
_ROWS = 1 << 14
"""Rows at a time: each value is a Python text here."""
_NO_NUMBER = ("nan", "-inf", "inf")
"""Spreadsheets take these words for formulas or text: the column ``score`` has them."""
_BOOLEANS = ("false", "true")


def write_csv(choice: ExportChoice, file: BinaryIO) -> int:
    """Write all rows, in UTF-8; their number."""
    _write(file, [COLUMNS])
    written = 0
    for many in token_rows(choice):
        for start in range(0, len(many), _ROWS):
            part = slice(start, start + _ROWS)
            rows = chosen(many, part)
            cells = _Cells(rows)
            columns = cells.all(choice.session.pieces)
            lines = zip(*columns, strict=True)
            _write(file, lines)
        written += len(many)
    return written


def _write(file: BinaryIO, lines: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(lines)
    encoded = text.getvalue().encode()
    file.write(encoded)


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: itself, or as a JSON string."""
    begins_formula = text.startswith(_FORMULA)
    if begins_formula or not text.isprintable():
        return quoted(text)
    return text


def quoted(text: str) -> str:
    """A text as a JSON string in which all is visible; ``json.loads`` undoes it."""
    encoded = json.dumps(text, ensure_ascii=False)
    if encoded.isprintable():
        return encoded
    shown = [_visible(char) for char in encoded]
    return "".join(shown)


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return json.dumps(char).strip('"')


class _Cells:
    """Some rows as texts, column by column."""

    def __init__(self, rows: TokenRows) -> None:
        self._rows = rows

    def all(self, pieces: Pieces) -> Iterator[Sequence[str]]:
        """In the order of `COLUMNS`."""
        rows = self._rows
        info = rows.capture
        yield _whole(rows.sequence)
        yield _whole(rows.position)
        yield _without(_whole(rows.step), [str(NO_STEP)])
        yield self._numbers(rows.reward)
        yield _whole(rows.token_id)
        yield self._texts(pieces)
        yield _words(SEGMENTS, rows.segment)
        yield _words(_BOOLEANS, rows.counts)
        yield _words(FINISHES, rows.finish)
        yield _words(MESSAGE_ROLES, rows.message_role)
        yield self._one_word(info.label)
        yield self._one_word(info.role)
        yield self._versions()
        yield _words(SCORES, rows.score)
        yield self._numbers(rows.logprob)
        yield self._ranks()
        yield self._numbers(rows.entropy)
        yield from self._lists()
        yield self._numbers(rows.delta)

    def _texts(self, pieces: Pieces) -> list[str]:
        ids, places = distinct(self._rows.token_id)
        cells = []
        for token_id in ids:
            text = exact_text(pieces, token_id)
            cell = ""
            if text is not None:
                cell = quoted(text)
            cells.append(cell)
        return _words(cells, places)

    def _one_word(self, word: str) -> list[str]:
        cell = safe_cell(word)
        return [cell] * len(self._rows)

    def _versions(self) -> list[str]:
        """The names; -1, which is none, is the last of the list."""
        names = self._rows.version_names
        cells = [safe_cell(name) for name in names]
        return _words([*cells, ""], self._rows.weight_version)

    def _ranks(self) -> list[str]:
        texts = _whole(self._rows.rank)
        return _without(texts, ["0"])

    def _numbers(self, values: Array | None) -> list[str]:
        """Numbers that are some; an empty cell for NaN and infinity."""
        if values is None:
            return [""] * len(self._rows)
        texts = number_texts(values)
        return _without(texts, _NO_NUMBER)

    def _lists(self) -> Iterator[list[str]]:
        """The alternatives as JSON arrays; an empty cell where there are none."""
        top_ids = self._rows.top_ids
        listed = top_ids >= 0
        counts = listed.sum(axis=1)
        stops = np.cumsum(counts).tolist()
        ids = _whole(top_ids[listed])
        yield _arrays(ids, stops)
        logprobs = self._rows.top_logprobs[listed]
        numbers = json_numbers(logprobs)
        yield _arrays(numbers, stops)


def _whole(values: Array) -> list[str]:
    return [str(value) for value in values.tolist()]


def _words(words: Sequence[str], places: Array) -> list[str]:
    return [words[place] for place in places.tolist()]


def _without(texts: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """``texts`` with an empty cell in place of those that are ``unknown``."""
    empty = dict.fromkeys(unknown, "")
    return [empty.get(text, text) for text in texts]


def _arrays(texts: Sequence[str], stops: Sequence[int]) -> list[str]:
    """``texts`` up to each of ``stops`` as a JSON array; an empty cell for none."""
    cells = []
    start = 0
    for stop in stops:
        inside = ",".join(texts[start:stop])
        cell = ""
        if inside:
            cell = f"[{inside}]"
        cells.append(cell)
        start = stop
    return cells
