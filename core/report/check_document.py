"""A check as blocks: one line for each result under its pair, the reason below what
failed, the sum last.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.compare.measured import MeasuredPair
from logdrift.core.compare.metric import unit_of
from logdrift.core.numbers import counted, fixed, six_digits
from logdrift.core.report.check import ALWAYS, MeasuredSession, Result, of_scope
from logdrift.core.report.document import (
    Block,
    Blocks,
    Gap,
    SentenceBlock,
    Span,
    TableBlock,
    TableColumn,
    TableRow,
)

_COLUMNS = (
    TableColumn("", 7),
    TableColumn("", 31),
    TableColumn("", 15, gap=1),
    TableColumn("", 0, gap=1),
)
_INDENT = 9
_UNASKED = ("state", "pairs", "verdict", "tokens", *ALWAYS)
"""What is checked without being asked for."""


def check_document(session: MeasuredSession, results: Sequence[Result]) -> list[Block]:
    """What `logdrift check` prints."""
    of_session = f"session {session.name}"
    titles: dict[str | None, str] = {None: of_session}
    for pair in session.pairs:
        titles[pair.name] = _title(pair)
    blocks: list[Block] = []
    for place, title in titles.items():
        if blocks:
            blocks.append(Gap())
        blocks.append(SentenceBlock(title, "bold"))
        for result in results:
            if result.pair == place:
                blocks += _result(result)
    blocks.append(Gap())
    blocks.append(_sum(results))
    blocks += _hint(session, results)
    return blocks


def _title(pair: MeasuredPair) -> str:
    tokens = counted(pair.metrics.tokens, f"{of_scope(pair)}token")
    return f"{pair.a} → {pair.b}, {tokens}"


def _result(result: Result) -> Blocks:
    if result.ok:
        mark = Span("ok", "good")
    else:
        mark = Span("FAILED", "bad")
    value = _value(result)
    bounds = _range(result)
    cells = (mark, result.metric, value, bounds)
    row = TableRow(cells)
    yield TableBlock(_COLUMNS, (row,), cut=True)
    if result.framework:
        yield SentenceBlock(f"{result.framework}: {result.name}", indent=_INDENT)
    if result.note:
        yield SentenceBlock(result.note, indent=_INDENT)
    if result.reason:
        yield SentenceBlock(result.reason, indent=_INDENT)


def _value(result: Result) -> str:
    """The value with its unit, where that says more than the number alone."""
    value = result.value
    unit = unit_of(result.metric)
    if isinstance(value, str):
        return value.replace("_", " ")
    if value is None:
        return fixed(None)
    is_count = unit == "tokens" or isinstance(value, int)
    whole = is_count and float(value).is_integer()
    # A count has no decimals.
    if whole:
        text = f"{value:,.0f}"
    else:
        text = fixed(value)
    if unit in ("nats", "tokens", "sequences"):
        return f"{text} {unit}"
    return text


def _range(result: Result) -> str:
    if isinstance(result.value, str):
        if result.min in (None, result.value):
            return ""
        needs = f"needs {result.min} or better"
        return needs.replace("_", " ")
    ends = {"min": result.min, "max": result.max}
    bounds = []
    for name, end in ends.items():
        if isinstance(end, int | float):
            bounds.append(f"{name} {six_digits(end)}")
    return ", ".join(bounds)


def _sum(results: Sequence[Result]) -> SentenceBlock:
    failed = [result for result in results if not result.ok]
    if failed:
        counts = f"{len(failed)} of {len(results)}"
        return SentenceBlock(f"FAILED: {counts} checks", "bad")
    return SentenceBlock(f"ok: all {len(results)} checks hold", "good")


def _hint(session: MeasuredSession, results: Sequence[Result]) -> Blocks:
    metrics = {result.metric for result in results}
    asked = metrics.difference(_UNASKED)
    if session.pairs and not asked:
        yield SentenceBlock(
            "No number was checked: give limits with --max, --min or --published.",
            indent=2,
            mark="i",
        )
