"""The sequences of the main pair on a page: the worst ones, and their text by delta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from logdrift.core.compare.pair import Pair
from logdrift.core.numbers import UNKNOWN, figure
from logdrift.core.report import gap_tables
from logdrift.core.report.document import (
    Block,
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
from logdrift.core.report.page_parts import heading, voided
from logdrift.core.report.records import PairReport
from logdrift.core.report.scale import STEPS, THRESHOLD
from logdrift.core.report.sequence_parts import SequencePart, parts_to_draw
from logdrift.core.session.reader import Session


def shown_sequences(
    pair: PairReport, arrays: Pair, most: tuple[int, int]
) -> list[SequencePart]:
    """The sequences to draw: those with NaN, those of the report, else by their mean
    |delta|, worst first. ``most``: so many sequences and tokens.
    """
    count, tokens = most
    mean = np.where(np.isnan(arrays.mean_abs), -1.0, arrays.mean_abs)
    by_mean = np.argsort(-mean, kind="stable")[:count].tolist()
    broken = np.flatnonzero(arrays.count_per_sequence(arrays.broken)).tolist()
    of_report = [errors.sequence for errors in pair.metrics.worst_sequences]
    finished = [sequence for sequence in of_report if 0 <= sequence < arrays.count]
    order = dict.fromkeys([*broken[: count // 2], *finished, *by_mean])
    return parts_to_draw(arrays, list(order), count, tokens)


def worst_sequences(
    pair: PairReport, arrays: Pair, anchor: Callable[[int], str]
) -> Iterator[Block]:
    """The sequences with the largest gaps, with a picture of each; ``anchor`` says
    where its text is.
    """
    metrics = pair.metrics
    if not metrics.worst_sequences:
        return
    mask = arrays.scope_mask(metrics.scope)
    largest = metrics.errors.p99 or 1.0

    def along(sequence: int) -> TableCell:
        if not 0 <= sequence < arrays.count:
            return NumberCell(UNKNOWN)
        return ChartCell("sparkline", (arrays, sequence, mask, largest))

    table = gap_tables.worst_sequences_table(
        metrics.worst_sequences, void=pair.void, anchor=anchor, chart=along
    )
    scale = (
        f"Full height of the last column: p99, {figure(largest)} nats; orange up: A"
        " gives more."
    )
    note = ParagraphBlock((Span(scale),), "muted")
    yield heading("Worst sequences", "sequences")
    yield from voided(pair.void)
    yield GroupBlock("panel", (table, note), pair.void)


def text_by_delta(
    session: Session, pair: PairReport, arrays: Pair, parts: Sequence[SequencePart]
) -> Iterator[Block]:
    """The text of the ``parts``, every token in the colour of its delta."""
    drawn = sum(item.stop - item.start for item in parts)
    yield heading("The text, by Δ", "text")
    yield from voided(pair.void)
    words = (
        f"{len(parts):,} of {arrays.count:,} sequences, {drawn:,} of"
        f" {arrays.tokens:,} tokens: the worst ones first. Coloured and underlined: |Δ|"
        " above the step. Hover over a token for its numbers. Grey: without a score on"
        " both sides."
    )
    yield ParagraphBlock((Span(words),))
    yield LegendBlock(tuple(THRESHOLD * 2**step for step in range(STEPS)))
    for item in parts:
        tokens = TokensBlock((session, arrays, item))
        blocks = (
            heading(f"Sequence {item.sequence:,}", level=3),
            ParagraphBlock(_about_sequence(arrays, item), "muted"),
            GroupBlock("dim", (tokens,)),
        )
        yield GroupBlock("panel", blocks, pair.void, anchor=f"s{item.sequence}")


def _about_sequence(arrays: Pair, item: SequencePart) -> Inline:
    cut = ""
    if item.stop - item.start < item.length:
        cut = f", tokens {item.start:,} to {item.stop - 1:,} of {item.length:,}"
    return (
        Span("MAE "),
        NumberCell(figure(float(arrays.mean_abs[item.sequence]))),
        Span(", worst "),
        NumberCell(figure(float(arrays.worst[item.sequence]))),
        Span(f" nats over {item.length:,} tokens with the prompt{cut}"),
    )
