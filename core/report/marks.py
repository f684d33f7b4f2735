"""Tokens that the reader marked, with their notes: they are no part of a session, and
stand in a report only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from logdrift.core.compare.pair import Pair
from logdrift.core.report.contexts import context_around
from logdrift.core.report.document import Cells, ContextCell, TableBlock, TableColumn
from logdrift.core.report.table_parts import (
    count_cell,
    nats_cell,
    number_column,
    place_column,
    signed_cell,
    table_of,
)


@dataclass(frozen=True, slots=True)
class NotedToken:
    """A token at a flat ``position`` of the session, with what the reader wrote."""

    position: int
    note: str = ""


def marks_table(
    pair: Pair,
    marks: Sequence[NotedToken],
    anchor: Callable[[int], str] = lambda sequence: "",
    *,
    void: bool = False,
) -> TableBlock:
    """The marked tokens of the session with their numbers in ``pair``, which mean
    nothing where it is ``void``; ``anchor`` says where a sequence is shown. Marks on
    tokens that are not captured are left out.
    """
    columns = (
        *map(place_column, ("seq", "pos")),
        *map(number_column, ("Δ", "log p_A", "log p_B")),
        TableColumn("in context", kind="context"),
        TableColumn("note", kind="context"),
    )
    captured = [mark for mark in marks if mark.position < pair.tokens]
    rows = (_mark(pair, mark, anchor, void=void) for mark in captured)
    return replace(table_of(columns, rows), mixed=void)


def _mark(
    pair: Pair, mark: NotedToken, anchor: Callable[[int], str], *, void: bool
) -> Cells:
    at = mark.position
    sequence = pair.sequence_of(at)
    start, _ = pair.sequences.bounds(sequence)
    scored = bool(pair.scored[at])
    values = (pair.delta, pair.logprob_a, pair.logprob_b)
    delta, logprob_a, logprob_b = (float(x[at]) if scored else None for x in values)
    yield count_cell(sequence, anchor=anchor(sequence))
    yield count_cell(at - start)
    yield signed_cell(delta, void=void)
    yield nats_cell(logprob_a, void=void)
    yield nats_cell(logprob_b, void=void)
    context = context_around(pair, at)
    yield ContextCell(
        before=context.before,
        piece=context.piece,
        after=context.after,
        token_id=int(pair.sequences.token_ids[at]),
    )
    yield mark.note
