"""Records of a file that is read once and needed in another order: their ids and texts
stay in memory, their scores on disk.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, overload

import numpy as np

from logdrift.core.session.importers.records import Record, ScoresByCapture
from logdrift.core.session.scores import COLUMNS, Array, Scores, first_rows
from logdrift.core.session.weight_versions import VersionSpans

_ReadScores = Callable[[], Scores]
_Readers = Mapping[str, _ReadScores]
"""By the name of the capture."""
_Column = Array | None
_DTYPES: Mapping[str, Any] = {
    "logprob": np.float32,
    "rank": np.int32,
    "top_ids": np.int32,
    "top_logprobs": np.float32,
    "entropy": np.float32,
    "nan": np.uint8,
}
_TABLES = ("top_ids", "top_logprobs")


class StoredCaptures(ScoresByCapture):
    """Captures by name, read when they are asked for."""

    def __init__(self, readers: _Readers) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Scores:
        read = self._readers[name]
        return read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def both_captures(a: ScoresByCapture, b: ScoresByCapture) -> ScoresByCapture:
    """The captures of both, not read yet."""
    readers = {}
    for captures in (a, b):
        for name in captures:
            read = partial(_whole, captures, name)
            readers[name] = read
    return StoredCaptures(readers)


def _whole(captures: ScoresByCapture, name: str) -> Scores:
    return captures[name]


def first_of_captures(captures: ScoresByCapture, length: int) -> ScoresByCapture:
    """The scores of the first ``length`` tokens, not read yet."""
    readers = {}
    for name in captures:
        read = partial(_first, captures, name, length)
        readers[name] = read
    return StoredCaptures(readers)


def _first(captures: ScoresByCapture, name: str, length: int) -> Scores:
    scores = captures[name]
    return first_rows(scores, length)


class PackedTexts(Mapping[int, bytes]):
    """Texts of ids in a tenth of a dictionary's memory, which `unpacked` gives."""

    def __init__(self, texts: Mapping[int, bytes]) -> None:
        ids = list(texts)
        in_order = list(texts.values())
        lengths = list(map(len, in_order))
        self._ids = np.array(ids, np.int32)
        self._lengths = np.array(lengths, np.int32)
        self._joined = b"".join(in_order)

    def unpacked(self) -> dict[int, bytes]:
        """id -> bytes."""
        texts = {}
        start = 0
        ids = self._ids.tolist()
        lengths = self._lengths.tolist()
        joined = self._joined
        for token_id, length in zip(ids, lengths, strict=True):
            stop = start + length
            text = joined[start:stop]
            texts[token_id] = text
            start = stop
        return texts

    def __getitem__(self, token_id: int) -> bytes:
        texts = self.unpacked()
        return texts[token_id]

    def __iter__(self) -> Iterator[int]:
        ids = self._ids.tolist()
        return iter(ids)

    def __len__(self) -> int:
        return len(self._ids)


def texts_of(record: Record) -> dict[int, bytes]:
    """The texts of a record that may be packed."""
    pieces = record.pieces
    if isinstance(pieces, PackedTexts):
        return pieces.unpacked()
    return dict(pieces)


class _StoredScores(NamedTuple):
    """Where the scores of one sequence lie: ``columns`` of ``tokens`` entries, one
    after the other; ``width`` alternatives each.
    """

    start: int
    tokens: int
    width: int
    columns: Sequence[str]
    versions: VersionSpans | None

    def shape(self, name: str) -> Sequence[int]:
        """That of a column."""
        if name in _TABLES:
            return self.tokens, self.width
        return (self.tokens,)


class Spool(Sequence[Record]):
    """Records in the order in which they were added; each is read again when it is
    asked for, its scores when they are.

    The file has no name: it is gone when the process ends, however that is.
    """

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Write one record. Raises OSError where the disk refuses."""
        readers = {}
        captures = record.captures
        for name, scores in captures.items():
            stored = self._write(scores)
            readers[name] = partial(self._read, stored)
        kept = replace(
            record,
            captures=StoredCaptures(readers),
            pieces=PackedTexts(record.pieces),
        )
        self._records.append(kept)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def _write(self, scores: Scores) -> _StoredScores:
        start = self._file.seek(0, 2)
        tokens, width = scores.top_ids.shape
        columns = []
        for name in COLUMNS:
            column: _Column = getattr(scores, name)
            if column is None:
                continue
            columns.append(name)
            dtype = _DTYPES[name]
            typed = column.astype(dtype)
            data = typed.tobytes()
            self._file.write(data)
        return _StoredScores(
            start=start,
            tokens=tokens,
            width=width,
            columns=tuple(columns),
            versions=scores.versions,
        )

    def _read(self, stored: _StoredScores) -> Scores:
        self._file.seek(stored.start)
        columns: dict[str, Any] = dict.fromkeys(COLUMNS)
        for name in stored.columns:
            shape = stored.shape(name)
            column = self._column(name, shape)
            columns[name] = column
        return Scores(**columns, versions=stored.versions)

    def _column(self, name: str, shape: Sequence[int]) -> Array:
        kind = _DTYPES[name]
        dtype = np.dtype(kind)
        entries = math.prod(shape)
        size = entries * dtype.itemsize
        data = self._file.read(size)
        writable = bytearray(data)
        column = np.frombuffer(writable, dtype)
        return column.reshape(shape)


def existing_folder(path: Path) -> Path:
    """The first folder above ``path`` that exists."""
    absolute = path.absolute()
    for folder in absolute.parents:
        if folder.is_dir():
            return folder
    return Path()
