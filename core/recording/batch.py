"""Batches as trainers have them, padded, and the sequences in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def counted(self) -> Array:
        """bool[T]: tokens of the completion that count."""
        counts: Array = self.mask == 1
        counts[: self.prompt_length] = False
        return counts

    @property
    def sides(self) -> tuple[Array, Array] | None:
        """The log-probabilities of the first two sides; None where there is one."""
        values = tuple(self.logprobs.values())
        if len(values) < 2:
            return None
        a, b, *_ = values
        return a, b


def difference(a: Array, b: Array) -> Array:
    """a - b, nats; 0 where both are -inf."""
    with np.errstate(invalid="ignore"):
        delta: Array = a - b
    delta[a == b] = 0.0
    return delta


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
        completions = _BatchRows("completion_ids", self.completions)
        prompts = _BatchRows("prompt_ids", self.prompts)
        prompts.check_count(completions)
        if self.prompt_masks is not None:
            _BatchRows("prompt_mask", self.prompt_masks).check_lengths(prompts)
        for rows in self._beside_completions():
            rows.check_lengths(completions)

    def _beside_completions(self) -> Iterator[_BatchRows]:
        if self.completion_masks is not None:
            yield _BatchRows("completion_mask", self.completion_masks)
        if self.counts is not None:
            yield _BatchRows("mask", self.counts)
        for side, rows in self.logprobs.items():
            yield _BatchRows(f"logprobs[{side!r}]", rows)

    def sequences(self) -> Iterator[SeenSequence]:
        """The rows without their padding; rows without a token are left out."""
        for row in range(len(self)):
            sequence = self._sequence(row)
            if len(sequence):
                yield sequence

    def _sequence(self, row: int) -> SeenSequence:
        prompt = self._prompt(row)
        there = self._there(row)
        completion = self.completions[row][there]
        counts = self._counts(row)[there]
        everything = np.ones_like(prompt, np.uint8)
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

    def _prompt(self, row: int) -> Array:
        """The tokens of a prompt that are no padding."""
        prompt = self.prompts[row]
        if self.prompt_masks is None:
            return prompt
        there = self.prompt_masks[row] > 0
        return prompt[there]

    def _there(self, row: int) -> Array:
        """bool[R]: the tokens of a completion that are no padding."""
        if self.completion_masks is None:
            return np.ones_like(self.completions[row], np.bool_)
        mask: Array = self.completion_masks[row] > 0
        return mask

    def _counts(self, row: int) -> Array:
        """u8[R]: 1 for the tokens of a completion that count."""
        if self.counts is None:
            return np.ones_like(self.completions[row], np.uint8)
        counts = self.counts[row] > 0
        return counts.astype(np.uint8)


class _BatchRows(NamedTuple):
    """An argument by its ``name``: one array a row."""

    name: str
    rows: Sequence[Array]

    def check_count(self, other: _BatchRows) -> None:
        """Raise InputError where there are not as many rows as in ``other``."""
        own_count = len(self.rows)
        count = len(other.rows)
        if own_count != count:
            raise InputError(f"{self.name} has {own_count} rows, {other.name} {count}")

    def check_lengths(self, other: _BatchRows) -> None:
        """Raise InputError where a row is not as long as that of ``other``."""
        self.check_count(other)
        pairs = zip(self.rows, other.rows, strict=True)
        for index, (row, beside) in enumerate(pairs):
            own_length = len(row)
            length = len(beside)
            if own_length != length:
                raise InputError(
                    f"{self.name} has {own_length} entries in row {index},"
                    f" {other.name} {length}"
                )


def _whole(scores: Array, counts: Array, prompt: int) -> Array:
    """Scores of the whole sequence. What does not count is a filler in most trainers
    (0.0 for the output of a tool), so it is no score.
    """
    unknown = np.full(prompt, np.nan, np.float32)
    known = scores.astype(np.float32)
    known[counts == 0] = np.nan
    return np.concatenate([unknown, known])
