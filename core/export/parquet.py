"""Rows as parquet, by pyarrow: a row group for some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.export.choice import ExportChoice
from logdrift.core.export.pieces import distinct, utf8_text
from logdrift.core.export.rows import (
    COLUMNS,
    FINISHES,
    SCORES,
    SEGMENTS,
    TokenRows,
    token_rows,
)
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.message_roles import MESSAGE_ROLES
from logdrift.core.session.reader import Pieces
from logdrift.core.version import __version__

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_WORDS = (
    "text",
    "segment",
    "finish",
    "message_role",
    "capture",
    "role",
    "weight_version",
    "score",
)
"""Columns with few different values, which parquet keeps as a dictionary."""


def write_parquet(choice: ExportChoice, file: BinaryIO) -> int:
    """Write all rows; their number. Raises InputError where pyarrow is missing."""
    arrow, parquet = pyarrow_modules()
    pieces = choice.session.pieces
    metadata = _metadata(choice)
    schema = _schema(arrow).with_metadata(metadata)
    written = 0
    with parquet.ParquetWriter(
        file, schema, compression="zstd", use_dictionary=list(_WORDS)
    ) as writer:
        for rows in token_rows(choice):
            columns = _Columns(arrow, rows)
            arrays = list(columns.all(pieces))
            batch = arrow.record_batch(arrays, schema=schema)
            writer.write_batch(batch)
            written += len(rows)
    return written


def pyarrow_modules() -> tuple[Any, Any]:
    """pyarrow and its module for parquet: 170 MB that nothing else needs. Raises
    InputError where it is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "export --to parquet needs pyarrow",
            remedy="pip install 'logdrift[parquet]', or export --to csv",
        ) from None
    return pyarrow, pyarrow.parquet


def _metadata(choice: ExportChoice) -> dict[str, str]:
    """What the file says of the session that it is from."""
    manifest = choice.session.manifest
    return {
        "logdrift.version": __version__,
        "logdrift.session": manifest.id,
        "logdrift.model": manifest.model.id,
    }


def _schema(arrow: Any) -> Any:
    whole = arrow.int32()
    real = arrow.float32()
    text = arrow.string()
    word = arrow.dictionary(whole, text)
    types = {
        "sequence": whole,
        "position": whole,
        "step": arrow.int64(),
        "reward": real,
        "token_id": whole,
        "text": text,
        "counts": arrow.bool_(),
        "logprob": real,
        "rank": whole,
        "entropy": real,
        "top_ids": arrow.list_(whole),
        "top_logprobs": arrow.list_(real),
        "delta": real,
    }
    fields = {}
    for name in COLUMNS:
        fields[name] = types.get(name, word)
    return arrow.schema(fields)


class _Columns:
    """Some rows as arrays of pyarrow."""

    def __init__(self, arrow: Any, rows: TokenRows) -> None:
        self._arrow = arrow
        self._rows = rows

    def all(self, pieces: Pieces) -> Iterator[Any]:
        """In the order of `COLUMNS`."""
        rows = self._rows
        info = rows.capture
        yield self._array(rows.sequence)
        yield self._array(rows.position)
        yield self._array(rows.step, rows.step == NO_STEP)
        yield self._known(rows.reward)
        yield self._array(rows.token_id)
        yield self._texts(pieces)
        yield self._words(SEGMENTS, rows.segment)
        yield self._array(rows.counts)
        yield self._words(FINISHES, rows.finish)
        yield self._words(MESSAGE_ROLES, rows.message_role)
        yield self._one_word(info.label)
        yield self._one_word(info.role)
        yield self._versions()
        yield self._words(SCORES, rows.score)
        yield self._logprobs()
        yield self._array(rows.rank, rows.rank == 0)
        yield self._known(rows.entropy)
        yield from self._lists()
        yield self._known(rows.delta)

    def _array(self, values: Array, unknown: Array | None = None) -> Any:
        """``values``, null where they are ``unknown``."""
        return self._arrow.array(values, mask=unknown)

    def _texts(self, pieces: Pieces) -> Any:
        ids, places = distinct(self._rows.token_id)
        texts = [utf8_text(pieces, token_id) for token_id in ids]
        text = self._arrow.string()
        of_ids = self._arrow.array(texts, text)
        return of_ids.take(self._array(places))

    def _words(
        self, words: Sequence[str], places: Array, unknown: Array | None = None
    ) -> Any:
        indices = self._array(places.astype(np.int32), unknown)
        text = self._arrow.string()
        dictionary = self._arrow.array(words, text)
        return self._arrow.DictionaryArray.from_arrays(indices, dictionary)

    def _one_word(self, word: str) -> Any:
        count = len(self._rows)
        places = np.zeros(count, np.int32)
        return self._words([word], places)

    def _versions(self) -> Any:
        places = self._rows.weight_version
        unknown = places < 0
        return self._words(self._rows.version_names, places, unknown)

    def _logprobs(self) -> Any:
        """NaN stays where it was computed; null is a missing score."""
        missing = SCORES.index("missing")
        is_missing = self._rows.score == missing
        return self._array(self._rows.logprob, is_missing)

    def _known(self, values: Array | None) -> Any:
        """Numbers with null in place of NaN; null alone where there are none."""
        if values is None:
            count = len(self._rows)
            real = self._arrow.float32()
            return self._arrow.nulls(count, real)
        unknown = np.isnan(values)
        return self._array(values, unknown)

    def _lists(self) -> Iterator[Any]:
        """top_ids and top_logprobs as lists without their filling; null where a token
        has no alternatives.
        """
        ids = self._rows.top_ids
        logprobs = self._rows.top_logprobs
        listed = ids >= 0
        counts = listed.sum(axis=1)
        if listed.all():
            flat_ids = ids.reshape(-1)
            flat_logprobs = logprobs.reshape(-1)
        else:
            flat_ids = ids[listed]
            flat_logprobs = logprobs[listed]
        all_ids = self._array(flat_ids)
        yield self._list(all_ids, counts)
        unknown = np.isnan(flat_logprobs)
        all_logprobs = self._array(flat_logprobs, unknown)
        yield self._list(all_logprobs, counts)

    def _list(self, values: Any, counts: Array) -> Any:
        """Lists of ``counts`` of the ``values`` each; null in place of an empty one."""
        ends = np.cumsum(counts)
        offsets = np.concatenate([[0], ends])
        starts = self._array(offsets.astype(np.int32))
        nothing = self._array(counts == 0)
        return self._arrow.ListArray.from_arrays(starts, values, mask=nothing)
