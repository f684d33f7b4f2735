"""The thresholds that are offered: round ones, and those beyond which a share of the
tokens lies; and one's own as it is typed.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from logdrift.core.errors import InputError
from logdrift.tui.models.levels import Levels
from logdrift.tui.models.state import THRESHOLDS

SHARES = (0.001, 0.01, 0.05, 0.1, 0.25)
"""Shares of the tokens that a threshold is offered for."""
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
_LOWEST = 1e-9
"""Below every gap that a float32 near 1 can show."""


class ThresholdChoice(NamedTuple):
    """One row of the list: a threshold in the mode's unit; ``share`` of the tokens lie
    beyond it, None where it is simply a round number.
    """

    value: float
    share: float | None = None


def threshold_choices(levels: Levels) -> list[ThresholdChoice]:
    """The thresholds to choose from, ascending."""
    choices = [ThresholdChoice(value) for value in levels.mode.thresholds or THRESHOLDS]
    for share in SHARES:
        value = beyond_which(levels, share)
        if value is not None:
            choices.append(ThresholdChoice(value, share))
    return sorted(choices, key=_value_of)


def _value_of(choice: ThresholdChoice) -> float:
    return choice.value


def beyond_which(levels: Levels, share: float) -> float | None:
    """The threshold beyond which ``share`` (0 to 1) of the tokens lie, rounded down to
    a token; None where it is none: too few tokens, no gap, or no finite one.
    """
    if levels.pair is None or levels.missing is not None:
        return None
    numbers = levels.mode.values(levels.stretch(0, levels.pair.tokens))
    if levels.mode.diverging:
        numbers = np.abs(numbers)
    known = numbers[~np.isnan(numbers)]
    beyond = math.floor(share * len(known))
    if not beyond:
        return None
    index = len(known) - 1 - beyond
    value = float(np.partition(known, index)[index])
    if _LOWEST < value < math.inf:
        return value
    return None


def parse_threshold(text: str, levels: Levels) -> float:
    """The threshold that is typed, in the mode's unit: ``0.25`` as the list shows it,
    or ``1%`` of the tokens. InputError for anything else.
    """
    typed = text.strip().removesuffix("×").removesuffix("x").strip()
    is_share = typed.endswith("%")
    written = _NUMBER.fullmatch(typed.removesuffix("%").strip())
    if written is None:
        raise InputError(
            f"{text.strip()!r} is not a threshold: write 0.25, or 1% of the tokens"
        )
    value = float(written[0])
    if is_share:
        return _of_share(value / 100, levels)
    if levels.mode.name == "ratio":
        value -= 1  # the list shows ratios, a threshold is what they exceed 1 by
    if not _LOWEST < value < math.inf:
        least = "0"
        if levels.mode.name == "ratio":
            least = levels.mode.bound_text(0)
        raise InputError(f"a threshold is above {least}")
    return value


def _of_share(share: float, levels: Levels) -> float:
    value = beyond_which(levels, share)
    if value is None:
        raise InputError(f"no threshold has {100 * share:g}% of the tokens beyond it")
    return value
