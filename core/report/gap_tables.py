"""Where a gap sits as tables: scopes, buckets, noise floor, parts, worst tokens and
sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from logdrift.core.compare.buckets import Bucket
from logdrift.core.compare.decomposition import Decomposition
from logdrift.core.compare.floor import Floor, SelfGap
from logdrift.core.compare.metrics import ScopeErrors, SequenceErrors
from logdrift.core.numbers import (
    multiple_text,
    range_text,
)
from logdrift.core.report.document import (
    Cells,
    ContextCell,
    NameCell,
    NumberCell,
    PairCell,
    TableBlock,
    TableCell,
    TableCells,
    TableColumn,
)
from logdrift.core.report.pair_numbers import (
    floor_parts,
    terms_of,
)
from logdrift.core.report.records import PairReport, WorstToken
from logdrift.core.report.table_parts import (
    ERRORS,
    columns_of,
    count_cell,
    error_cells,
    nats_cell,
    number_column,
    place_column,
    signed_cell,
    table_of,
)

_TERM_NUMBERS = ("mean Δ", "MAE", "RMSE")

SequenceAnchor = Callable[[int], str]
"""From a sequence to the anchor of its text, empty where it is not shown."""


def _no_anchor(sequence: int) -> str:
    return ""


def scopes_table(pair: PairReport) -> TableBlock:
    """The errors of prompt, completion and all tokens side by side."""
    numbers = ("tokens", *ERRORS, "k3")
    columns = columns_of(("scope",), numbers)
    scopes = pair.metrics.scopes
    rows = [_scope(errors, pair.void) for errors in scopes]
    return table_of(columns, rows)


def _scope(scope: ScopeErrors, void: bool) -> Cells:
    errors = scope.errors
    sizes = (errors.mae, errors.rmse, errors.max_abs)
    yield scope.scope
    yield count_cell(scope.tokens)
    yield from error_cells(errors.mean, *sizes, void=void)
    yield nats_cell(scope.k3, void=void)


@dataclass(frozen=True, slots=True)
class BucketKind:
    """One way to divide the tokens. ``whole``: borders are whole numbers."""

    title: str
    label: str
    whole: bool
    buckets: tuple[Bucket, ...]

    @property
    def filled(self) -> list[Bucket]:
        return [bucket for bucket in self.buckets if bucket.tokens]


def bucket_kinds(pair: PairReport) -> Iterator[BucketKind]:
    """The divisions of the pair's tokens that there are."""
    buckets = pair.metrics.buckets
    kinds = (
        BucketKind(
            title="Error by the probability of the token",
            label="probability that B gives",
            whole=False,
            buckets=buckets.by_probability,
        ),
        BucketKind(
            title="Error by position",
            label="position",
            whole=True,
            buckets=buckets.by_position,
        ),
        BucketKind(
            title="Error by entropy of the distribution",
            label="entropy, nats",
            whole=False,
            buckets=buckets.by_entropy or (),
        ),
    )
    return (kind for kind in kinds if kind.buckets)


def buckets_table(
    kind: BucketKind, buckets: Iterable[Bucket], *, void: bool
) -> TableBlock:
    """The numbers of ``buckets``; an empty one has none."""
    first = TableColumn(kind.label, kind="word")
    numbers = map(number_column, ("tokens", *ERRORS))
    rows = [_bucket(kind, bucket, void) for bucket in buckets]
    return table_of((first, *numbers), rows)


def _bucket(kind: BucketKind, bucket: Bucket, void: bool) -> Cells:
    yield bucket_name(bucket, whole=kind.whole)
    yield count_cell(bucket.tokens)
    if not bucket.tokens:
        yield from ("",) * len(ERRORS)
        return
    sizes = (bucket.mae, bucket.rmse, bucket.max_abs)
    yield from error_cells(bucket.mean, *sizes, void=void)


def bucket_name(bucket: Bucket, *, whole: bool) -> str:
    """The range of a bucket; ``whole`` for positions, whose last one is ``high -
    1``.
    """
    low = bucket.low
    high = bucket.high
    return range_text(low, high, whole=whole)


def floor_table(floor: Floor) -> TableBlock:
    """Where the noise floor comes from."""
    names = ("noise floor", "measured with")
    columns = columns_of(names, ("MAE", "RMSE"))
    return table_of(columns, _floor(floor))


def _floor(floor: Floor) -> Iterator[TableCells]:
    mae = nats_cell(floor.mae)
    rmse = nats_cell(floor.rmse)
    yield ("used", "", mae, rmse)
    for name, gap in floor_parts(floor):
        yield (name, *_floor_cells(gap))


def _floor_cells(gap: SelfGap | None) -> TableCells:
    if gap is None:
        unknown = nats_cell(None)
        return NameCell("", code=True), unknown, unknown
    label = NameCell(gap.label, code=True)
    mae = nats_cell(gap.mae)
    rmse = nats_cell(gap.rmse)
    return label, mae, rmse


def terms_table(split: Decomposition) -> TableBlock:
    """The parts of one gap."""
    columns = columns_of(("part",), _TERM_NUMBERS)
    return table_of(columns, _terms(split))


def splits_table(splits: Iterable[Decomposition]) -> TableBlock:
    """The parts of all gaps."""
    columns = columns_of(("gap", "part"), _TERM_NUMBERS)
    rows: list[TableCells] = []
    for split in splits:
        gap = PairCell(split.trainer, split.rollout)
        for cells in _terms(split):
            rows.append((gap, *cells))
    return table_of(columns, rows)


def _terms(split: Decomposition) -> Iterator[TableCells]:
    """The rows of its parts, the whole first."""
    for name, term in terms_of(split):
        if term is None:
            errors = error_cells(None, None, None, void=False)
        else:
            errors = error_cells(term.mean, term.mae, term.rmse, void=False)
        yield (name, *errors)


def worst_tokens_in_columns(tokens: Sequence[WorstToken], *, void: bool) -> TableBlock:
    """The tokens with the largest gaps in their context."""
    numbers = (
        "seq",
        "pos",
        "id",
        "Δ",
        "of the floor",
        "log p_A",
        "log p_B",
        "rank A→B",
    )
    context = TableColumn("in context")
    columns = (*map(number_column, numbers), context)
    rows = [_token_in_columns(token, void) for token in tokens]
    return table_of(columns, rows)


def _token_in_columns(token: WorstToken, void: bool) -> Cells:
    yield count_cell(token.sequence)
    yield count_cell(token.position)
    yield count_cell(token.token_id)
    yield signed_cell(token.delta, void=void)
    times_floor = multiple_text(token.times_floor)
    yield NumberCell(times_floor, void=void)
    yield nats_cell(token.logprob_a, void=void)
    yield nats_cell(token.logprob_b, void=void)
    yield token.ranks
    readable = token.readable
    yield ContextCell(readable.before, readable.piece, readable.after)


def worst_tokens_on_a_page(
    tokens: Sequence[WorstToken], anchor: SequenceAnchor = _no_anchor
) -> TableBlock:
    """The same with the id behind the token, and without a column for the floor where
    it is not known; ``anchor`` says where a sequence is shown.
    """
    multiples = [token.times_floor for token in tokens]
    floor = any(multiple is not None for multiple in multiples)
    numbers = ["Δ", "floor", "log p_A", "log p_B", "rank A→B"]
    if not floor:
        numbers.remove("floor")
    places = map(place_column, ("seq", "pos"))
    context = TableColumn("in context", kind="context")
    columns = (*places, *map(number_column, numbers), context)
    rows = [_token_on_a_page(token, anchor, floor=floor) for token in tokens]
    return table_of(columns, rows)


def _token_on_a_page(
    token: WorstToken, anchor: SequenceAnchor, *, floor: bool
) -> Cells:
    place = anchor(token.sequence)
    yield count_cell(token.sequence, anchor=place)
    yield count_cell(token.position)
    yield signed_cell(token.delta)
    if floor:
        times_floor = multiple_text(token.times_floor)
        yield NumberCell(times_floor)
    yield nats_cell(token.logprob_a)
    yield nats_cell(token.logprob_b)
    yield token.ranks
    readable = token.readable
    yield ContextCell(
        before=readable.before,
        piece=readable.piece,
        after=readable.after,
        token_id=token.token_id,
    )


def worst_sequences_table(
    sequences: Iterable[SequenceErrors],
    *,
    void: bool,
    anchor: SequenceAnchor = _no_anchor,
    chart: Callable[[int], TableCell] | None = None,
) -> TableBlock:
    """The sequences with the largest gaps; ``chart`` draws the last cell of a row."""
    places = map(place_column, ("seq", "tokens"))
    numbers = map(number_column, ("MAE", "mean Δ", "max |Δ|", "log ratio"))
    columns = (*places, *numbers)
    if chart is not None:
        columns = (*columns, TableColumn("Δ along it"))
    rows: list[TableCells] = []
    for errors in sequences:
        place = anchor(errors.sequence)
        cells = tuple(_sequence(errors, place, void))
        if chart is not None:
            cells = (*cells, chart(errors.sequence))
        rows.append(cells)
    return table_of(columns, rows)


def _sequence(errors: SequenceErrors, anchor: str, void: bool) -> Cells:
    yield count_cell(errors.sequence, anchor=anchor)
    yield count_cell(errors.tokens)
    yield nats_cell(errors.mae, void=void)
    yield signed_cell(errors.mean, void=void)
    yield nats_cell(errors.max_abs, void=void)
    yield signed_cell(errors.log_ratio, void=void)
