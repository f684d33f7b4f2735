"""Limits and corrections as tables, for a comment and for a page."""

from __future__ import annotations

from collections.abc import Iterator

from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.numbers import (
    UNKNOWN,
    exact,
    figure,
)
from logdrift.core.report.document import (
    NameCell,
    NumberCell,
    SourceCell,
    Span,
    TableBlock,
    TableCell,
    TableColumn,
    TagCell,
)
from logdrift.core.report.pair_numbers import (
    bounds_text,
)
from logdrift.core.report.records import PairReport
from logdrift.core.report.table_parts import (
    columns_of,
    number_column,
    table_of,
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
    return table_of(columns, (_limit_in_columns(limit, pair) for limit in pair.limits))


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
        number_column("here"),
        number_column("limit"),
        TableColumn("source"),
    )
    return table_of(columns, map(_limit_with_notes, pair.limits))


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
    columns = columns_of(names, ("tokens", "sequences"))
    return table_of(
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
        number_column("tokens hit"),
        number_column("sequences hit"),
    )
    return table_of(
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
