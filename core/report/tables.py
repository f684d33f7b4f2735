"""The tables of a report with every number: each is built once, for Markdown and HTML.

A comment (Markdown) gives each fact a column of its own; a page (HTML) has what explains
a number in small letters below it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from logdrift.core.compare.buckets import Bucket
from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.decomposition import Decomposition, Term
from logdrift.core.compare.floor import Floor
from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.compare.metrics import ScopeErrors, SequenceErrors
from logdrift.core.numbers import (
    UNKNOWN,
    exact,
    figure,
    interval_text,
    multiple_text,
    range_text,
)
from logdrift.core.report.document import (
    ContextCell,
    FactCell,
    NameCell,
    NumberCell,
    PairCell,
    SourceCell,
    Span,
    TableBlock,
    TableCell,
    TableColumn,
    TableRow,
    TagCell,
)
from logdrift.core.report.pair_numbers import (
    MetricValue,
    bounds_text,
    floor_parts,
    tables_of_numbers,
    terms_of,
)
from logdrift.core.report.records import PairReport, WorstToken
from logdrift.core.report.session_facts import observed_facts
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.words import VERDICTS

_ERRORS = ("mean Δ", "MAE", "RMSE", "max |Δ|")


def _number(title: str) -> TableColumn:
    return TableColumn(title, right=True)


def _columns(names: Iterable[str], numbers: Iterable[str]) -> tuple[TableColumn, ...]:
    return (*map(TableColumn, names), *map(_number, numbers))


def _table(
    columns: tuple[TableColumn, ...], rows: Iterable[Iterable[TableCell]]
) -> TableBlock:
    return TableBlock(columns, tuple(TableRow(tuple(cells)) for cells in rows))


# Every pair, every capture.


def overview_table(
    pairs: Sequence[PairReport], anchor: Callable[[int], str] = lambda place: ""
) -> TableBlock:
    """All pairs with their verdict and main numbers; ``anchor`` says where the pair in
    a place is shown.
    """
    numbers = ("tokens", "MAE", "RMSE", "p99", "max", "k3", "ESS", "exact")
    return TableBlock(
        columns=_columns(("A → B", "verdict"), numbers),
        rows=tuple(
            TableRow(
                (
                    PairCell(*pair.labels, anchor=anchor(place)),
                    verdict_tag(pair),
                    NumberCell(figure(pair.metrics.tokens, "tokens")),
                    *_main_numbers(pair),
                )
            )
            for place, pair in enumerate(pairs)
        ),
        mixed=True,
    )


def verdict_tag(pair: PairReport) -> TagCell:
    """The verdict of the gate in its colour."""
    verdict = pair.gate.verdict
    return TagCell(VERDICTS.get(verdict, "UNKNOWN"), verdict)


def _main_numbers(pair: PairReport) -> Iterator[NumberCell]:
    errors, mismatch = pair.metrics.errors, pair.metrics.mismatch
    texts = [
        *map(figure, (errors.mae, errors.rmse, errors.p99, errors.max_abs)),
        figure(mismatch.k3),
        figure(mismatch.ess_token, "share"),
        figure(errors.exact_fraction, "share"),
    ]
    for text in texts:
        yield NumberCell(text, void=pair.void)


def matrix_table(pairs: Sequence[PairReport]) -> TableBlock:
    """Every number of every pair: one row a number, one column a pair."""
    values = [
        {
            value.metric.path: value
            for _, rows in tables_of_numbers(pair.metrics)
            for value in rows
        }
        for pair in pairs
    ]
    paths = dict.fromkeys(path for column in values for path in column)
    places = [str(place) for place in range(1, len(pairs) + 1)]
    rows: list[tuple[TableCell, ...]] = []
    for path in paths:
        cells = [
            NumberCell(column[path].text if path in column else UNKNOWN, void=pair.void)
            for column, pair in zip(values, pairs, strict=True)
        ]
        rows.append((path, *cells))
    return _table(_columns(("number",), places), rows)


def captures_table(captures: Sequence[CaptureInfo]) -> TableBlock:
    """What was captured and how, as observed."""
    titles = (
        "capture",
        "role",
        "engine",
        "dtype",
        "device",
        "attention",
        "tokens",
        "status",
    )
    columns = tuple(TableColumn(title, right=title == "tokens") for title in titles)
    return _table(columns, map(_capture, captures))


def _capture(info: CaptureInfo) -> Iterator[TableCell]:
    version, *observed = observed_facts(info)
    yield NameCell(info.label or UNKNOWN, code=True)
    yield info.role or UNKNOWN
    yield FactCell(version, before=info.engine or UNKNOWN)
    yield from map(FactCell, observed)
    yield NumberCell(figure(info.tokens, "tokens"))
    yield info.status


# All numbers of a pair.


def number_tables(pair: PairReport) -> Iterator[tuple[str, list[MetricValue]]]:
    """Title and numbers of each table of numbers."""
    return tables_of_numbers(pair.metrics)


def numbers_in_columns(values: Sequence[MetricValue], *, void: bool) -> TableBlock:
    """Numbers with interval, multiple of the floor and meaning beside them; columns
    that none of them fills are left out.
    """
    titles = ("number", "value", "95% interval", "of the noise floor", "meaning")
    filled = (
        True,
        True,
        any(value.interval is not None for value in values),
        any(value.multiple is not None for value in values),
        True,
    )
    numbers = titles[1:4]
    columns = (TableColumn(title, right=title in numbers) for title in titles)
    rows = (_in_columns(value, void) for value in values)
    return _table(
        tuple(itertools.compress(columns, filled)),
        (tuple(itertools.compress(row, filled)) for row in rows),
    )


def _in_columns(value: MetricValue, void: bool) -> Iterator[TableCell]:
    yield value.metric.title
    yield NumberCell(value.text, unit=_unit(value), void=void)
    interval = interval_text(value.interval, value.metric.format)
    yield NumberCell(interval, void=void)
    yield NumberCell(multiple_text(value.multiple))
    yield value.meaning


def _unit(value: MetricValue) -> str:
    known = value.text != UNKNOWN and value.metric.format == "nats"
    return " nats" if known else ""


def numbers_with_notes(values: Iterable[MetricValue]) -> TableBlock:
    """Numbers with what they mean, their interval and their multiple of the floor in
    small letters below.
    """
    columns = _columns(("number",), ("value",))
    return _table(columns, map(_with_notes, values))


def _with_notes(value: MetricValue) -> tuple[TableCell, ...]:
    known = value.text != UNKNOWN
    notes = tuple(notes_of(value)) if known else ()
    return (
        NameCell(value.metric.title, notes=(value.meaning,)),
        NumberCell(value.text, unit=_unit(value), notes=notes),
    )


def notes_of(value: MetricValue) -> Iterator[str]:
    """What a number says of itself: its interval and its multiple of the floor."""
    if value.interval is not None:
        yield f"95% {interval_text(value.interval, value.metric.format)}"
    if value.multiple is not None:
        yield floor_words(value.multiple)


def floor_words(multiple: float) -> str:
    """``21.1x the noise floor``."""
    if math.isinf(multiple):
        return "the noise floor is 0"
    return f"{multiple_text(multiple)} the noise floor"


# Limits and corrections.

_OUTSIDE = {"normal": "beyond normal", "exact": "not exact"}
_OUTSIDE_TAGS = {
    "normal": TagCell("! beyond normal", "caution"),
    "exact": TagCell("· not exact", "muted"),
}


def limits_in_columns(pair: PairReport) -> TableBlock:
    """Published and own limits, each with what was measured."""
    columns = (
        TableColumn("limit of"),
        TableColumn("its number"),
        _number("here"),
        _number("limit"),
        TableColumn("verdict"),
        TableColumn("meaning"),
        TableColumn("source"),
    )
    return _table(columns, (_limit_in_columns(limit, pair) for limit in pair.limits))


def _limit_in_columns(judged: JudgedLimit, pair: PairReport) -> Iterator[TableCell]:
    limit = judged.limit
    yield limit.framework or UNKNOWN
    yield NameCell(limit.name or limit.metric or UNKNOWN, code=True)
    yield NumberCell(exact(judged.value), void=pair.void)
    yield bounds_text(limit)
    yield Span(_mark(judged))
    # Each is cut where it is too long, so they are not joined here.
    yield NameCell("", notes=tuple(filter(None, (limit.meaning, judged.note))))
    yield limit.source or "unknown"


def _mark(judged: JudgedLimit) -> str:
    if judged.ok is None:
        return "? not judged"
    if judged.ok:
        return "✓ ok"
    return f"✕ {_OUTSIDE.get(judged.limit.level, 'outside')}"


def limits_with_notes(pair: PairReport) -> TableBlock:
    """Limits with what they mean in small letters below."""
    columns = (
        TableColumn("limit of"),
        TableColumn("verdict", kind="word"),
        _number("here"),
        _number("limit"),
        TableColumn("source"),
    )
    return _table(columns, map(_limit_with_notes, pair.limits))


def _limit_with_notes(judged: JudgedLimit) -> Iterator[TableCell]:
    limit = judged.limit
    yield NameCell(
        limit.name or limit.metric or UNKNOWN,
        owner=limit.framework or UNKNOWN,
        notes=tuple(filter(None, (limit.meaning, judged.note))),
    )
    yield _limit_tag(judged)
    yield NumberCell(exact(judged.value))
    yield bounds_text(limit)
    yield SourceCell(limit.source)


def _limit_tag(judged: JudgedLimit) -> TagCell:
    if judged.ok is None:
        return TagCell("? not judged", "none")
    if judged.ok:
        return TagCell("✓ ok", "comparable")
    outside = TagCell("✕ outside", "not_comparable")
    return _OUTSIDE_TAGS.get(judged.limit.level, outside)


def limits_in_words(pair: PairReport) -> str:
    """How many limits hold, do not, or could not be judged; empty without any."""
    if not pair.limits:
        return ""
    missed = [
        judged
        for judged in pair.limits
        if judged.ok is False and judged.limit.level == "exact"
    ]
    counts = (
        (sum(judged.ok is True for judged in pair.limits), "hold"),
        (
            sum(judged.ok is False for judged in pair.limits) - len(missed),
            "are exceeded",
        ),
        (sum(judged.ok is None for judged in pair.limits), "could not be judged"),
        (len(missed), "for bitwise equal setups do not hold"),
    )
    words = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    return f"Of {len(pair.limits):,} limits {words}."


def corrections_in_columns(pair: PairReport) -> TableBlock:
    """What the corrections of the frameworks would clip or mask."""
    names = ("rule", "name", "keeps ratios", "of a")
    columns = _columns(names, ("tokens", "sequences"))
    return _table(
        columns,
        (
            (
                rule.rule or UNKNOWN,
                rule.name or UNKNOWN,
                bounds_text(rule),
                rule.level,
                *_shares(rule, pair.void),
            )
            for rule in pair.metrics.what_if
        ),
    )


def corrections_with_notes(pair: PairReport) -> TableBlock:
    """The same with rule and level in small letters below the name."""
    columns = (
        TableColumn("correction"),
        TableColumn("keeps ratios", kind="word"),
        _number("tokens hit"),
        _number("sequences hit"),
    )
    return _table(
        columns,
        (
            (
                NameCell(
                    rule.name or UNKNOWN,
                    notes=(", ".join(filter(None, (rule.rule, rule.level))),),
                    long=True,
                ),
                bounds_text(rule),
                *_shares(rule, pair.void),
            )
            for rule in pair.metrics.what_if
        ),
    )


def _shares(rule: WhatIf, void: bool) -> Iterator[NumberCell]:
    for share in (rule.tokens, rule.sequences):
        yield NumberCell(figure(share, "share"), void=void)


# Where the gap sits, and what it is measured against.


def scopes_table(pair: PairReport) -> TableBlock:
    """The errors of prompt, completion and all tokens side by side."""
    columns = _columns(("scope",), ("tokens", *_ERRORS, "k3"))
    return _table(columns, (_scope(item, pair.void) for item in pair.metrics.scopes))


def _scope(item: ScopeErrors, void: bool) -> Iterator[TableCell]:
    yield item.scope
    yield NumberCell(figure(item.tokens, "tokens"))
    errors = item.errors
    yield from _errors(errors.mean, errors.mae, errors.rmse, errors.max_abs, void=void)
    yield NumberCell(figure(item.k3), void=void)


def _errors(
    mean: float | None, *sizes: float | None, void: bool
) -> Iterator[NumberCell]:
    yield NumberCell(figure(mean, sign=True), void=void)
    for size in sizes:
        yield NumberCell(figure(size), void=void)


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
        *map(_number, ("tokens", *_ERRORS)),
    )
    return _table(columns, (_bucket(kind, bucket, void) for bucket in buckets))


def _bucket(kind: BucketKind, bucket: Bucket, void: bool) -> Iterator[TableCell]:
    yield bucket_name(bucket, whole=kind.whole)
    yield NumberCell(figure(bucket.tokens, "tokens"))
    if not bucket.tokens:
        yield from ("",) * len(_ERRORS)
        return
    yield from _errors(bucket.mean, bucket.mae, bucket.rmse, bucket.max_abs, void=void)


def bucket_name(bucket: Bucket, *, whole: bool) -> str:
    """The range of a bucket; ``whole`` for positions, whose last one is ``high - 1``."""
    return range_text(bucket.low, bucket.high, whole=whole)


def floor_table(floor: Floor) -> TableBlock:
    """Where the noise floor comes from."""
    columns = _columns(("noise floor", "measured with"), ("MAE", "RMSE"))
    return _table(columns, _floor(floor))


def _floor(floor: Floor) -> Iterator[tuple[TableCell, ...]]:
    used = (NumberCell(figure(value)) for value in (floor.mae, floor.rmse))
    yield ("used", "", *used)
    for name, gap in floor_parts(floor):
        label = "" if gap is None else gap.label
        sizes = (None, None) if gap is None else (gap.mae, gap.rmse)
        cells = (NumberCell(figure(size)) for size in sizes)
        yield (name, NameCell(label, code=True), *cells)


def terms_table(split: Decomposition) -> TableBlock:
    """The parts of one gap."""
    columns = _columns(("part",), ("mean Δ", "MAE", "RMSE"))
    return _table(columns, ((name, *_term(term)) for name, term in terms_of(split)))


def splits_table(splits: Iterable[Decomposition]) -> TableBlock:
    """The parts of all gaps."""
    columns = _columns(("gap", "part"), ("mean Δ", "MAE", "RMSE"))
    return _table(
        columns,
        (
            (PairCell(split.trainer, split.rollout), name, *_term(term))
            for split in splits
            for name, term in terms_of(split)
        ),
    )


def _term(term: Term | None) -> Iterator[NumberCell]:
    mean, mae, rmse = (None,) * 3 if term is None else (term.mean, term.mae, term.rmse)
    yield from _errors(mean, mae, rmse, void=False)


# The worst tokens and sequences.


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
    columns = (*map(_number, numbers), TableColumn("in context"))
    return _table(columns, (_token_in_columns(token, void) for token in tokens))


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
    tokens: Sequence[WorstToken], anchor: Callable[[int], str] = lambda sequence: ""
) -> TableBlock:
    """The same with the id behind the token, and without a column for the floor where
    it is not known; ``anchor`` says where a sequence is shown.
    """
    floor = any(token.times_floor is not None for token in tokens)
    numbers = ["seq", "pos", "Δ", "floor", "log p_A", "log p_B", "rank A→B"]
    if not floor:
        numbers.remove("floor")
    columns = (*map(_number, numbers), TableColumn("in context", kind="context"))
    return _table(
        columns, (_token_on_a_page(token, anchor, floor=floor) for token in tokens)
    )


def _token_on_a_page(
    token: WorstToken, anchor: Callable[[int], str], *, floor: bool
) -> Iterator[TableCell]:
    yield NumberCell(figure(token.sequence, "tokens"), anchor=anchor(token.sequence))
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
    anchor: Callable[[int], str] = lambda sequence: "",
    chart: Callable[[int], TableCell] | None = None,
) -> TableBlock:
    """The sequences with the largest gaps; ``chart`` is drawn at the end of each row
    where there is one.
    """
    columns = _columns((), ("seq", "tokens", "MAE", "mean Δ", "max |Δ|", "log ratio"))
    if chart is not None:
        columns = (*columns, TableColumn("Δ along it"))
    return _table(
        columns,
        (
            (
                *_sequence(item, anchor(item.sequence), void),
                *(() if chart is None else (chart(item.sequence),)),
            )
            for item in sequences
        ),
    )


def _sequence(item: SequenceErrors, anchor: str, void: bool) -> Iterator[NumberCell]:
    yield NumberCell(figure(item.sequence, "tokens"), anchor=anchor)
    yield NumberCell(figure(item.tokens, "tokens"))
    yield NumberCell(figure(item.mae), void=void)
    yield NumberCell(figure(item.mean, sign=True), void=void)
    yield NumberCell(figure(item.max_abs), void=void)
    yield NumberCell(figure(item.log_ratio, sign=True), void=void)
