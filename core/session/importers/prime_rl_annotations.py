"""What prime-rl's trainer has learnt of traces, kept on disk until their episodes
come.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import (
    entropy_of,
    is_whole,
    logprobs_of,
    scores_of,
)
from logdrift.core.session.importers.spool import existing_folder
from logdrift.core.session.scores import Scores

_VERSION = 1
_NUMBER_BYTES = 8
_Numbers = list[float | None]
_Key = tuple[str, int]
"""Id of a trace, and number of a branch."""


class _StoredLists(NamedTuple):
    start: int
    tokens: int
    has_entropy: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """Lists over the tokens of a branch, or over the first of them; None where nothing
    is known.
    """

    logprobs: JsonList
    entropies: JsonList | None

    def scores(self, tokens: int, place: Place) -> Scores:
        """Of all ``tokens`` of the branch."""
        unknown = tokens - len(self.logprobs)
        missing: list[Any] = [None] * unknown
        entropy = None
        if self.entropies is not None:
            entropies = [*self.entropies, *missing]
            entropy = entropy_of(entropies, place, "entropies")
        logprobs = [*self.logprobs, *missing]
        return scores_of(logprobs, place, "trainer_logprobs", entropy)


class Annotations:
    """The newest annotation of each branch; True where there is one."""

    def __init__(self, out: Path) -> None:
        folder = existing_folder(out)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._stored: dict[_Key, _StoredLists] = {}

    def __bool__(self) -> bool:
        return bool(self._stored)

    def add(self, place: Place, data: JsonObject) -> None:
        """Take one line. Raises InputError."""
        version = data.get("version")
        if version != _VERSION:
            raise place.error(
                f"version is {version!r}: this logdrift reads {_VERSION} of prime-rl's"
                " annotations"
            )
        trace_id = data.get("trace_id")
        if not isinstance(trace_id, str):
            raise place.error(f"trace_id is {trace_id!r}")
        branches: Any = data.get("branches") or []
        if not isinstance(branches, list):
            raise place.error("branches is not a list")
        for branch in branches:
            self._add_branch(place, trace_id, branch)

    def of(self, trace_id: Any, branch: int) -> Annotation | None:
        """That of a branch."""
        key = (trace_id, branch)
        stored = self._stored.get(key)
        if stored is None:
            return None
        self._file.seek(stored.start)
        logprobs = self._read(stored.tokens)
        entropies = None
        if stored.has_entropy:
            entropies = self._read(stored.tokens)
        return Annotation(logprobs, entropies)

    def _add_branch(self, place: Place, trace_id: str, branch: Any) -> None:
        index: Any = None
        if isinstance(branch, dict):
            index = branch.get("index")
        if not is_whole(index):
            raise place.error(f"index of a branch is {index!r}")
        logprobs = branch.get("trainer_logprobs")
        if not logprobs:
            return
        key = "trainer_logprobs"
        if not isinstance(logprobs, list):
            raise place.error(f"{key} is not a list")
        # Checked here, where the line is known; kept as it is written.
        logprobs_of(logprobs, place, key, first=True)
        entropies = branch.get("entropies")
        if entropies is not None:
            _check_beside(entropies, len(logprobs), place)
        start = self._file.seek(0, 2)
        self._write(logprobs)
        if entropies is not None:
            self._write(entropies)
        tokens = len(logprobs)
        has_entropy = entropies is not None
        stored = _StoredLists(
            start=start,
            tokens=tokens,
            has_entropy=has_entropy,
        )
        self._stored[trace_id, index] = stored

    def _write(self, values: JsonList) -> None:
        numbers = np.array(values, np.float64)
        self._file.write(numbers.tobytes())

    def _read(self, tokens: int) -> _Numbers:
        size = tokens * _NUMBER_BYTES
        data = self._file.read(size)
        numbers = np.frombuffer(data, np.float64)
        known: _Numbers = numbers.tolist()
        is_unknown = np.isnan(numbers)
        for index in np.flatnonzero(is_unknown):
            known[index] = None
        return known


def _check_beside(entropies: Any, tokens: int, place: Place) -> None:
    if not isinstance(entropies, list) or len(entropies) != tokens:
        raise place.error(
            f"entropies is not a list of {tokens} entries, as trainer_logprobs"
        )
    entropy_of(entropies, place, "entropies", first=True)
