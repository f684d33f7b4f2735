"""Metrics of the parts of a pair, as limits name them.

    decomposition.decode_vs_prefill.mae
    decomposition.reference.trainer.rmse
    what_if.mis.geometric.0.99-1.01.sequences  rule, level and range of the ratio
    buckets.by_probability.0.9.mae             the bucket that begins at 0.9
    buckets.by_turn.2.mae                      the second turn; by_role.assistant,
                                               by_version.12, by_lag.1
    scopes.prompt.mae

An open end of a range is written as 0 or inf.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from logdrift.core.compare.metric.record import Metric, MetricUnit, number_of
from logdrift.core.compare.rules import (
    DIVERGENCE_RULES,
    RULES,
    DivergenceRule,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logdrift.core.compare.buckets import Bucket, Buckets
    from logdrift.core.compare.corrections import WhatIf
    from logdrift.core.compare.decomposition import Decomposition, ReferenceErrors, Term
    from logdrift.core.compare.groups import TokenGroup
    from logdrift.core.compare.metrics import Numbers, ScopeErrors

    Record = TypeVar("Record")
    NumberOf = Callable[[Record], float | None]
    Reader = NumberOf[Numbers]


def part(path: str) -> Metric | None:
    """The metric at a ``path`` of a part; None where the path names none.

    Its value is None where a pair has no such part.
    """
    kind, _, rest = path.partition(".")
    make = _KINDS.get(kind)
    if make is not None:
        return make(path, rest)
    return None


def part_paths() -> list[str]:
    """All paths of parts but those of buckets, which depend on the pair."""
    decomposition = [*_OF_DECOMPOSITION]
    decomposition += _with_numbers(_TERMS, _TERM_NUMBERS)
    decomposition += _with_numbers(["reference"], _OF_REFERENCE)
    paths = [f"decomposition.{rest}" for rest in decomposition]
    paths += [f"what_if.{rest}" for rest in _with_numbers(_RULE_NAMES, _SHARES)]
    paths += [f"scopes.{rest}" for rest in _with_numbers(_SCOPES, _OF_SCOPE)]
    return paths


def _with_numbers(names: Iterable[str], numbers: Iterable[str]) -> list[str]:
    pairs = itertools.product(names, numbers)
    return [f"{name}.{number}" for name, number in pairs]


def near_bucket(rest: str) -> list[str]:
    """The path of a bucket that the rest of one which is none may mean."""
    where, _, number = rest.rpartition(".")
    division, _, begin = where.partition(".")
    divisions = difflib.get_close_matches(division, [*_DIVISIONS, *_GROUPS], n=1)
    numbers = difflib.get_close_matches(number, [*_OF_GROUP], n=1)
    for names in itertools.product(divisions, numbers):
        path = f"buckets.{names[0]}.{begin}.{names[1]}"
        if part(path) is not None:
            return [path]
    return []


_UNITS: dict[str, MetricUnit] = {
    "tokens": "tokens",
    "sequences": "sequences",
    "beyond": "0 to 1",
    "infinite": "tokens",
    "exact_fraction": "0 to 1",
    "correlation": "-1 to 1",
    "pearson": "-1 to 1",
    "share_decode_vs_prefill": "share",
    "share_prefill_vs_trainer": "share",
}
"""By the last part of a path; all others are in nats."""

_COUNTS_ALL_TOKENS = ("tokens", "sequences", "infinite", "exact_fraction", "beyond")
"""All others leave out tokens with an infinite delta."""


def _metric(path: str, number: str, read: Reader) -> Metric:
    """The metric whose path ends in ``number``."""
    unit = _UNITS.get(number, "nats")
    if number in _COUNTS_ALL_TOKENS:
        return _untitled(path, unit, read, leaves_out=None)
    return _untitled(path, unit, read, leaves_out="errors.infinite")


def _untitled(
    path: str, unit: MetricUnit, read: Reader, *, leaves_out: str | None
) -> Metric:
    """A metric that its path alone describes."""
    return Metric(
        path=path,
        title=path,
        unit=unit,
        meaning="",
        good="",
        accessor=read,
        leaves_out=leaves_out,
    )


# ---- decomposition

_TERM_NUMBERS: dict[str, NumberOf[Term]] = {
    "mean": lambda term: term.mean,
    "mae": lambda term: term.mae,
    "rmse": lambda term: term.rmse,
}


def _trainer_term(split: Decomposition) -> Term | None:
    if split.reference is None:
        return None
    return split.reference.trainer


def _rollout_term(split: Decomposition) -> Term | None:
    if split.reference is None:
        return None
    return split.reference.rollout


_TERMS: dict[str, Callable[[Decomposition], Term | None]] = {
    "total": lambda split: split.total,
    "decode_vs_prefill": lambda split: split.decode_vs_prefill,
    "prefill_vs_trainer": lambda split: split.prefill_vs_trainer,
    "reference.trainer": _trainer_term,
    "reference.rollout": _rollout_term,
}
_OF_DECOMPOSITION: dict[str, NumberOf[Decomposition]] = {
    "tokens": lambda split: split.tokens,
    "correlation": lambda split: split.correlation,
    "share_decode_vs_prefill": lambda split: split.share_decode_vs_prefill,
    "share_prefill_vs_trainer": lambda split: split.share_prefill_vs_trainer,
}
_OF_REFERENCE: dict[str, NumberOf[ReferenceErrors]] = {
    "tokens": lambda reference: reference.tokens,
    "rmse": lambda reference: reference.rmse,
    "expected_rmse": lambda reference: reference.expected_rmse,
    "correlation": lambda reference: reference.correlation,
}


def _decomposition(path: str, rest: str) -> Metric | None:
    term, _, number = rest.rpartition(".")
    if term in _TERMS and number in _TERM_NUMBERS:
        read = _term_reader(_TERMS[term], _TERM_NUMBERS[number])
    elif rest in _OF_DECOMPOSITION:
        read = _split_reader(_OF_DECOMPOSITION[rest])
    elif term == "reference" and number in _OF_REFERENCE:
        read = _reference_reader(_OF_REFERENCE[number])
    else:
        return None
    return _metric(path, number, read)


def _term_reader(
    term_of: Callable[[Decomposition], Term | None], number: NumberOf[Term]
) -> Reader:
    def read(pair: Numbers) -> float | None:
        term = number_of(pair.decomposition, term_of)
        return number_of(term, number)

    return read


def _split_reader(number: NumberOf[Decomposition]) -> Reader:
    return lambda pair: number_of(pair.decomposition, number)


def _reference_reader(number: NumberOf[ReferenceErrors]) -> Reader:
    def read(pair: Numbers) -> float | None:
        if pair.decomposition is None:
            return None
        return number_of(pair.decomposition.reference, number)

    return read


# ---- what_if

_SHARES: dict[str, NumberOf[WhatIf]] = {
    "tokens": lambda share: share.tokens,
    "sequences": lambda share: share.sequences,
}


def _what_if(path: str, rest: str) -> Metric | None:
    name, _, number = rest.rpartition(".")
    if number not in _SHARES or name not in _RULE_NAMES:
        return None

    def read(pair: Numbers) -> float | None:
        for share in pair.what_if:
            if _rule_name(share) == name:
                return _SHARES[number](share)
        return None

    return _untitled(path, "0 to 1", read, leaves_out=None)


def _rule_name(rule: Rule | DivergenceRule | WhatIf) -> str:
    low = rule.low or 0.0
    if rule.high is None:
        high = math.inf
    else:
        high = rule.high
    return f"{rule.rule}.{rule.bounded}.{low:g}-{high:g}"


_RULE_NAMES = (*map(_rule_name, RULES), *map(_rule_name, DIVERGENCE_RULES))


# ---- buckets

_DIVISIONS: dict[str, Callable[[Buckets], Iterable[Bucket] | None]] = {
    "by_probability": lambda buckets: buckets.by_probability,
    "by_position": lambda buckets: buckets.by_position,
    "by_entropy": lambda buckets: buckets.by_entropy,
}
_OF_BUCKET: dict[str, NumberOf[Bucket]] = {
    "tokens": lambda bucket: bucket.tokens,
    "mean": lambda bucket: bucket.mean,
    "mae": lambda bucket: bucket.mae,
    "rmse": lambda bucket: bucket.rmse,
    "max_abs": lambda bucket: bucket.max_abs,
}


_GROUPS: dict[str, Callable[[Buckets], Iterable[TokenGroup] | None]] = {
    "by_turn": lambda buckets: buckets.by_turn,
    "by_role": lambda buckets: buckets.by_role,
    "by_version": lambda buckets: buckets.by_version,
    "by_lag": lambda buckets: buckets.by_lag,
}
_OF_GROUP: dict[str, NumberOf[TokenGroup]] = {
    "tokens": lambda group: group.tokens,
    "sequences": lambda group: group.sequences,
    "mean": lambda group: group.mean,
    "mae": lambda group: group.mae,
    "rmse": lambda group: group.rmse,
    "max_abs": lambda group: group.max_abs,
    "k3": lambda group: group.k3,
    "beyond": lambda group: group.beyond,
}


def _buckets(path: str, rest: str) -> Metric | None:
    where, _, number = rest.rpartition(".")
    division, _, begin = where.partition(".")
    if division in _GROUPS:
        return _group(path, division, begin, number)
    return _bucket(path, division, begin, number)


def _group(path: str, division: str, name: str, number: str) -> Metric | None:
    """The metric of the tokens of one name."""
    if number not in _OF_GROUP or not name:
        return None

    def read(pair: Numbers) -> float | None:
        groups = _GROUPS[division](pair.buckets)
        for group in groups or ():
            if group.name == name:
                return _OF_GROUP[number](group)
        return None

    words = f"{_GROUP_WORDS[division]} {name}"
    plain = _metric(path, number, read)
    if number not in ("mae", "rmse", "max_abs", "k3"):
        return replace(plain, meaning=words)
    title, meaning = _SIZES[number]
    return replace(
        plain,
        title=f"{title}, {words}",
        meaning=f"{meaning} of the tokens of {words}",
        good="near that of the others",
        perfect=0.0,
    )


_GROUP_WORDS = {
    "by_turn": "turn",
    "by_role": "role",
    "by_version": "weights",
    "by_lag": "lag",
}
_SIZES = {
    "mae": ("MAE", "mean |Δ|"),
    "rmse": ("RMSE", "root of the mean Δ²"),
    "max_abs": ("max |Δ|", "largest |Δ|"),
    "k3": ("k3", "mean of exp(Δ) − 1 − Δ"),
}


def _bucket(path: str, division: str, begin: str, number: str) -> Metric | None:
    """The metric of the tokens of one range."""
    low = _begin(begin)
    if division not in _DIVISIONS or number not in _OF_BUCKET or low is None:
        return None

    def read(pair: Numbers) -> float | None:
        buckets = _DIVISIONS[division](pair.buckets)
        for bucket in buckets or ():
            if bucket.low == low:
                return _OF_BUCKET[number](bucket)
        return None

    return _metric(path, number, read)


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
_OF_SCOPE: dict[str, NumberOf[ScopeErrors]] = {
    "tokens": lambda scope: scope.tokens,
    "mean": lambda scope: scope.errors.mean,
    "mae": lambda scope: scope.errors.mae,
    "rmse": lambda scope: scope.errors.rmse,
    "pearson": lambda scope: scope.errors.pearson,
    "max_abs": lambda scope: scope.errors.max_abs,
    "min_abs": lambda scope: scope.errors.min_abs,
    "std_abs": lambda scope: scope.errors.std_abs,
    "p50": lambda scope: scope.errors.p50,
    "p90": lambda scope: scope.errors.p90,
    "p99": lambda scope: scope.errors.p99,
    "p999": lambda scope: scope.errors.p999,
    "exact_fraction": lambda scope: scope.errors.exact_fraction,
    "infinite": lambda scope: scope.errors.infinite,
    "k3": lambda scope: scope.k3,
}


def _scopes(path: str, rest: str) -> Metric | None:
    name, _, number = rest.rpartition(".")
    if name not in _SCOPES or number not in _OF_SCOPE:
        return None

    def read(pair: Numbers) -> float | None:
        for scope in pair.scopes:
            if scope.scope == name:
                return _OF_SCOPE[number](scope)
        return None

    return _metric(path, number, read)


_KINDS: dict[str, Callable[[str, str], Metric | None]] = {
    "decomposition": _decomposition,
    "what_if": _what_if,
    "buckets": _buckets,
    "scopes": _scopes,
}
"""By the first part of the path."""
