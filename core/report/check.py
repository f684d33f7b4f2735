"""`logdrift check`: limits on the numbers of a session, each of which holds or is
broken.

Nothing passes by default: an unknown number, a pair that may not be compared, a capture
that is not finished and tokens without a number fail the check, whatever the limits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from logdrift.core.compare.decomposition import decompositions
from logdrift.core.compare.gate import Gate
from logdrift.core.compare.limits import JudgedLimit, Limit, judge_limits
from logdrift.core.compare.measured import MeasuredPair, measure_pair
from logdrift.core.compare.metric import metric
from logdrift.core.compare.pair import Scope, default_scope, make_pair
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.numbers import counted, six_digits
from logdrift.core.report.asked_limits import GIVEN
from logdrift.core.report.strict_json import Json
from logdrift.core.session.reader import Session
from logdrift.core.words import VERDICTS

SCHEMA = 1
ALWAYS = {"coverage.nan": "nan", "coverage.unscored": "unscored"}
"""What must be 0 where no limit says otherwise, with the code of the gate's reason.

No other number knows these tokens, so every other limit can hold without them.
"""

_BEST_FIRST = tuple(VERDICTS)
_STATES = {
    "running": "it is still being captured: wait for the end",
    "partial": "not every capture is finished: go on with logdrift capture --resume",
    "failed": (
        "a capture failed: see logdrift report, then go on with logdrift capture"
        " --resume"
    ),
}


@dataclass(frozen=True, slots=True)
class MeasuredSession:
    """What is checked: a session by name, its state and its pairs with their
    numbers.
    """

    name: str
    state: str
    pairs: tuple[MeasuredPair, ...]


def measure_session(
    session: Session, pairs: Sequence[PairLabels], scope: Scope | None = None
) -> MeasuredSession:
    """Measure pairs of labels over ``scope`` (None: `default_scope`).

    InputError for unknown labels and scopes.
    """
    if scope is None:
        scope = default_scope(session.sequences)
    splits = decompositions(session, scope)
    measured = []
    for a, b in pairs:
        pair = make_pair(session, a, b)
        measured.append(measure_pair(pair, scope, splits))
    return MeasuredSession(
        name=session.name,
        state=session.state,
        pairs=tuple(measured),
    )


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """A token: ``position`` in its ``sequence``, both from 0."""

    sequence: int
    position: int
    token_id: int


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the check. ``pair`` is ``A:B``, None for the session; ``reason`` is
    None where it is ok.

    ``value``, ``min`` and ``max`` are numbers, or words for the metrics ``verdict`` and
    ``state``. ``note`` says more of the number, whether it is ok or not; ``token`` is
    the one that the result is about.
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
    note: str | None = None
    token: TokenPlace | None = None


def check_session(
    session: MeasuredSession,
    limits: Sequence[Limit],
    required: str = "caution",
    partial: bool = False,
) -> list[Result]:
    """Every result for the pairs of a session; `all(r.ok)` is the answer.

    The session must be finished (with ``partial`` any state will do) and have a pair.
    Of each pair: the verdict of the gate (``required`` is the worst that passes), that
    there is a token at all, and then every limit.
    """
    results = [_state(session.state, partial)]
    if not session.pairs:
        results.append(_no_pairs())
    for pair in session.pairs:
        results += _check_pair(pair, limits, required)
    return results


def _state(state: str, partial: bool) -> Result:
    if partial or state == "complete":
        reason = None
    else:
        reason = _STATES[state]
    return Result(
        pair=None,
        metric="state",
        value=state,
        min=None if partial else "complete",
        max=None,
        ok=reason is None,
        reason=reason,
    )


def _no_pairs() -> Result:
    return Result(
        pair=None,
        metric="pairs",
        value=0,
        min=1,
        max=None,
        ok=False,
        reason=(
            "fewer than two captures have a finished sequence: there is nothing to"
            " check"
        ),
    )


def _check_pair(
    pair: MeasuredPair, limits: Sequence[Limit], required: str
) -> Iterator[Result]:
    yield _verdict(pair, required)
    if not pair.metrics.tokens:
        yield _no_tokens(pair)
    limited = {limit.metric for limit in limits}
    yield from _always(pair, limited)
    for limit in limits:
        yield _result(pair, limit, limited)


def _verdict(pair: MeasuredPair, required: str) -> Result:
    verdict = pair.gate.verdict
    place = _BEST_FIRST.index(verdict)
    ok = place <= _BEST_FIRST.index(required)
    reason = None
    if not ok:
        reason = _gate_in_words(pair.gate)
    return Result(
        pair=pair.name,
        metric="verdict",
        value=verdict,
        min=required,
        max=None,
        ok=ok,
        reason=reason,
    )


def _gate_in_words(gate: Gate) -> str:
    """The verdict with its first reason."""
    words = f"the gate says {gate.verdict.replace('_', ' ')}"
    for reason in gate.reasons:
        if reason.severity == gate.verdict:
            return f"{words}: {reason.text}"
    return words


def _no_tokens(pair: MeasuredPair) -> Result:
    return Result(
        pair=pair.name,
        metric="tokens",
        value=0,
        min=1,
        max=None,
        ok=False,
        reason=f"no {of_scope(pair)}token has a score on both sides",
    )


def of_scope(pair: MeasuredPair) -> str:
    """``completion `` before "tokens"; nothing where all tokens count."""
    scope = pair.metrics.scope
    if scope == "all":
        return ""
    return f"{scope} "


def _always(pair: MeasuredPair, limited: Collection[str]) -> Iterator[Result]:
    """What of `ALWAYS` is broken.

    A limit that the user sets on such a number, or on one side of it, replaces the 0.
    """
    coverage = pair.metrics.coverage
    counts = {"coverage.nan": coverage.nan, "coverage.unscored": coverage.unscored}
    for path, code in ALWAYS.items():
        count = counts[path]
        has_limit = any(other.startswith(path) for other in limited)
        if has_limit or not count:
            continue
        why = _reasons_of(pair.gate, code)
        if not why:
            why = f"scored on one side alone: {counted(count, 'token')}"
        key = metric(path).key
        yield Result(
            pair=pair.name,
            metric=path,
            value=count,
            min=None,
            max=0.0,
            ok=False,
            reason=f"{why}; allow it with --max {key}={count}",
        )


def _reasons_of(gate: Gate, code: str) -> str:
    """The gate's reasons with this code, empty without any."""
    reasons = [reason for reason in gate.reasons if reason.code == code]
    texts = [reason.text.rstrip(".") for reason in reasons]
    return "; ".join(texts)


def _result(pair: MeasuredPair, limit: Limit, limited: Collection[str]) -> Result:
    # The gate and the scope have lines of their own here: what is left to object to is
    # a number that lacks tokens.
    everywhere = replace(limit, scope=None, level="own")
    metrics = pair.metrics
    (judged,) = judge_limits(metrics, [everywhere], verdict=None)
    reason = _scope_differs(pair, limit)
    reason = reason or _broken(judged)
    reason = reason or _lacks(judged, limited)
    framework = None
    name = None
    note = None
    if limit.level == "own" and limit.meaning:
        note = limit.meaning
    if limit.framework != GIVEN:
        framework = limit.framework
        name = limit.name
    return Result(
        pair=pair.name,
        metric=limit.metric,
        value=judged.value,
        min=limit.low,
        max=limit.high,
        ok=reason is None,
        reason=reason,
        framework=framework,
        name=name,
        note=note,
    )


def _scope_differs(pair: MeasuredPair, limit: Limit) -> str | None:
    scope = pair.metrics.scope
    if limit.scope in (None, scope):
        return None
    if limit.level == "own":
        how = "set"
    else:
        how = "published"
    return f"{how} for the {limit.scope}, not for the scope {scope}"


def _broken(judged: JudgedLimit) -> str | None:
    """Why a number is not within its limit; None where it is."""
    value = judged.value
    low = judged.limit.low
    high = judged.limit.high
    if value is None:
        return "not known for this pair, and a missing observation is not a pass"
    if high is not None and value > high:
        excess = _excess(value, high, high)
        return f"{six_digits(value)} is above {six_digits(high)} by {excess}"
    if low is not None and value < low:
        excess = _excess(low, value, low)
        return f"{six_digits(value)} is below {six_digits(low)} by {excess}"
    return None


def _lacks(judged: JudgedLimit, limited: Collection[str]) -> str | None:
    """A number that leaves tokens out, unless these have a limit of their own."""
    limited_metric = metric(judged.limit.metric)
    left_out = limited_metric.leaves_out
    if judged.note is None or left_out in limited:
        return None
    return f"{judged.note}: limit those too, with --max {left_out}=N"


def _excess(larger: float, smaller: float, limit: float) -> str:
    excess = larger - smaller
    if not limit:
        return six_digits(excess)
    percent = 100 * excess / abs(limit)
    return f"{six_digits(excess)} ({percent:.3g}%)"


def to_json(session: MeasuredSession, results: Sequence[Result]) -> Json:
    """Schema 1 of the check (docs/diff-and-check.md)."""
    return {
        "schema": SCHEMA,
        "session": session.name,
        "ok": all(result.ok for result in results),
        "results": [asdict(result) for result in results],
    }


def broken_line(result: Result) -> str:
    """One line that says what is broken: pair, metric and why."""
    what = f"{result.pair or 'session'} {result.metric}"
    if result.framework:
        what += f" ({result.framework}: {result.name})"
    return f"{what}: {result.reason}"
