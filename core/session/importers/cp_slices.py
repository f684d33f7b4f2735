"""Numbers of a sequence that context parallelism has spread over ranks, put together.

The sequence is cut into ``2 * cp_size`` chunks of one size, and rank r holds the chunks
r and ``2 * cp_size - 1 - r`` (Megatron-LM's zigzag; miles,
``backends/training_utils/cp_utils.py``). A rank has numbers for the positions of the
response alone, position p for token p + 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList


@dataclass(frozen=True, slots=True)
class SlicedSequence:
    """A sequence of ``tokens`` tokens, of which ``response`` are the completion, spread
    over ``cp_size`` ranks; ``padded`` is the length that was cut into chunks.
    """

    tokens: int
    response: int
    cp_size: int
    padded: int

    def whole(self, slices: Mapping[int, JsonList], place: Place, key: str) -> JsonList:
        """The numbers of the completion, by rank in ``slices``. Raises InputError where
        a rank is missing, or has not as many as it should.
        """
        numbers: list[Any] = [None] * self.response
        for rank in range(self.cp_size):
            if rank not in slices:
                raise place.error(
                    f"{key} was spread over {self.cp_size} ranks, and that of rank"
                    f" {rank} is not here",
                    "give the folder that holds the files of all ranks",
                )
            values = slices[rank]
            tokens = self._tokens_of(rank)
            if len(values) != len(tokens):
                raise place.error(
                    f"{key} of rank {rank} has {len(values)} entries: its part of the"
                    f" completion has {len(tokens)} tokens"
                )
            for token, value in zip(tokens, values, strict=True):
                at = token - self._prompt
                numbers[at] = value
        return numbers

    @property
    def _prompt(self) -> int:
        """How many tokens are no completion."""
        return self.tokens - self.response

    @property
    def _chunks(self) -> int:
        return 2 * self.cp_size

    def _tokens_of(self, rank: int) -> list[int]:
        """The tokens of the completion that a rank has numbers for."""
        if self.cp_size == 1:
            completion = range(self._prompt, self.tokens)
            return list(completion)
        mirrored = self._chunks - 1 - rank
        return [*self._scored_by(rank), *self._scored_by(mirrored)]

    def _scored_by(self, chunk: int) -> range:
        size = math.ceil(self.padded / self._chunks)
        first_of_chunk = chunk * size
        behind_chunk = first_of_chunk + size
        last_of_prompt = self._prompt - 1
        last_token = self.tokens - 1
        start = max(first_of_chunk, last_of_prompt)
        stop = min(behind_chunk, last_token)
        return range(start + 1, stop + 1)
