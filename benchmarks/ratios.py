"""Ratios that a benchmark measured, handed to the table of all (`python -m
benchmarks`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

VARIABLE = "LOGDRIFT_RATIOS"
"""Names the file to which ratios are appended; unset, they are not kept."""


class Ratio(NamedTuple):
    """Something of ours beside a peer, both measured in turns in one run.

    ``ours`` and ``peer`` are what was measured, with its unit; ``against`` names the
    peer. ``limit`` is the largest ratio that is allowed; None where none was set.
    """

    name: str
    ours: str
    against: str
    peer: str
    ratio: float
    limit: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or self.ratio <= self.limit


def say(ratio: Ratio) -> None:
    """Keep a ratio for the table, where one is being made."""
    file = os.environ.get(VARIABLE)
    if file is None:
        return
    with Path(file).open("a", encoding="utf-8") as out:
        out.write(json.dumps(ratio) + "\n")


def ratios_in(file: Path) -> list[Ratio]:
    """What was kept in a file, in order; nothing where there is none."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Ratio(*json.loads(line)) for line in lines]


def table(ratios: Iterable[Ratio]) -> str:
    """The ratios in Markdown."""
    rows = [
        "| measured | ours | against | its | ratio | limit | |",
        "|---|---|---|---|---|---|---|",
    ]
    for ratio in ratios:
        limit = "" if ratio.limit is None else f"{ratio.limit:g}"
        held = "" if ratio.limit is None else _WORDS[ratio.holds]
        cells = (ratio.name, ratio.ours, ratio.against, ratio.peer)
        rows.append(f"| {' | '.join(cells)} | {ratio.ratio:.3f} | {limit} | {held} |")
    return "\n".join(rows)


_WORDS = {True: "holds", False: "**beyond**"}


def in_words(value: float) -> str:
    """Seconds as the table writes them."""
    if value < 1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.2f} s"
