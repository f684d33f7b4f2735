"""The limits that docs/metrics.md lists, and how a pair is judged by them, for
`tests.recompute`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.common import Fields
from tests.recompute_numbers import Signed, Words

METRICS_PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"


def table_rows(text: str, columns: int) -> list[list[str]]:
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return [
        [cell.strip().replace("\\|", "|") for cell in row]
        for row in rows
        if len(row) == columns
    ]


def published() -> list[Fields]:
    """The table of published limits, each with the unit that the table of its number
    gives.
    """
    text = METRICS_PAGE.read_text()
    units = {row[0].strip("`"): row[2] for row in table_rows(text, 5)}
    out = []
    for framework, name, metric, bar, level, source in table_rows(
        text.partition("## Published limits")[2], 6
    )[1:]:
        low, high = bounds(bar)
        out.append(
            {
                "framework": framework,
                "name": name.strip("`"),
                "metric": metric.strip("`"),
                "low": low,
                "limit": high,
                "level": level,
                "unit": units[metric.strip("`")],
                "source": source,
            }
        )
    return out


def bounds(bar: str) -> tuple[float | None, float | None]:
    """``<= 0.1``, ``>= 0.3``, ``= 0`` or ``0.5 to 2``."""
    sign, _, number = bar.partition(" ")
    if sign in ("<=", ">=", "="):
        return (None if sign == "<=" else float(number)), (
            None if sign == ">=" else float(number)
        )
    low, high = bar.split(" to ")
    return float(low), float(high)


def thresholds(pair: Mapping[str, Any], verdict: str) -> list[Fields]:
    out = []
    for limit in published():
        section, number = limit["metric"].split(".")
        found = pair[section][number]
        value = found.value if isinstance(found, Signed) else found
        inside = value is not None and (limit["low"] is None or value >= limit["low"])
        inside = inside and (limit["limit"] is None or value <= limit["limit"])
        unsaid = (
            limit["level"] == "other"
            or value is None
            or verdict == "not_comparable"
            or pair["scope"] != "completion"
        )
        unsaid = unsaid or (inside and leaves_out(pair, section, number))
        note = Words() if unsaid else None
        out.append(
            limit
            | {
                "value": found,
                "ok": None if unsaid else inside,
                "meaning": Words(),
                "note": note,
            }
        )
    return out


def leaves_out(pair: Mapping[str, Any], section: str, number: str) -> bool:
    """Whether impossible tokens are missing in a number."""
    if section == "topk":
        return "kl_lower_bound" in number and pair["topk"]["kl_infinite"] > 0
    if (section == "probability" and number != "mult_prob_error") or number in (
        "infinite",
        "exact_fraction",
    ):
        return False
    return bool(pair["errors"]["infinite"])
