"""The main pair of a report in brief: its numbers, floor, limits, corrections, where
the gap sits and where it comes from.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from logdrift.core.compare.buckets import Bucket
from logdrift.core.compare.corrections import WhatIf
from logdrift.core.compare.decomposition import Decomposition, ReferenceErrors
from logdrift.core.compare.floor import Floor, SelfGap
from logdrift.core.compare.limits import JudgedLimit
from logdrift.core.compare.metric import METRICS
from logdrift.core.numbers import (
    exact,
    fixed,
    interval_text,
    multiple_text,
    percentage,
)
from logdrift.core.report.document import (
    Block,
    Blocks,
    Gap,
    LineBlock,
    SentenceBlock,
    SeriesBlock,
    Span,
    TableBlock,
    TableColumn,
    TableRow,
)
from logdrift.core.report.group_tables import groups_in_brief
from logdrift.core.report.limit_words import LIMIT_MARKS, conclusion, limit_tone
from logdrift.core.report.pair_numbers import (
    MetricValue,
    bounds_text,
    floor_multiple,
    has_section,
    kept_text,
    metric_value,
    most_text,
)
from logdrift.core.report.records import PairReport, SessionReport
from logdrift.core.report.standing import LEGEND, counts_in_words, mark_cell
from logdrift.core.report.table_parts import number_column

_CORRECTIONS = 6
_SHARES = (
    "Percent are shares of the mean of Δ², in which the two parts add up. MAE and RMSE"
    " do not add up: a part can be larger than all of it."
)
_STATES = {None: "unknown", True: "held", False: "exceeded"}


def pair_blocks(report: SessionReport, pair: PairReport) -> Blocks:
    """All sections of one pair but for its verdict and its worst tokens; dim where the
    pair cannot be compared.
    """
    sections = (
        _numbers(pair),
        _floor(pair),
        _limits(pair),
        _corrections(pair),
        _buckets(pair),
        _origin(report, pair),
    )
    for section in sections:
        blocks = list(section)
        if blocks:
            yield Gap()
            if pair.void:
                blocks = list(map(_dimmed, blocks))
            yield from blocks


def _dimmed(block: Block) -> Block:
    match block:
        case TableBlock():
            rows = [replace(row, tone="dim") for row in block.rows]
            return replace(block, rows=tuple(rows))
        case SentenceBlock() | LineBlock() | SeriesBlock():
            if not block.tone:
                return replace(block, tone="dim")
    return block


def _numbers(pair: PairReport) -> Blocks:
    """The headlines; Markdown, HTML and JSON have all numbers."""
    metrics = pair.metrics
    values = []
    for metric in METRICS.values():
        is_known = has_section(metrics, metric.section)
        if metric.headline and is_known:
            value = metric_value(metric, metrics, pair.usual)
            values.append(value)
    yield TableBlock(
        columns=(
            TableColumn("", 2),
            TableColumn("number", 21),
            TableColumn("value and 95% interval", 30),
            # Never cut: a range that ends in an ellipsis helps no reader.
            TableColumn("good", 0, wraps=True),
        ),
        rows=tuple(_number(value, pair) for value in values),
        title_tone="bold",
    )
    if not pair.void:
        standings = [value.standing for value in values]
        yield SentenceBlock(counts_in_words(standings))
        yield LineBlock(LEGEND, "dim")
    ci95 = metrics.ci95
    if ci95.method == "blocks":
        yield SentenceBlock(
            f"Intervals are over {ci95.units} blocks of tokens: too few sequences to"
            " draw from.",
            "dim",
        )
    elif ci95.method is None and metrics.tokens:
        yield LineBlock("No interval: too few tokens.", "dim")


def _number(value: MetricValue, pair: PairReport) -> TableRow:
    text = value.text
    metric = value.metric
    good = metric.good
    if metric.path == "errors.mae" and pair.usual is not None:
        good = f"{pair.usual.words} in {pair.usual.dtype}"
    if value.interval is not None:
        text = f"{text} {interval_text(value.interval, metric.format)}"
    mark = Span("") if pair.void else mark_cell(value.standing)
    return TableRow((mark, metric.title, text, good))


def _floor(pair: PairReport) -> Blocks:
    floor = pair.metrics.floor
    if floor is None:
        yield SentenceBlock(
            "Noise floor: unknown. Capture with repeats=2 to measure what a repeat"
            " alone differs by."
        )
        return
    yield SentenceBlock(_floor_in_words(pair, floor))
    batch_gaps = {"A": floor.batch_a, "B": floor.batch_b}
    for side, gap in batch_gaps.items():
        if gap is not None:
            yield SentenceBlock(
                f"Batch shape: {side} alone against among others, MAE {fixed(gap.mae)}."
            )


def _floor_in_words(pair: PairReport, floor: Floor) -> str:
    label_a, label_b = pair.labels
    measured: dict[str, str] = {}
    if floor.a is not None:
        measured["A"] = f"{fixed(floor.a.mae)} ({_repeats(floor.a, label_a)})"
    if floor.b is not None:
        measured["B"] = f"{fixed(floor.b.mae)} ({_repeats(floor.b, label_b)})"
    sides = [f"{side} {words}" for side, words in measured.items()]
    repeats = "; ".join(sides) or "no repeats"
    words = [f"Noise floor (MAE of repeats): {repeats}."]
    if len(measured) == 1:
        missing = "B" if "A" in measured else "A"
        words.append(f"{missing} was not repeated.")
    mae = pair.metrics.errors.mae
    times = floor_multiple("errors.mae", mae, floor)
    if times is not None:
        meaning = _against_floor(times, floor, measured)
        words.append(meaning)
    return " ".join(words)


def _against_floor(times: float, floor: Floor, measured: Collection[str]) -> str:
    """What a gap of so many times the floor means; ``measured`` are the sides with
    repeats.
    """
    if floor.mae:
        return f"The gap is {multiple_text(times)} that."
    if len(measured) == 1:
        # The other side may still have noise.
        (side,) = measured
        return f"So the gap is not {side}'s noise."
    return "So the gap is real."


def _repeats(gap: SelfGap, label: str) -> str:
    """What was held against what; a decode cannot be repeated, so another path of its
    backend speaks for it.
    """
    words = f"{gap.label} against {gap.against}"
    own = _path(label)
    if _path(gap.against) == own:
        return words
    return f"{words}, in place of {own}, which cannot be repeated"


def _path(label: str) -> str:
    path_name, _, _ = label.partition("#")
    _, _, path = path_name.rpartition("/")
    return path


def _limits(pair: PairReport) -> Blocks:
    """Those that are exceeded and the user's own; of the others the count."""
    limits = [judged for judged in pair.limits if judged.limit.level != "other"]
    if not limits:
        return
    rows = map(_limit, filter(_stands_out, limits))
    yield LineBlock(f"Limits of the frameworks: {_counts(limits)} (--md has all)")
    mae = pair.metrics.errors.mae
    normal = conclusion(limits, mae, pair.usual, void=pair.void)
    yield SentenceBlock(normal.text, normal.tone, indent=2)
    yield TableBlock(
        columns=(
            TableColumn("", 11, gap=2),
            TableColumn("", 37, most=36),
            TableColumn("", 0),
        ),
        rows=tuple(rows),
        cut=True,
    )
    exact_ones = filter(_exact_and_held, limits)
    frameworks = [judged.limit.framework for judged in exact_ones]
    if frameworks:
        names = ", ".join(dict.fromkeys(frameworks))
        yield SentenceBlock(
            f"Also the limits for deterministic runs hold: {names}.", indent=2
        )


def _counts(limits: list[JudgedLimit]) -> str:
    """How many held, were exceeded, could not be judged; those for bitwise equal
    setups are counted as the last alone.
    """
    usual = [judged.ok for judged in limits if judged.limit.level != "exact"]
    held = usual.count(True)
    exceeded = usual.count(False)
    counts = [f"{held} held", f"{exceeded} exceeded"]
    unjudged = [judged for judged in limits if judged.ok is None]
    if unjudged:
        counts.append(f"{len(unjudged)} not judged")
    return ", ".join(counts)


def _stands_out(judged: JudgedLimit) -> bool:
    if judged.limit.level == "own":
        return True
    is_exceeded = judged.ok is False
    return is_exceeded and judged.limit.level != "exact"


def _exact_and_held(judged: JudgedLimit) -> bool:
    is_held = judged.ok is True
    return is_held and judged.limit.level == "exact"


def _limit(judged: JudgedLimit) -> TableRow:
    limit = judged.limit
    name = limit.name
    if limit.level != "own":
        _, _, last_part = name.rpartition("/")
        name = f"{limit.framework}: {last_part}"
    # Exact, as in the other formats: rounded, one that is exceeded can read as held.
    numbers = f"{exact(judged.value)} for {bounds_text(limit)}"
    mark = LIMIT_MARKS[judged.ok]
    state = f"{mark} {_STATES[judged.ok]}"
    return TableRow((state, name, numbers), limit_tone(judged))


def _corrections(pair: PairReport) -> Blocks:
    rules = pair.metrics.what_if
    acting = [rule for rule in rules if rule.tokens]
    if not acting:
        return
    acting.sort(key=_sequences_cut, reverse=True)
    rows = map(_correction, acting[:_CORRECTIONS])
    yield LineBlock(
        "Corrections that would act (share of sequences and tokens cut or masked)"
    )
    yield TableBlock(
        columns=(
            TableColumn("", 30, gap=2),
            number_column("", 7, gap=1),
            number_column("", 7, gap=1),
            TableColumn("", 0, gap=2),
        ),
        rows=tuple(rows),
        cut=True,
    )
    rest = len(acting) - _CORRECTIONS
    if rest > 0:
        yield LineBlock(f"  and {rest} more (--md has all)", "dim")


def _sequences_cut(rule: WhatIf) -> float:
    return rule.sequences or 0


def _correction(rule: WhatIf) -> TableRow:
    kept = kept_text(rule)
    if rule.measure == "ratio":
        kept = f"{rule.level} {kept}"
    sequences = percentage(rule.sequences)
    tokens = percentage(rule.tokens)
    return TableRow(
        (
            f"{rule.rule} {kept}",
            most_text(sequences, rule),
            most_text(tokens, rule),
            rule.name,
        )
    )


def _buckets(pair: PairReport) -> Blocks:
    buckets = pair.metrics.buckets
    kinds = {
        "MAE by probability under B": buckets.by_probability,
        "MAE by position": buckets.by_position,
        "MAE by entropy, nats": buckets.by_entropy or (),
    }
    first = True
    for title, kind in kinds.items():
        filled = [bucket for bucket in kind if bucket.tokens]
        if not filled:
            continue
        if not first:
            yield Gap()
        first = False
        yield LineBlock(f"{title}: from, tokens, MAE")
        yield _series(filled)
    yield from groups_in_brief(pair)


def _series(buckets: list[Bucket]) -> SeriesBlock:
    starts = [f"{bucket.low:g}" for bucket in buckets]
    counts = [f"{bucket.tokens:,}" for bucket in buckets]
    errors = [fixed(bucket.mae) for bucket in buckets]
    rows = map(tuple, (starts, counts, errors))
    return SeriesBlock(tuple(rows))


def _origin(report: SessionReport, pair: PairReport) -> Blocks:
    """The decomposition to which the pair belongs."""
    splits = [split for split in report.splits if _belongs(pair, split)]
    if not splits:
        return
    split = splits[0]
    yield LineBlock(f"Where it comes from: {split.trainer} → {split.rollout}")
    parts = (
        ("all of it", split.total, None),
        (
            "decode against prefill, one engine",
            split.decode_vs_prefill,
            split.share_decode_vs_prefill,
        ),
        (
            "engine against trainer, both prefill",
            split.prefill_vs_trainer,
            split.share_prefill_vs_trainer,
        ),
    )
    for name, term, share in parts:
        if term is not None:
            line = f"  {name:37} MAE {fixed(term.mae)}  RMSE {fixed(term.rmse)}"
            if share is not None:
                line += f"  {percentage(share)}"
            yield LineBlock(line, "")
    if split.decode_vs_prefill is not None:
        yield SentenceBlock(_SHARES, "dim", indent=2)
    if split.reference is not None:
        rollout, _, _ = split.rollout.partition("/")
        text = _own_errors(split.reference, rollout)
        yield SentenceBlock(text, indent=2)


def _belongs(pair: PairReport, split: Decomposition) -> bool:
    if split.trainer not in pair.labels:
        return False
    is_rollout = split.rollout in pair.labels
    return is_rollout or split.rollout == split.prefill


def _own_errors(reference: ReferenceErrors, rollout: str) -> str:
    return (
        f"Own error against {reference.label}, RMSE: trainer"
        f" {fixed(reference.trainer.rmse)}, {rollout} {fixed(reference.rollout.rmse)}."
        f" Independent, they would give {fixed(reference.expected_rmse)}; seen is"
        f" {fixed(reference.rmse)}."
    )
