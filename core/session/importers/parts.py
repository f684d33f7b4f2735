"""The parts of a session that is imported, written as its sequences come.

Only the sequences of one part are in memory. What the whole file tells afterwards, how
many alternatives a capture has at most and which numbers only fill lists up, is put
right in the parts that were written before it was known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from logdrift.core.errors import Place
from logdrift.core.session.importers.captures import labels_of
from logdrift.core.session.importers.corrected import Tensors, corrected_part
from logdrift.core.session.importers.fillers import Correction, Corrections
from logdrift.core.session.importers.records import Record
from logdrift.core.session.layout import Part, capture_part, sequence_part
from logdrift.core.session.scores import Scores, part_tensors, part_versions
from logdrift.core.session.writer import (
    sequence_tensors,
    training_tensors,
    write_part,
)

Parts = Sequence[Part]
PART_TOKENS = 1 << 17
PART_SEQUENCES = 4096


@dataclass(slots=True)
class _CaptureParts:
    """The parts of the capture ``label``, and the alternatives that it has at most."""

    label: str
    width: int = 0
    parts: list[Part] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The records of one part, which begin at the sequence ``first``."""

    first: int
    records: Sequence[Record]
    tokens: int

    def scores(self, name: str) -> Sequence[Scores]:
        """Those of one capture."""
        return [record.captures[name] for record in self.records]

    def write(self, folder: Path, file: str, tensors: Tensors) -> Part:
        """Write the part's tensors to ``file``, and return its manifest entry."""
        return write_part(
            folder,
            file,
            tensors,
            first_sequence=self.first,
            sequences=len(self.records),
            tokens=self.tokens,
        )


class WrittenParts:
    """The parts below ``folder``. Errors of writing are those of `write_part`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._captures: dict[str, _CaptureParts] = {}
        self._first: Place | None = None
        self._waiting: list[Record] = []
        self._tokens = 0
        self.sequences = 0
        self.of_sequences: list[Part] = []

    @property
    def names(self) -> list[str]:
        """The captures, by the names that files give them."""
        return list(self._captures)

    def add(self, record: Record) -> None:
        """Take one sequence. Raises InputError where its captures are not those of the
        first one, or have names that are no labels.
        """
        if self._first is None:
            self._begin(record)
        self._check_captures(record)
        self._waiting.append(record)
        self._tokens += len(record.token_ids)
        self.sequences += 1
        is_full = len(self._waiting) >= PART_SEQUENCES
        if is_full or self._tokens >= PART_TOKENS:
            self._write()

    def finished(self, corrections: Corrections) -> Mapping[str, Parts]:
        """Write what is left, put right what was written, and return the parts of the
        captures by their names.
        """
        if self._waiting:
            self._write()
        parts = {}
        for name, capture in self._captures.items():
            correction = corrections[name]
            parts[name] = self._corrected(capture, correction)
        return parts

    def _begin(self, record: Record) -> None:
        labels = labels_of(record.captures)
        self._first = record.place
        for name, label in labels.items():
            self._captures[name] = _CaptureParts(label)

    def _check_captures(self, record: Record) -> None:
        names = set(record.captures)
        odd = names.symmetric_difference(self._captures)
        if odd and self._first is not None:
            name = min(odd)
            known = ", ".join(self._captures)
            raise record.place.error(
                f"capture {name!r} is not in every sequence: {self._first.words}"
                f" has {known}",
                "import them as two sessions, or give null for what is not known",
            )

    def _write(self) -> None:
        first = self.sequences - len(self._waiting)
        chunk = _Chunk(first, self._waiting, self._tokens)
        index = len(self.of_sequences)
        part = _write_sequences(self._folder, index, chunk)
        self.of_sequences.append(part)
        for name, capture in self._captures.items():
            self._write_scores(index, chunk, name, capture)
        self._waiting = []
        self._tokens = 0

    def _write_scores(
        self, index: int, chunk: _Chunk, name: str, capture: _CaptureParts
    ) -> None:
        """Write the scores of one capture, as wide as the widest until now."""
        scores = chunk.scores(name)
        widths = map(_width, scores)
        width = max(capture.width, *widths)
        capture.width = width
        file = capture_part(capture.label, index)
        tensors = part_tensors(scores, width)
        part = chunk.write(self._folder, file, tensors)
        versions = part_versions(scores)
        part = part._replace(versions=versions)
        capture.parts.append(part)
        capture.widths.append(width)

    def _corrected(self, capture: _CaptureParts, correction: Correction) -> Parts:
        """The parts of a capture as they are in the end."""
        parts = []
        beside = zip(
            capture.parts,
            capture.widths,
            self.of_sequences,
            strict=True,
        )
        for part, width, sequences in beside:
            is_narrow = width < capture.width
            if is_narrow or correction.is_needed:
                part = corrected_part(
                    self._folder,
                    part,
                    sequences.file,
                    capture.width,
                    correction,
                )
            parts.append(part)
        return parts


def _width(scores: Scores) -> int:
    """How many alternatives a token has at most."""
    _, width = scores.top_ids.shape
    return int(width)


def _write_sequences(folder: Path, index: int, chunk: _Chunk) -> Part:
    records = chunk.records
    tensors = sequence_tensors(
        [record.token_ids for record in records],
        [record.prompt_length for record in records],
        [record.finish for record in records],
        [record.mask for record in records],
        [record.roles for record in records],
    )
    steps = [record.step for record in records]
    rewards = [record.reward for record in records]
    of_training = training_tensors(steps, rewards)
    all_tensors = {**tensors, **of_training}
    file = sequence_part(index)
    return chunk.write(folder, file, all_tensors)
