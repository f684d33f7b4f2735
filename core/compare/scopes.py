"""Scopes: which tokens of a session count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from logdrift.core.session.reader import Sequences

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]

Scope = Literal["all", "prompt", "completion"]
SCOPES: tuple[Scope, ...] = ("all", "prompt", "completion")


def default_scope(sequences: Sequences) -> Scope:
    """``completion``, or ``all`` where no completion token counts.

    The completion is what reinforcement learning trains on.
    """
    counted = sequences.mask == 1
    in_completion = completion_mask(sequences, len(sequences))
    if (counted & in_completion).any():
        return "completion"
    return "all"


def completion_mask(sequences: Sequences, count: int) -> Bools:
    """bool[N] over the first ``count`` sequences: True for tokens behind the prompt."""
    offsets = sequences.offsets[: count + 1]
    starts = offsets[:-1] + sequences.prompt_lengths[:count]
    start_of_token = np.repeat(starts, np.diff(offsets))
    tokens = int(offsets[-1])
    return np.arange(tokens) >= start_of_token
