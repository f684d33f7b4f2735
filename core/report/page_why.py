"""The causes of the main pair on a page: each with its evidence, and the experiments
that prove or refute them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.numbers import UNKNOWN, figure, round_percentage
from logdrift.core.report.document import (
    Block,
    Blocks,
    Cells,
    FoldedBlock,
    GroupBlock,
    NameCell,
    NumberCell,
    Span,
    TableBlock,
    TableColumn,
)
from logdrift.core.report.experiments import COMBINED
from logdrift.core.report.marks import NotedToken, marks_table
from logdrift.core.report.page_parts import heading
from logdrift.core.report.table_parts import number_column, table_of
from logdrift.core.report.why import ExplainedPair
from logdrift.core.report.why_document import (
    OUTCOME_TONES,
    cause_blocks,
    checked_blocks,
    layer_blocks,
)


def causes_on_a_page(explained: ExplainedPair) -> Blocks:
    """What `logdrift why` says of the pair."""
    yield heading("Causes", "causes")
    causes = tuple(cause_blocks(explained))
    yield GroupBlock("panel", causes)
    layers = tuple(layer_blocks(explained.layers))
    if layers:
        yield GroupBlock("panel", layers)
    checked = tuple(checked_blocks(explained))
    if checked:
        yield FoldedBlock((Span("What was checked, and what was not"),), checked)
    if explained.outcomes:
        yield heading("Experiments", "experiments")
        yield GroupBlock("panel", (experiments_table(explained.outcomes),))


def experiments_table(outcomes: Sequence[Outcome]) -> Block:
    """One knob a row: what it explains, and the MAE before and after; best first."""
    columns = (
        TableColumn("experiment"),
        TableColumn("cause"),
        number_column("explains"),
        number_column("MAE before"),
        number_column("MAE after"),
        TableColumn("what came of it", kind="context"),
    )
    table: TableBlock = table_of(columns, map(_outcome, outcomes))
    return table


def _outcome(outcome: Outcome) -> Cells:
    experiment = outcome.experiment
    mark = COMBINED.strip() if experiment.combined else ""
    yield NameCell(experiment.title, notes=(mark,))
    yield experiment.cause
    yield NumberCell(_explained(outcome), notes=(_interval(outcome),))
    yield NumberCell(figure(outcome.mae_before))
    yield NumberCell(figure(outcome.mae_after))
    yield Span(outcome.sentence, OUTCOME_TONES.get(outcome.status, ""))


def _explained(outcome: Outcome) -> str:
    if outcome.explained is None:
        return UNKNOWN
    return round_percentage(outcome.explained)


def _interval(outcome: Outcome) -> str:
    """The 95% interval, empty where there is none."""
    if outcome.low is None or outcome.high is None:
        return ""
    return f"{round_percentage(outcome.low)} to {round_percentage(outcome.high)}"


def marks_on_a_page(
    arrays: Pair,
    marks: Sequence[NotedToken],
    anchor: Callable[[int], str],
    *,
    void: bool,
) -> Blocks:
    """The tokens that the reader marked; nothing without any."""
    table = marks_table(arrays, marks, anchor, void=void)
    if table.rows:
        yield heading("Marked tokens", "marks")
        yield GroupBlock("panel", (table,))
