"""The numbers of what a process has seen in a step, by our names or a framework's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.errors import ErrorStats, error_stats
from logdrift.core.compare.framework_names import names_of
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.metrics import ScopeTokens
from logdrift.core.compare.mismatch import Mismatch, mismatch_stats
from logdrift.core.compare.probability import Probability, probability_stats
from logdrift.core.recording.batch import SeenSequence, difference

Array = npt.NDArray[Any]

OURS = "logdrift"
_SECTIONS = ("errors", "probability", "mismatch")
"""Of which metrics there are: those that tokens alone tell."""


def metrics_of(
    sequences: Sequence[SeenSequence], framework: str = OURS
) -> dict[str, float]:
    """The numbers over all completion tokens that count, of the first two sides, as a
    plain dict.

    Its keys are paths (`errors.mae`), or the names of a framework. Empty where nothing
    was scored by both. Raises InputError for an unknown framework.
    """
    names = _names(framework)
    tokens = _tokens(sequences)
    if tokens is None:
        return {}
    numbers = StepNumbers(tokens)
    found = {}
    for name, path in names.items():
        value = numbers.value(path)
        if value is not None:
            found[name] = value
    return found


def _names(framework: str) -> Mapping[str, str]:
    """The path of the metric behind each name."""
    if framework == OURS:
        paths = [path for path, row in METRICS.items() if row.section in _SECTIONS]
        return dict(zip(paths, paths, strict=True))
    return {row.name: row.metric for row in names_of(framework)}


@dataclass(frozen=True)
class StepNumbers:
    """The records that metrics are read from, computed when one is first read."""

    tokens: ScopeTokens

    @cached_property
    def errors(self) -> ErrorStats:
        tokens = self.tokens
        return error_stats(tokens.delta, tokens.logprob_a, tokens.logprob_b)

    @cached_property
    def probability(self) -> Probability:
        return probability_stats(self.tokens.logprob_a, self.tokens.logprob_b)

    @cached_property
    def mismatch(self) -> Mismatch:
        tokens = self.tokens
        return mismatch_stats(
            tokens.delta,
            tokens.logprob_a,
            tokens.logprob_b,
            tokens.lengths,
            sampled_by_b=True,
        )

    def value(self, path: str) -> float | None:
        """The metric at a path of one of the three records."""
        row = METRICS[path]
        if row.of_tokens is not None:
            return row.of_tokens(self.tokens)
        numbers: Any = self
        return row.read(numbers)


def _tokens(sequences: Sequence[SeenSequence]) -> ScopeTokens | None:
    sides: tuple[list[Array], list[Array]] = ([], [])
    lengths = []
    for sequence in sequences:
        of_sequence = sequence.sides
        if of_sequence is None:
            return None
        scored = sequence.counted
        for side in of_sequence:
            scored &= ~np.isnan(side)
        for column, side in zip(sides, of_sequence, strict=True):
            column.append(side[scored])
        count = np.count_nonzero(scored)
        lengths.append(count)
    if not sum(lengths):
        return None
    logprob_a, logprob_b = map(np.concatenate, sides)
    return ScopeTokens(
        delta=difference(logprob_a, logprob_b),
        logprob_a=logprob_a,
        logprob_b=logprob_b,
        lengths=np.array(lengths, np.int64),
    )
