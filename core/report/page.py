"""The report of a session as a page: the main pair with pictures and its text, every
other pair folded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from logdrift.core.compare.decomposition import Decomposition
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.numbers import UNKNOWN, counted
from logdrift.core.report import gap_tables, group_tables, limit_tables, tables
from logdrift.core.report.charts import Bools, more_charts
from logdrift.core.report.comment import by_severity, counts, interval_note
from logdrift.core.report.document import (
    Block,
    Blocks,
    CardBlock,
    ChartBlock,
    FoldedBlock,
    GroupBlock,
    Inline,
    MutedSpan,
    NumberCell,
    PairCell,
    ParagraphBlock,
    ReasonsBlock,
    Span,
    TableBlock,
    VerdictBlock,
)
from logdrift.core.report.page_head import PageSource, failure_blocks, page_head
from logdrift.core.report.page_parts import heading, paragraph, voided
from logdrift.core.report.page_text import (
    shown_sequences,
    text_by_delta,
    worst_sequences,
)
from logdrift.core.report.page_why import causes_on_a_page, marks_on_a_page
from logdrift.core.report.pair_numbers import (
    left_out,
    metric_value,
    split_title,
)
from logdrift.core.report.records import PairReport, SessionReport
from logdrift.core.report.session_facts import size_in_words
from logdrift.core.report.standing import LEGEND
from logdrift.core.report.table_parts import nats_cell
from logdrift.core.report.usual import usual_range
from logdrift.core.session.reader import Session
from logdrift.core.words import MEANINGLESS

SEQUENCES = 12
TOKENS = 20_000
"""At most so many sequences and tokens are drawn, at about 130 bytes a token."""

_CARDS = (
    "errors.mae",
    "errors.p99",
    "errors.max_abs",
    "mismatch.k3",
    "mismatch.ess_token",
    "mismatch.ppl_ratio",
    "probability.mae",
    "topk.same_top1",
)


def page(
    source: PageSource,
    main: PairLabels | None = None,
    *,
    sequences: int = SEQUENCES,
    tokens: int = TOKENS,
) -> list[Block]:
    """The whole page. ``main`` is the pair shown in full (default: the first of the
    report), the others are folded.

    Of the worst ``sequences`` of the main pair at most ``tokens`` tokens are drawn; the
    page says how many.
    """
    report = source.report
    shown = report.main_pair(main)
    blocks: list[Block] = [page_head(source, shown), *failure_blocks(report)]
    if shown is not None:
        place = report.pairs.index(shown)
        most = sequences, tokens
        blocks += _main_pair(source, shown, place, most)
    others = [
        _folded_pair(source, pair, place)
        for place, pair in enumerate(report.pairs)
        if pair is not shown
    ]
    if others:
        blocks.append(heading("The other pairs in full", "others"))
        blocks += others
    blocks.append(heading("Captures", "captures"))
    captures = _captures(report)
    blocks.append(GroupBlock("panel", (captures,)))
    return blocks


def _captures(report: SessionReport) -> Block:
    captures = tables.captures_table(report.captures)
    if captures.rows:
        return captures
    return ParagraphBlock((NumberCell(UNKNOWN),))


# The main pair.


def _main_pair(
    source: PageSource, pair: PairReport, place: int, most: tuple[int, int]
) -> Blocks:
    arrays = source.pair(pair)
    shown = shown_sequences(pair, arrays, most)
    drawn = {item.sequence for item in shown}

    def to_sequence(sequence: int) -> str:
        if sequence in drawn:
            return f"s{sequence}"
        return ""

    def to_pair(other: int) -> str:
        if other == place:
            return ""
        return f"p{other}"

    void = pair.void
    report = source.report
    yield _verdict(report, pair)
    cards = tuple(_cards(report, pair))
    cards_block = GroupBlock("cards", cards)
    yield GroupBlock("pair", (cards_block,), void, anchor=f"p{place}")
    if source.why is not None:
        yield from causes_on_a_page(source.why)
    yield from marks_on_a_page(arrays, source.marks, to_sequence, void=void)
    yield heading("All pairs", "pairs")
    overview = tables.overview_table(report.pairs, to_pair)
    yield GroupBlock("panel", (overview,))
    yield heading(f"{pair.name} in pictures", "charts")
    charts = tuple(_charts(report, pair, arrays))
    yield GroupBlock("grid", charts, void)
    yield from _more_charts(source.session, arrays, void)
    numbers = tuple(_numbers(pair, "thresholds", "metrics"))
    yield GroupBlock("part", numbers, void)
    yield heading("Worst tokens", "worst")
    yield from voided(void)
    worst = gap_tables.worst_tokens_on_a_page(pair.worst, to_sequence)
    worst_block = _or_nothing(worst)
    yield GroupBlock("panel", (worst_block,), void)
    yield from worst_sequences(pair, arrays, to_sequence)
    yield from text_by_delta(source.session, pair, arrays, shown)


def _or_nothing(worst: TableBlock) -> Block:
    if worst.rows:
        return worst
    return ParagraphBlock((Span("No token differs."),))


def _verdict(report: SessionReport, pair: PairReport) -> VerdictBlock:
    blocks = list(_size_and_reasons(report, pair))
    if pair.sentence:
        answer = paragraph(pair.sentence, "answer", tone="bold")
        blocks.insert(0, answer)
    a, b = pair.labels
    return VerdictBlock(
        pair=PairCell(a, b),
        verdict=pair.gate.verdict,
        blocks=tuple(blocks),
    )


def _size_and_reasons(report: SessionReport, pair: PairReport) -> Blocks:
    """What every pair has: its size in a sentence, and the gate's reasons."""
    yield ParagraphBlock(_sentence(report, pair))
    reasons = by_severity(pair.gate.reasons)
    if reasons:
        texts = []
        for reason in reasons:
            text = reason.text or reason.code
            texts.append((reason.severity, text))
        yield ReasonsBlock(tuple(texts))


def _sentence(report: SessionReport, pair: PairReport) -> Inline:
    if pair.void:
        return (Span(MEANINGLESS, "bold"),)
    tokens = counts(pair)
    if words := left_out(pair):
        tokens += f" ({words})"
    mae = nats_cell(pair.metrics.errors.mae)
    size = size_in_words(report, pair)
    return (
        Span("MAE "),
        mae,
        Span(f" nats over {tokens}. {size}"),
    )


def _cards(report: SessionReport, pair: PairReport) -> Iterator[CardBlock]:
    for path in _CARDS:
        metric = METRICS[path]
        value = metric_value(metric, pair.metrics, pair.usual)
        good = metric.good
        if path == "errors.mae":
            good = _usual(report, pair) or good
        lines = list(tables.notes_of(value))
        if good:
            lines.append(f"Good: {good}.")
        unit = tables.unit_behind(value)
        yield CardBlock(
            title=metric.title,
            number=NumberCell(value.text, unit=unit),
            meaning=metric.meaning,
            lines=tuple(lines),
        )


def _usual(report: SessionReport, pair: PairReport) -> str:
    """The usual range in words, empty where it is not known."""
    a, b = map(report.capture, pair.labels)
    if a is None or b is None:
        return ""
    usual = usual_range(a, b)
    if usual is None:
        return ""
    return f"{usual.words} in {usual.dtype}"


def _charts(
    report: SessionReport, pair: PairReport, arrays: Pair
) -> Iterator[ChartBlock]:
    scope = pair.metrics.scope
    mask = arrays.scope_mask(scope)
    delta = arrays.delta[mask]
    yield _position_chart(arrays, scope, mask)
    text = "Tokens by |Δ|. Orange: A gives more; blue: B gives more."
    exact = int(np.count_nonzero(delta == 0))
    if exact:
        text += f" Not drawn: {counted(exact, 'token')} with Δ exactly 0."
    yield _histogram(pair, arrays, text)
    yield _density_chart(arrays, mask)
    yield from _bucket_charts(pair)
    for split in report.splits:
        has_rollout = split.rollout in pair.labels
        has_trainer = split.trainer in pair.labels
        if has_rollout or has_trainer:
            yield _terms_chart(split)


def _position_chart(arrays: Pair, scope: Scope, mask: Bools) -> ChartBlock:
    return ChartBlock(
        name="position",
        title="Δ over the position",
        text=(
            "Mean (line) and the middle 80% of the tokens (band), all sequences"
            " together."
        ),
        data=(arrays, scope, mask),
    )


def _density_chart(arrays: Pair, mask: Bools) -> ChartBlock:
    logprob_a = arrays.logprob_a[mask]
    logprob_b = arrays.logprob_b[mask]
    return ChartBlock(
        name="density",
        title="log p_A against log p_B",
        text=(
            "Stronger colour: more tokens (log scale). On the dashed line both sides"
            " agree."
        ),
        data=(logprob_a, logprob_b),
    )


def _terms_chart(split: Decomposition) -> ChartBlock:
    return ChartBlock(
        name="terms",
        title=split_title(split),
        text=(
            "MAE of the whole (grey), of its parts (orange) and against the"
            " float32 reference (blue). Parts add up in mean Δ, not in MAE."
        ),
        data=(split,),
        table=gap_tables.terms_table(split),
    )


def _histogram(pair: PairReport, arrays: Pair, text: str) -> ChartBlock:
    metrics = pair.metrics
    floor = None
    if metrics.floor is not None:
        floor = metrics.floor.mae
    sizes = {
        "noise floor": floor,
        "MAE": metrics.errors.mae,
        "p99": metrics.errors.p99,
    }
    mask = arrays.scope_mask(metrics.scope)
    data = (arrays.delta[mask], sizes)
    return ChartBlock("histogram", "How large Δ is", text, data)


def _bucket_charts(pair: PairReport) -> Iterator[ChartBlock]:
    for kind in gap_tables.bucket_kinds(pair):
        table = gap_tables.buckets_table(kind, kind.buckets, void=pair.void)
        yield ChartBlock(
            name="buckets",
            title=kind.title,
            text=f"MAE (bar), RMSE (dot) and number of tokens by {kind.label}.",
            data=(kind,),
            table=table,
        )


def _more_charts(session: Session, arrays: Pair, void: bool) -> Blocks:
    """The charts of the registry that the page does not show in its own panels."""
    charts = []
    for chart, words in more_charts(session, arrays):
        block = ChartBlock("registered", chart.heading, words, (chart,))
        charts.append(block)
    if charts:
        grid = GroupBlock("grid", tuple(charts), void)
        summary = Span("More charts")
        yield FoldedBlock((summary,), (grid,))


def _numbers(
    pair: PairReport, limits_anchor: str = "", metrics_anchor: str = ""
) -> Blocks:
    """Everything of a pair that is a table, but for worst tokens and sequences."""
    level = 3
    warning: tuple[Block, ...] = ()
    if limits_anchor:
        level = 2
        warning = tuple(voided(pair.void))
    yield heading("Published and own limits", limits_anchor, level)
    yield from warning
    limit_blocks = tuple(_limits(pair))
    limits = GroupBlock("dim", limit_blocks)
    yield GroupBlock("panel", (limits,))
    yield heading("Every number", metrics_anchor, level)
    yield from warning
    panels = tuple(_number_panels(pair))
    yield GroupBlock("columns", panels)


def _limits(pair: PairReport) -> Blocks:
    if pair.limits:
        words = limit_tables.limits_in_words(pair)
        yield paragraph(words, "muted")
        yield limit_tables.limits_with_notes(pair)
    else:
        yield paragraph("No limits were evaluated.")


def _number_panels(pair: PairReport) -> Iterator[GroupBlock]:
    metrics = pair.metrics
    # What the intervals are of stands below the first table.
    notes: list[Block] = []
    if metrics.ci95.method is not None:
        note = interval_note(pair)
        notes.append(paragraph(note, "muted"))
    if not pair.void:
        legend = paragraph(LEGEND, "muted")
        notes.append(legend)
    for title, values in tables.number_tables(pair):
        table = tables.numbers_with_notes(values, void=pair.void)
        yield _panel(title, table, *notes)
        notes.clear()
    if metrics.what_if:
        table = limit_tables.corrections_with_notes(pair)
        yield _panel("What corrections would do", table)
    if metrics.scopes:
        scopes = gap_tables.scopes_table(pair)
        yield _panel("Prompt, completion, all", scopes)
    for kind in group_tables.group_kinds(pair):
        table = group_tables.groups_table(kind, void=pair.void)
        yield _panel(kind.title, table)
    if metrics.floor is not None:
        floor = gap_tables.floor_table(metrics.floor)
        yield _panel("Noise floor", floor)


def _panel(title: str, *blocks: Block) -> GroupBlock:
    head = heading(title, level=3)
    return GroupBlock("panel", (head, *blocks))


# The other pairs.


def _folded_pair(source: PageSource, pair: PairReport, place: int) -> FoldedBlock:
    """Verdict and reasons, all numbers, some charts and the worst tokens."""
    arrays = source.pair(pair)
    errors = pair.metrics.errors
    mae = nats_cell(errors.mae, void=pair.void)
    histogram = _histogram(pair, arrays, "")
    charts = (histogram, *_bucket_charts(pair))
    worst = gap_tables.worst_tokens_on_a_page(pair.worst)
    summary = (
        Span(f"{pair.name} "),
        tables.verdict_tag(pair),
        Span(" "),
        MutedSpan("MAE ", mae),
    )
    blocks = (
        *_size_and_reasons(source.report, pair),
        *_numbers(pair),
        heading("Pictures", level=3),
        GroupBlock("grid", charts),
        heading("Worst tokens", level=3),
        _or_nothing(worst),
    )
    return FoldedBlock(
        summary=summary,
        blocks=blocks,
        pair=True,
        void=pair.void,
        anchor=f"p{place}",
    )
