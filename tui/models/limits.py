"""Limits held against the numbers of a pair, as the screen of limits shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logdrift.core.compare.limits import JudgedLimit, LimitLevel
from logdrift.core.compare.pair import Pair, default_scope
from logdrift.core.numbers import exact
from logdrift.core.report.limit_words import Conclusion, advice, conclusion
from logdrift.core.report.pair_numbers import bounds_text

STATES: dict[bool | None, tuple[str, str]] = {
    True: ("✓", "holds"),
    False: ("✗", "exceeded"),
    None: ("?", "cannot be judged"),
}
"""Mark and word by whether a limit holds."""

LEVELS: dict[LimitLevel, str] = {
    "own": "your own limit, of the config file",
    "normal": "a value within is what the framework calls normal",
    "fault": "a value outside is a fault to the framework",
    "exact": "holds only where trainer and engine are bitwise equal",
    "other": "published for another comparison: shown, never judged",
}
COLUMNS = ("whose", "their name", "value", "limit", "what to make of it", "number")
LEAST = (None, 20, None, None, 32, 30)
"""Cells that each column keeps: names and numbers before words."""

_ORDER: dict[LimitLevel, int] = {
    "own": 0,
    "fault": 1,
    "normal": 1,
    "exact": 2,
    "other": 3,
}


class PairLimits(NamedTuple):
    """Every limit held against a pair, and what they say together."""

    judged: list[JudgedLimit]
    conclusion: Conclusion


def judge_pair(pair: Pair) -> PairLimits:
    """Measure a pair and hold every limit against it.

    It takes a second or two for a million tokens. The user's own limits come first,
    then those of the frameworks, those for bitwise equality last.
    """
    # Imported here: nothing that is drawn before needs it.
    from logdrift.core.compare.limits import judge_limits
    from logdrift.core.compare.measured import measure_pair, splits_for
    from logdrift.core.compare.published import PUBLISHED
    from logdrift.core.config import load_config
    from logdrift.core.report.usual import usual_range

    own_limits = load_config().thresholds
    limits = (*own_limits, *PUBLISHED)
    scope = default_scope(pair.sequences)
    splits = splits_for(pair.session, scope, limits)
    measured = measure_pair(pair, scope, splits)
    verdict = measured.gate.verdict
    judged = judge_limits(measured.metrics, limits, verdict)
    normal = conclusion(
        judged,
        measured.metrics.errors.mae,
        usual_range(pair.a.info, pair.b.info),
        void=verdict == "not_comparable",
    )
    return PairLimits(sorted(judged, key=_place), normal)


def _place(item: JudgedLimit) -> int:
    level = item.limit.level
    return _ORDER[level]


def counted(judged: Sequence[JudgedLimit], *, wide: bool) -> str:
    """What the marks mean, with how many limits have each; those for bitwise equal runs
    on their own.
    """
    usual: list[bool | None] = []
    bitwise: list[bool | None] = []
    for item in judged:
        if item.limit.level == "exact":
            bitwise.append(item.ok)
        else:
            usual.append(item.ok)
    held = usual.count(True)
    exceeded = usual.count(False)
    unknown = usual.count(None)
    counts = f"✓ {held} hold  ✗ {exceeded} exceeded  ? {unknown} not judged"
    if not wide:
        return counts
    held = bitwise.count(True)
    return f"{counts}  bitwise equal: {held} of {len(bitwise)}"


def cells(item: JudgedLimit) -> list[str]:
    """The texts of `COLUMNS`."""
    limit = item.limit
    _, _, name = limit.name.rpartition("/")
    return [
        limit.framework,
        name,
        exact(item.value),
        bounds_text(limit),
        advice(item),
        limit.metric,
    ]


def whole_text(item: JudgedLimit) -> list[str]:
    """Everything about a limit, line by line."""
    whose, name, value, allowed, words, metric = cells(item)
    return [
        f"{name} ({whose})",
        "",
        f"number   {metric}",
        f"value    {value} {item.unit}",
        f"limit    {allowed}",
        f"state    {STATES[item.ok][1]}",
        f"so       {words}",
        "",
        item.limit.meaning,
        f"{LEVELS[item.limit.level]}.",
        "",
        f"source   {item.limit.source}",
    ]
