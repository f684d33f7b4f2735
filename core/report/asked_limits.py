"""The limits that `logdrift check` is asked for: METRIC=VALUE, by our names or those of
a framework, and what frameworks publish.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logdrift.core.compare.framework_names import (
    FRAMEWORK_NAMES,
    FRAMEWORKS,
    FrameworkName,
    framework_name,
    names_of,
    plain_name,
)
from logdrift.core.compare.limits import Limit
from logdrift.core.compare.metric import resolve
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.errors import InputError

Limits = tuple[Limit, ...]

GIVEN = "given"
"""The framework of a limit that was given as a flag, by our own name."""
_USUAL_LEVELS = ("normal", "fault")
_NEAR = 0.85
"""How alike, of 1, a mistyped name is to the one meant: a letter or two in ten."""


def parse_limits(highest: Sequence[str], lowest: Sequence[str]) -> Limits:
    """Limits of ``--max`` and ``--min`` texts METRIC=VALUE, in that order.

    Both sides of one metric are one limit. InputError for an unknown metric (naming the
    nearest), a value that is not finite, a limit given twice and a minimum above
    its maximum.
    """
    high = _bounds("--max", highest)
    low = _bounds("--min", lowest)
    paths = dict.fromkeys([*high, *low])
    for path in paths:
        if path not in high or path not in low:
            continue
        least = low[path].value
        most = high[path].value
        if least > most:
            raise InputError(
                f"{path}: the minimum {least:g} is above the maximum {most:g}"
            )
    limits = [_limit_of_flags(path, low, high) for path in paths]
    return tuple(limits)


def _limit_of_flags(
    path: str, low: Mapping[str, _Bound], high: Mapping[str, _Bound]
) -> Limit:
    bounds = [bound[path] for bound in (low, high) if path in bound]
    rows = [bound.row for bound in bounds if bound.row is not None]
    framework, name, differs = GIVEN, path, ""
    if rows:
        framework, name, differs = rows[0].framework, rows[0].name, rows[0].differs
    return Limit(
        framework=framework,
        name=name,
        metric=path,
        low=_value(low.get(path)),
        high=_value(high.get(path)),
        level="own",
        meaning=_difference(differs),
        source="",
        scope=None,
    )


def _difference(differs: str) -> str:
    """How a framework's own number is another one."""
    if not differs:
        return ""
    return f"there: {differs}"


@dataclass(frozen=True, slots=True)
class _Bound:
    """A value, and the framework's name that it was given by."""

    value: float
    row: FrameworkName | None


def _value(bound: _Bound | None) -> float | None:
    if bound is None:
        return None
    return bound.value


def _bounds(flag: str, texts: Sequence[str]) -> dict[str, _Bound]:
    """The values of METRIC=VALUE texts by the path of the metric."""
    bounds: dict[str, _Bound] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f"{flag} {text}: write METRIC=VALUE, for example {flag} mae=0.03"
            )
        path, row = _metric_called(name)
        limit = _number(value)
        if limit is None:
            raise InputError(
                f"{flag} {text}: {value.strip() or 'nothing'} is not a finite number"
            )
        if path in bounds:
            raise InputError(f"{flag} {path} is given twice: give one limit")
        bounds[path] = _Bound(limit, row)
    return bounds


def _metric_called(name: str) -> tuple[str, FrameworkName | None]:
    """The path of a metric by our own name or by that of a framework. InputError for an
    unknown one, naming the nearest.
    """
    try:
        return resolve(name), None
    except InputError as unknown:
        row = framework_name(name)
        if row is None:
            raise _meant_of_framework(name) or unknown from None
        return row.metric, row


def _meant_of_framework(name: str) -> InputError | None:
    """What is wrong with a framework's name in the place of a number's, and with a slip
    in the name of one of its numbers; None for other names.
    """
    plain = plain_name(name)
    for framework in FRAMEWORKS:
        if plain_name(framework) == plain:
            example = names_of(framework)[0].name
            remedy = f"name one of its numbers, as {example}=0.01"
            if _published_by(plain):
                remedy += f", or check its limits with --published {framework}"
            reason = f"{name.strip()!r} is a framework and not a metric"
            return InputError(reason, remedy=remedy)
    names = _short_names(FRAMEWORK_NAMES)
    near = difflib.get_close_matches(name.strip(), names, n=1, cutoff=_NEAR)
    if near:
        return InputError(f"metric {name!r} is unknown: did you mean {near[0]}?")
    return None


def _short_names(rows: Sequence[FrameworkName]) -> list[str]:
    """The last parts by which numbers can be named; a word alone means too much."""
    return [row.name.rpartition("/")[2] for row in rows if "_" in row.name]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if math.isfinite(value):
        return value
    return None


def published_limits(names: Sequence[str], own: Sequence[Limit]) -> Limits:
    """The limits that `--published` NAMES mean; ``own`` are those of the config file.

    A framework's name (case and hyphens do not matter) or ``all`` means what these call
    normal or a fault; ``mine`` means ``own``. Limits that hold only where trainer and
    engine are bitwise equal have to be asked for, as ``exact``, or by the name of a
    framework that has no other. InputError for an unknown name, and for ``mine`` where
    there are none.
    """
    limits: list[Limit] = []
    for name in names:
        limits += _named(name, own)
    return tuple(dict.fromkeys(limits))


def _named(name: str, own: Sequence[Limit]) -> Sequence[Limit]:
    plain = plain_name(name)
    if plain == "mine":
        if not own:
            raise InputError(
                "--published mine: the config file has no limits: write [[thresholds]]"
                " in it"
            )
        return own
    limits = _published_by(plain)
    if not limits:
        frameworks = [limit.framework for limit in PUBLISHED]
        known = ", ".join(dict.fromkeys(frameworks))
        raise InputError(f"--published {name}: use all, exact, mine or one of {known}")
    exact = [limit for limit in limits if limit.level == "exact"]
    usual = [limit for limit in limits if limit.level in _USUAL_LEVELS]
    if plain == "exact":
        return exact
    return usual or exact


def _published_by(plain: str) -> list[Limit]:
    """The limits of one framework, or of every one for ``all`` and ``exact``."""
    if plain in ("all", "exact"):
        return list(PUBLISHED)
    return [limit for limit in PUBLISHED if plain_name(limit.framework) == plain]
