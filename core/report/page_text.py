"""The sequences of the main pair on a page: the worst ones, and their text by delta."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import UNKNOWN, counted, figure
from logdrift.core.report import gap_tables
from logdrift.core.report.document import (
    Blocks,
    ChartCell,
    GroupBlock,
    Inline,
    LegendBlock,
    NumberCell,
    ParagraphBlock,
    Span,
    TableCell,
    TokensBlock,
)
from logdrift.core.report.page_parts import heading, paragraph, voided
from logdrift.core.report.records import PairReport
from logdrift.core.report.scale import STEPS, THRESHOLD
from logdrift.core.report.sequence_parts import SequencePart, parts_to_draw
from logdrift.core.report.table_parts import nats_cell
from logdrift.core.session.reader import Session


def shown_sequences(
    pair: PairReport, arrays: Pair, most: tuple[int, int]
) -> list[SequencePart]:
    """The sequences to draw: those with NaN, those of the report, else by their mean
    |delta|, worst first. ``most``: so many sequences and tokens.
    """
    count, tokens = most
    unknown = np.isnan(arrays.mean_abs)
    mean = np.where(unknown, -1.0, arrays.mean_abs)
    largest_first = np.argsort(-mean, kind="stable")
    by_mean = largest_first[:count].tolist()
    broken_tokens = arrays.count_per_sequence(arrays.broken)
    broken = np.flatnonzero(broken_tokens).tolist()
    worst = pair.metrics.worst_sequences
    of_report = [errors.sequence for errors in worst]
    finished = [sequence for sequence in of_report if 0 <= sequence < arrays.count]
    most_broken = count // 2
    chosen = [*broken[:most_broken], *finished, *by_mean]
    order = list(dict.fromkeys(chosen))
    return parts_to_draw(arrays, order, count, tokens)


def worst_sequences(
    pair: PairReport, arrays: Pair, anchor: Callable[[int], str]
) -> Blocks:
    """The sequences with the largest gaps, with a picture of each; ``anchor`` says
    where its text is.
    """
    metrics = pair.metrics
    if not metrics.worst_sequences:
        return
    mask = arrays.scope_mask(metrics.scope)
    largest = metrics.errors.p99 or 1.0

    def along(sequence: int) -> TableCell:
        is_captured = 0 <= sequence < arrays.count
        if not is_captured:
            return NumberCell(UNKNOWN)
        data = (arrays, sequence, mask, largest)
        return ChartCell("sparkline", data)

    table = gap_tables.worst_sequences_table(
        metrics.worst_sequences,
        void=pair.void,
        anchor=anchor,
        chart=along,
    )
    scale = (
        f"Full height of the last column: p99, {figure(largest)} nats; orange up: A"
        " gives more."
    )
    note = paragraph(scale, "muted")
    yield heading("Worst sequences", "sequences")
    yield from voided(pair.void)
    yield GroupBlock("panel", (table, note), pair.void)


def text_by_delta(
    session: Session, pair: PairReport, arrays: Pair, parts: Sequence[SequencePart]
) -> Blocks:
    """The text of the ``parts``, every token in the colour of its delta."""
    lengths = [item.stop - item.start for item in parts]
    drawn = sum(lengths)
    yield heading("The text, by Δ", "text")
    yield from voided(pair.void)
    words = (
        f"{len(parts):,} of {counted(arrays.count, 'sequence')}, {drawn:,} of"
        f" {counted(arrays.tokens, 'token')}: the worst ones first. Coloured and"
        " underlined: |Δ| above the step. Hover over a token for its numbers. Grey:"
        " without a score on both sides."
    )
    steps = [THRESHOLD * 2**step for step in range(STEPS)]
    yield paragraph(words)
    yield LegendBlock(tuple(steps))
    for item in parts:
        about = _about_sequence(arrays, item)
        tokens = TokensBlock((session, arrays, item))
        blocks = (
            heading(f"Sequence {item.sequence:,}", level=3),
            ParagraphBlock(about, "muted"),
            GroupBlock("dim", (tokens,)),
        )
        anchor = f"s{item.sequence}"
        yield GroupBlock("panel", blocks, pair.void, anchor=anchor)


def _about_sequence(arrays: Pair, item: SequencePart) -> Inline:
    mean = float(arrays.mean_abs[item.sequence])
    worst = float(arrays.worst[item.sequence])
    drawn = item.stop - item.start
    cut = ""
    if drawn < item.length:
        cut = f", tokens {item.start:,} to {item.stop - 1:,} of {item.length:,}"
    return (
        Span("MAE "),
        nats_cell(mean),
        Span(", worst "),
        nats_cell(worst),
        Span(f" nats over {counted(item.length, 'token')} with the prompt{cut}"),
    )
