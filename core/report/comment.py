"""The report of a session for an issue or a pull request: verdict first, then the main
pair in full; everything else is folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logdrift.core.compare.gate import Reason
from logdrift.core.numbers import figure
from logdrift.core.report import gap_tables, limit_tables, tables
from logdrift.core.report.document import (
    Block,
    CodeSpan,
    FoldedBlock,
    HeadingBlock,
    Inline,
    ListBlock,
    ParagraphBlock,
    Span,
    TableBlock,
)
from logdrift.core.report.pair_numbers import SCOPES, interval_of, left_out
from logdrift.core.report.records import PairLabels, PairReport, SessionReport
from logdrift.core.report.session_facts import failure_log, size_in_words
from logdrift.core.words import MEANINGLESS, SEVERITIES, VERDICTS

WORST = 10
OTHER_WORST = 3
"""Tokens shown of a pair that is folded."""


def comment(report: SessionReport, main: PairLabels | None = None) -> list[Block]:
    """The report with ``main`` (default: the first pair) in full and every number of
    the others in one table.
    """
    pair = report.main_pair(main)
    return [
        *_failures(report),
        *_verdict(report, pair),
        *_titled("", tables.overview_table(report.pairs)),
        *(_in_full(report, pair) if pair is not None else ()),
        *(_folded_pair(other) for other in report.pairs if other is not pair),
        *_matrix(report.pairs),
        *_folded("captures", tables.captures_table(report.captures)),
    ]


def _titled(title: str, table: TableBlock, more: str = "") -> Iterator[Block]:
    """A table below its title; nothing without rows."""
    if table.rows:
        if title:
            yield ParagraphBlock((Span(title, "bold"), Span(more)))
        yield table


def _folded(summary: str, table: TableBlock) -> Iterator[Block]:
    if table.rows:
        yield FoldedBlock((Span(summary),), (table,))


def _name(pair: PairReport) -> Inline:
    a, b = pair.labels
    return CodeSpan(a or "unknown"), Span(" → "), CodeSpan(b or "unknown")


def _word(pair: PairReport) -> str:
    return VERDICTS.get(pair.gate.verdict, "UNKNOWN")


def _failures(report: SessionReport) -> Iterator[Block]:
    for info in report.captures:
        if info.status == "failed":
            yield ParagraphBlock(
                (
                    Span("FAILED", "bold"),
                    Span(" "),
                    CodeSpan(info.label),
                    Span(": "),
                    Span(failure_log(info)[0]),
                )
            )


def _verdict(report: SessionReport, pair: PairReport | None) -> Iterator[Block]:
    if pair is None:
        yield HeadingBlock(2, (Span("logdrift: nothing to compare"),))
        nothing = "Fewer than two captures have a finished sequence."
        yield ParagraphBlock((Span(nothing),))
        yield ParagraphBlock(_about(report))
        return
    title = (Span("logdrift: "), *_name(pair), Span(f": {_word(pair)}"))
    yield HeadingBlock(2, title)
    reasons = reason_list(pair.gate.reasons)
    if pair.void:
        # The reason stands before any number.
        yield from reasons
        yield ParagraphBlock((*_answer(pair), Span(MEANINGLESS, "bold")))
    else:
        yield ParagraphBlock(_sentence(report, pair))
        yield from reasons
    delta = Span(" Δ = log p_A - log p_B in nats.")
    yield ParagraphBlock((*_about(report), delta))


def _about(report: SessionReport) -> Inline:
    model = report.model
    revision: Inline = ()
    if model.revision:
        revision = (Span(", revision "), Span(model.revision))
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
    weights = list(SEVERITIES)
    ordered = sorted(reasons, key=lambda reason: weights.index(reason.severity))
    if ordered:
        yield ListBlock(tuple(map(_reason, ordered)))


def _reason(reason: Reason) -> Inline:
    word = SEVERITIES[reason.severity]
    text = reason.text or reason.code
    return Span(f"{word}:", "bold"), Span(" "), Span(text)


def _sentence(report: SessionReport, pair: PairReport) -> Inline:
    metrics = pair.metrics
    mae = metrics.errors.mae
    number: Inline = (Span("MAE unknown"),)
    if mae is not None:
        number = (Span(f"MAE {figure(mae)} nats", "bold"), Span(_interval(pair)))
    over = [Span(f", over {counts(pair)}")]
    if without := left_out(pair):
        over += Span(" ("), Span(without), Span(")")
    over.append(Span("."))
    if words := size_in_words(report, pair):
        over += Span(" "), Span(words)
    return (*_answer(pair), *number, *over)


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
    tokens = figure(metrics.tokens, "tokens")
    return f"{tokens} {scope} in {figure(metrics.finished, 'tokens')} sequences"


def _answer(pair: PairReport) -> Inline:
    """The answer of the pair, where it was made, before what follows it."""
    if pair.sentence:
        return (Span(pair.sentence, "bold"), Span(" "))
    return ()


def _in_full(report: SessionReport, pair: PairReport) -> Iterator[Block]:
    yield HeadingBlock(3, (*_name(pair), Span(" in full")))
    if pair.void:
        yield ParagraphBlock((Span(MEANINGLESS, "bold"),))
    yield from _titled("Published and own limits", limit_tables.limits_in_columns(pair))
    for title, values in tables.number_tables(pair):
        table = tables.numbers_in_columns(values, void=pair.void)
        yield ParagraphBlock((Span(title, "bold"),))
        yield table
    ci95 = pair.metrics.ci95
    if ci95.method is not None:
        yield ParagraphBlock((Span(interval_note(pair)),))
    yield from _titled(
        "What corrections would do",
        limit_tables.corrections_in_columns(pair),
        ": share of tokens and sequences that they clip or mask",
    )
    yield from _titled("Prompt, completion, all", gap_tables.scopes_table(pair))
    for kind in gap_tables.bucket_kinds(pair):
        table = gap_tables.buckets_table(kind, kind.filled, void=pair.void)
        yield from _titled(f"Error by {kind.label}", table)
    if pair.metrics.floor is not None:
        yield from _titled("Noise floor", gap_tables.floor_table(pair.metrics.floor))
    yield from _titled(
        "Where the gap comes from",
        gap_tables.splits_table(report.splits),
        " (parts add up in mean Δ, not in MAE)",
    )
    yield from _worst(pair, WORST)


def interval_note(pair: PairReport) -> str:
    """What the intervals were drawn from."""
    ci95 = pair.metrics.ci95
    units = figure(ci95.units, "tokens")
    draws = figure(ci95.resamples, "tokens")
    return f"Intervals: bootstrap over {units} {ci95.method}, {draws} resamples."


def _worst(pair: PairReport, count: int) -> Iterator[Block]:
    tokens = pair.worst[:count]
    more = len(pair.worst) > len(tokens)
    yield from _titled(
        f"The {len(tokens)} worst tokens",
        gap_tables.worst_tokens_in_columns(tokens, void=pair.void),
        f" of {len(pair.worst)} in --json" if more else "",
    )
    sequences = pair.metrics.worst_sequences[:count]
    yield from _titled(
        "The worst sequences",
        gap_tables.worst_sequences_table(sequences, void=pair.void),
    )


def _folded_pair(pair: PairReport) -> FoldedBlock:
    """Another pair: its reasons, and a few of its worst tokens."""
    mae = figure(pair.metrics.errors.mae)
    blocks: list[Block] = []
    if pair.void:
        blocks.append(ParagraphBlock((Span(MEANINGLESS, "bold"),)))
    blocks += reason_list(pair.gate.reasons)
    blocks += _worst(pair, OTHER_WORST)
    return FoldedBlock(
        summary=(*_name(pair), Span(f": {_word(pair)}, MAE {mae}")),
        blocks=tuple(blocks),
    )


def _matrix(pairs: Sequence[PairReport]) -> Iterator[Block]:
    if len(pairs) < 2:
        return
    names = ListBlock(tuple(map(_name_and_verdict, pairs)), numbered=True)
    yield FoldedBlock(
        summary=(Span("every number of every pair"),),
        blocks=(names, tables.matrix_table(pairs)),
    )


def _name_and_verdict(pair: PairReport) -> Inline:
    return (*_name(pair), Span(f": {_word(pair)}"))
