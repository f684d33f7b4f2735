"""Rows of a parquet file, some at a time, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.place import in_file

_MAGIC = b"PAR1"
_ROWS = 64
"""Rows in memory at a time: one is a sequence of up to some 100,000 tokens."""


def is_parquet(path: Path) -> bool:
    """Whether a file begins as parquet files do."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError:
        return False
    return start == _MAGIC


class ParquetFile:
    """A parquet file. Raises InputError where it is damaged, or pyarrow is missing."""

    def __init__(self, path: Path) -> None:
        self._place = in_file(path)
        self._arrow, parquet = _modules(self._place)
        try:
            self._file = parquet.ParquetFile(path)
        except (self._arrow.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns."""
        names: list[str] = self._file.schema_arrow.names
        return names

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Place, JsonObject]]:
        """The place and these columns of each row. Raises InputError."""
        number = 0
        batches = self._file.iter_batches(_ROWS, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
            except (self._arrow.ArrowException, OSError) as error:
                raise self._damaged(error) from None
            if batch is None:
                return
            for row in batch.to_pylist():
                yield self._place.part(f"row {number}"), row
                number += 1

    def _damaged(self, error: Exception) -> InputError:
        kind = type(error).__name__
        return self._place.error(
            f"is damaged, or no parquet file ({kind})", "copy it again"
        )


def _modules(place: Place) -> tuple[Any, Any]:
    """pyarrow and its module for parquet, which nothing else of an import needs."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise place.error(
            "is a parquet file, which needs pyarrow", "pip install 'logdrift[parquet]'"
        ) from None
    return pyarrow, pyarrow.parquet
