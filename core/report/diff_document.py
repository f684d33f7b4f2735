"""A diff of two sessions as blocks: the answer first, then what it rests on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from logdrift.core.compare.gate import Reason
from logdrift.core.compare.metric import resolve
from logdrift.core.compare.uncertainty import Interval
from logdrift.core.errors import InputError
from logdrift.core.numbers import counted, fixed
from logdrift.core.report.diff import (
    SHOWN,
    DiffReport,
    DiffSide,
    DiffVerdict,
    MetricChange,
    TokenChange,
)
from logdrift.core.report.document import (
    Block,
    Blocks,
    ContextCell,
    Gap,
    GroupBlock,
    HeadBlock,
    HeadingBlock,
    LineBlock,
    SentenceBlock,
    Span,
    SplitBlock,
    TableBlock,
    TableColumn,
    TableRow,
    Tone,
)
from logdrift.core.report.gate_blocks import VERDICT_TONES, reason_blocks
from logdrift.core.report.setting_changes import SettingChange
from logdrift.core.report.table_parts import number_column
from logdrift.core.words import VERDICTS

SHOWN_SETTINGS = 16
_MAE = "errors.mae"
_OF_MANY = 2.98 / 1.96
"""How much wider an interval is that holds for 17 numbers at once."""

_TONES: dict[str | None, Tone] = {
    "better": "good",
    "worse": "bad",
    "no_change": "bold",
    "not_comparable": "bad",
}
_KINDS: dict[Tone, str] = {
    "good": "comparable",
    "warn": "caution",
    "bad": "not_comparable",
}
"""The verdict whose colour a page gives to an answer of each tone."""
_LAST = ("model", "sampling", "asked", "option", "environment", "extra")
"""Tables of settings, in the order in which they follow the facts."""
_BY_NAME = {
    "config": "config_digest",
    "tokenizer": "tokenizer_digest",
    "chat_template": "template_digest",
}
"""Tables whose differences are listed by name, and the digest of each, which then says
nothing more.
"""
_PLACES = {"session": "session", "a": "A", "b": "B"}
_INDENT = 8
"""Cells of the names before the header's lines."""


def diff_document(diff: DiffReport) -> list[Block]:
    """What `logdrift diff` prints."""
    return [
        diff_answer(diff),
        *_refusals(diff),
        Gap(),
        *_header(diff),
        Gap(),
        *_notes(diff),
        Gap(),
        _metrics(diff),
        *_chance_note(diff),
        Gap(),
        *_settings(diff.settings),
        Gap(),
        *_tokens(diff.improved, "improved"),
        Gap(),
        *_tokens(diff.worsened, "worsened"),
        *_cautions(diff),
    ]


def diff_comment(diff: DiffReport) -> list[Block]:
    """The same for an issue or a pull request, under a title."""
    title = Span(diff_title(diff))
    return [HeadingBlock(2, (Span("logdrift diff: "), title)), *diff_document(diff)]


def diff_page(diff: DiffReport) -> list[Block]:
    """The same as a page: the answer at its top, the other parts in panels."""
    answer = diff_answer(diff)
    blocks = [block for block in diff_document(diff) if block != answer]
    earlier, later = diff.earlier, diff.later
    facts = [f"model {earlier.model}"]
    if later.model != earlier.model:
        facts.append(f"then {later.model}")
    facts += [earlier.created, later.created]
    head = HeadBlock(
        brand="logdrift diff",
        title=diff_title(diff),
        facts=tuple(filter(None, facts)),
        warning=answer.text,
        kind=_KINDS.get(answer.tone, "unknown"),
        links=(),
    )
    parts = [GroupBlock("panel", tuple(part)) for part in _parts(blocks)]
    return [head, *parts]


def diff_title(diff: DiffReport) -> str:
    return f"{diff.earlier.session} → {diff.later.session}"


def _parts(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """What stands between gaps."""
    for is_gap, part in itertools.groupby(blocks, lambda block: isinstance(block, Gap)):
        if not is_gap:
            yield list(part)


def _sides(diff: DiffReport) -> dict[str, DiffSide]:
    """The two sessions, by the words for them."""
    return {"old": diff.earlier, "new": diff.later}


def _refusals(diff: DiffReport) -> Blocks:
    """What makes the numbers meaningless comes before them."""
    sides = _sides(diff)
    refused = [name for name in sides if not sides[name].comparable]
    for name in refused:
        side = sides[name]
        word = VERDICTS["not_comparable"]
        yield SentenceBlock(f"{word} in {name}: {side.a} → {side.b}", "bad")
        yield from reason_blocks(side.gate.reasons)
    between = _of_severity(diff.between, "not_comparable")
    if between:
        yield LineBlock(f"{VERDICTS['not_comparable']}: two models", "bad")
        yield from reason_blocks(between)


def _of_severity(reasons: Iterable[Reason], severity: str) -> list[Reason]:
    return [reason for reason in reasons if reason.severity == severity]


def _header(diff: DiffReport) -> Blocks:
    for name, side in _sides(diff).items():
        state = ""
        if side.state != "complete":
            state = f", {side.state}"
        yield _headed(name, f"{side.session}{state}")
        yield SplitBlock(
            left=f"{side.a} → {side.b}",
            right=VERDICTS[side.gate.verdict],
            right_tone=VERDICT_TONES[side.gate.verdict],
            indent=_INDENT,
        )
    yield _headed("common", _what_is_common(diff))


def _headed(name: str, text: str) -> SentenceBlock:
    return SentenceBlock(text, indent=_INDENT, mark=name, mark_tone="bold")


def _what_is_common(diff: DiffReport) -> str:
    matched = diff.matched
    words = _common_sequences(diff)
    parted = matched.sequences - matched.whole
    if parted:
        words += f", {parted:,} of them up to where the completions part"
    token = "token" if diff.scope == "all" else f"{diff.scope} token"
    return f"{words}; {counted(matched.scored, token)} scored in both"


def _common_sequences(diff: DiffReport) -> str:
    """How many sequences both have, of how many."""
    count = diff.matched.sequences
    words = counted(count, "sequence")
    earlier, later = diff.earlier.sequences, diff.later.sequences
    if count == earlier == later:
        return f"all {words}" if count > 1 else words
    return f"{words}, of {earlier:,} in old and {later:,} in new"


def diff_answer(diff: DiffReport) -> SentenceBlock:
    """Better, worse or no change beyond noise, on the MAE, in the tone of what it
    means.
    """
    mae = diff.mae
    if mae is None or mae.change is None:
        words = "No MAE: no common token has a finite difference in both sessions."
        return SentenceBlock(words, "warn")
    tone = _TONES.get(diff.verdict, "warn")
    return SentenceBlock(_answer_in_words(mae, diff.verdict), tone)


def _answer_in_words(mae: MetricChange, verdict: DiffVerdict | None) -> str:
    numbers = f"MAE {fixed(mae.earlier)} → {fixed(mae.later)} nats"
    if verdict == "not_comparable":
        return "NOT COMPARABLE, so the change means nothing."
    share = _share(mae)
    if verdict is None:
        return f"Whether this is noise cannot be said: {numbers}{share}."
    if mae.change == 0:
        return f"No change at all: {numbers}."
    interval = f"95% interval of the change {_range(mae.ci95)}"
    if verdict != "no_change":
        return f"{verdict.upper()}, beyond noise: {numbers}{share}; {interval}."
    if _holds_zero(mae.ci95):
        return f"No change beyond noise: {numbers}{share}; {interval}."
    floor = fixed(mae.floor)
    return f"No change beyond noise: {numbers}{share}, below the noise floor {floor}."


def _share(mae: MetricChange) -> str:
    """By how much of what it was: `` (-87.1%)``."""
    if not mae.earlier or mae.change is None:
        return ""
    share = 100 * mae.change / mae.earlier
    return f" ({share:+.1f}%)"


def _notes(diff: DiffReport) -> Iterator[SentenceBlock]:
    """What the interval and the verdict rest on."""
    if diff.changes.method is None:
        yield SentenceBlock("No interval: the common tokens are too few to draw from.")
    elif diff.changes.method == "blocks":
        yield SentenceBlock(
            "Too few common sequences: the intervals are over"
            f" {diff.changes.units:,} blocks of tokens and say nothing of other"
            " prompts."
        )
    cautions = _of_severity(diff.between, "caution")
    yield from reason_blocks(cautions)
    yield SentenceBlock(_floors(diff))


def _floors(diff: DiffReport) -> str:
    if not any(diff.floors):
        return "Noise floor not measured: capture with repeats = 2."
    words = []
    floor, later_floor = diff.floors
    floors = {"old": floor, "new": later_floor}
    for name, floor in floors.items():
        size = "not measured"
        if floor is not None:
            size = fixed(floor.mae)
        words.append(f"{name} {size}")
    return f"Noise floor (MAE between repeats): {', '.join(words)}."


def _holds_zero(ends: Interval | None) -> bool:
    if ends is None:
        return False
    low, high = ends
    return low <= 0 <= high


def _range(ends: Interval | None) -> str:
    if ends is None:
        return "-"
    low, high = ends
    return f"{fixed(low, True)} to {fixed(high, True)}"


def _metrics(diff: DiffReport) -> TableBlock:
    meaningless = diff.verdict == "not_comparable"
    rows = [_metric(row, meaningless) for row in diff.metrics]
    return TableBlock(
        columns=(
            TableColumn("metric", 19),
            number_column("old", 9),
            number_column("new", 9),
            number_column("change", 9),
            TableColumn("95% of the change", 20, gap=2),
            TableColumn("verdict", 0, gap=2),
        ),
        rows=tuple(rows),
    )


def _metric(row: MetricChange, meaningless: bool) -> TableRow:
    if meaningless or row.verdict is None:
        verdict = Span("-")
    else:
        verdict = _verdict_of(row)
    return TableRow(
        (
            _short(row.metric),
            fixed(row.earlier),
            fixed(row.later),
            fixed(row.change, True),
            _range(row.ci95),
            verdict,
        ),
        tone="dim" if meaningless else "",
    )


def _verdict_of(row: MetricChange) -> Span:
    """The verdict on one of many numbers: of 17 at 95% one moves by chance, so all but
    the MAE have to move farther to be called better or worse.
    """
    if row.verdict is None:
        return Span("-")
    words = row.verdict.replace("_", " ")
    if row.verdict == "no_change":
        return Span(words, "dim")
    if row.metric != _MAE and _may_be_chance(row):
        return Span(f"{words}?", "dim")
    return Span(words, _TONES[row.verdict])


def _chance_note(diff: DiffReport) -> Iterator[SentenceBlock]:
    """What a verdict with a question mark means, where there is one."""
    if diff.verdict == "not_comparable":
        return
    moved = [row for row in diff.metrics if row.verdict in ("better", "worse")]
    if any(row.metric != _MAE and _may_be_chance(row) for row in moved):
        count = len(diff.metrics)
        yield SentenceBlock(
            f"?: one of {count} numbers may move this far by chance.", "dim"
        )


def _may_be_chance(row: MetricChange) -> bool:
    """Whether the interval holds 0 once it is as wide as 17 numbers at once ask for
    (Bonferroni: 2.98 instead of 1.96 standard errors).
    """
    if row.ci95 is None or row.change is None:
        return False
    nearest = min(row.ci95, key=abs)
    return abs(row.change) < _OF_MANY * abs(row.change - nearest)


def _short(metric: str) -> str:
    """The shortest text that means this metric to `logdrift check` as well."""
    parts = metric.split(".")
    last = len(parts) - 1
    for start in range(last, 0, -1):
        short = ".".join(parts[start:])
        try:
            if resolve(short) == metric:
                return short
        except InputError:
            continue
    return metric


def _settings(settings: Sequence[SettingChange]) -> Blocks:
    rows = _telling(settings)
    if not rows:
        yield SentenceBlock("No setting that was observed changed.")
        return
    if len(rows) > 1:
        count = f"{len(rows)} settings"
    else:
        count = "1 setting"
    yield LineBlock(f"What changed ({count})")
    for row in rows[:SHOWN_SETTINGS]:
        place = f"  {_PLACES[row.where]}"
        text = _setting(row)
        yield SentenceBlock(text, indent=10, mark=place)
    if len(rows) > SHOWN_SETTINGS:
        rest = len(rows) - SHOWN_SETTINGS
        yield LineBlock(f"  and {rest} more (--json has all)", "")


def _telling(settings: Sequence[SettingChange]) -> list[SettingChange]:
    """The settings that say something of their own, facts first.

    The labels stand in the header, a digest says nothing where the differences of its
    table are listed by name, and what was asked says nothing where what was observed
    differs too.
    """
    keys = {(row.where, row.setting) for row in settings}
    tables = {_table_of(row.setting) for row in settings}
    named = tables & _BY_NAME.keys()
    digests = {_BY_NAME[table] for table in named}

    def telling(row: SettingChange) -> bool:
        of_model = row.setting.removeprefix("model.")
        if row.setting == "label" or of_model in digests:
            return False
        observed = row.setting.removeprefix("asked.")
        if observed == row.setting:
            return True
        key = (row.where, observed)
        return key not in keys

    rows = filter(telling, settings)
    return sorted(rows, key=_rank)


def _table_of(setting: str) -> str:
    """The table that a setting is an entry of."""
    table, _, _ = setting.partition(".")
    name, _, _ = table.partition(" ")
    return name


def _setting(row: SettingChange) -> str:
    text = f"{row.setting}: {row.earlier_text} → {row.later_text}"
    of_model = row.setting.removeprefix("model.")
    is_known = row.earlier is not None and row.later is not None
    if is_known and of_model in _BY_NAME.values():
        text += " (capture both again to see which keys)"
    return text


def _rank(row: SettingChange) -> int:
    """Facts come first, whatever their name: a table that is not among `_LAST` is a
    fact too.
    """
    table, dot, _ = row.setting.partition(".")
    if dot and table in _LAST:
        return _LAST.index(table)
    return -1


def _tokens(tokens: Sequence[TokenChange], word: str) -> Blocks:
    if not tokens:
        yield SentenceBlock(f"No token {word}.")
        return
    if len(tokens) > 1:
        count = f"{min(SHOWN, len(tokens))} tokens that"
    else:
        count = "token that"
    yield LineBlock(f"The {count} {word} most")
    yield TableBlock(
        columns=(
            number_column("seq", 6),
            number_column("pos", 6, gap=1),
            number_column("Δ old", 9, gap=1),
            number_column("Δ new", 9, gap=1),
            TableColumn("in context", 0, gap=2),
        ),
        rows=tuple(map(_token, tokens[:SHOWN])),
    )


def _token(token: TokenChange) -> TableRow:
    context = token.context
    cell = ContextCell(context.before, context.piece, context.after)
    return TableRow(
        (
            str(token.sequence_later),
            str(token.position),
            fixed(token.delta_earlier, True),
            fixed(token.delta_later, True),
            cell,
        )
    )


def _cautions(diff: DiffReport) -> Blocks:
    """Reasons of a caution, each once, with the session that it belongs to; those of
    refused pairs stand at the top.
    """
    texts: set[str] = set()
    for name, side in _sides(diff).items():
        if not side.comparable:
            continue
        cautions = _of_severity(side.gate.reasons, "caution")
        fresh = [reason for reason in cautions if reason.text not in texts]
        texts |= {reason.text for reason in fresh}
        if fresh:
            yield Gap()
            verdict = VERDICTS[side.gate.verdict]
            yield SentenceBlock(f"{name}, {side.a} → {side.b}: {verdict}")
            yield from reason_blocks(fresh)
