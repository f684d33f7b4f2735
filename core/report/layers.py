"""Which layer differs first, as blocks: the verdict, what to know, and a table of all
stages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from logdrift.core.diagnose.layers import Kind, Layers, LayerSide, Stage
from logdrift.core.numbers import fixed
from logdrift.core.report.document import (
    Block,
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
    sentences = [
        SentenceBlock(side.sentence, _TONES.get(side.kind, "bad"))
        for side in layers.sides
    ]
    notes = [SentenceBlock(note, "dim", 2, "- ") for note in layers.notes]
    table = _table(layers.sides, whole)
    return [SentenceBlock(title(layers), "bold"), *sentences, *notes, Gap(), *table]


def title(layers: Layers) -> str:
    """``trainer/prefill → vllm/decode · sequence 3, positions 0 to 106 · against
    reference``.
    """
    where = f"sequence {layers.sequence}, positions {layers.first} to {layers.last}"
    return f"{layers.a} → {layers.b} · {where} · against {layers.standard}"


def _table(sides: Sequence[LayerSide], whole: bool) -> Iterator[Block]:
    """Relative error, own error and what that may be, for each side; a wrong stage is
    marked.
    """
    if not sides:
        return
    names = _stage_names(sides)
    shown = names if whole else _near_a_wrong_one(names, sides)
    yield TableBlock(
        columns=_columns(sides),
        rows=tuple(_row(name, sides) for name in shown),
        title_tone="bold",
        shrink=(0,),
    )
    if len(shown) < len(names):
        yield LineBlock(f"{len(names) - len(shown)} more layers", "")
    yield SentenceBlock(_EXPLANATION)


def _row(name: str, sides: Sequence[LayerSide]) -> TableRow:
    cells = [name]
    for side in sides:
        stages = {stage.name: stage for stage in side.stages}
        cells += _cells(stages.get(name))
    return TableRow(tuple(cells))


def _stage_names(sides: Sequence[LayerSide]) -> list[str]:
    longest = max(sides, key=lambda side: len(side.stages))
    return [stage.name for stage in longest.stages]


def _near_a_wrong_one(names: Sequence[str], sides: Sequence[LayerSide]) -> list[str]:
    wrong = {stage.name for side in sides for stage in side.stages if stage.wrong}
    marked = [name in wrong for name in names]

    def near(at: int) -> bool:
        return any(marked[max(0, at - _AROUND) : at + _AROUND + 1])

    return [
        name
        for at, name in enumerate(names)
        if near(at) or not name.startswith("layer")
    ]


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
    mark = "◀" if stage.wrong else ""
    if stage.times is None:
        return (_error(stage), "-", "-", mark)
    return (_error(stage), f"{stage.times:.2f}", f"{stage.limit:.1f}", mark)


def _error(stage: Stage) -> str:
    """The error of a stage; ``NaN`` where that is the finding."""
    if stage.wrong and math.isnan(stage.error):
        return "NaN"
    return fixed(stage.error)
