"""What a line tells of the training that a sequence comes from: its step, and what it
earned.
"""

from __future__ import annotations

import math

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.columns import is_real, is_whole

_MOST_STEP = 2**53
"""The largest whole number that every JSON reader keeps."""

_MOST_REWARD = float(np.finfo(np.float32).max)


def step_of(data: JsonObject, place: Place) -> int:
    """The training step; `NO_STEP` where the line has none. Raises InputError."""
    step = data.get("step")
    if step is None:
        return NO_STEP
    if not is_whole(step, _MOST_STEP):
        raise place.error(f"step is {step!r}", "give a number, 0 or more")
    number: int = step
    return number


def reward_of(data: JsonObject, place: Place) -> float:
    """The reward; NaN where the line has none. Raises InputError."""
    reward = data.get("reward")
    if reward is None:
        return math.nan
    if not is_real(reward):
        raise place.error(f"reward is {reward!r}", "give a number")
    if not _fits(reward):
        raise place.error("reward is larger than float32 holds", "scale the rewards")
    return float(reward)


def _fits(reward: float) -> bool:
    """Whether float32 holds it, as it does NaN and infinity; a whole number of JSON may
    be one that no float holds.
    """
    is_special = isinstance(reward, float) and not math.isfinite(reward)
    return is_special or abs(reward) <= _MOST_REWARD
