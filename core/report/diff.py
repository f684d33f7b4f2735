"""Two sessions side by side: what `logdrift diff` says of a pair, as typed records.

The text is painted from them (`logdrift.core.report.diff_document`), and the JSON of
schema 1 is their `DiffReport.to_json`. docs/diff-and-check.md is the promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from logdrift.core.compare.changes import Change, Changes
from logdrift.core.compare.floor import Floor, noise_floor
from logdrift.core.compare.gate import Gate, Reason, judge
from logdrift.core.compare.pair import (
    Pair,
    Scope,
    default_pair,
    default_scope,
    make_pair,
    parse_pair,
)
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.compare.sessions import (
    SessionComparison,
    compare_sessions,
    growth,
    judge_sessions,
)
from logdrift.core.compare.uncertainty import Interval
from logdrift.core.errors import InputError
from logdrift.core.report.contexts import (
    CONTEXT,
    ReadableContext,
    readable_context,
    text_between,
)
from logdrift.core.report.setting_changes import (
    SettingChange,
    loaded_differences,
    setting_changes,
)
from logdrift.core.report.strict_json import Json, json_or_null, list_json
from logdrift.core.session.reader import Session

SCHEMA = 1
SHOWN = 10
"""Tokens listed that improved most, and as many that worsened most."""

DiffVerdict = Literal["better", "worse", "no_change", "not_comparable"]

_MAE = "errors.mae"


@dataclass(frozen=True, slots=True)
class DiffSide:
    """One of the two sessions, with the captures ``a`` and ``b`` of its pair."""

    session: str
    state: str
    model: str
    created: str
    a: str
    b: str
    sequences: int
    tokens: int
    gate: Gate

    @property
    def comparable(self) -> bool:
        return self.gate.verdict != "not_comparable"

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MatchCounts:
    """What the two sessions share: sequences (``whole`` to their end), tokens, and
    tokens that all four captures scored.
    """

    sequences: int
    whole: int
    tokens: int
    scored: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric in both sessions, in its own unit. ``change`` is later - earlier.

    A change below ``floor``, the larger noise floor of the two sessions, is no change,
    whatever its interval.
    """

    metric: str
    earlier: float | None
    later: float | None
    change: float | None
    ci95: Interval | None
    floor: float | None
    verdict: DiffVerdict | None

    def to_json(self) -> Json:
        ci95 = None
        if self.ci95 is not None:
            ci95 = list(self.ci95)
        return {
            "metric": self.metric,
            "old": self.earlier,
            "new": self.later,
            "change": self.change,
            "ci95": ci95,
            "floor": self.floor,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A token in both sessions, with as much text around it as both have. Deltas are in
    nats; ``change`` is that of \\|delta\\|. ``piece``, ``before`` and ``after`` are the
    texts of the tokens one by one; ``context`` is what people read.
    """

    sequence_earlier: int
    sequence_later: int
    position: int
    token_id: int
    piece: str
    delta_earlier: float
    delta_later: float
    change: float
    before: str
    after: str
    context: ReadableContext

    def to_json(self) -> Json:
        return {
            "sequence_old": self.sequence_earlier,
            "sequence_new": self.sequence_later,
            "position": self.position,
            "token_id": self.token_id,
            "piece": self.piece,
            "delta_old": self.delta_earlier,
            "delta_new": self.delta_later,
            "change": self.change,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class DiffReport:
    """Everything `logdrift diff` says of a pair. ``between`` are reasons about the two
    sessions, ``floors`` those of the earlier and the later one.
    """

    scope: Scope
    earlier: DiffSide
    later: DiffSide
    matched: MatchCounts
    between: tuple[Reason, ...]
    verdict: DiffVerdict | None
    changes: Changes
    floors: tuple[Floor | None, Floor | None]
    metrics: tuple[MetricChange, ...]
    settings: tuple[SettingChange, ...]
    improved: tuple[TokenChange, ...]
    worsened: tuple[TokenChange, ...]

    @property
    def mae(self) -> MetricChange | None:
        for row in self.metrics:
            if row.metric == _MAE:
                return row
        return None

    def to_json(self) -> Json:
        """Schema 1 of `logdrift diff`; floats may be non-finite
        (`logdrift.core.report.strict_json` makes them null).
        """
        changes = self.changes
        earlier, later = self.floors
        return {
            "schema": SCHEMA,
            "scope": self.scope,
            "old": self.earlier.to_json(),
            "new": self.later.to_json(),
            "matched": self.matched.to_json(),
            "between": [asdict(reason) for reason in self.between],
            "verdict": self.verdict,
            "interval": {
                "method": changes.method,
                "units": changes.units,
                "resamples": changes.resamples,
            },
            "floor": {
                "old": json_or_null(earlier),
                "new": json_or_null(later),
            },
            "metrics": list_json(self.metrics),
            "changed": list_json(self.settings),
            "improved": list_json(self.improved),
            "worsened": list_json(self.worsened),
        }


def diff_sessions(
    earlier: Session,
    later: Session,
    earlier_pair: PairLabels,
    later_pair: PairLabels,
    scope: Scope | None = None,
    *,
    resamples: int = 2000,
    shown: int = SHOWN,
) -> DiffReport:
    """``earlier_pair`` of one session against ``later_pair`` of another.

    ``shown`` tokens are listed in each direction, at most. ``scope`` None is the
    completion where both sessions have one, else all tokens.
    Raises InputError where the two have no scored token in common.
    """
    if scope is None:
        scope = _common_scope(earlier, later)
    first = make_pair(earlier, *earlier_pair)
    second = make_pair(later, *later_pair)
    comparison = compare_sessions(first, second, scope, resamples=resamples)
    first_side = _side(earlier, first)
    second_side = _side(later, second)
    gates = [first_side.gate, second_side.gate]
    floor = _floor(first, scope)
    later_floor = _floor(second, scope)
    floors = (floor, later_floor)
    between = _between(earlier, later, first, second)
    rows = comparison.changes.rows
    metrics = [_metric(row, floors) for row in rows]
    settings = setting_changes(earlier, later, first, second)
    return DiffReport(
        scope=scope,
        earlier=first_side,
        later=second_side,
        matched=_matched(comparison),
        between=between,
        verdict=overall(metrics, gates, between),
        changes=comparison.changes,
        floors=floors,
        metrics=tuple(metrics),
        settings=tuple(settings),
        improved=_tokens(first, second, comparison, shown, worse=False),
        worsened=_tokens(first, second, comparison, shown, worse=True),
    )


def _tokens(
    earlier: Pair,
    later: Pair,
    comparison: SessionComparison,
    count: int,
    *,
    worse: bool,
) -> tuple[TokenChange, ...]:
    """The ``count`` that changed most in one direction."""
    moved = comparison.moved(count, worse=worse)
    changes = []
    for index in moved:
        change = _token(earlier, later, comparison, int(index))
        changes.append(change)
    return tuple(changes)


def _between(
    earlier: Session, later: Session, first: Pair, second: Pair
) -> tuple[Reason, ...]:
    """Why the two sessions, whatever their pairs, may not be compared."""
    first_side = (earlier, first.a.info)
    second_side = (later, second.a.info)
    differences = loaded_differences(first_side, second_side)
    tokenizer = differences.get("tokenizer", ())
    model = earlier.manifest.model
    later_model = later.manifest.model
    return tuple(judge_sessions(model, later_model, tokenizer))


def _common_scope(earlier: Session, later: Session) -> Scope:
    scope = default_scope(earlier.sequences)
    if default_scope(later.sequences) == scope:
        return scope
    return "all"


def overall(
    metrics: Sequence[MetricChange], gates: Sequence[Gate], between: Sequence[Reason]
) -> DiffVerdict | None:
    """The verdict on the MAE; ``not_comparable`` where a gate or the two models say so,
    None where it has no interval.
    """
    severities: list[str] = [gate.verdict for gate in gates]
    severities += [reason.severity for reason in between]
    if "not_comparable" in severities:
        return "not_comparable"
    for row in metrics:
        if row.metric == _MAE:
            return row.verdict
    return None


def _side(session: Session, pair: Pair) -> DiffSide:
    return DiffSide(
        session=session.name,
        state=session.state,
        model=session.manifest.model.id,
        created=session.manifest.created,
        a=pair.a.info.label,
        b=pair.b.info.label,
        sequences=pair.count,
        tokens=pair.tokens,
        gate=judge(session, pair),
    )


def _matched(comparison: SessionComparison) -> MatchCounts:
    return MatchCounts(
        sequences=len(comparison.match.new),
        whole=comparison.match.whole,
        tokens=comparison.common,
        scored=len(comparison.old_at),
    )


def _floor(pair: Pair, scope: Scope) -> Floor | None:
    return noise_floor(pair.session, pair, scope)


def _metric(row: Change, floors: Iterable[Floor | None]) -> MetricChange:
    floor = _larger_floor(row.metric, floors)
    return MetricChange(
        metric=row.metric,
        earlier=row.old,
        later=row.new,
        change=row.change,
        ci95=row.ci95,
        floor=floor,
        verdict=row.verdict(floor),
    )


def _larger_floor(metric: str, floors: Iterable[Floor | None]) -> float | None:
    sizes = [_floor_of(metric, floor) for floor in floors]
    known = [size for size in sizes if size is not None]
    return max(known, default=None)


def _floor_of(metric: str, floor: Floor | None) -> float | None:
    if floor is None:
        return None
    if metric == _MAE:
        return floor.mae
    if metric == "errors.rmse":
        return floor.rmse
    return None


def _token(
    earlier: Pair, later: Pair, comparison: SessionComparison, index: int
) -> TokenChange:
    at = int(comparison.old_at[index])
    later_at = int(comparison.new_at[index])
    sequence = earlier.sequence_of(at)
    start = int(earlier.sequences.offsets[sequence])
    match = comparison.match
    common = match.lengths[match.old == sequence]
    stop = start + int(common[0])
    token_id = int(earlier.sequences.token_ids[at])
    one = slice(index, index + 1)
    old_delta = comparison.old.delta
    new_delta = comparison.new.delta
    old_one = old_delta[one]
    new_one = new_delta[one]
    change = growth(old_one, new_one)
    first = max(start, at - CONTEXT)
    end = min(stop, at + 1 + CONTEXT)
    return TokenChange(
        sequence_earlier=sequence,
        sequence_later=later.sequence_of(later_at),
        position=at - start,
        token_id=token_id,
        piece=earlier.session.pieces.text(token_id),
        delta_earlier=float(old_delta[index]),
        delta_later=float(new_delta[index]),
        change=float(change[0]),
        before=text_between(earlier, first, at),
        after=text_between(earlier, at + 1, end),
        context=readable_context(earlier, at, (first, end), (start, stop)),
    )


def both_pairs(
    earlier: Session, later: Session, pair: str | None, later_pair: str | None
) -> tuple[PairLabels, PairLabels]:
    """The pair to look at in each session, from A:B texts; None is the default pair of
    the session.

    ``later_pair`` None is the same text as ``pair``. Raises InputError that says which
    session lacks what.
    """
    old = _pair_of("OLD", earlier, pair)
    new = _pair_of("NEW", later, later_pair or pair)
    return old, new


def _pair_of(which: str, session: Session, text: str | None) -> PairLabels:
    try:
        if text:
            chosen: PairLabels | None = parse_pair(session, text)
        else:
            chosen = default_pair(session)
    except InputError as error:
        raise InputError(f"{which} session {session.name}: {error}") from None
    if chosen is None:
        raise InputError(
            f"{which} session {session.name}: fewer than two captures have a"
            " finished sequence"
        )
    return chosen
