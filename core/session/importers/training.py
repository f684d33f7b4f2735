"""What a line tells of the training that a sequence comes from: its step, and what it
earned.
"""

from __future__ import annotations

import math

from logdrift.core.errors import Place
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.columns import is_real, is_whole

_MOST_STEP = 2**53
"""The largest whole number that every JSON reader keeps."""


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
    return float(reward)
