"""Metrics of the parts of a pair, as limits name them.

    decomposition.decode_vs_prefill.mae
    decomposition.reference.trainer.rmse
    what_if.mis.geometric.0.99-1.01.sequences  rule, level and range of the ratio
    buckets.by_probability.0.9.mae             the bucket that begins at 0.9
    scopes.prompt.mae

An open end of a range is written as 0 or inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from logdrift.core.compare.metric.record import Metric, MetricUnit, number_of
from logdrift.core.compare.rules import RULES, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logdrift.core.compare.buckets import Bucket, Buckets
    from logdrift.core.compare.corrections import WhatIf
    from logdrift.core.compare.decomposition import Decomposition, Split, Term
    from logdrift.core.compare.metrics import Numbers, ScopeErrors

    Record = TypeVar("Record")
    Reader = Callable[[Numbers], float | None]


def part(path: str) -> Metric | None:
    """The metric at a ``path`` of a part; None where the path names none.

    Its value is None where a pair has no such part.
    """
    kind, _, rest = path.partition(".")
    make = _KINDS.get(kind)
    if make is not None:
        return make(path, rest)
    return None


def _metric(
    path: str,
    unit: MetricUnit,
    accessor: Reader,
    leaves_out: str | None = "errors.infinite",
) -> Metric:
    return Metric(
        path=path,
        title=path,
        unit=unit,
        meaning="",
        good="",
        accessor=accessor,
        leaves_out=leaves_out,
    )


# ---- decomposition

_TERM_NUMBERS: dict[str, Callable[[Term], float]] = {
    "mean": lambda term: term.mean,
    "mae": lambda term: term.mae,
    "rmse": lambda term: term.rmse,
}
_TERMS: dict[str, Callable[[Decomposition], Term | None]] = {
    "total": lambda split: split.total,
    "decode_vs_prefill": lambda split: split.decode_vs_prefill,
    "prefill_vs_trainer": lambda split: split.prefill_vs_trainer,
    "reference.trainer": lambda split: number_of(
        split.reference, lambda reference: reference.trainer
    ),
    "reference.rollout": lambda split: number_of(
        split.reference, lambda reference: reference.rollout
    ),
}
_OF_DECOMPOSITION: dict[
    str, tuple[MetricUnit, Callable[[Decomposition], float | None]]
] = {
    "tokens": ("tokens", lambda split: split.tokens),
    "correlation": ("-1 to 1", lambda split: split.correlation),
    "share_decode_vs_prefill": ("share", lambda split: split.share_decode_vs_prefill),
    "share_prefill_vs_trainer": ("share", lambda split: split.share_prefill_vs_trainer),
}
_OF_REFERENCE: dict[str, tuple[MetricUnit, Callable[[Split], float | None]]] = {
    "tokens": ("tokens", lambda reference: reference.tokens),
    "rmse": ("nats", lambda reference: reference.rmse),
    "expected_rmse": ("nats", lambda reference: reference.expected_rmse),
    "correlation": ("-1 to 1", lambda reference: reference.correlation),
}


def _decomposition(path: str, rest: str) -> Metric | None:
    if rest.endswith("tokens"):
        leaves_out = None
    else:
        leaves_out = "errors.infinite"
    term, _, number = rest.rpartition(".")
    if term in _TERMS and number in _TERM_NUMBERS:
        return _metric(path, "nats", _term_reader(_TERMS[term], _TERM_NUMBERS[number]))
    if rest in _OF_DECOMPOSITION:
        unit, of_split = _OF_DECOMPOSITION[rest]
        return _metric(path, unit, _split_reader(of_split), leaves_out)
    if term == "reference" and number in _OF_REFERENCE:
        unit, of_reference = _OF_REFERENCE[number]
        return _metric(path, unit, _reference_reader(of_reference), leaves_out)
    return None


def _term_reader(
    term_of: Callable[[Decomposition], Term | None], number: Callable[[Term], float]
) -> Reader:
    def read(pair: Numbers) -> float | None:
        return number_of(number_of(pair.decomposition, term_of), number)

    return read


def _split_reader(number: Callable[[Decomposition], float | None]) -> Reader:
    return lambda pair: number_of(pair.decomposition, number)


def _reference_reader(number: Callable[[Split], float | None]) -> Reader:
    def read(pair: Numbers) -> float | None:
        reference = number_of(pair.decomposition, lambda split: split.reference)
        return number_of(reference, number)

    return read


# ---- what_if

_SHARES: dict[str, Callable[[WhatIf], float | None]] = {
    "tokens": lambda share: share.tokens,
    "sequences": lambda share: share.sequences,
}


def _what_if(path: str, rest: str) -> Metric | None:
    name, _, number = rest.rpartition(".")
    if number not in _SHARES or name not in {_rule_name(rule) for rule in RULES}:
        return None

    def read(pair: Numbers) -> float | None:
        shares = (share for share in pair.what_if if _rule_name(share) == name)
        return _first(shares, _SHARES[number])

    return _metric(path, "0 to 1", read, leaves_out=None)


def _rule_name(rule: Rule | WhatIf) -> str:
    low = rule.low or 0.0
    high = math.inf if rule.high is None else rule.high
    return f"{rule.rule}.{rule.level}.{low:g}-{high:g}"


# ---- buckets

_DIVISIONS: dict[str, Callable[[Buckets], Iterable[Bucket] | None]] = {
    "by_probability": lambda buckets: buckets.by_probability,
    "by_position": lambda buckets: buckets.by_position,
    "by_entropy": lambda buckets: buckets.by_entropy,
}
_OF_BUCKET: dict[str, tuple[MetricUnit, Callable[[Bucket], float | None]]] = {
    "tokens": ("tokens", lambda bucket: bucket.tokens),
    "mean": ("nats", lambda bucket: bucket.mean),
    "mae": ("nats", lambda bucket: bucket.mae),
    "rmse": ("nats", lambda bucket: bucket.rmse),
    "max_abs": ("nats", lambda bucket: bucket.max_abs),
}


def _buckets(path: str, rest: str) -> Metric | None:
    where, _, number = rest.rpartition(".")
    division, _, begin = where.partition(".")
    low = _begin(begin)
    if division not in _DIVISIONS or number not in _OF_BUCKET or low is None:
        return None
    unit, of_bucket = _OF_BUCKET[number]

    def read(pair: Numbers) -> float | None:
        buckets = _DIVISIONS[division](pair.buckets) or ()
        return _first((bucket for bucket in buckets if bucket.low == low), of_bucket)

    return _metric(path, unit, read, None if number == "tokens" else "errors.infinite")


def _begin(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if math.isfinite(value) and value >= 0:
        return value
    return None


# ---- scopes

_SCOPES = ("all", "prompt", "completion")
_OF_SCOPE: dict[str, tuple[MetricUnit, Callable[[ScopeErrors], float | None]]] = {
    "tokens": ("tokens", lambda scope: scope.tokens),
    "mean": ("nats", lambda scope: scope.errors.mean),
    "mae": ("nats", lambda scope: scope.errors.mae),
    "rmse": ("nats", lambda scope: scope.errors.rmse),
    "pearson": ("-1 to 1", lambda scope: scope.errors.pearson),
    "max_abs": ("nats", lambda scope: scope.errors.max_abs),
    "min_abs": ("nats", lambda scope: scope.errors.min_abs),
    "std_abs": ("nats", lambda scope: scope.errors.std_abs),
    "p50": ("nats", lambda scope: scope.errors.p50),
    "p90": ("nats", lambda scope: scope.errors.p90),
    "p99": ("nats", lambda scope: scope.errors.p99),
    "p999": ("nats", lambda scope: scope.errors.p999),
    "exact_fraction": ("0 to 1", lambda scope: scope.errors.exact_fraction),
    "infinite": ("tokens", lambda scope: scope.errors.infinite),
    "k3": ("nats", lambda scope: scope.k3),
}
_COUNTS_ALL_TOKENS = ("tokens", "infinite", "exact_fraction")


def _scopes(path: str, rest: str) -> Metric | None:
    name, _, number = rest.rpartition(".")
    if name not in _SCOPES or number not in _OF_SCOPE:
        return None
    unit, of_scope = _OF_SCOPE[number]

    def read(pair: Numbers) -> float | None:
        return _first((scope for scope in pair.scopes if scope.scope == name), of_scope)

    leaves_out = None if number in _COUNTS_ALL_TOKENS else "errors.infinite"
    return _metric(path, unit, read, leaves_out)


def _first(
    parts: Iterable[Record], number: Callable[[Record], float | None]
) -> float | None:
    """The number of the first of ``parts``; None where there is none."""
    return number_of(next(iter(parts), None), number)


_KINDS: dict[str, Callable[[str, str], Metric | None]] = {
    "decomposition": _decomposition,
    "what_if": _what_if,
    "buckets": _buckets,
    "scopes": _scopes,
}
"""By the first part of the path."""
