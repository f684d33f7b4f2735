"""The tables of a report with every number: each is built once, for Markdown and HTML.

A comment (Markdown) gives each fact a column of its own; a page (HTML) has what
explains a number in small letters below it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from logdrift.core.numbers import (
    UNKNOWN,
    figure,
    interval_text,
    multiple_text,
)
from logdrift.core.report.document import (
    Cells,
    FactCell,
    NameCell,
    NumberCell,
    PairCell,
    TableBlock,
    TableCells,
    TableColumn,
    TableRow,
    TagCell,
)
from logdrift.core.report.pair_numbers import (
    MetricValue,
    tables_of_numbers,
)
from logdrift.core.report.records import PairReport
from logdrift.core.report.session_facts import observed_facts
from logdrift.core.report.standing import standing_tag
from logdrift.core.report.table_parts import (
    columns_of,
    count_cell,
    number_column,
    table_of,
)
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.words import VERDICTS


def _no_anchor(place: int) -> str:
    return ""


# Every pair, every capture.


def overview_table(
    pairs: Sequence[PairReport], anchor: Callable[[int], str] = _no_anchor
) -> TableBlock:
    """All pairs with their verdict and main numbers; ``anchor`` says where the pair in
    a place is shown.
    """
    numbers = ("tokens", "MAE", "RMSE", "p99", "max", "k3", "ESS", "exact")
    columns = columns_of(("A → B", "verdict"), numbers)
    rows = []
    for place, pair in enumerate(pairs):
        row = _overview_row(pair, anchor(place))
        rows.append(row)
    return TableBlock(columns, tuple(rows), mixed=True)


def _overview_row(pair: PairReport, anchor: str) -> TableRow:
    a, b = pair.labels
    tokens = count_cell(pair.metrics.tokens)
    cells: TableCells = (
        PairCell(a, b, anchor=anchor),
        verdict_tag(pair),
        tokens,
        *_main_numbers(pair),
    )
    return TableRow(cells)


def verdict_tag(pair: PairReport) -> TagCell:
    """The verdict of the gate in its colour."""
    verdict = pair.gate.verdict
    word = VERDICTS.get(verdict, "UNKNOWN")
    return TagCell(word, verdict)


def _main_numbers(pair: PairReport) -> Iterator[NumberCell]:
    errors = pair.metrics.errors
    mismatch = pair.metrics.mismatch
    texts = [
        figure(errors.mae),
        figure(errors.rmse),
        figure(errors.p99),
        figure(errors.max_abs),
        figure(mismatch.k3),
        figure(mismatch.ess_token, "share"),
        figure(errors.exact_fraction, "share"),
    ]
    for text in texts:
        yield NumberCell(text, void=pair.void)


def matrix_table(pairs: Sequence[PairReport]) -> TableBlock:
    """Every number of every pair: one row a number, one column a pair."""
    places = map(str, range(1, len(pairs) + 1))
    texts = list(map(_texts_by_path, pairs))
    paths: dict[str, None] = {}
    for column in texts:
        paths |= dict.fromkeys(column)
    rows: list[TableCells] = []
    for path in paths:
        cells = []
        for column, pair in zip(texts, pairs, strict=True):
            text = column.get(path, UNKNOWN)
            cells.append(NumberCell(text, void=pair.void))
        rows.append((path, *cells))
    columns = columns_of(("number",), places)
    return table_of(columns, rows)


def _texts_by_path(pair: PairReport) -> dict[str, str]:
    """Every number of a pair as it is written, by the path of its metric."""
    texts: dict[str, str] = {}
    for _, values in tables_of_numbers(pair.metrics, pair.usual):
        for value in values:
            texts[value.metric.path] = value.text
    return texts


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
    return table_of(columns, map(_capture, captures))


def _capture(info: CaptureInfo) -> Cells:
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
    return tables_of_numbers(pair.metrics, pair.usual)


def numbers_in_columns(values: Sequence[MetricValue], *, void: bool) -> TableBlock:
    """Numbers with interval, multiple of the floor and meaning beside them; columns
    that none of them fills are left out.
    """
    intervals = [value.interval for value in values]
    multiples = [value.multiple for value in values]
    has_standing = _are_judged(values, void)
    has_interval = any(interval is not None for interval in intervals)
    has_multiple = any(multiple is not None for multiple in multiples)
    columns = {
        TableColumn("good?"): has_standing,
        TableColumn("number"): True,
        number_column("value"): True,
        number_column("95% interval"): has_interval,
        number_column("of the noise floor"): has_multiple,
        TableColumn("meaning"): True,
    }
    kept = tuple(columns.values())
    rows = []
    for value in values:
        every_cell = _in_columns(value, void)
        cells = itertools.compress(every_cell, kept)
        rows.append(tuple(cells))
    filled = itertools.compress(columns, kept)
    return table_of(tuple(filled), rows)


def _in_columns(value: MetricValue, void: bool) -> Cells:
    unit = unit_behind(value)
    metric = value.metric
    interval = interval_text(value.interval, metric.format)
    yield standing_tag(value.standing)
    yield metric.title
    yield NumberCell(value.text, unit=unit, void=void)
    yield NumberCell(interval, void=void)
    yield NumberCell(multiple_text(value.multiple))
    yield value.meaning


def unit_behind(value: MetricValue) -> str:
    """`` nats`` where the number is known and in nats."""
    is_known = value.text != UNKNOWN
    if is_known and value.metric.format == "nats":
        return " nats"
    return ""


def _are_judged(values: Iterable[MetricValue], void: bool) -> bool:
    """Whether there is a good range to hold one of the numbers against."""
    has_range = any(value.standing for value in values)
    return has_range and not void


def numbers_with_notes(values: Sequence[MetricValue], *, void: bool) -> TableBlock:
    """Numbers with what they mean, their interval and their multiple of the floor in
    small letters below.
    """
    columns = columns_of(("number",), ("value",))
    rows = list(map(_with_notes, values))
    if _are_judged(values, void):
        tags = [standing_tag(value.standing) for value in values]
        columns = (TableColumn("good?"), *columns)
        rows = [(tag, *row) for tag, row in zip(tags, rows, strict=True)]
    return table_of(columns, rows)


def _with_notes(value: MetricValue) -> TableCells:
    unit = unit_behind(value)
    notes: tuple[str, ...] = ()
    if value.text != UNKNOWN:
        notes = tuple(notes_of(value))
    return (
        NameCell(value.metric.title, notes=(value.meaning,)),
        NumberCell(value.text, unit=unit, notes=notes),
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
