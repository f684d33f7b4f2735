"""The library that the toy engine drives: fixed log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = "7.0"
VOCABULARY = 64
APART = {"float32": 0.0, "bfloat16": 1 / 64}
"""What a dtype adds to every number, in nats."""


def logprobs(ids: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    """-0.5 for id 0, a quarter less for each next id up to 4, then again."""
    return (-0.5 - 0.25 * (ids % 5) - APART[dtype]).astype(np.float32)
