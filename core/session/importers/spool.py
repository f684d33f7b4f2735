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

from logdrift.core.session.importers.records import Record
from logdrift.core.session.scores import COLUMNS, Array, Scores, first_rows
from logdrift.core.session.weight_versions import VersionSpans

_ReadScores = Callable[[], Scores]
_DTYPES: Mapping[str, Any] = {
    "logprob": np.float32,
    "rank": np.int32,
    "top_ids": np.int32,
    "top_logprobs": np.float32,
    "entropy": np.float32,
    "nan": np.uint8,
}
_TABLES = ("top_ids", "top_logprobs")


class StoredCaptures(Mapping[str, Scores]):
    """Captures by name, read when they are asked for."""

    def __init__(self, readers: Mapping[str, _ReadScores]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Scores:
        read = self._readers[name]
        return read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def both_captures(
    a: Mapping[str, Scores], b: Mapping[str, Scores]
) -> Mapping[str, Scores]:
    """The captures of both, not read yet."""
    readers: dict[str, _ReadScores] = {}
    for captures in (a, b):
        for name in captures:
            readers[name] = partial(captures.__getitem__, name)
    return StoredCaptures(readers)


def first_of_captures(
    captures: Mapping[str, Scores], length: int
) -> Mapping[str, Scores]:
    """The scores of the first ``length`` tokens, not read yet."""
    readers = {}
    for name in captures:
        readers[name] = partial(_first, captures, name, length)
    return StoredCaptures(readers)


def _first(captures: Mapping[str, Scores], name: str, length: int) -> Scores:
    return first_rows(captures[name], length)


class PackedTexts(Mapping[int, bytes]):
    """Texts of ids in a tenth of a dictionary's memory, which `unpacked` gives."""

    def __init__(self, texts: Mapping[int, bytes]) -> None:
        lengths = [len(text) for text in texts.values()]
        ids = list(texts)
        self._ids = np.array(ids, np.int32)
        self._lengths = np.array(lengths, np.int32)
        self._joined = b"".join(texts.values())

    def unpacked(self) -> dict[int, bytes]:
        """id -> bytes."""
        texts = {}
        start = 0
        pairs = zip(self._ids.tolist(), self._lengths.tolist(), strict=True)
        for token_id, length in pairs:
            stop = start + length
            texts[token_id] = self._joined[start:stop]
            start = stop
        return texts

    def __getitem__(self, token_id: int) -> bytes:
        return self.unpacked()[token_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)


def texts_of(record: Record) -> dict[int, bytes]:
    """The texts of a record that may be packed."""
    if isinstance(record.pieces, PackedTexts):
        return record.pieces.unpacked()
    return dict(record.pieces)


class _StoredScores(NamedTuple):
    """Where the scores of one sequence lie: ``columns`` of ``tokens`` entries, one
    after the other; ``width`` alternatives each.
    """

    start: int
    tokens: int
    width: int
    columns: Sequence[str]
    versions: VersionSpans | None


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
        for name, scores in record.captures.items():
            stored = self._write(scores)
            readers[name] = partial(self._read, stored)
        captures = StoredCaptures(readers)
        pieces = PackedTexts(record.pieces)
        kept = replace(record, captures=captures, pieces=pieces)
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
        columns = []
        for name in COLUMNS:
            column: Array | None = getattr(scores, name)
            if column is None:
                continue
            columns.append(name)
            typed = column.astype(_DTYPES[name])
            data = typed.tobytes()
            self._file.write(data)
        return _StoredScores(
            start=start,
            tokens=len(scores.logprob),
            width=scores.top_ids.shape[1],
            columns=tuple(columns),
            versions=scores.versions,
        )

    def _read(self, stored: _StoredScores) -> Scores:
        self._file.seek(stored.start)
        columns: dict[str, Array | None] = dict.fromkeys(COLUMNS)
        for name in stored.columns:
            shape: tuple[int, ...] = (stored.tokens,)
            if name in _TABLES:
                shape = (stored.tokens, stored.width)
            columns[name] = self._column(name, shape)
        scores: Any = columns
        return Scores(**scores, versions=stored.versions)

    def _column(self, name: str, shape: Sequence[int]) -> Array:
        dtype = np.dtype(_DTYPES[name])
        entries = math.prod(shape)
        size = entries * dtype.itemsize
        data = bytearray(self._file.read(size))
        column = np.frombuffer(data, dtype)
        return column.reshape(shape)


def existing_folder(path: Path) -> Path:
    """The first folder above ``path`` that exists."""
    for folder in path.absolute().parents:
        if folder.is_dir():
            return folder
    return Path()
