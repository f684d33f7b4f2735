"""The one table that a kind of fault ends with."""

from __future__ import annotations

from endurance.runs import Kind, Tally

_LOSSES = "losses"


def table(kind: Kind, tally: Tally, seconds: float) -> str:
    """A row for each subject, a column for each outcome, losses last."""
    columns = [*_outcomes(tally), _LOSSES]
    rows = [[kind.name, *columns]]
    for subject, counts in tally.outcomes.items():
        counted = [f"{counts[outcome]:,}" for outcome in columns[:-1]]
        lost = [loss for loss in tally.losses if loss.subject == subject]
        rows.append([subject, *counted, f"{len(lost):,}"])
    last = f"{len(tally.losses):,} losses in {seconds:,.0f} s"
    return "\n".join([*_aligned(rows), last])


def _outcomes(tally: Tally) -> list[str]:
    """All outcomes, in the order in which they were seen."""
    seen: dict[str, None] = {}
    for counts in tally.outcomes.values():
        seen.update(dict.fromkeys(counts))
    return list(seen)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        for cell, width in zip(others, widths[1:], strict=True):
            cells.append(cell.rjust(width))
        lines.append("  ".join(cells))
    return lines
