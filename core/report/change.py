"""What a change made of a pair: two sessions side by side as one dictionary, schema 1
of `logdrift diff`.

The text is drawn from it (`logdrift.core.report.change_text`), so both say the same.
docs/diff-and-check.md is the promise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from logdrift.core.compare.changes import Change, Changes
from logdrift.core.compare.floor import noise_floor
from logdrift.core.compare.gate import Gate, Reason, judge
from logdrift.core.compare.loaded import (
    NOT_THERE,
    Difference,
    all_differences,
    one_writer,
)
from logdrift.core.compare.pair import Pair, Scope, default_scope, make_pair
from logdrift.core.compare.sessions import (
    Comparison,
    compare_sessions,
    growth,
    judge_sessions,
)
from logdrift.core.errors import InputError
from logdrift.core.facts import Facts
from logdrift.core.json_values import alike, flatten, shown
from logdrift.core.report.build import CONTEXT
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session

SCHEMA = 1
SHOWN = 10
"""Tokens listed that improved most, and as many that worsened most."""

_FLOORS = {"errors.mae": "mae", "errors.rmse": "rmse"}
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


def build_change(
    old: Session,
    new: Session,
    old_pair: tuple[str, str],
    new_pair: tuple[str, str],
    scope: Scope | None = None,
    *,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Everything `logdrift diff` says of ``old_pair`` in ``old`` against ``new_pair``
    in ``new``.

    ``scope`` None is the completion where both sessions have one, else all tokens.
    Raises InputError where the two have no scored token in common. Numbers may be
    non-finite here: `logdrift.core.report.strict_json` makes them null.
    """
    if scope is None:
        scopes = {default_scope(session.sequences) for session in (old, new)}
        scope = scopes.pop() if len(scopes) == 1 else "all"
    pairs = make_pair(old, *old_pair), make_pair(new, *new_pair)
    found = compare_sessions(*pairs, scope, resamples=resamples)
    gates = judge(old, pairs[0]), judge(new, pairs[1])
    floors = [_floor(pair, scope) for pair in pairs]
    named = loaded_differences((old, pairs[0].a.info), (new, pairs[1].a.info))
    between = judge_sessions(
        old.manifest.model, new.manifest.model, named.get("tokenizer", ())
    )
    metrics = [_metric(row, floors) for row in found.changes.rows]
    return {
        "schema": SCHEMA,
        "scope": scope,
        "old": _session(old, pairs[0], gates[0]),
        "new": _session(new, pairs[1], gates[1]),
        "matched": _matched(found),
        "between": [asdict(reason) for reason in between],
        "verdict": overall(metrics, gates, between),
        "interval": _interval(found.changes),
        "floor": {"old": floors[0], "new": floors[1]},
        "metrics": metrics,
        "changed": list(_changed(old, new, *pairs)),
        "improved": [
            _token(old, pairs, found, int(i)) for i in found.moved(SHOWN, worse=False)
        ],
        "worsened": [
            _token(old, pairs, found, int(i)) for i in found.moved(SHOWN, worse=True)
        ],
    }


def overall(
    metrics: Sequence[Mapping[str, Any]],
    gates: Sequence[Gate],
    between: Sequence[Reason],
) -> str | None:
    """The verdict on the MAE; ``not_comparable`` where a gate or the two models say so,
    None where it has no interval.
    """
    if "not_comparable" in [gate.verdict for gate in gates] + [
        reason.severity for reason in between
    ]:
        return "not_comparable"
    return next(
        (row["verdict"] for row in metrics if row["metric"] == "errors.mae"), None
    )


def _session(session: Session, pair: Pair, gate: Gate) -> dict[str, Any]:
    return {
        "session": session.name,
        "state": session.state,
        "model": session.manifest.model.id,
        "created": session.manifest.created,
        "a": pair.a.info.label,
        "b": pair.b.info.label,
        "sequences": pair.count,
        "tokens": pair.tokens,
        "gate": asdict(gate),
    }


def _matched(found: Comparison) -> dict[str, int]:
    return {
        "sequences": len(found.match.new),
        "whole": found.match.whole,
        "tokens": found.common,
        "scored": len(found.old_at),
    }


def _interval(changes: Changes) -> dict[str, Any]:
    return {
        "method": changes.method,
        "units": changes.units,
        "resamples": changes.resamples,
    }


def _floor(pair: Pair, scope: Scope) -> dict[str, Any] | None:
    floor = noise_floor(pair.session, pair, scope)
    return floor.to_json() if floor is not None else None


def _metric(row: Change, floors: list[dict[str, Any] | None]) -> dict[str, Any]:
    """One metric; a change below the larger noise floor of the two sessions is no
    change, whatever its interval.
    """
    known = [
        floor[_FLOORS[row.metric]]
        for floor in floors
        if floor is not None and row.metric in _FLOORS
    ]
    floor = max((value for value in known if value is not None), default=None)
    return {
        "metric": row.metric,
        "old": row.old,
        "new": row.new,
        "change": row.change,
        "ci95": list(row.ci95) if row.ci95 is not None else None,
        "floor": floor,
        "verdict": row.verdict(floor),
    }


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


def _changed(
    old: Session, new: Session, old_pair: Pair, new_pair: Pair
) -> Iterator[dict[str, Any]]:
    """Settings that are not the same in both: of the session, then of capture A and
    B.
    """
    where = [
        ("session", _settings(old), _settings(new)),
        ("a", _facts(old, old_pair.a.info), _facts(new, new_pair.a.info)),
        ("b", _facts(old, old_pair.b.info), _facts(new, new_pair.b.info)),
    ]
    for place, before, after in where:
        for name in _names(before, after):
            yield {
                "where": place,
                "setting": name,
                "old": before.values.get(name),
                "new": after.values.get(name),
                "old_text": before.text(name),
                "new_text": after.text(name),
            }
    for place, earlier, later in (
        ("a", old_pair.a, new_pair.a),
        ("b", old_pair.b, new_pair.b),
    ):
        yield from _loaded_changes(place, (old, earlier.info), (new, later.info))


def _loaded_changes(
    place: str, before: tuple[Session, CaptureInfo], after: tuple[Session, CaptureInfo]
) -> Iterator[dict[str, Any]]:
    """What config, tokenizer and chat template differ in, by name, where both sessions
    keep more than digests.
    """
    for table, differences in loaded_differences(before, after).items():
        for each in differences:
            yield {
                "where": place,
                "setting": (
                    each.name if each.name.startswith(table) else f"{table}.{each.name}"
                ),
                "old": None if each.a == NOT_THERE else each.a,
                "new": None if each.b == NOT_THERE else each.b,
                "old_text": each.a,
                "new_text": each.b,
            }


def loaded_differences(
    before: tuple[Session, CaptureInfo], after: tuple[Session, CaptureInfo]
) -> dict[str, tuple[Difference, ...]]:
    """`all_differences` of two captures, each with its session; empty where one has
    digests alone or is damaged.
    """
    (old, earlier), (new, later) = before, after
    try:
        first, second = old.loaded(earlier.label), new.loaded(later.label)
    except InputError:  # the gate of the pair says so
        return {}
    if first is None or second is None:
        return {}
    return all_differences(first, second, whole=one_writer(earlier, later))


def _names(before: _Observed, after: _Observed) -> Iterator[str]:
    """What differs, in the order of the old side; a table that one side has empty is
    told by the other's rows.
    """
    everything = dict.fromkeys([*before.values, *after.values])
    for name in everything:
        if name in before.values and name in after.values:
            if not alike(before.values[name], after.values[name]):
                yield name
        elif before.values.get(name, after.values.get(name)) != {} or not _has_rows(
            everything, name
        ):
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
    spec = next(
        (
            b
            for b in backends
            if isinstance(b, Mapping) and b.get("name") == info.backend
        ),
        {},
    )
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
    session: Session, pairs: tuple[Pair, Pair], found: Comparison, index: int
) -> dict[str, Any]:
    """One token with its text, as far as both sessions have the same."""
    at = int(found.old_at[index])
    sequence = pairs[0].sequence_of(at)
    start = int(pairs[0].sequences.offsets[sequence])
    stop = start + int(found.match.lengths[found.match.old == sequence][0])
    ids = pairs[0].sequences.token_ids
    new_sequence = pairs[1].sequence_of(int(found.new_at[index]))
    deltas = found.old.delta[index], found.new.delta[index]
    text = session.pieces.text
    return {
        "sequence_old": sequence,
        "sequence_new": new_sequence,
        "position": at - start,
        "token_id": int(ids[at]),
        "piece": text(int(ids[at])),
        "delta_old": float(deltas[0]),
        "delta_new": float(deltas[1]),
        "change": float(
            growth(
                found.old.delta[index : index + 1], found.new.delta[index : index + 1]
            )[0]
        ),
        "before": "".join(text(int(i)) for i in ids[max(start, at - CONTEXT) : at]),
        "after": "".join(
            text(int(i)) for i in ids[at + 1 : min(stop, at + 1 + CONTEXT)]
        ),
    }


def both_pairs(
    old: Session, new: Session, pair: str | None, new_pair: str | None
) -> tuple[tuple[str, str], tuple[str, str]]:
    """The pair to look at in each session, from A:B texts; None is the default pair of
    the session.

    ``new_pair`` None is the same text as ``pair``. Raises InputError that says which
    session lacks what.
    """
    from logdrift.core.compare.pair import default_pair, parse_pair

    found = []
    for which, session, text in (("OLD", old, pair), ("NEW", new, new_pair or pair)):
        try:
            chosen = parse_pair(session, text) if text else default_pair(session)
        except InputError as error:
            raise InputError(f"{which} session {session.name}: {error}") from None
        if chosen is None:
            raise InputError(
                f"{which} session {session.name}: fewer than two captures have a"
                " finished sequence"
            )
        found.append(chosen)
    return found[0], found[1]
