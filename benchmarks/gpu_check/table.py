"""The findings of a check, and the Markdown table of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

MARK = "gpu-check:"
"""Begins every line of a check's output that holds a finding."""


class Finding(NamedTuple):
    """One row: what was measured, and whether it is as ``wanted``.

    ``holds`` is None where nothing is wanted of the figure, or where the check could
    not be made: then ``measured`` says why.
    """

    check: str
    what: str
    measured: str
    wanted: str = ""
    holds: bool | None = None


def say(finding: Finding) -> None:
    """Hand a finding over to the process that started the check."""
    print(MARK + json.dumps(finding), flush=True)


def findings_in(output: str) -> list[Finding]:
    """The findings that a check's process printed."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    return [Finding(*json.loads(line.removeprefix(MARK))) for line in lines]


def markdown(machine: dict[str, Any], findings: Sequence[Finding]) -> str:
    """The page: the machine, then a row for each finding."""
    head = ["# Checked on a GPU" if machine["gpu"] else "# Checked without a GPU", ""]
    head += [f"- {name}: {value}" for name, value in machine.items()]
    columns = ["", "| check | what | measured | wanted | |", "|---|---|---|---|---|"]
    return "\n".join([*head, *columns, *_rows(findings), ""])


def _rows(findings: Iterable[Finding]) -> list[str]:
    words = {True: "holds", False: "**does not hold**", None: ""}
    rows = []
    for finding in findings:
        cells = (*finding[:4], words[finding.holds])
        rows.append("| " + " | ".join(map(_cell, cells)) + " |")
    return rows


def _cell(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line.replace("|", "\\|")
