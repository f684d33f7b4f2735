"""What docs/metrics.md says of the metrics and of the published limits."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from logdrift.core.compare.metric import METRICS

DOCS = Path(__file__).parent.parent / "docs" / "metrics.md"


def rows(width: int) -> list[list[str]]:
    """Cells of the docs' table rows with ``width`` columns."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("| ")]
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables
    ]
    return [row for row in cells if len(row) == width]


def undocumented() -> Collection[str]:
    """Rows of the table of metrics that docs/metrics.md lacks or says otherwise."""
    documented = {(row[0], row[2], row[3]) for row in rows(5)}
    return [
        row.path
        for row in METRICS.values()
        if (f"`{row.path}`", row.unit, row.good) not in documented
    ]
