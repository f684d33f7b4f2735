"""What each number of a pair is called, what it means, and how it is written: shared by
Markdown and HTML.

Titles, meanings, units and good ranges are those of `logdrift.core.compare.metric`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from logdrift.core.compare.metric import METRICS, Metric
from logdrift.core.facts import Facts
from logdrift.core.numbers import UNKNOWN, counted, figure, is_number, range_text
from logdrift.core.session.layout import CaptureInfo

SCOPES = {
    "all": "all tokens",
    "prompt": "prompt tokens",
    "completion": "completion tokens",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A table of numbers: those of ``group`` of the report with these ``keys``, and
    each key's short name.
    """

    group: str
    title: str
    keys: dict[str, str]

    def keys_of(self, group: str) -> dict[str, str]:
        """The keys where the table is of ``group``, else {}."""
        return self.keys if self.group == group else {}


_DRAWN = ("gate", "ci95", "floor", "buckets")
"""Mappings of a pair that are no numbers of their own: they are shown in their own way.
"""


_SAMPLED_BY_B = Metric(
    path="mismatch.sampled_by_b",
    title="sampled by B",
    unit="",
    meaning="only then do k1 and k3 estimate the KL divergence of B from A",
    good="",
    heading="KL estimates and effective sample size",
)
"""A truth value and no metric: it says what k1 and k3 are worth."""


def metric(path: str) -> Metric:
    """The metric at a dotted path of a pair; for a number that this version does not
    know one without a meaning, under the title of its neighbours.
    """
    known = METRICS.get(path)
    if known is not None:
        return known
    if path == _SAMPLED_BY_B.path:
        return _SAMPLED_BY_B
    group, _, key = path.partition(".")
    first, _, rest = key.partition(".")
    titles = [s.keys[first] for s in table_sections() if first in s.keys_of(group)]
    title = titles[0] if titles else first.replace("_", " ")
    return Metric(
        path=path, title=f"{title} {rest}".strip(), unit="", meaning="", good=""
    )


def table_sections() -> list[Section]:
    """The tables of Markdown and HTML, as the table of metrics has them."""
    sections: dict[tuple[str, str], Section] = {}
    for row in (_SAMPLED_BY_B, *METRICS.values()):
        if row.heading:
            place = row.section, row.heading
            section = sections.setdefault(place, Section(*place, keys={}))
            first, _, rest = row.key.partition(".")
            section.keys.setdefault(first, row.title.removesuffix(rest).strip())
    order = [row.heading for row in METRICS.values()]
    return sorted(sections.values(), key=lambda section: order.index(section.title))


@dataclass(frozen=True, slots=True)
class Row:
    """One number of a pair as it is shown: ``interval`` (95%) and ``multiple`` (of the
    noise floor) where known.
    """

    metric: Metric
    value: Any
    interval: tuple[float, float] | None
    multiple: float | None

    @property
    def text(self) -> str:
        """Not escaped where the value is a text."""
        return (
            self.value
            if isinstance(self.value, str)
            else figure(self.value, self.metric.format)
        )


def capture_of(data: Mapping[str, Any]) -> CaptureInfo:
    """A capture of the JSON as a record, as far as words on its numbers need it."""
    facts = data.get("facts")
    return CaptureInfo(
        label=data.get("label", ""),
        backend=data.get("backend", ""),
        engine=data.get("engine", ""),
        dtype=data.get("dtype", ""),
        path=data.get("path", ""),
        batch=data.get("batch", "together"),
        facts=None if facts is None else Facts(dtype=facts.get("dtype")),
    )


def sentence_of(pair: Mapping[str, Any]) -> str:
    """The answer's sentence of an entry of ``pairs``; empty where it was not made."""
    answer = pair.get("answer")
    return str(answer["sentence"]) if answer else ""


def get(data: Any, path: str) -> Any:
    """``data["a"]["b"]`` for "a.b", None where any of it is missing."""
    for key in path.split("."):
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def sections(pair: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Row]]]:
    """(group, title, rows) of all numbers of a pair.

    A known number that its group lacks is there with the value None; a group that is
    missing or null is left out. Keys and groups that this version does not know come
    under their own names.
    """
    groups = [
        key
        for key, value in pair.items()
        if isinstance(value, Mapping) and key not in _DRAWN
    ]
    known_sections = table_sections()
    for section in known_sections:
        if section.group in groups:
            keys = list(section.keys)
            if section is [s for s in known_sections if s.group == section.group][-1]:
                known = {
                    key
                    for s in known_sections
                    if s.group == section.group
                    for key in s.keys
                }
                keys += [key for key in pair[section.group] if key not in known]
            yield (
                section.group,
                section.title,
                [row for key in keys for row in _rows(pair, section.group, key)],
            )
    for group in groups:
        if all(section.group != group for section in known_sections):
            yield (
                group,
                group.replace("_", " "),
                [row for key in pair[group] for row in _rows(pair, group, key)],
            )


def _rows(pair: Mapping[str, Any], group: str, key: str) -> Iterator[Row]:
    value = pair[group].get(key)
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield Row(metric(f"{group}.{key}.{name}"), item, None, None)
        return
    interval, multiple = (
        interval_of(pair, group, key),
        floor_multiple(pair, group, key, value),
    )
    yield Row(metric(f"{group}.{key}"), value, interval, multiple)


def interval_of(
    pair: Mapping[str, Any], group: str, key: str
) -> tuple[float, float] | None:
    """The 95% interval of a number. Intervals are of the deltas and of k3:
    `probability.mean` is another number.
    """
    known = group == "errors" or (group, key) == ("mismatch", "k3")
    return limits(get(pair, f"ci95.{key}")) if known else None


def limits(value: Any) -> tuple[float, float] | None:
    """(low, high) of a two-element list of finite numbers, else None."""
    if (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(is_number(item) for item in value)
    ):
        return float(value[0]), float(value[1])
    return None


def floor_multiple(
    pair: Mapping[str, Any], group: str, key: str, value: Any
) -> float | None:
    """How many times the noise floor a mean error is: inf over a floor of exactly 0,
    None where nothing can be said.
    """
    floor = (
        get(pair, f"floor.{key}")
        if group == "errors" and key in ("mae", "rmse")
        else None
    )
    if not is_number(floor) or not is_number(value):
        return None
    if floor > 0:
        return float(value) / float(floor)
    return math.inf if value > 0 else None


def left_out(pair: Mapping[str, Any]) -> str:
    """The tokens that the numbers of a pair leave out though they should not have to,
    by side; "" for none.
    """
    words = (("nan", "NaN"), ("unscored", "not scored"))
    parts = [
        f"{counted(number, 'token')} {word} in {pair.get(side)}"
        for key, word in words
        for side in ("a", "b")
        if is_number(number := get(pair, f"coverage.{key}_{side}")) and number
    ]
    return f"left out: {', '.join(parts)}" if parts else ""


def ranks_text(token: Mapping[str, Any]) -> str:
    """``79→64``, ``?`` for a rank that is not known."""
    ranks = (token.get(key) for key in ("rank_a", "rank_b"))
    return "→".join(
        str(rank) if isinstance(rank, int) and rank > 0 else "?" for rank in ranks
    )


def bound_text(limit: Mapping[str, Any]) -> str:
    """The range that a threshold allows: ``<= 0.01``, ``>= 0.3``, ``0.5 to 2``."""
    low = limit.get("low")
    # The upper end is `limit` in thresholds, `high` in corrections.
    high = limit.get("high") if limit.get("high") is not None else limit.get("limit")
    if is_number(low) and is_number(high):
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if is_number(low):
        return f">= {low:g}"
    return f"<= {high:g}" if is_number(high) else "-"


def bucket_text(bucket: Mapping[str, Any], *, whole: bool = False) -> str:
    """The range of a bucket; ``whole`` for positions, whose last one is ``high -
    1``.
    """
    low, high = bucket.get("low"), bucket.get("high")
    if not is_number(low):
        return UNKNOWN
    return range_text(low, high if is_number(high) else None, whole=whole)


def meaning_text(metric: Metric) -> str:
    """What a number means and what is good, in one line."""
    return "; ".join(
        part
        for part in (metric.meaning, f"good: {metric.good}" if metric.good else "")
        if part
    )


def parts_of(item: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    """(name, {mean, mae, rmse} or None) of the parts of a decomposition, the whole
    first.
    """
    names = {
        "total": "whole gap",
        "decode_vs_prefill": "decode against prefill",
        "prefill_vs_trainer": "prefill against trainer",
    }
    parts: list[tuple[str, Mapping[str, Any] | None]] = [
        (name, item.get(key)) for key, name in names.items()
    ]
    reference = item.get("reference")
    for key, part in reference.items() if isinstance(reference, Mapping) else ():
        if isinstance(part, Mapping):
            parts.append((f"{str(key).replace('_', ' ')} against the reference", part))
    return parts
