"""The report of a session for a terminal: what failed, then the answer with its
reasons, then what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from logdrift.core.compare.gate import Reason
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.numbers import counted, fixed, percentage
from logdrift.core.report.document import (
    Block,
    Blocks,
    ContextCell,
    Gap,
    LineBlock,
    SentenceBlock,
    SplitBlock,
    TableBlock,
    TableColumn,
    TableRow,
    Tone,
)
from logdrift.core.report.gate_blocks import VERDICT_TONES, reason_blocks
from logdrift.core.report.one_side import nothing_to_compare
from logdrift.core.report.pair_numbers import SCOPES, left_out
from logdrift.core.report.pair_text import pair_blocks
from logdrift.core.report.records import PairReport, SessionReport, WorstToken
from logdrift.core.report.session_facts import (
    failure_log,
    observed_facts,
    size_in_words,
)
from logdrift.core.report.table_parts import number_column
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.retokenised import in_words
from logdrift.core.words import MEANINGLESS, VERDICTS

SHOWN_WORST = 10
LOG_LINES = 5
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_NUMBERS = ("MAE", "RMSE", "p99", "max", "Pearson", "exact")
_TITLE_TONES: Mapping[str, Tone] = {"caution": "warn", "not_comparable": "bad"}
"""That of `comparable` is bold: that two may be compared says not that all is well."""
_HEADER_INDENT = 11
_RUNNING = (
    "Partial: this session is being written right now, and all numbers cover what is"
    " finished so far."
)


def session_text(report: SessionReport, main: PairLabels | None = None) -> list[Block]:
    """What `logdrift report` prints.

    ``main`` is the pair whose reasons and worst tokens are shown (default: the first of
    the report).
    """
    pair = report.main_pair(main)
    faults = [*_failures(report), *_broken(report)]
    session = [*_header(report), Gap(), *_captures(report.captures)]
    if pair is None:
        nothing = nothing_to_compare(report.captures)
        return [*faults, SentenceBlock(nothing), Gap(), *session]
    return [
        *faults,
        *_verdict(report, pair),
        Gap(),
        *session,
        Gap(),
        *_overview(report.pairs),
        *pair_blocks(report, pair),
        Gap(),
        *_worst(pair),
        *_other_reasons(report.pairs, pair),
    ]


def _failures(report: SessionReport) -> Blocks:
    failed = [info for info in report.captures if info.status == "failed"]
    for info in failed:
        first, *log = failure_log(info)
        yield SentenceBlock(f"FAILED {info.label}: {first}", "bad")
        for line in log[-LOG_LINES:]:
            yield LineBlock(f"  {line}", "dim")
        yield SentenceBlock(
            f"whole log: logs/{info.backend}.log in the session folder", indent=2
        )
    if failed:
        yield Gap()


def _broken(report: SessionReport) -> Blocks:
    """Which captures have NaN: before everything else, and once for all pairs."""
    texts: dict[str, None] = {}
    for pair in report.pairs:
        for reason in pair.gate.reasons:
            if reason.code == "nan":
                texts[reason.text] = None
    for text in texts:
        yield SentenceBlock(f"BROKEN {text}", "bad")
    if texts:
        yield Gap()


def _header(report: SessionReport) -> Blocks:
    rows = {
        "session": report.session,
        "title": report.title,
        "model": _model(report),
        "sequences": _sequences(report),
        "ids": _ids(report),
        "created": report.created.replace("T", " "),
        "state": report.state,
    }
    for name, text in rows.items():
        if text:
            yield SentenceBlock(text, "", _HEADER_INDENT, name, "bold")
    if report.state == "running":
        yield SentenceBlock(_RUNNING, "warn")


def _ids(report: SessionReport) -> str:
    """Whether the ids are those of their own text; empty where nothing tells."""
    if report.retokenised is None:
        return ""
    return in_words(report.retokenised)


def _model(report: SessionReport) -> str:
    model = report.model
    if model.revision:
        return f"{model.id} @ {model.revision}"
    return model.id


def _sequences(report: SessionReport) -> str:
    planned = max(report.sequences_planned, report.sequences)
    return (
        f"{report.sequences:,} of {planned:,}, {counted(report.tokens, 'token')}"
        f" ({report.completion_tokens:,} of completions)"
    )


def _captures(captures: Sequence[CaptureInfo]) -> Blocks:
    if not captures:
        yield LineBlock("no captures", "")
        return
    titles = ("capture", "engine", "dtype", "device", "attention", "tokens", "status")
    columns = [TableColumn(title, right=title == "tokens") for title in titles]
    facts = map(observed_facts, captures)
    rows = map(_capture, captures)
    yield TableBlock(
        columns=tuple(columns),
        rows=tuple(rows),
        title_tone="bold",
        shrink=(4, 1, 0, 3, 2),
    )
    if any(None in observed for observed in facts):
        yield LineBlock("? = not observed", "dim")


def _or_question_mark(fact: str | None) -> str:
    if fact is None:
        return "?"
    return fact


def _capture(info: CaptureInfo) -> TableRow:
    version, dtype, device, attention = map(_or_question_mark, observed_facts(info))
    cells = (
        info.label,
        f"{info.engine} {version}",
        _DTYPES.get(dtype, dtype),
        device,
        attention,
        f"{info.tokens:,}",
        info.status,
    )
    tone: Tone = "bad" if info.status == "failed" else ""
    return TableRow(cells, tone)


def _overview(pairs: Sequence[PairReport]) -> Blocks:
    metrics = pairs[0].metrics
    scope = SCOPES[metrics.scope]
    yield LineBlock(f"A → B over {scope}; Δ = log p_A - log p_B in nats")
    no_titles = ("",) * len(_NUMBERS)
    titles = _overview_columns("    tokens", _NUMBERS)
    columns = _overview_columns("", no_titles)
    yield TableBlock(columns=titles, rows=())
    for place, pair in enumerate(pairs, 1):
        yield SplitBlock(
            left=f"{place:>2}  {pair.name}",
            right=VERDICTS[pair.gate.verdict],
            right_tone=VERDICT_TONES[pair.gate.verdict],
        )
        cells = tuple(_overview_cells(pair))
        row = TableRow(cells, _grey(pair))
        yield TableBlock(columns=columns, rows=(row,))
        if without := left_out(pair):
            yield SentenceBlock(without, "warn", indent=4)


def _overview_columns(first: str, titles: Sequence[str]) -> tuple[TableColumn, ...]:
    numbers = [number_column(title, 10) for title in titles]
    return (TableColumn(first, 16), *numbers)


def _overview_cells(pair: PairReport) -> Iterator[str]:
    errors = pair.metrics.errors
    yield f"    {pair.metrics.tokens:,}"
    yield fixed(errors.mae)
    yield fixed(errors.rmse)
    yield fixed(errors.p99)
    yield fixed(errors.max_abs)
    if errors.pearson is None:
        yield "-"
    else:
        yield f"{errors.pearson:.6f}"
    yield percentage(errors.exact_fraction)


def _grey(pair: PairReport) -> Tone:
    """The tone of a pair's numbers: dim where they mean nothing."""
    if pair.void:
        return "dim"
    return ""


def _verdict(report: SessionReport, pair: PairReport) -> Blocks:
    yield _title(pair)
    if pair.sentence:
        yield SentenceBlock(pair.sentence, "bold", indent=2)
    if not pair.void:
        size = _size_in_words(report, pair)
        yield SentenceBlock(size, indent=2)
    yield from reason_blocks(pair.gate.reasons)
    if pair.void:
        yield SentenceBlock(MEANINGLESS, "dim", indent=2)


def _title(pair: PairReport) -> SentenceBlock:
    verdict = pair.gate.verdict
    tone = _TITLE_TONES.get(verdict, "bold")
    return SentenceBlock(f"{pair.name}: {VERDICTS[verdict]}", tone)


def _size_in_words(report: SessionReport, pair: PairReport) -> str:
    mae = pair.metrics.errors.mae
    number = ""
    if mae is not None:
        number = f"MAE {fixed(mae)} nats."
    if without := left_out(pair):
        number = f"Of the rest ({without}): {number}"
    words = size_in_words(report, pair)
    return f"{number} {words}".strip()


def _worst(pair: PairReport) -> Blocks:
    worst = pair.worst[:SHOWN_WORST]
    if not worst:
        tokens = pair.metrics.tokens
        yield SentenceBlock("No token differs." if tokens else "No token to show.")
        return
    title = f"The {len(worst)} worst tokens"
    if len(pair.worst) > len(worst):
        title += f" (--json has {len(pair.worst)})"
    rows = [_worst_token(token, pair) for token in worst]
    yield LineBlock(title)
    yield TableBlock(
        columns=(
            number_column("seq", 6),
            number_column("pos", 6, gap=1),
            number_column("Δ", 8, gap=1),
            number_column("log p_A", 8, gap=1),
            number_column("log p_B", 8, gap=1),
            number_column("ranks", 9, gap=1),
            TableColumn("in context", 0, gap=2),
        ),
        rows=tuple(rows),
    )


def _worst_token(token: WorstToken, pair: PairReport) -> TableRow:
    tone: Tone = "" if pair.void else "bold"
    readable = token.readable
    context = ContextCell(readable.before, readable.piece, readable.after, tone)
    return TableRow(
        (
            str(token.sequence),
            str(token.position),
            fixed(token.delta, sign=True),
            fixed(token.logprob_a),
            fixed(token.logprob_b),
            token.ranks,
            context,
        ),
        _grey(pair),
    )


def _other_reasons(pairs: Sequence[PairReport], main: PairReport) -> Blocks:
    """Reasons of the other pairs that the main pair does not have, each of them
    once.
    """
    texts = {reason.text for reason in main.gate.reasons}
    for pair in pairs:
        reasons = pair.gate.reasons
        fresh = [reason for reason in reasons if _is_new(reason, texts)]
        texts |= {reason.text for reason in fresh}
        if fresh:
            yield Gap()
            yield _title(pair)
            yield from reason_blocks(fresh)


def _is_new(reason: Reason, texts: set[str]) -> bool:
    is_shown_before = reason.text in texts
    return not is_shown_before and reason.severity != "info"
