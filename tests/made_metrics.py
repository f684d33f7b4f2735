"""Numbers of a pair with chosen values, and the numbers of a report's JSON by path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from logdrift.core.compare.buckets import Buckets
from logdrift.core.compare.coverage import Coverage
from logdrift.core.compare.distribution import TopK
from logdrift.core.compare.errors import ErrorStats
from logdrift.core.compare.floor import Floor
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.mismatch import Mismatch
from logdrift.core.compare.probability import Probability
from logdrift.core.compare.uncertainty import Intervals

NO_TOPK = TopK(
    k=20,
    tokens=9,
    same_top1=1.0,
    overlap=1.0,
    ranked=9,
    rank_flips=0.0,
    kl_lower_bound_mean=0.0,
    kl_lower_bound_p99=0.0,
    kl_lower_bound_max=0.0,
    kl_infinite=0,
    tail_mass_a=0.0,
    tail_mass_b=0.0,
)
NO_FLOOR = Floor(mae=None, rmse=None, a=None, b=None, batch_a=None, batch_b=None)
COVERED = Coverage(
    nan_a=0,
    nan_b=0,
    nan=0,
    unscored_a=0,
    unscored_b=0,
    unscored=0,
    unscored_fraction=0.0,
)


def made_metrics(**sections: Any) -> Metrics:
    """Metrics without a number but those of ``sections``: ``errors={"mae": 0.03}``.

    ``scope``, ``tokens`` and the other fields of `Metrics` are taken as they are; a
    section that is None has no number.
    """
    metrics = Metrics(
        scope="completion",
        tokens=9,
        sequences=3,
        finished=3,
        errors=ErrorStats(),
        ci95=Intervals(),
        floor=None,
        probability=Probability(),
        mismatch=Mismatch(),
        what_if=(),
        topk=None,
        buckets=Buckets(by_probability=(), by_position=(), by_entropy=None),
        scopes=(),
        worst_sequences=(),
        coverage=COVERED,
    )
    whole = {name: value for name, value in sections.items() if value is not None}
    empty = {"topk": NO_TOPK, "floor": NO_FLOOR}
    for name, values in whole.items():
        if isinstance(values, Mapping) and name != "computed":
            section: Any = empty.get(name, getattr(metrics, name))
            whole[name] = replace(section, **values)
    return replace(metrics, **whole)


def with_number(path: str, value: Any, **sections: Any) -> Metrics:
    """Metrics of which only the number at ``path`` is known."""
    name, _, key = path.partition(".")
    key, _, bound = key.partition(".")
    values = {bound: value} if bound else value
    return made_metrics(**{name: {key: values}}, **sections)


def value_in_json(pair: Mapping[str, Any], path: str) -> float | None:
    """The number at ``path`` in a pair's JSON; None where it has none."""
    node: Any = pair
    rest = path
    while rest:
        if isinstance(node, list):
            node = node[("low", "high").index(rest)]
            break
        if node is None:
            return None
        # A key can hold a dot itself (clip_fraction has "0.2").
        key, rest = (rest, "") if rest in node else _split(rest)
        node = node.get(key)
    return float(node) if node is not None and math.isfinite(node) else None


def _split(path: str) -> tuple[str, str]:
    key, _, rest = path.partition(".")
    return key, rest
