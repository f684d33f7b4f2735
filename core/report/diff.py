"""Two sessions side by side: what `logdrift diff` says of a pair, as typed records.

The text is painted from them (`logdrift.core.report.diff_document`), and the JSON of
schema 1 is their `DiffReport.to_json`. docs/diff-and-check.md is the promise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from logdrift.core.compare.changes import Change, Changes
from logdrift.core.compare.floor import Floor, noise_floor
from logdrift.core.compare.gate import Gate, Reason, judge
from logdrift.core.compare.loaded import (
    NOT_THERE,
    Difference,
    all_differences,
    one_writer,
)
from logdrift.core.compare.pair import (
    Pair,
    Scope,
    default_pair,
    default_scope,
    make_pair,
    parse_pair,
)
from logdrift.core.compare.sessions import (
    Comparison,
    compare_sessions,
    growth,
    judge_sessions,
)
from logdrift.core.errors import InputError
from logdrift.core.facts import Facts
from logdrift.core.json_values import alike, flatten, shown
from logdrift.core.report.records import CONTEXT
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

SCHEMA = 1
SHOWN = 10
"""Tokens listed that improved most, and as many that worsened most."""

DiffVerdict = Literal["better", "worse", "no_change", "not_comparable"]
SettingPlace = Literal["session", "a", "b"]

_MAE = "errors.mae"
_NOT_OBSERVED = "not observed"
_ABSENT = {
    "option": "not given",
    "environment": "not set",
    "config_overrides": "not set",
}
"""What it means that a table lacks an entry; of the other tables it means that the
entry was not observed.
"""
_DIGEST_SHOWN = 19
"""Characters: ``sha256:`` and twelve digits tell two files apart."""


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

    def to_json(self) -> dict[str, Any]:
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
    ci95: tuple[float, float] | None
    floor: float | None
    verdict: DiffVerdict | None

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "old": self.earlier,
            "new": self.later,
            "change": self.change,
            "ci95": list(self.ci95) if self.ci95 is not None else None,
            "floor": self.floor,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that is not the same in both sessions; the texts say why a value is
    None.
    """

    where: SettingPlace
    setting: str
    earlier: Any
    later: Any
    earlier_text: str
    later_text: str

    def to_json(self) -> dict[str, Any]:
        return {
            "where": self.where,
            "setting": self.setting,
            "old": self.earlier,
            "new": self.later,
            "old_text": self.earlier_text,
            "new_text": self.later_text,
        }


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A token in both sessions, with as much text around it as both have. Deltas are in
    nats; ``change`` is that of \\|delta\\|.
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

    def to_json(self) -> dict[str, Any]:
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
        return next((row for row in self.metrics if row.metric == _MAE), None)

    def to_json(self) -> dict[str, Any]:
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
                "old": None if earlier is None else earlier.to_json(),
                "new": None if later is None else later.to_json(),
            },
            "metrics": [row.to_json() for row in self.metrics],
            "changed": [row.to_json() for row in self.settings],
            "improved": [token.to_json() for token in self.improved],
            "worsened": [token.to_json() for token in self.worsened],
        }


def diff_sessions(
    earlier: Session,
    later: Session,
    earlier_pair: tuple[str, str],
    later_pair: tuple[str, str],
    scope: Scope | None = None,
    *,
    resamples: int = 2000,
) -> DiffReport:
    """``earlier_pair`` of one session against ``later_pair`` of another.

    ``scope`` None is the completion where both sessions have one, else all tokens.
    Raises InputError where the two have no scored token in common.
    """
    chosen = _common_scope(earlier, later) if scope is None else scope
    pairs = make_pair(earlier, *earlier_pair), make_pair(later, *later_pair)
    comparison = compare_sessions(*pairs, chosen, resamples=resamples)
    sides = _side(earlier, pairs[0]), _side(later, pairs[1])
    floors = _floor(pairs[0], chosen), _floor(pairs[1], chosen)
    by_name = loaded_differences((earlier, pairs[0].a.info), (later, pairs[1].a.info))
    between = tuple(
        judge_sessions(
            earlier.manifest.model, later.manifest.model, by_name.get("tokenizer", ())
        )
    )
    metrics = tuple(_metric(row, floors) for row in comparison.changes.rows)

    def tokens(*, worse: bool) -> tuple[TokenChange, ...]:
        moved = comparison.moved(SHOWN, worse=worse)
        return tuple(_token(earlier, pairs, comparison, int(at)) for at in moved)

    return DiffReport(
        scope=chosen,
        earlier=sides[0],
        later=sides[1],
        matched=_matched(comparison),
        between=between,
        verdict=overall(metrics, [side.gate for side in sides], between),
        changes=comparison.changes,
        floors=floors,
        metrics=metrics,
        settings=tuple(_setting_changes(earlier, later, *pairs)),
        improved=tokens(worse=False),
        worsened=tokens(worse=True),
    )


def _common_scope(earlier: Session, later: Session) -> Scope:
    scopes = {default_scope(session.sequences) for session in (earlier, later)}
    return scopes.pop() if len(scopes) == 1 else "all"


def overall(
    metrics: Sequence[MetricChange], gates: Sequence[Gate], between: Sequence[Reason]
) -> DiffVerdict | None:
    """The verdict on the MAE; ``not_comparable`` where a gate or the two models say so,
    None where it has no interval.
    """
    refused = any(gate.verdict == "not_comparable" for gate in gates)
    if refused or any(reason.severity == "not_comparable" for reason in between):
        return "not_comparable"
    return next((row.verdict for row in metrics if row.metric == _MAE), None)


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


def _matched(comparison: Comparison) -> MatchCounts:
    return MatchCounts(
        sequences=len(comparison.match.new),
        whole=comparison.match.whole,
        tokens=comparison.common,
        scored=len(comparison.old_at),
    )


def _floor(pair: Pair, scope: Scope) -> Floor | None:
    return noise_floor(pair.session, pair, scope)


def _metric(row: Change, floors: Iterable[Floor | None]) -> MetricChange:
    known = [_floor_of(row.metric, floor) for floor in floors if floor is not None]
    floor = max((value for value in known if value is not None), default=None)
    return MetricChange(
        metric=row.metric,
        earlier=row.old,
        later=row.new,
        change=row.change,
        ci95=row.ci95,
        floor=floor,
        verdict=row.verdict(floor),
    )


def _floor_of(metric: str, floor: Floor) -> float | None:
    if metric == _MAE:
        return floor.mae
    return floor.rmse if metric == "errors.rmse" else None


@dataclass(frozen=True, slots=True)
class _Observed:
    """Settings of one side, flat by dotted names. ``unknown`` are facts that were not
    observed, tables among them.
    """

    values: Mapping[str, Any]
    unknown: Collection[str]

    def text(self, name: str) -> str:
        """The value as both sides of a diff print it, or why there is none."""
        if name in self.values:
            return _text(self.values[name])
        table = name.partition(".")[0]
        if name in self.unknown or table in self.unknown:
            return _NOT_OBSERVED
        return _ABSENT.get(table, _NOT_OBSERVED)


def _text(value: Any) -> str:
    if isinstance(value, str) and value.startswith("sha256:"):
        return value[:_DIGEST_SHOWN] + "…"
    return "none" if value == {} else shown(value)


def _setting_changes(
    earlier: Session, later: Session, earlier_pair: Pair, later_pair: Pair
) -> Iterator[SettingChange]:
    """Settings that are not the same in both: of the session, then of capture A and
    B.
    """
    sides: tuple[tuple[SettingPlace, CaptureInfo, CaptureInfo], ...] = (
        ("a", earlier_pair.a.info, later_pair.a.info),
        ("b", earlier_pair.b.info, later_pair.b.info),
    )
    yield from _observed_changes("session", _settings(earlier), _settings(later))
    for place, first, second in sides:
        yield from _observed_changes(
            place, _facts(earlier, first), _facts(later, second)
        )
    for place, first, second in sides:
        yield from _loaded_changes(place, (earlier, first), (later, second))


def _observed_changes(
    place: SettingPlace, earlier: _Observed, later: _Observed
) -> Iterator[SettingChange]:
    for name in _names(earlier, later):
        yield SettingChange(
            where=place,
            setting=name,
            earlier=earlier.values.get(name),
            later=later.values.get(name),
            earlier_text=earlier.text(name),
            later_text=later.text(name),
        )


def _loaded_changes(
    place: SettingPlace,
    earlier: tuple[Session, CaptureInfo],
    later: tuple[Session, CaptureInfo],
) -> Iterator[SettingChange]:
    """What config, tokenizer and chat template differ in, by name, where both sessions
    keep more than digests.
    """
    for table, differences in loaded_differences(earlier, later).items():
        for difference in differences:
            yield SettingChange(
                where=place,
                setting=_loaded_name(table, difference.name),
                earlier=_if_there(difference.a),
                later=_if_there(difference.b),
                earlier_text=difference.a,
                later_text=difference.b,
            )


def _loaded_name(table: str, name: str) -> str:
    # The names of a template's lines begin with the table's already.
    return name if name.startswith(table) else f"{table}.{name}"


def _if_there(text: str) -> str | None:
    return None if text == NOT_THERE else text


def loaded_differences(
    earlier: tuple[Session, CaptureInfo], later: tuple[Session, CaptureInfo]
) -> dict[str, tuple[Difference, ...]]:
    """`all_differences` of two captures, each with its session; empty where one has
    digests alone or is damaged.
    """
    (session, capture), (later_session, later_capture) = earlier, later
    try:
        first = session.loaded(capture.label)
        second = later_session.loaded(later_capture.label)
    except InputError:  # the gate of the pair says so
        return {}
    if first is None or second is None:
        return {}
    return all_differences(first, second, whole=one_writer(capture, later_capture))


def _names(earlier: _Observed, later: _Observed) -> Iterator[str]:
    """What differs, in the order of the earlier side. A table that one side has empty
    is told by the rows of the other.
    """
    everything = dict.fromkeys([*earlier.values, *later.values])
    for name in everything:
        if name in earlier.values and name in later.values:
            if not alike(earlier.values[name], later.values[name]):
                yield name
            continue
        value = earlier.values.get(name, later.values.get(name))
        if value != {} or not _has_rows(everything, name):
            yield name


def _has_rows(names: Iterable[str], table: str) -> bool:
    return any(name.startswith(f"{table}.") for name in names)


def _observed(values: Mapping[str, Any]) -> _Observed:
    """Settings by name; None is one that was not observed."""
    known = {name: value for name, value in values.items() if value is not None}
    return _Observed(values=flatten(known), unknown=values.keys() - known.keys())


def _settings(session: Session) -> _Observed:
    manifest = session.manifest
    return _observed(
        {
            "model": _given(asdict(manifest.model)),
            "logdrift": manifest.logdrift_version or None,
            "generated_by": manifest.sequences.generated_by,
            "sampling": _given(manifest.plan.get("sampling") or {}),
        }
    )


def _given(table: Any) -> Any:
    """A table without its entries that are None, which is not observed or not given."""
    if not isinstance(table, Mapping):
        return table
    return {name: value for name, value in table.items() if value is not None}


def _facts(session: Session, info: CaptureInfo) -> _Observed:
    """What was asked (the capture itself and its plan), then what was observed."""
    backends = session.manifest.plan.get("backends") or []
    specs = [spec for spec in backends if isinstance(spec, Mapping)]
    spec = next((spec for spec in specs if spec.get("name") == info.backend), {})
    values: dict[str, Any] = {
        "label": info.label,
        "asked": {"engine": info.engine, "dtype": info.dtype},
        "option": spec.get("options") or {},
    }
    observed = info.facts or Facts()
    for field in fields(observed):
        values[field.name] = getattr(observed, field.name)
    values["extra"] = _given(observed.extra)
    if info.facts is None:
        values |= dict.fromkeys(("environment", "extra"))
    return _observed(values)


def _token(
    session: Session, pairs: tuple[Pair, Pair], comparison: Comparison, index: int
) -> TokenChange:
    at, later_at = int(comparison.old_at[index]), int(comparison.new_at[index])
    earlier, later = pairs
    sequence = earlier.sequence_of(at)
    start = int(earlier.sequences.offsets[sequence])
    common = comparison.match.lengths[comparison.match.old == sequence]
    stop = start + int(common[0])
    ids = earlier.sequences.token_ids
    text = session.pieces.text
    one = slice(index, index + 1)
    change = growth(comparison.old.delta[one], comparison.new.delta[one])
    before = ids[max(start, at - CONTEXT) : at]
    after = ids[at + 1 : min(stop, at + 1 + CONTEXT)]
    return TokenChange(
        sequence_earlier=sequence,
        sequence_later=later.sequence_of(later_at),
        position=at - start,
        token_id=int(ids[at]),
        piece=text(int(ids[at])),
        delta_earlier=float(comparison.old.delta[index]),
        delta_later=float(comparison.new.delta[index]),
        change=float(change[0]),
        before="".join(text(int(token)) for token in before),
        after="".join(text(int(token)) for token in after),
    )


def both_pairs(
    earlier: Session, later: Session, pair: str | None, later_pair: str | None
) -> tuple[tuple[str, str], tuple[str, str]]:
    """The pair to look at in each session, from A:B texts; None is the default pair of
    the session.

    ``later_pair`` None is the same text as ``pair``. Raises InputError that says which
    session lacks what.
    """
    return (
        _pair_of("OLD", earlier, pair),
        _pair_of("NEW", later, later_pair or pair),
    )


def _pair_of(which: str, session: Session, text: str | None) -> tuple[str, str]:
    try:
        chosen = parse_pair(session, text) if text else default_pair(session)
    except InputError as error:
        raise InputError(f"{which} session {session.name}: {error}") from None
    if chosen is None:
        raise InputError(
            f"{which} session {session.name}: fewer than two captures have a"
            " finished sequence"
        )
    return chosen
