"""Which layer differs first, as text: the verdict, what to know, and a table of all
stages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.diagnose.layers import Layers, LayerSide, Stage
from logdrift.core.numbers import fixed
from logdrift.core.report.layout import Canvas, table

_AROUND = 2
"""Right stages that a short table shows on either side of a wrong one."""


def render_layers(found: Layers, canvas: Canvas, *, whole: bool = True) -> str:
    """As text of at most ``canvas.width`` cells; not ``whole`` leaves out stages that
    are far from any that is wrong.
    """
    lines = [canvas.paint(line, "bold") for line in canvas.wrap(title(found))]
    for side in found.sides:
        style = (
            "good"
            if side.kind == "rounding"
            else "warn"
            if side.kind == "unknown"
            else "bad"
        )
        lines += [canvas.paint(line, style) for line in canvas.wrap(side.sentence)]
    lines += [
        canvas.paint(line, "dim")
        for note in found.notes
        for line in canvas.wrap(note, 2, "- ")
    ]
    return "".join(
        line + "\n" for line in [*lines, "", *_table(found.sides, canvas, whole)]
    )


def layers_lines(found: Mapping[str, Any], canvas: Canvas) -> Iterator[str]:
    """What `Layers.to_json` gave, in short: which layer, without the table."""
    yield canvas.paint("Layers", "bold")
    for side in found["sides"]:
        yield from canvas.wrap(side["sentence"], 2, "  ")
    again = (
        f"sequence {found['sequence']}, positions {found['first']} to {found['last']},"
        f" against {found['standard']}"
    )
    yield from canvas.wrap(
        f"{again}; --layers {found['sequence']} shows every layer", 2, "  "
    )


def title(found: Layers) -> str:
    """``trainer/prefill → vllm/decode · sequence 3, positions 0 to 106 · against
    reference``.
    """
    where = f"sequence {found.sequence}, positions {found.first} to {found.last}"
    return f"{found.a} → {found.b} · {where} · against {found.standard}"


def _table(sides: Sequence[LayerSide], canvas: Canvas, whole: bool) -> Iterator[str]:
    """Relative error, own error and what that may be, for each side; a wrong stage is
    marked.
    """
    if not sides:
        return
    head = ["stage"]
    for side in sides:
        head += [f"{side.backend} error", "own", "limit", ""]
    names = [
        stage.name for stage in max(sides, key=lambda side: len(side.stages)).stages
    ]
    by_name = [{stage.name: stage for stage in side.stages} for side in sides]
    marked = [
        any(name in stages and stages[name].wrong for stages in by_name)
        for name in names
    ]
    rows, left_out = [head], 0
    for i, name in enumerate(names):
        near = any(marked[max(0, i - _AROUND) : i + _AROUND + 1])
        if not whole and name.startswith("layer") and not near:
            left_out += 1
            continue
        row = [name]
        for stages in by_name:
            stage = stages.get(name)
            if stage is None:
                row += ["-", "-", "-", ""]
            else:
                limit = f"{stage.limit:.1f}" if stage.times is not None else "-"
                times = "-" if stage.times is None else f"{stage.times:.2f}"
                row += [_error(stage), times, limit, "◀" if stage.wrong else ""]
        rows.append(row)
    right = [i for i in range(1, len(head)) if (i - 1) % 4 != 3]
    for i, line in enumerate(table(canvas, rows[0], rows[1:], (0,), right)):
        yield canvas.paint(line, "bold") if i == 0 else line
    if left_out:
        yield f"{left_out} more layers"
    yield from canvas.wrap(
        "error: relative error of the residual stream, median over positions. own: what"
        " this stage itself adds, in units of rounding (docs/why.md); - without a"
        " replay."
    )


def _error(stage: Stage) -> str:
    """NaN is said where it is the finding."""
    return "NaN" if stage.wrong and math.isnan(stage.error) else fixed(stage.error)
