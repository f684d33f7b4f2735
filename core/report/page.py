"""The report of a session as a page: the main pair with pictures and its text, every
other pair folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.numbers import UNKNOWN, figure
from logdrift.core.report import gap_tables, limit_tables, tables
from logdrift.core.report.charts import more_charts
from logdrift.core.report.comment import counts, interval_note
from logdrift.core.report.document import (
    Block,
    CardBlock,
    ChartBlock,
    FailureBlock,
    FoldedBlock,
    GroupBlock,
    HeadBlock,
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
from logdrift.core.report.page_parts import heading, voided
from logdrift.core.report.page_text import (
    shown_sequences,
    text_by_delta,
    worst_sequences,
)
from logdrift.core.report.pair_numbers import (
    left_out,
    metric_value,
    split_title,
)
from logdrift.core.report.records import PairLabels, PairReport, SessionReport
from logdrift.core.report.session_facts import failure_log, size_in_words
from logdrift.core.report.usual import usual_range
from logdrift.core.session.reader import Session
from logdrift.core.words import MEANINGLESS, SEVERITIES

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
_LINKS = (
    ("pairs", "All pairs"),
    ("charts", "Charts"),
    ("thresholds", "Limits"),
    ("metrics", "Numbers"),
    ("worst", "Worst tokens"),
    ("text", "Text"),
    ("captures", "Captures"),
)


_NOTHING = "Nothing to compare: fewer than two captures have a finished sequence."
_RUNNING = "Partial: this session is being written right now."


@dataclass(frozen=True, eq=False)
class PageSource:
    """What a page is made of. ``made`` are pairs by their labels whose arrays are there
    already; others are made from the session.
    """

    report: SessionReport
    session: Session
    made: Mapping[tuple[str, str], Pair]

    def pair(self, pair: PairReport) -> Pair:
        """The arrays of a pair."""
        made = self.made.get(pair.labels)
        return made or make_pair(self.session, *pair.labels)


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
    blocks: list[Block] = [_head(report, shown), *_failures(report)]
    if shown is not None:
        place = report.pairs.index(shown)
        blocks += _main_pair(source, shown, place, (sequences, tokens))
    others = [
        _folded_pair(source, pair, place)
        for place, pair in enumerate(report.pairs)
        if pair is not shown
    ]
    if others:
        blocks += [heading("The other pairs in full", "others"), *others]
    blocks.append(heading("Captures", "captures"))
    blocks.append(GroupBlock("panel", (_captures(report),)))
    return blocks


def _captures(report: SessionReport) -> Block:
    captures = tables.captures_table(report.captures)
    if captures.rows:
        return captures
    return ParagraphBlock((NumberCell(UNKNOWN),))


def _head(report: SessionReport, shown: PairReport | None) -> HeadBlock:
    head = HeadBlock(
        brand=f"logdrift report · session {report.session or 'unknown'}",
        title=report.title or report.session or "report",
        facts=tuple(filter(None, _head_facts(report))),
        warning="",
        kind="unknown",
        links=_LINKS,
    )
    if shown is None:
        return replace(head, warning=_NOTHING, links=())
    if report.state == "running":
        return replace(head, warning=_RUNNING, kind="caution")
    return head


def _head_facts(report: SessionReport) -> Iterator[str]:
    model = report.model
    name = f"model {model.id or 'unknown'}"
    if model.revision:
        name += f" @ {model.revision}"
    sequences = figure(report.sequences, "tokens")
    tokens = figure(report.tokens, "tokens")
    completions = figure(report.completion_tokens, "tokens")
    yield name
    yield f"{sequences} sequences, {tokens} tokens, {completions} of completions"
    yield report.created
    yield f"state {report.state or 'unknown'}"


def _failures(report: SessionReport) -> Iterator[Block]:
    for info in report.captures:
        if info.status == "failed":
            yield FailureBlock(info.label, tuple(failure_log(info)))


# The main pair.


def _main_pair(
    source: PageSource, pair: PairReport, place: int, most: tuple[int, int]
) -> Iterator[Block]:
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
    cards = GroupBlock("cards", tuple(_cards(report, pair)))
    yield GroupBlock("pair", (cards,), void, anchor=f"p{place}")
    yield heading("All pairs", "pairs")
    yield GroupBlock("panel", (tables.overview_table(report.pairs, to_pair),))
    yield heading(f"{pair.name} in pictures", "charts")
    yield GroupBlock("grid", tuple(_charts(report, pair, arrays)), void)
    yield from _more_charts(source.session, arrays, void)
    yield GroupBlock("part", tuple(_numbers(pair, "thresholds", "metrics")), void)
    yield heading("Worst tokens", "worst")
    yield from voided(void)
    worst = gap_tables.worst_tokens_on_a_page(pair.worst, to_sequence)
    yield GroupBlock("panel", (_or_nothing(worst),), void)
    yield from worst_sequences(pair, arrays, to_sequence)
    yield from text_by_delta(source.session, pair, arrays, shown)


def _or_nothing(worst: TableBlock) -> Block:
    if worst.rows:
        return worst
    return ParagraphBlock((Span("No token differs."),))


def _verdict(report: SessionReport, pair: PairReport) -> VerdictBlock:
    blocks = list(_size_and_reasons(report, pair))
    if pair.sentence:
        answer = ParagraphBlock((Span(pair.sentence, "bold"),), "answer")
        blocks.insert(0, answer)
    return VerdictBlock(
        pair=PairCell(*pair.labels),
        verdict=pair.gate.verdict,
        blocks=tuple(blocks),
    )


def _size_and_reasons(report: SessionReport, pair: PairReport) -> Iterator[Block]:
    """What every pair has: its size in a sentence, and the gate's reasons."""
    yield ParagraphBlock(_sentence(report, pair))
    weights = list(SEVERITIES)
    reasons = sorted(
        pair.gate.reasons, key=lambda reason: weights.index(reason.severity)
    )
    if reasons:
        texts = ((reason.severity, reason.text or reason.code) for reason in reasons)
        yield ReasonsBlock(tuple(texts))


def _sentence(report: SessionReport, pair: PairReport) -> Inline:
    if pair.void:
        return (Span(MEANINGLESS, "bold"),)
    tokens = counts(pair)
    if words := left_out(pair):
        tokens += f" ({words})"
    return (
        Span("MAE "),
        NumberCell(figure(pair.metrics.errors.mae)),
        Span(f" nats over {tokens}. {size_in_words(report, pair)}"),
    )


def _cards(report: SessionReport, pair: PairReport) -> Iterator[CardBlock]:
    for path in _CARDS:
        value = metric_value(METRICS[path], pair.metrics)
        metric = value.metric
        good = metric.good
        if path == "errors.mae":
            good = _usual(report, pair) or good
        lines = list(tables.notes_of(value))
        if good:
            lines.append(f"Good: {good}.")
        yield CardBlock(
            title=metric.title,
            number=NumberCell(value.text, unit=tables.unit_behind(value)),
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
    yield ChartBlock(
        name="position",
        title="Δ over the position",
        text=(
            "Mean (line) and the middle 80% of the tokens (band), all sequences"
            " together."
        ),
        data=(arrays, scope, mask),
    )
    text = "Tokens by |Δ|. Orange: A gives more; blue: B gives more."
    exact = int(np.count_nonzero(delta == 0))
    if exact:
        text += f" {exact:,} tokens with Δ exactly 0 are not drawn."
    yield _histogram(pair, arrays, text)
    yield ChartBlock(
        name="density",
        title="log p_A against log p_B",
        text=(
            "Stronger colour: more tokens (log scale). On the dashed line both sides"
            " agree."
        ),
        data=(arrays.logprob_a[mask], arrays.logprob_b[mask]),
    )
    yield from _bucket_charts(pair)
    for split in report.splits:
        if {split.rollout, split.trainer} & {*pair.labels}:
            yield ChartBlock(
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
    floor = metrics.floor.mae if metrics.floor is not None else None
    sizes = {
        "noise floor": floor,
        "MAE": metrics.errors.mae,
        "p99": metrics.errors.p99,
    }
    delta = arrays.delta[arrays.scope_mask(metrics.scope)]
    return ChartBlock("histogram", "How large Δ is", text, (delta, sizes))


def _bucket_charts(pair: PairReport) -> Iterator[ChartBlock]:
    for kind in gap_tables.bucket_kinds(pair):
        yield ChartBlock(
            name="buckets",
            title=kind.title,
            text=f"MAE (bar), RMSE (dot) and number of tokens by {kind.label}.",
            data=(kind,),
            table=gap_tables.buckets_table(kind, kind.buckets, void=pair.void),
        )


def _more_charts(session: Session, arrays: Pair, void: bool) -> Iterator[Block]:
    """The charts of the registry that the page does not show in its own panels."""
    charts = tuple(
        ChartBlock("registered", chart.heading, words, (chart,))
        for chart, words in more_charts(session, arrays)
    )
    if charts:
        grid = GroupBlock("grid", charts, void)
        yield FoldedBlock((Span("More charts"),), (grid,))


def _numbers(
    pair: PairReport, limits_anchor: str = "", metrics_anchor: str = ""
) -> Iterator[Block]:
    """Everything of a pair that is a table, but for worst tokens and sequences."""
    level = 2 if limits_anchor else 3
    warning = tuple(voided(pair.void)) if limits_anchor else ()
    yield heading("Published and own limits", limits_anchor, level)
    yield from warning
    limits = GroupBlock("dim", tuple(_limits(pair)))
    yield GroupBlock("panel", (limits,))
    yield heading("Every number", metrics_anchor, level)
    yield from warning
    yield GroupBlock("columns", tuple(_number_panels(pair)))


def _limits(pair: PairReport) -> Iterator[Block]:
    if pair.limits:
        yield ParagraphBlock((Span(limit_tables.limits_in_words(pair)),), "muted")
        yield limit_tables.limits_with_notes(pair)
    else:
        yield ParagraphBlock((Span("No limits were evaluated."),))


def _number_panels(pair: PairReport) -> Iterator[GroupBlock]:
    metrics = pair.metrics
    # What the intervals are of stands below the first table.
    notes: list[Block] = []
    if metrics.ci95.method is not None:
        notes.append(ParagraphBlock((Span(interval_note(pair)),), "muted"))
    for title, values in tables.number_tables(pair):
        yield _panel(title, tables.numbers_with_notes(values), *notes)
        notes.clear()
    if metrics.what_if:
        table = limit_tables.corrections_with_notes(pair)
        yield _panel("What corrections would do", table)
    if metrics.scopes:
        yield _panel("Prompt, completion, all", gap_tables.scopes_table(pair))
    if metrics.floor is not None:
        yield _panel("Noise floor", gap_tables.floor_table(metrics.floor))


def _panel(title: str, *blocks: Block) -> GroupBlock:
    return GroupBlock("panel", (heading(title, level=3), *blocks))


# The other pairs.


def _folded_pair(source: PageSource, pair: PairReport, place: int) -> FoldedBlock:
    """Verdict and reasons, all numbers, some charts and the worst tokens."""
    arrays = source.pair(pair)
    mae = NumberCell(figure(pair.metrics.errors.mae), void=pair.void)
    charts = (_histogram(pair, arrays, ""), *_bucket_charts(pair))
    worst = gap_tables.worst_tokens_on_a_page(pair.worst)
    return FoldedBlock(
        summary=(
            Span(f"{pair.name} "),
            tables.verdict_tag(pair),
            Span(" "),
            MutedSpan("MAE ", mae),
        ),
        blocks=(
            *_size_and_reasons(source.report, pair),
            *_numbers(pair),
            heading("Pictures", level=3),
            GroupBlock("grid", charts),
            heading("Worst tokens", level=3),
            _or_nothing(worst),
        ),
        pair=True,
        void=pair.void,
        anchor=f"p{place}",
    )
