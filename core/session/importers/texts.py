"""The text of the ids that an import has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from logdrift.core.session.importers.records import Pieces, Record
from logdrift.core.session.importers.tokenizer import pieces_of
from logdrift.core.session.scores import IdArray

_COMMON = 1 << 20
"""Ids below it are kept as one flag each: three times the largest vocabularies."""


class Texts:
    """Texts of ids as records tell them, and those of a model's tokenizer where one is
    given.
    """

    def __init__(self, model: Path | None) -> None:
        self._model = model
        self._told: dict[int, bytes] = {}
        self._ids = _SeenIds()

    def see(self, record: Record) -> None:
        """Take the texts of one sequence, and note its ids."""
        self._told.update(record.pieces)
        if self._model is None:
            return
        self._ids.add(record.token_ids)
        captures = record.captures
        for scores in captures.values():
            self._ids.add(scores.top_ids)

    def pieces(self) -> Pieces:
        """id -> bytes. The tokenizer knows the bytes; a text in a file may have lost
        those that are no UTF-8 of their own. Raises InputError for a bad tokenizer.
        """
        if self._model is None:
            return self._told
        of_model = pieces_of(self._model, self._ids)
        return {**self._told, **of_model}


class _SeenIds:
    """A set of ids; -1 is none."""

    def __init__(self) -> None:
        self._flags = np.zeros(_COMMON, np.bool_)
        self._others: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        flagged = np.flatnonzero(self._flags)
        common: Sequence[int] = flagged.tolist()
        yield from common
        yield from self._others

    def add(self, ids: IdArray) -> None:
        is_id = ids >= 0
        known = ids[is_id]
        is_common = known < _COMMON
        common = known[is_common]
        others = known[~is_common]
        self._flags[common] = True
        self._others.update(others.tolist())
