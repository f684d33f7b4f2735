"""Which layer differs first, as blocks: the verdict, what to know, and a table of all
stages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from logdrift.core.diagnose.layers import Kind, Layers, LayerSide, Stage
from logdrift.core.numbers import fixed
from logdrift.core.report.document import (
    Block,
    Blocks,
    Gap,
    LineBlock,
    SentenceBlock,
    TableBlock,
    TableColumn,
    TableRow,
    Tone,
)

_AROUND = 2
"""Right stages that a short table shows on either side of a wrong one."""
_TONES: dict[Kind, Tone] = {"rounding": "good", "unknown": "warn"}
_EXPLANATION = (
    "error: relative error of the residual stream, median over positions. own: what"
    " this stage itself adds, in units of rounding (docs/why.md); - without a replay."
)


def layers_document(layers: Layers, *, whole: bool = True) -> list[Block]:
    """What `logdrift why --layers` prints; not ``whole`` leaves out stages that are far
    from any that is wrong.
    """
    head = SentenceBlock(title(layers), "bold")
    sentences = []
    for side in layers.sides:
        tone = _TONES.get(side.kind, "bad")
        sentences.append(SentenceBlock(side.sentence, tone))
    notes = [SentenceBlock(note, "dim", 2, "- ") for note in layers.notes]
    table = _table(layers.sides, whole)
    return [head, *sentences, *notes, Gap(), *table]


def title(layers: Layers) -> str:
    """``trainer/prefill → vllm/decode · sequence 3, positions 0 to 106 · against
    reference``.
    """
    where = f"sequence {layers.sequence}, positions {layers.first} to {layers.last}"
    return f"{layers.a} → {layers.b} · {where} · against {layers.standard}"


def _table(sides: Sequence[LayerSide], whole: bool) -> Blocks:
    """Relative error, own error and what that may be, for each side; a wrong stage is
    marked.
    """
    if not sides:
        return
    names = _stage_names(sides)
    shown = names
    if not whole:
        shown = _near_a_wrong_one(names, sides)
    rows = [_row(name, sides) for name in shown]
    yield TableBlock(
        columns=_columns(sides),
        rows=tuple(rows),
        title_tone="bold",
        shrink=(0,),
    )
    rest = len(names) - len(shown)
    if rest:
        yield LineBlock(f"{rest} more layers", "")
    yield SentenceBlock(_EXPLANATION)


def _row(name: str, sides: Sequence[LayerSide]) -> TableRow:
    cells = [name]
    for side in sides:
        stages = {stage.name: stage for stage in side.stages}
        cells += _cells(stages.get(name))
    return TableRow(tuple(cells))


def _stage_names(sides: Sequence[LayerSide]) -> list[str]:
    longest = max(sides, key=_stage_count)
    return [stage.name for stage in longest.stages]


def _stage_count(side: LayerSide) -> int:
    return len(side.stages)


def _near_a_wrong_one(names: Sequence[str], sides: Sequence[LayerSide]) -> list[str]:
    wrong: set[str] = set()
    for side in sides:
        wrong |= {stage.name for stage in side.stages if stage.wrong}
    marked = [name in wrong for name in names]

    def near(at: int) -> bool:
        first = max(0, at - _AROUND)
        end = at + _AROUND + 1
        return any(marked[first:end])

    kept = []
    for at, name in enumerate(names):
        is_layer = name.startswith("layer")
        if near(at) or not is_layer:
            kept.append(name)
    return kept


def _columns(sides: Sequence[LayerSide]) -> tuple[TableColumn, ...]:
    columns = [TableColumn("stage")]
    for side in sides:
        columns += [
            TableColumn(f"{side.backend} error", right=True),
            TableColumn("own", right=True),
            TableColumn("limit", right=True),
            TableColumn(""),
        ]
    return tuple(columns)


def _cells(stage: Stage | None) -> tuple[str, ...]:
    if stage is None:
        return ("-", "-", "-", "")
    error = _error(stage)
    mark = "◀" if stage.wrong else ""
    if stage.times is None:
        return (error, "-", "-", mark)
    return (error, f"{stage.times:.2f}", f"{stage.limit:.1f}", mark)


def _error(stage: Stage) -> str:
    """The error of a stage; ``NaN`` where that is the finding."""
    is_nan = math.isnan(stage.error)
    if stage.wrong and is_nan:
        return "NaN"
    return fixed(stage.error)
