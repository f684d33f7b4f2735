"""The numbers of a pair by turn, by role and by version of the weights, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from logdrift.core.compare.buckets import Buckets
from logdrift.core.compare.groups import BEYOND, Groups, TokenGroup
from logdrift.core.numbers import figure, fixed, percentage
from logdrift.core.report.document import (
    Blocks,
    Cells,
    Gap,
    LineBlock,
    NumberCell,
    TableBlock,
    TableColumn,
    TableRow,
)
from logdrift.core.report.records import PairReport
from logdrift.core.report.table_parts import (
    count_cell,
    error_cells,
    nats_cell,
    number_column,
    table_of,
)

_BEYOND = f"|Δ| > {BEYOND:g}"
_NUMBERS = (
    "tokens",
    "sequences",
    "mean Δ",
    "MAE",
    "max |Δ|",
    "k3",
    _BEYOND,
)


@dataclass(frozen=True, slots=True)
class GroupKind:
    """One way to divide the tokens by name; ``label`` heads the names."""

    label: str
    groups: Groups

    @property
    def title(self) -> str:
        return f"Error by {self.label}"


def group_kinds(pair: PairReport) -> Iterator[GroupKind]:
    """The divisions of the pair's tokens that tell two groups or more apart."""
    buckets = pair.metrics.buckets
    kinds = (
        GroupKind("turn of the assistant", buckets.by_turn or ()),
        GroupKind("role of the message", buckets.by_role or ()),
        GroupKind("version of the weights", tuple(_versions(buckets))),
    )
    return (kind for kind in kinds if len(kind.groups) > 1)


def _versions(buckets: Buckets) -> Iterator[TokenGroup]:
    """The versions, the oldest first; where they are numbers, with how many versions
    each is behind the newest.
    """
    by_version = buckets.by_version or ()
    by_lag = buckets.by_lag or ()
    if len(by_lag) != len(by_version):
        yield from by_version
        return
    for group, lag in zip(by_version, reversed(by_lag), strict=True):
        yield replace(group, name=f"{group.name} ({lag.name} behind)")


def groups_table(kind: GroupKind, *, void: bool) -> TableBlock:
    """The numbers of every group."""
    first = TableColumn(kind.label, kind="word")
    numbers = map(number_column, _NUMBERS)
    rows = [_row(group, void) for group in kind.groups]
    return table_of((first, *numbers), rows)


def _row(group: TokenGroup, void: bool) -> Cells:
    yield group.name
    yield count_cell(group.tokens)
    yield count_cell(group.sequences)
    yield from error_cells(group.mean, group.mae, group.max_abs, void=void)
    yield nats_cell(group.k3, void=void)
    yield NumberCell(figure(group.beyond, "share"), void=void)


# ---- in a terminal

_SHOWN = 12
"""Groups of a kind; Markdown, HTML and JSON have all."""


def groups_in_brief(pair: PairReport) -> Blocks:
    """The main numbers of the first groups of each kind."""
    for kind in group_kinds(pair):
        yield Gap()
        yield LineBlock(kind.title)
        yield TableBlock(
            columns=(
                TableColumn("", 16, gap=2),
                number_column("tokens", 9, gap=1),
                number_column("MAE", 10, gap=1),
                number_column("k3", 10, gap=1),
                number_column(_BEYOND, 10, gap=1),
            ),
            rows=tuple(map(_brief, kind.groups[:_SHOWN])),
            cut=True,
        )
        rest = len(kind.groups) - _SHOWN
        if rest > 0:
            yield LineBlock(f"  and {rest} more (--md has all)", "dim")


def _brief(group: TokenGroup) -> TableRow:
    return TableRow(
        (
            group.name,
            f"{group.tokens:,}",
            fixed(group.mae),
            fixed(group.k3),
            percentage(group.beyond),
        )
    )
