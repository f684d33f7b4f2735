"""Limits on the numbers of a session: each either holds or is broken, and a number that
is not there is broken.

Nothing passes by default: an unknown number, a pair that may not be compared, a capture
that is not finished and tokens without a number fail the check, whatever limits were
given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from logdrift.core.compare.metric import resolve, unit_of
from logdrift.core.compare.part_names import split_of
from logdrift.core.compare.thresholds import PUBLISHED, Limit, evaluate
from logdrift.core.errors import InputError
from logdrift.core.numbers import fixed
from logdrift.core.report.layout import Canvas, pad

SCHEMA = 1
GIVEN = "given"
"""The framework of a limit that was given as a flag."""
VERDICTS = ("comparable", "caution", "not_comparable")
"""Best first."""

ALWAYS = {"coverage.nan": "nan", "coverage.unscored": "unscored"}
"""What may be 0 at most where no limit says otherwise, with the code of the gate's
reason for it.

These tokens are in no other number, so every other limit can hold for want of them.
"""

_STATES = {
    "running": "it is still being captured: wait for the end",
    "partial": "not every capture is finished: go on with logdrift capture --resume",
    "failed": (
        "a capture failed: see logdrift report, then go on with logdrift capture"
        " --resume"
    ),
}

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the check. ``pair`` is ``A:B``, None for the session; ``reason`` is
    None where it is ok.

    ``value``, ``min`` and ``max`` are numbers, or words for the metrics ``verdict`` and
    ``state``.
    """

    pair: str | None
    metric: str
    value: float | str | None
    min: float | str | None
    max: float | str | None
    ok: bool
    reason: str | None
    framework: str | None = None
    name: str | None = None


def parse_bounds(highest: Sequence[str], lowest: Sequence[str]) -> tuple[Limit, ...]:
    """Limits of ``--max`` and ``--min`` texts METRIC=VALUE, in that order, both sides
    of one metric joined.

    InputError for an unknown metric (naming the nearest), a value that is no finite
    number, a limit given twice and a minimum above its maximum.
    """
    high, low = _values("--max", highest), _values("--min", lowest)
    for metric in high.keys() & low.keys():
        if low[metric] > high[metric]:
            raise InputError(
                f"{metric}: the minimum {low[metric]:g} is above the maximum"
                f" {high[metric]:g}"
            )
    return tuple(
        _given(metric, low.get(metric), high.get(metric))
        for metric in dict.fromkeys([*high, *low])
    )


def _given(metric: str, low: float | None, high: float | None) -> Limit:
    return Limit(GIVEN, metric, metric, low, high, "own", "", "", scope=None)


def published_limits(names: Sequence[str], own: Sequence[Limit]) -> tuple[Limit, ...]:
    """The limits that `--published` NAMES mean; ``own`` are those of the config file,
    called ``mine``.

    A framework's name (case and hyphens do not matter) or ``all`` means what these call
    normal or a fault; limits that hold only where trainer and engine are bitwise equal
    have to be asked for, as ``exact``, or by the name of a framework that has no other.
    InputError for an unknown name, and for ``mine`` where there are none.
    """
    chosen: list[Limit] = []
    for name in names:
        wanted = _plain(name)
        of_it = [
            limit
            for limit in PUBLISHED
            if wanted in ("all", "exact", _plain(limit.framework))
        ]
        if wanted == "mine":
            if not own:
                raise InputError(
                    "--published mine: the config file has no limits: write"
                    " [[thresholds]] in it"
                )
            chosen += own
        elif not of_it:
            known = ", ".join(dict.fromkeys(limit.framework for limit in PUBLISHED))
            raise InputError(
                f"--published {name}: use all, exact, mine or one of {known}"
            )
        else:
            usual = (
                []
                if wanted == "exact"
                else [limit for limit in of_it if limit.level in ("normal", "fault")]
            )
            chosen += usual or [limit for limit in of_it if limit.level == "exact"]
    return tuple(dict.fromkeys(chosen))


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _values(flag: str, texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f"{flag} {text}: write METRIC=VALUE, for example {flag} mae=0.03"
            )
        metric = resolve(name)
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not math.isfinite(limit):
            raise InputError(
                f"{flag} {text}: {value.strip() or 'nothing'} is not a finite number"
            )
        if metric in found:
            raise InputError(f"{flag} {metric} is given twice: give one limit")
        found[metric] = limit
    return found


def check_report(
    report: Report,
    bounds: Sequence[Limit],
    required: str = "caution",
    partial: bool = False,
) -> list[Result]:
    """Every result for the pairs of ``report``; `all(r.ok)` is the answer.

    The session must be finished (with ``partial`` any state will do) and have a pair.
    Of each pair: the verdict of the gate (``required`` is the worst that passes), that
    there is a token at all, and then every bound.
    """
    state, ok = report["state"], partial or report["state"] == "complete"
    wanted = None if partial else "complete"
    results = [
        Result(None, "state", state, wanted, None, ok, None if ok else _STATES[state])
    ]
    if not report["pairs"]:
        reason = (
            "fewer than two captures have a finished sequence: there is nothing to"
            " check"
        )
        results.append(Result(None, "pairs", 0, 1, None, False, reason))
    for pair in report["pairs"]:
        split = split_of(pair, report.get("decomposition") or ())
        results += _check_pair({**pair, "decomposition": split}, bounds, required)
    return results


def _check_pair(
    pair: Report, bounds: Sequence[Limit], required: str
) -> Iterator[Result]:
    name = f"{pair['a']}:{pair['b']}"
    yield _verdict(name, pair["gate"], required)
    if not pair["tokens"]:
        reason = (
            f"no {'' if pair['scope'] == 'all' else pair['scope'] + ' '}token has a"
            " score on both sides"
        )
        yield Result(name, "tokens", 0, 1, None, False, reason)
    limited = {bound.metric for bound in bounds}
    yield from _always(name, pair, limited)
    for bound in bounds:
        left_out = (
            "topk.kl_infinite"
            if bound.metric.startswith("topk.")
            else "errors.infinite"
        )
        yield _bound(name, pair, bound, left_out, left_out in limited)


def _verdict(name: str, gate: Report, required: str) -> Result:
    verdict = gate["verdict"]
    ok = VERDICTS.index(verdict) <= VERDICTS.index(required)
    reason = None
    if not ok:
        first = next(
            (r["text"] for r in gate["reasons"] if r["severity"] == verdict), ""
        )
        reason = f"the gate says {verdict.replace('_', ' ')}: {first}".rstrip(": ")
    return Result(name, "verdict", verdict, required, None, ok, reason)


def _always(name: str, pair: Report, limited: Iterable[str]) -> Iterator[Result]:
    """What of `ALWAYS` is broken. A limit of one's own on such a number, or on one side
    of it, takes its place.
    """
    found = pair.get("coverage") or {}
    for metric, code in ALWAYS.items():
        key = metric.removeprefix("coverage.")
        value = found.get(key)
        if value and not any(given.startswith(metric) for given in limited):
            told = [
                said["text"].rstrip(".")
                for said in pair["gate"]["reasons"]
                if said["code"] == code
            ]
            why = "; ".join(told) or f"{value:,} tokens have a score on one side alone"
            yield Result(
                name,
                metric,
                value,
                None,
                0.0,
                False,
                f"{why}; allow it with --max {key}={value}",
            )


def _bound(
    name: str, pair: Report, bound: Limit, left_out: str, allowed: bool
) -> Result:
    """``left_out`` counts what the number leaves out; where that has a limit of its own
    (``allowed``), so be it.
    """
    # The gate and the scope have lines of their own here: what is left to object to is
    # a number that lacks tokens.
    (judged,) = evaluate(
        {**pair, "gate": None}, [replace(bound, scope=None, level="own")]
    )
    value, lacks = judged["value"], judged["note"]
    if bound.scope not in (
        None,
        pair["scope"],
    ):  # before the number, which is of other tokens
        how = "set" if bound.level == "own" else "published"
        reason: str | None = (
            f"{how} for the {bound.scope}, not for the scope {pair['scope']}"
        )
    elif value is None:
        reason = "not known for this pair, and a missing observation is not a pass"
    elif bound.high is not None and value > bound.high:
        reason = (
            f"{_exact(value)} is above {_exact(bound.high)} by"
            f" {_excess(value, bound.high, bound.high)}"
        )
    elif bound.low is not None and value < bound.low:
        reason = (
            f"{_exact(value)} is below {_exact(bound.low)} by"
            f" {_excess(bound.low, value, bound.low)}"
        )
    else:
        reason = (
            f"{lacks}: limit those too, with --max {left_out}=N"
            if lacks and not allowed
            else None
        )
    whose = (None, None) if bound.framework == GIVEN else (bound.framework, bound.name)
    return Result(
        name, bound.metric, value, bound.low, bound.high, reason is None, reason, *whose
    )


def _excess(larger: float, smaller: float, limit: float) -> str:
    share = f" ({100 * (larger - smaller) / abs(limit):.3g}%)" if limit else ""
    return f"{_exact(larger - smaller)}{share}"


def _exact(value: float) -> str:
    """Six digits: what the table rounds away may be what broke the limit."""
    return f"{value:.6g}"


def to_json(report: Report, results: Sequence[Result]) -> dict[str, Any]:
    """Schema 1 of the check (docs/diff-and-check.md)."""
    return {
        "schema": SCHEMA,
        "session": report["session"],
        "ok": all(result.ok for result in results),
        "results": [asdict(result) for result in results],
    }


def broken_line(result: Result) -> str:
    """One line that says what is broken: pair, metric and why."""
    whose = f" ({result.framework}: {result.name})" if result.framework else ""
    return f"{result.pair or 'session'} {result.metric}{whose}: {result.reason}"


def render(report: Report, results: Sequence[Result], canvas: Canvas) -> str:
    """The check for a person: one line for each result under its pair, the reason below
    what failed, the sum last.
    """
    lines: list[str] = []
    shown: str | None = ""
    scopes = {
        f"{pair['a']}:{pair['b']}": (pair["tokens"], pair["scope"])
        for pair in report["pairs"]
    }
    for result in results:
        if result.pair != shown:
            shown = result.pair
            lines += [""] if lines else []
            lines += [
                canvas.paint(line, "bold")
                for line in canvas.wrap(_title(report, shown, scopes))
            ]
        lines += _lines(result, canvas)
    failed = sum(not result.ok for result in results)
    said = (
        f"FAILED: {failed} of {len(results)} checks"
        if failed
        else f"ok: all {len(results)} checks hold"
    )
    lines += [
        "",
        *(
            canvas.paint(line, "bad" if failed else "good")
            for line in canvas.wrap(said)
        ),
    ]
    lines += _notes(report, results, canvas)
    return "\n".join(lines) + "\n"


def _title(
    report: Report, pair: str | None, scopes: Mapping[str, tuple[int, str]]
) -> str:
    if pair is None:
        return f"session {report['session']}"
    tokens, scope = scopes[pair]
    a, _, b = pair.partition(":")
    return f"{a} → {b}, {tokens:,} {'' if scope == 'all' else scope + ' '}tokens"


def _lines(result: Result, canvas: Canvas) -> Iterator[str]:
    mark = canvas.paint(
        pad("ok" if result.ok else "FAILED", 7), "good" if result.ok else "bad"
    )
    limits = _limits(result)
    unit = unit_of(result.metric) if result.value is not None else ""
    value = _value(result.value, unit)
    unit = f" {unit}" if unit in ("nats", "tokens", "sequences") else ""
    row = canvas.text(
        f"{result.metric:<31} {value.replace('_', ' ') + unit:<15} {limits}"
    )
    yield mark + canvas.cut(row.rstrip(), canvas.width - 7)
    if result.framework:
        yield from canvas.wrap(f"{result.framework}: {result.name}", 9)
    if result.reason:
        yield from canvas.wrap(result.reason, 9)


def _value(value: float | str | None, unit: str) -> str:
    if isinstance(value, str):
        return value
    if value is not None and unit == "tokens" and float(value).is_integer():
        return f"{value:,.0f}"  # a count has no decimals
    return fixed(value)


def _limits(result: Result) -> str:
    if isinstance(result.value, str):
        return (
            ""
            if result.min is None or result.min == result.value
            else f"needs {result.min} or better".replace("_", " ")
        )
    sides = (("min", result.min), ("max", result.max))
    return ", ".join(
        f"{name} {_exact(value)}"
        for name, value in sides
        if isinstance(value, int | float)
    )


def _notes(report: Report, results: Sequence[Result], canvas: Canvas) -> Iterator[str]:
    unasked = ("state", "pairs", "verdict", "tokens", *ALWAYS)
    limited = [result for result in results if result.metric not in unasked]
    if not limited and report["pairs"]:
        yield from canvas.wrap(
            "No number was checked: give limits with --max, --min or --published.",
            2,
            "i",
        )
