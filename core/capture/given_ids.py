"""What the sequences of a session ask of a model that is to score them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from logdrift.core.errors import InputError
from logdrift.core.numbers import counted
from logdrift.core.session.layout import PROMPTS, Manifest
from logdrift.core.session.scores import Array
from logdrift.core.session.tensors import read_tensors


@dataclass(slots=True)
class GivenIds:
    """The largest id and the longest sequence, each with the number of its sequence;
    ``without_prompt`` of the ``sequences`` are a completion alone.
    """

    sequences: int = 0
    largest: int = 0
    largest_at: int = 0
    longest: int = 0
    longest_at: int = 0
    without_prompt: int = 0

    def check_vocabulary(self, model: str, size: int | None) -> None:
        """Raises InputError where a model of ``size`` ids does not know them all."""
        if size is None or self.largest < size:
            return
        raise InputError(
            f"sequence {self.largest_at} holds id {self.largest:,}, and its vocabulary"
            f" has {counted(size, 'id')}",
            field="model",
            where=f"model {model}",
            remedy="name the model that the session's ids are of",
        )

    def check_length(self, model: str, positions: int | None) -> None:
        """Raises InputError where the longest sequence does not fit a model."""
        if positions is None or self.longest <= positions:
            return
        raise InputError(
            f"sequence {self.longest_at} has {counted(self.longest, 'token')}, and the"
            f" model has {counted(positions, 'position')}",
            field="model",
            where=f"model {model}",
            remedy="import without the sequences that are longer",
        )

    def take(self, first: int, tensors: dict[str, Array]) -> None:
        """Look at the sequences of one part, which begin with number ``first``."""
        offsets = tensors["offsets"]
        lengths = np.diff(offsets)
        if not lengths.size:
            return
        self.sequences += lengths.size
        self.without_prompt += int(np.count_nonzero(tensors["prompt_lengths"] == 0))
        self._take_longest(first, lengths)
        self._take_largest(first, tensors["token_ids"], offsets)

    def _take_longest(self, first: int, lengths: Array) -> None:
        place = int(lengths.argmax())
        longest = int(lengths[place])
        if longest > self.longest:
            self.longest = longest
            self.longest_at = first + place

    def _take_largest(self, first: int, ids: Array, offsets: Array) -> None:
        token = int(ids.argmax())
        largest = int(ids[token])
        if largest > self.largest:
            self.largest = largest
            row = np.searchsorted(offsets, token, side="right") - 1
            self.largest_at = first + int(row)


def given_ids(folder: Path, manifest: Manifest) -> GivenIds:
    """Read the ids of a session, one part at a time; of one that is still sampled, its
    prompts too.
    """
    found = GivenIds()
    for file, first in _files(folder, manifest):
        tensors = read_tensors(folder / file)
        found.take(first, tensors)
    return found


def _files(folder: Path, manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Each file of ids, and the number of its first sequence."""
    sequences = manifest.sequences
    for part in sequences.parts:
        yield part.file, part.first_sequence
    if sequences.generated_by is not None and (folder / PROMPTS).exists():
        yield PROMPTS, 0
