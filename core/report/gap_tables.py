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
    figure,
    multiple_text,
    range_text,
)
from logdrift.core.report.document import (
    ContextCell,
    NameCell,
    NumberCell,
    PairCell,
    TableBlock,
    TableCell,
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
    error_cells,
    number_column,
    table_of,
)

_TERM_NUMBERS = ("mean Δ", "MAE", "RMSE")

SequenceAnchor = Callable[[int], str]
"""From a sequence to the anchor of its text, empty where it is not shown."""


def _no_anchor(sequence: int) -> str:
    return ""


def scopes_table(pair: PairReport) -> TableBlock:
    """The errors of prompt, completion and all tokens side by side."""
    columns = columns_of(("scope",), ("tokens", *ERRORS, "k3"))
    rows = (_scope(errors, pair.void) for errors in pair.metrics.scopes)
    return table_of(columns, rows)


def _scope(scope: ScopeErrors, void: bool) -> Iterator[TableCell]:
    yield scope.scope
    yield NumberCell(figure(scope.tokens, "tokens"))
    errors = scope.errors
    yield from error_cells(
        errors.mean, errors.mae, errors.rmse, errors.max_abs, void=void
    )
    yield NumberCell(figure(scope.k3), void=void)


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
    columns = (
        TableColumn(kind.label, kind="word"),
        *map(number_column, ("tokens", *ERRORS)),
    )
    rows = (_bucket(kind, bucket, void) for bucket in buckets)
    return table_of(columns, rows)


def _bucket(kind: BucketKind, bucket: Bucket, void: bool) -> Iterator[TableCell]:
    yield bucket_name(bucket, whole=kind.whole)
    yield NumberCell(figure(bucket.tokens, "tokens"))
    if not bucket.tokens:
        yield from ("",) * len(ERRORS)
        return
    yield from error_cells(
        bucket.mean, bucket.mae, bucket.rmse, bucket.max_abs, void=void
    )


def bucket_name(bucket: Bucket, *, whole: bool) -> str:
    """The range of a bucket; ``whole`` for positions, whose last one is ``high -
    1``.
    """
    return range_text(bucket.low, bucket.high, whole=whole)


def floor_table(floor: Floor) -> TableBlock:
    """Where the noise floor comes from."""
    columns = columns_of(("noise floor", "measured with"), ("MAE", "RMSE"))
    return table_of(columns, _floor(floor))


def _floor(floor: Floor) -> Iterator[tuple[TableCell, ...]]:
    used = (NumberCell(figure(value)) for value in (floor.mae, floor.rmse))
    yield ("used", "", *used)
    for name, gap in floor_parts(floor):
        yield (name, *_floor_cells(gap))


def _floor_cells(gap: SelfGap | None) -> tuple[TableCell, ...]:
    label = ""
    mae = None
    rmse = None
    if gap is not None:
        label = gap.label
        mae = gap.mae
        rmse = gap.rmse
    return (
        NameCell(label, code=True),
        NumberCell(figure(mae)),
        NumberCell(figure(rmse)),
    )


def terms_table(split: Decomposition) -> TableBlock:
    """The parts of one gap."""
    columns = columns_of(("part",), _TERM_NUMBERS)
    return table_of(columns, _terms(split))


def splits_table(splits: Iterable[Decomposition]) -> TableBlock:
    """The parts of all gaps."""
    columns = columns_of(("gap", "part"), _TERM_NUMBERS)
    rows: list[tuple[TableCell, ...]] = []
    for split in splits:
        gap = PairCell(split.trainer, split.rollout)
        rows += ((gap, *cells) for cells in _terms(split))
    return table_of(columns, rows)


def _terms(split: Decomposition) -> Iterator[tuple[TableCell, ...]]:
    """A row for each part of a gap: its name and its errors."""
    for name, term in terms_of(split):
        if term is None:
            yield (name, *error_cells(None, None, None, void=False))
        else:
            yield (name, *error_cells(term.mean, term.mae, term.rmse, void=False))


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
    columns = (*map(number_column, numbers), TableColumn("in context"))
    rows = (_token_in_columns(token, void) for token in tokens)
    return table_of(columns, rows)


def _token_in_columns(token: WorstToken, void: bool) -> Iterator[TableCell]:
    for place in (token.sequence, token.position, token.token_id):
        yield NumberCell(figure(place, "tokens"))
    yield NumberCell(figure(token.delta, sign=True), void=void)
    yield NumberCell(multiple_text(token.times_floor), void=void)
    yield NumberCell(figure(token.logprob_a), void=void)
    yield NumberCell(figure(token.logprob_b), void=void)
    yield token.ranks
    yield ContextCell(token.before, token.piece, token.after)


def worst_tokens_on_a_page(
    tokens: Sequence[WorstToken], anchor: SequenceAnchor = _no_anchor
) -> TableBlock:
    """The same with the id behind the token, and without a column for the floor where
    it is not known; ``anchor`` says where a sequence is shown.
    """
    floor = any(token.times_floor is not None for token in tokens)
    numbers = ["seq", "pos", "Δ", "floor", "log p_A", "log p_B", "rank A→B"]
    if not floor:
        numbers.remove("floor")
    context = TableColumn("in context", kind="context")
    columns = (*map(number_column, numbers), context)
    rows = (_token_on_a_page(token, anchor, floor=floor) for token in tokens)
    return table_of(columns, rows)


def _token_on_a_page(
    token: WorstToken, anchor: SequenceAnchor, *, floor: bool
) -> Iterator[TableCell]:
    place = anchor(token.sequence)
    yield NumberCell(figure(token.sequence, "tokens"), anchor=place)
    yield NumberCell(figure(token.position, "tokens"))
    yield NumberCell(figure(token.delta, sign=True))
    if floor:
        yield NumberCell(multiple_text(token.times_floor))
    yield NumberCell(figure(token.logprob_a))
    yield NumberCell(figure(token.logprob_b))
    yield token.ranks
    yield ContextCell(token.before, token.piece, token.after, token_id=token.token_id)


def worst_sequences_table(
    sequences: Iterable[SequenceErrors],
    *,
    void: bool,
    anchor: SequenceAnchor = _no_anchor,
    chart: Callable[[int], TableCell] | None = None,
) -> TableBlock:
    """The sequences with the largest gaps; ``chart`` draws the last cell of a row."""
    numbers = ("seq", "tokens", "MAE", "mean Δ", "max |Δ|", "log ratio")
    columns = columns_of((), numbers)
    if chart is not None:
        columns = (*columns, TableColumn("Δ along it"))
    rows: list[tuple[TableCell, ...]] = []
    for errors in sequences:
        cells = _sequence(errors, anchor(errors.sequence), void)
        if chart is None:
            rows.append((*cells,))
        else:
            rows.append((*cells, chart(errors.sequence)))
    return table_of(columns, rows)


def _sequence(errors: SequenceErrors, anchor: str, void: bool) -> Iterator[NumberCell]:
    yield NumberCell(figure(errors.sequence, "tokens"), anchor=anchor)
    yield NumberCell(figure(errors.tokens, "tokens"))
    yield NumberCell(figure(errors.mae), void=void)
    yield NumberCell(figure(errors.mean, sign=True), void=void)
    yield NumberCell(figure(errors.max_abs), void=void)
    yield NumberCell(figure(errors.log_ratio, sign=True), void=void)
