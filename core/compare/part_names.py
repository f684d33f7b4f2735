"""Numbers of parts of a pair by dotted path, as limits name them. Those of the pair
itself are in `logdrift.core.compare.names`.

decomposition.decode_vs_prefill.mae          decomposition.reference.trainer.rmse
what_if.mis.geometric.0.99-1.01.sequences    rule, level and bounds; an open end is 0 or
inf buckets.by_probability.0.9.mae               the bucket that begins at 0.9
scopes.prompt.mae
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

PARTS = ("decomposition", "what_if", "buckets", "scopes")
_TERMS = (
    "total",
    "decode_vs_prefill",
    "prefill_vs_trainer",
    "reference.trainer",
    "reference.rollout",
)
_TERM = ("mean", "mae", "rmse")
_BUCKETS = ("by_probability", "by_position", "by_entropy")
_BUCKET = {
    "tokens": "tokens",
    "mean": "nats",
    "mae": "nats",
    "rmse": "nats",
    "max_abs": "nats",
}
_DECOMPOSITION = {
    **{f"{term}.{number}": "nats" for term in _TERMS for number in _TERM},
    "tokens": "tokens",
    "correlation": "-1 to 1",
    "share_decode_vs_prefill": "share",
    "share_prefill_vs_trainer": "share",
    "reference.tokens": "tokens",
    "reference.rmse": "nats",
    "reference.expected_rmse": "nats",
    "reference.correlation": "-1 to 1",
}
_SCOPE = {
    **dict.fromkeys(
        (
            "mean",
            "mae",
            "rmse",
            "max_abs",
            "min_abs",
            "std_abs",
            "p50",
            "p90",
            "p99",
            "p999",
            "k3",
        ),
        "nats",
    ),
    "tokens": "tokens",
    "infinite": "tokens",
    "pearson": "-1 to 1",
    "exact_fraction": "0 to 1",
}
_COUNTED = ("tokens", "infinite", "exact_fraction")


def part_unit(path: str) -> str | None:
    """The unit of the number at ``path``; None where it names no number of a part."""
    kind, _, rest = path.partition(".")
    if kind == "decomposition":
        return _DECOMPOSITION.get(rest)
    where, _, number = rest.rpartition(".")
    if kind == "what_if":
        return (
            "0 to 1"
            if number in ("tokens", "sequences") and where in _rules()
            else None
        )
    if kind == "scopes":
        return _SCOPE.get(number) if where in ("all", "prompt", "completion") else None
    division, _, low = where.partition(".")
    return (
        _BUCKET.get(number)
        if kind == "buckets" and division in _BUCKETS and _begin(low) is not None
        else None
    )


def part_value(pair: Mapping[str, Any], path: str) -> float | None:
    """The number at a ``path`` that `part_unit` knows in a pair's JSON; None where the
    pair has no such part.

    ``pair["decomposition"]`` is that of the pair alone (`split_of`), which its JSON has
    elsewhere.
    """
    kind, _, rest = path.partition(".")
    node: Any = pair.get(kind)
    if kind == "decomposition":
        keys = rest.split(".")
    else:
        where, _, number = rest.rpartition(".")
        keys = [number]
        if kind == "buckets":
            division, _, low = where.partition(".")
            node = next(
                (
                    b
                    for b in (node or {}).get(division) or ()
                    if b["low"] == _begin(low)
                ),
                None,
            )
        else:
            key = _rule_key if kind == "what_if" else _scope_key
            node = next((item for item in node or () if key(item) == where), None)
    for key_of in keys:
        node = node.get(key_of) if isinstance(node, Mapping) else None
    known = (
        isinstance(node, int | float)
        and not isinstance(node, bool)
        and math.isfinite(node)
    )
    return float(node) if known else None


def leaves_out_infinite(path: str) -> bool:
    """Whether the number at a ``path`` of `part_unit` is over finite deltas alone:
    corrections and counts have all.
    """
    return not path.startswith("what_if.") and path.rpartition(".")[2] not in _COUNTED


def split_of(
    pair: Mapping[str, Any], splits: Iterable[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The decomposition of a pair's JSON among those of the report: trainer -> rollout,
    in this direction alone.
    """
    return next(
        (
            split
            for split in splits
            if (split["trainer"], split["rollout"]) == (pair["a"], pair["b"])
        ),
        None,
    )


def _rules() -> set[str]:
    from logdrift.core.compare.rules import RULES

    return {
        _rule_key({"rule": r.rule, "level": r.level, "low": r.low, "high": r.high})
        for r in RULES
    }


def _rule_key(rule: Mapping[str, Any]) -> str:
    low, high = rule["low"] or 0.0, math.inf if rule["high"] is None else rule["high"]
    return f"{rule['rule']}.{rule['level']}.{low:g}-{high:g}"


def _scope_key(scope: Mapping[str, Any]) -> str:
    return str(scope["scope"])


def _begin(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
