"""The report of a session for an issue or a pull request: verdict first, then the main
pair in full; everything else is folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from logdrift.core.compare.gate import Reason
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.numbers import figure
from logdrift.core.report import gap_tables, group_tables, limit_tables, tables
from logdrift.core.report.document import (
    Block,
    Blocks,
    CodeSpan,
    FoldedBlock,
    HeadingBlock,
    Inline,
    ListBlock,
    ParagraphBlock,
    Span,
    TableBlock,
)
from logdrift.core.report.one_side import nothing_to_compare
from logdrift.core.report.page_parts import paragraph
from logdrift.core.report.pair_numbers import SCOPES, interval_of, left_out
from logdrift.core.report.records import PairReport, SessionReport
from logdrift.core.report.session_facts import failure_log, size_in_words
from logdrift.core.report.standing import LEGEND
from logdrift.core.words import MEANINGLESS, SEVERITIES, VERDICTS

WORST = 10
OTHER_WORST = 3
"""Tokens shown of a pair that is folded."""


def comment(
    report: SessionReport,
    main: PairLabels | None = None,
    marked: TableBlock | None = None,
) -> list[Block]:
    """The report with ``main`` (default: the first pair) in full and every number of
    the others in one table. ``marked`` are the tokens that the reader marked.
    """
    pair = report.main_pair(main)
    captures = tables.captures_table(report.captures)
    overview = tables.overview_table(report.pairs)
    blocks = [
        *_failures(report),
        *_verdict(report, pair),
        *_titled("", overview),
    ]
    if marked is not None:
        blocks += _titled("Marked tokens", marked)
    if pair is not None:
        blocks += _in_full(report, pair)
    for other in report.pairs:
        if other is not pair:
            blocks.append(_folded_pair(other))
    blocks += _matrix(report.pairs)
    blocks += _folded("captures", captures)
    return blocks


def _titled(title: str, table: TableBlock, more: str = "") -> Blocks:
    """A table below its title; nothing without rows."""
    if table.rows:
        if title:
            words = (Span(title, "bold"), Span(more))
            yield ParagraphBlock(words)
        yield table


def _folded(summary: str, table: TableBlock) -> Blocks:
    if table.rows:
        words = Span(summary)
        yield FoldedBlock((words,), (table,))


def _name(pair: PairReport) -> Inline:
    a, b = pair.labels
    name_a = CodeSpan(a or "unknown")
    name_b = CodeSpan(b or "unknown")
    return name_a, Span(" → "), name_b


def _word(pair: PairReport) -> str:
    return VERDICTS.get(pair.gate.verdict, "UNKNOWN")


def _failures(report: SessionReport) -> Blocks:
    for info in report.captures:
        if info.status == "failed":
            reason = failure_log(info)[0]
            words = (
                Span("FAILED", "bold"),
                Span(" "),
                CodeSpan(info.label),
                Span(": "),
                Span(reason),
            )
            yield ParagraphBlock(words)


def _verdict(report: SessionReport, pair: PairReport | None) -> Blocks:
    if pair is None:
        title = Span("logdrift: nothing to compare")
        yield HeadingBlock(2, (title,))
        yield paragraph(nothing_to_compare(report.captures))
        yield ParagraphBlock(_about(report))
        return
    word = Span(f": {_word(pair)}")
    name = _name(pair)
    title_words = (Span("logdrift: "), *name, word)
    yield HeadingBlock(2, title_words)
    reasons = reason_list(pair.gate.reasons)
    if pair.void:
        # The reason stands before any number.
        yield from reasons
        meaningless = Span(MEANINGLESS, "bold")
        yield ParagraphBlock((*_answer(pair), meaningless))
    else:
        yield ParagraphBlock(_sentence(report, pair))
        yield from reasons
    delta = Span(" Δ = log p_A - log p_B in nats.")
    about = _about(report)
    yield ParagraphBlock((*about, delta))


def _about(report: SessionReport) -> Inline:
    model = report.model
    revision: Inline = ()
    if model.revision:
        number = Span(model.revision)
        revision = (Span(", revision "), number)
    return (
        Span("Session "),
        CodeSpan(report.session or "unknown"),
        Span(", model "),
        Span(model.id or "unknown"),
        *revision,
        Span(", state "),
        Span(report.state or "unknown"),
        Span("."),
    )


def reason_list(reasons: Sequence[Reason]) -> Iterator[ListBlock]:
    """The reasons of the gate, those that weigh most first; nothing without any."""
    ordered = by_severity(reasons)
    if ordered:
        items = map(_reason, ordered)
        yield ListBlock(tuple(items))


def by_severity(reasons: Iterable[Reason]) -> list[Reason]:
    """The gravest reasons first."""
    severities = list(SEVERITIES)
    return sorted(reasons, key=lambda reason: severities.index(reason.severity))


def _reason(reason: Reason) -> Inline:
    word = SEVERITIES[reason.severity]
    text = reason.text or reason.code
    mark = Span(f"{word}:", "bold")
    return mark, Span(" "), Span(text)


def _sentence(report: SessionReport, pair: PairReport) -> Inline:
    metrics = pair.metrics
    mae = metrics.errors.mae
    number: Inline = (Span("MAE unknown"),)
    if mae is not None:
        size = Span(f"MAE {figure(mae)} nats", "bold")
        number = (size, Span(_interval(pair)))
    over = f", over {counts(pair)}"
    words: list[Span] = [Span(over)]
    if without := left_out(pair):
        words += [Span(" ("), Span(without), Span(")")]
    words.append(Span("."))
    if size_words := size_in_words(report, pair):
        words += [Span(" "), Span(size_words)]
    answer = _answer(pair)
    return (*answer, *number, *words)


def _interval(pair: PairReport) -> str:
    interval = interval_of("errors.mae", pair.metrics)
    if interval is None:
        return ""
    low, high = map(figure, interval)
    return f", 95% {low} to {high}"


def counts(pair: PairReport) -> str:
    """``1,490 completion tokens in 24 sequences``."""
    metrics = pair.metrics
    scope = SCOPES.get(metrics.scope, "tokens of an unknown scope")
    if metrics.tokens == 1:
        scope = scope.replace("tokens", "token")
    tokens = figure(metrics.tokens, "tokens")
    if metrics.finished == 1:
        return f"{tokens} {scope} in 1 sequence"
    return f"{tokens} {scope} in {figure(metrics.finished, 'tokens')} sequences"


def _answer(pair: PairReport) -> Inline:
    """The answer of the pair, where it was made, before what follows it."""
    if pair.sentence:
        sentence = Span(pair.sentence, "bold")
        return (sentence, Span(" "))
    return ()


def _in_full(report: SessionReport, pair: PairReport) -> Blocks:
    name = _name(pair)
    yield HeadingBlock(3, (*name, Span(" in full")))
    if pair.void:
        yield paragraph(MEANINGLESS, tone="bold")
    limits = limit_tables.limits_in_columns(pair)
    yield from _titled("Published and own limits", limits)
    if not pair.void:
        yield paragraph(LEGEND)
    for title, values in tables.number_tables(pair):
        table = tables.numbers_in_columns(values, void=pair.void)
        yield paragraph(title, tone="bold")
        yield table
    ci95 = pair.metrics.ci95
    if ci95.method is not None:
        yield paragraph(interval_note(pair))
    corrections = limit_tables.corrections_in_columns(pair)
    yield from _titled(
        "What corrections would do",
        corrections,
        ": share of tokens and sequences that they clip or mask",
    )
    scopes = gap_tables.scopes_table(pair)
    yield from _titled("Prompt, completion, all", scopes)
    for kind in gap_tables.bucket_kinds(pair):
        table = gap_tables.buckets_table(kind, kind.filled, void=pair.void)
        yield from _titled(f"Error by {kind.label}", table)
    for group_kind in group_tables.group_kinds(pair):
        table = group_tables.groups_table(group_kind, void=pair.void)
        yield from _titled(group_kind.title, table)
    if pair.metrics.floor is not None:
        floor = gap_tables.floor_table(pair.metrics.floor)
        yield from _titled("Noise floor", floor)
    splits = gap_tables.splits_table(report.splits)
    yield from _titled(
        "Where the gap comes from",
        splits,
        " (parts add up in mean Δ, not in MAE)",
    )
    yield from _worst(pair, WORST)


def interval_note(pair: PairReport) -> str:
    """What the intervals were drawn from."""
    ci95 = pair.metrics.ci95
    units = figure(ci95.units, "tokens")
    draws = figure(ci95.resamples, "tokens")
    return f"Intervals: bootstrap over {units} {ci95.method}, {draws} resamples."


def _worst(pair: PairReport, count: int) -> Blocks:
    tokens = pair.worst[:count]
    more = ""
    if len(pair.worst) > len(tokens):
        more = f" of {len(pair.worst)} in --json"
    table = gap_tables.worst_tokens_in_columns(tokens, void=pair.void)
    yield from _titled(f"The {len(tokens)} worst tokens", table, more)
    sequences = pair.metrics.worst_sequences[:count]
    table = gap_tables.worst_sequences_table(sequences, void=pair.void)
    yield from _titled("The worst sequences", table)


def _folded_pair(pair: PairReport) -> FoldedBlock:
    """Another pair: its reasons, and a few of its worst tokens."""
    mae = figure(pair.metrics.errors.mae)
    blocks: list[Block] = []
    if pair.void:
        blocks.append(paragraph(MEANINGLESS, tone="bold"))
    blocks += reason_list(pair.gate.reasons)
    blocks += _worst(pair, OTHER_WORST)
    name = _name(pair)
    verdict = Span(f": {_word(pair)}, MAE {mae}")
    return FoldedBlock(
        summary=(*name, verdict),
        blocks=tuple(blocks),
    )


def _matrix(pairs: Sequence[PairReport]) -> Blocks:
    if len(pairs) < 2:
        return
    names = map(_name_and_verdict, pairs)
    pair_list = ListBlock(tuple(names), numbered=True)
    matrix = tables.matrix_table(pairs)
    summary = Span("every number of every pair")
    yield FoldedBlock((summary,), (pair_list, matrix))


def _name_and_verdict(pair: PairReport) -> Inline:
    name = _name(pair)
    verdict = Span(f": {_word(pair)}")
    return (*name, verdict)
