"""Limits and corrections as tables, for a comment and for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.numbers import UNKNOWN, counted, exact, figure
from logdrift.core.report.document import (
    Cells,
    NameCell,
    NumberCell,
    SourceCell,
    Span,
    TableBlock,
    TableColumn,
    TagCell,
)
from logdrift.core.report.limit_words import conclusion
from logdrift.core.report.pair_numbers import (
    LEVELS,
    bounds_text,
    kept_text,
    most_text,
)
from logdrift.core.report.records import PairReport
from logdrift.core.report.table_parts import (
    columns_of,
    number_column,
    table_of,
)

_OUTCOMES = (
    "hold",
    "are exceeded",
    "could not be judged",
    "for bitwise equal setups do not hold",
)
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
        number_column("here"),
        number_column("limit"),
        TableColumn("verdict"),
        TableColumn("meaning"),
        TableColumn("source"),
    )
    rows = [_limit_in_columns(judged, pair) for judged in pair.limits]
    return table_of(columns, rows)


def _limit_in_columns(judged: JudgedLimit, pair: PairReport) -> Cells:
    limit = judged.limit
    name = limit.name or limit.metric or UNKNOWN
    yield limit.framework or UNKNOWN
    yield NameCell(name, code=True)
    value = exact(judged.value)
    yield NumberCell(value, void=pair.void)
    yield bounds_text(limit)
    yield Span(_mark(judged))
    # Each is cut where it is too long, so they are not joined here.
    yield NameCell("", notes=_notes(judged))
    yield limit.source or "unknown"


def _notes(judged: JudgedLimit) -> tuple[str, ...]:
    meaning = judged.limit.meaning
    note = judged.note or ""
    return tuple(filter(None, (meaning, note)))


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
        number_column("here"),
        number_column("limit"),
        TableColumn("source"),
    )
    rows = map(_limit_with_notes, pair.limits)
    return table_of(columns, rows)


def _limit_with_notes(judged: JudgedLimit) -> Cells:
    limit = judged.limit
    yield NameCell(
        limit.name or limit.metric or UNKNOWN,
        owner=limit.framework or UNKNOWN,
        notes=_notes(judged),
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
    counts = Counter(map(_outcome_in_words, pair.limits))
    parts = [f"{counts[word]:,} {word}" for word in _OUTCOMES if counts[word]]
    outcomes = ", ".join(parts)
    mae = pair.metrics.errors.mae
    normal = conclusion(pair.limits, mae, pair.usual, void=pair.void)
    limits = counted(len(pair.limits), "limit")
    return f"{normal.text} Of {limits} {outcomes}."


def _outcome_in_words(judged: JudgedLimit) -> str:
    held, exceeded, not_judged, not_exact = _OUTCOMES
    if judged.ok is None:
        return not_judged
    if judged.ok:
        return held
    if judged.limit.level == "exact":
        return not_exact
    return exceeded


def corrections_in_columns(pair: PairReport) -> TableBlock:
    """What the corrections of the frameworks would clip or mask."""
    names = ("rule", "name", "keeps", "of a")
    columns = columns_of(names, ("tokens", "sequences"))
    rules = pair.metrics.what_if
    rows = [_correction_in_columns(rule, pair.void) for rule in rules]
    return table_of(columns, rows)


def _correction_in_columns(rule: WhatIf, void: bool) -> Cells:
    yield rule.rule or UNKNOWN
    yield rule.name or UNKNOWN
    yield kept_text(rule)
    yield LEVELS.get(rule.level, rule.level)
    yield from _shares(rule, void)


def corrections_with_notes(pair: PairReport) -> TableBlock:
    """The same with rule and level in small letters below the name."""
    columns = (
        TableColumn("correction"),
        TableColumn("keeps", kind="word"),
        number_column("tokens hit"),
        number_column("sequences hit"),
    )
    rules = pair.metrics.what_if
    rows = [_correction_with_notes(rule, pair.void) for rule in rules]
    return table_of(columns, rows)


def _correction_with_notes(rule: WhatIf, void: bool) -> Cells:
    note_parts = filter(None, (rule.rule, LEVELS.get(rule.level, rule.level)))
    note = ", ".join(note_parts)
    name = rule.name or UNKNOWN
    yield NameCell(name, notes=(note,), long=True)
    yield kept_text(rule)
    yield from _shares(rule, void)


def _shares(rule: WhatIf, void: bool) -> Iterator[NumberCell]:
    tokens = figure(rule.tokens, "share")
    sequences = figure(rule.sequences, "share")
    yield NumberCell(most_text(tokens, rule), void=void)
    yield NumberCell(most_text(sequences, rule), void=void)
