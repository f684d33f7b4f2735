"""Batches as trainers have them, padded, and the sequences in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import InputError
from logdrift.core.session.contents import NO_STEP

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SeenSequence:
    """One sequence of T tokens: ``token_ids`` i32[T], ``mask`` u8[T], and the
    log-probabilities f32[T] of each side by its name, nats, NaN where there is no
    score.
    """

    token_ids: Array
    prompt_length: int
    mask: Array
    logprobs: Mapping[str, Array]
    step: int = NO_STEP
    reward: float = np.nan
    version: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SeenBatch:
    """B rows as they were copied. Prompts P_i and completions R_i may be padded: their
    masks say which tokens are there; None: all.

    ``logprobs`` are of completions, ``counts`` says which of their tokens count; None:
    those that are there.
    """

    prompts: Sequence[Array]
    prompt_masks: Sequence[Array] | None
    completions: Sequence[Array]
    completion_masks: Sequence[Array] | None
    counts: Sequence[Array] | None
    logprobs: Mapping[str, Sequence[Array]]
    step: int
    rewards: Array | None
    versions: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.completions)

    @property
    def tokens(self) -> int:
        """Tokens with their padding."""
        rows = (*self.prompts, *self.completions)
        return sum(len(row) for row in rows)

    def check(self) -> None:
        """Raise InputError where rows do not fit each other."""
        columns: dict[str, Sequence[Array] | None] = {
            "prompt_ids": self.prompts,
            "completion_mask": self.completion_masks,
            "mask": self.counts,
            **{f"logprobs[{name!r}]": rows for name, rows in self.logprobs.items()},
        }
        for name, rows in columns.items():
            if rows is not None and len(rows) != len(self):
                raise InputError(
                    f"{name} has {len(rows)} rows, completion_ids {len(self)}"
                )
        del columns["prompt_ids"]
        for name, rows in columns.items():
            _check_lengths(name, rows, self.completions, "completion_ids")
        _check_lengths("prompt_mask", self.prompt_masks, self.prompts, "prompt_ids")

    def sequences(self) -> Iterator[SeenSequence]:
        """The rows without their padding; rows without a token are left out."""
        for row in range(len(self)):
            sequence = self._sequence(row)
            if len(sequence.token_ids):
                yield sequence

    def _sequence(self, row: int) -> SeenSequence:
        prompt = self.prompts[row]
        if self.prompt_masks is not None:
            prompt = prompt[self.prompt_masks[row] > 0]
        there = self._there(row)
        completion = self.completions[row][there]
        counts = np.ones(len(completion), np.uint8)
        if self.counts is not None:
            counts = (self.counts[row][there] > 0).astype(np.uint8)
        everything = np.ones(len(prompt), np.uint8)
        logprobs = {}
        for name, rows in self.logprobs.items():
            scores = rows[row][there]
            logprobs[name] = _whole(scores, counts, len(prompt))
        reward = np.nan
        if self.rewards is not None:
            reward = float(self.rewards[row])
        return SeenSequence(
            token_ids=np.concatenate([prompt, completion]),
            prompt_length=len(prompt),
            mask=np.concatenate([everything, counts]),
            logprobs=logprobs,
            step=self.step,
            reward=reward,
            version=self.versions[row],
        )

    def _there(self, row: int) -> Array:
        """bool[R]: the tokens of a completion that are no padding."""
        if self.completion_masks is None:
            count = len(self.completions[row])
            return np.ones(count, np.bool_)
        mask: Array = self.completion_masks[row] > 0
        return mask


def _check_lengths(
    name: str, rows: Sequence[Array] | None, others: Sequence[Array], other: str
) -> None:
    if rows is None:
        return
    for index, (row, beside) in enumerate(zip(rows, others, strict=True)):
        if len(row) != len(beside):
            raise InputError(
                f"{name} has {len(row)} entries in row {index}, {other} {len(beside)}"
            )


def _whole(scores: Array, counts: Array, prompt: int) -> Array:
    """Scores of the whole sequence. What does not count is a filler in most trainers
    (0.0 for the output of a tool), so it is no score.
    """
    unknown = np.full(prompt, np.nan, np.float32)
    known = np.where(counts > 0, scores, np.nan)
    return np.concatenate([unknown, known.astype(np.float32)])
