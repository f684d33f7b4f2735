"""The settings of captures as the screen shows them: the pair's own columns first, rows
in groups, and whether a difference matters to the pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from logdrift.core.compare.gate import Gate, Reason, Severity
from logdrift.core.report.settings import UNKNOWN, CaptureSetting, CaptureSettings
from logdrift.core.session.visible import visible

Group = Literal["matters", "numbers", "model", "run", "environment"]
PairKind = Literal["differs", "unknown", "elsewhere", "same"]
"""Of the two values of the pair; ``elsewhere``: only other captures differ."""

GROUPS: dict[Group, str] = {
    "matters": "What matters to this pair",
    "numbers": "Numbers: what is computed, and how precisely",
    "model": "Model, tokenizer and config",
    "run": "Run: engine, device, batches",
    "environment": "Environment variables",
}
MARKS: dict[PairKind, str] = {
    "differs": "≠",
    "unknown": "?",
    "elsewhere": "~",
    "same": "=",
}
LEGEND = "≠ differs in the pair  ? not known  ~ differs elsewhere  = alike"
_ORDER: tuple[PairKind, ...] = ("differs", "unknown", "elsewhere", "same")
_SEVERITY_ORDER: tuple[Severity | None, ...] = (
    "not_comparable",
    "caution",
    "info",
    None,
)
_MATTERS: dict[Severity, str] = {
    "not_comparable": "not comparable",
    "caution": "caution",
    "info": "note",
}
_NUMBERS = (
    "dtype",
    "dtype asked",
    "head_dtype",
    "logits_dtype",
    "quantization",
    "kv_cache_dtype",
    "decode_logprobs",
    "prefill_logprobs",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "rank_counts",
    "attention_backend",
    "batch_invariant",
    "logits_size",
)
_MODEL = (
    "model_class",
    "vocab_size",
    "weights_digest",
    "weight_version",
    "tokenizer_digest",
    "config_digest",
    "template_digest",
    "adds_bos",
)
_MODEL_TABLES = ("config", "tokenizer", "chat_template", "config_overrides")
_SEMANTICS = ("temperature", "semantics", "semantics_unknown", "processed", "told")
_CODES: dict[str, tuple[str, ...]] = {
    "dtype": ("dtype",),
    "head_dtype": ("head_dtype",),
    "logits_dtype": ("logits_dtype",),
    "quantization": ("quantization",),
    "kv_cache_dtype": ("kv_cache",),
    "decode_logprobs": _SEMANTICS,
    "prefill_logprobs": _SEMANTICS,
    "temperature": ("temperature", "sampling"),
    "top_p": ("semantics", "sampling"),
    "top_k": ("semantics", "sampling"),
    "min_p": ("semantics", "sampling"),
    "attention_backend": ("attention",),
    "batch_invariant": ("batch_invariant",),
    "logits_size": ("logits_size",),
    "model_class": ("architecture",),
    "vocab_size": ("vocabulary",),
    "weights_digest": ("weights",),
    "weight_version": ("weight_version",),
    "tokenizer_digest": ("tokenizer",),
    "config_digest": ("config", "config_files"),
    "template_digest": ("template",),
    "adds_bos": ("bos",),
    "engine_version": ("versions",),
    "torch_version": ("versions",),
    "transformers_version": ("versions",),
    "cuda_version": ("versions",),
    "device": ("device",),
    "device_name": ("device",),
    "execution_mode": ("execution",),
    "prefix_cache": ("prefix_cache",),
    "chunked_prefill": ("chunked_prefill",),
    "chunk_size": ("chunked_prefill",),
    "max_batch_sequences": ("batch",),
    "batch": ("batch",),
    "padding": ("padding",),
    "max_length": ("truncated",),
    "tensor_parallel": ("tensor_parallel",),
    "status": ("failed", "partial"),
}
"""The codes of the gate's reasons that a fact is about."""
_TABLE_CODES: dict[str, tuple[str, ...]] = {
    "config": ("config", "config_files"),
    "tokenizer": ("tokenizer", "bos"),
    "chat_template": ("template",),
    "config_overrides": ("overrides",),
    "environment": ("environment", "batch_invariant"),
    "extra": ("settings", "tf32", "speculative"),
}
"""The same for entries of tables, where the reason names the entry."""


@dataclass(frozen=True, slots=True)
class PairSetting:
    """One fact over all captures, the pair's own first.

    ``reason`` is what the gate says of it, None where it says nothing.
    """

    name: str
    values: tuple[str, ...]
    kind: PairKind
    group: Group
    reason: Reason | None

    @property
    def mark(self) -> str:
        return MARKS[self.kind]

    @property
    def matters(self) -> str:
        """Whether it matters to the pair, in a few words."""
        if self.kind == "elsewhere":
            return "elsewhere"
        if self.kind == "same":
            return ""
        if self.reason is not None:
            return _MATTERS[self.reason.severity]
        if self.kind == "unknown":
            return "not known"
        return "no"

    @property
    def advice(self) -> str:
        """What to make of it, in a sentence."""
        if self.reason is not None:
            return self.reason.text
        advice: dict[PairKind, str] = {
            "differs": "The gate has nothing against comparing the two over this.",
            "unknown": "A side did not report it: the two may or may not be alike.",
            "elsewhere": "A and B are alike here: only other captures differ.",
            "same": "Alike in all captures.",
        }
        return advice[self.kind]


@dataclass(frozen=True, slots=True)
class SettingsHeading:
    """The line above a group; ``folded``: its rows are not listed."""

    group: Group
    folded: bool
    text: str


SettingsLine = SettingsHeading | PairSetting


@dataclass(frozen=True, slots=True)
class PairSettings:
    """All settings of a session, in the order in which a pair reads them.

    ``columns`` hold the labels of captures that ran alike; ``own`` is how many of the
    first ones are the pair's (2, 1 where both sides ran alike, 0 without a pair).
    """

    columns: tuple[tuple[str, ...], ...]
    own: int
    rows: tuple[PairSetting, ...]

    def heads(self) -> list[str]:
        """The titles of the columns: ``A trainer/prefill +1``."""
        sides = {0: "", 1: "A, B ", 2: "A "}
        heads = []
        for place, labels in enumerate(self.columns):
            side = ""
            if place == 0:
                side = sides[self.own]
            elif place == 1 and self.own == 2:
                side = "B "
            heads.append(f"{side}{_column(labels)}")
        return heads

    def lines(self, folded: Iterable[Group]) -> list[SettingsLine]:
        """Headings and rows as they are listed."""
        hidden = set(folded)
        lines: list[SettingsLine] = []
        for group, title in GROUPS.items():
            rows = [row for row in self.rows if row.group == group]
            if not rows:
                continue
            is_folded = group in hidden
            counts = _counts_in_words(rows)
            mark = "▸" if is_folded else "▾"
            text = f"{mark} {title} · {counts}"
            lines.append(SettingsHeading(group, is_folded, text))
            if not is_folded:
                lines += rows
        return lines


def pair_settings(
    settings: CaptureSettings, pair: tuple[str, str] | None, gate: Gate | None
) -> PairSettings:
    """The settings with the columns of ``pair`` first, and what the gate says of
    them.
    """
    own = list(_own_columns(settings, pair))
    others = [place for place in range(len(settings.columns)) if place not in own]
    order = [*own, *others]
    reasons = gate.reasons if gate is not None else ()
    rows = [_row(row, order, len(own), reasons) for row in settings.rows]
    rows.sort(key=_place)
    columns = tuple(settings.columns[place] for place in order)
    return PairSettings(columns, len(own), tuple(rows))


def _own_columns(
    settings: CaptureSettings, pair: tuple[str, str] | None
) -> Iterator[int]:
    """The columns of A and of B, one where they share it."""
    places: dict[int, None] = {}
    for label in pair or ():
        for place, labels in enumerate(settings.columns):
            if label in labels:
                places[place] = None
    yield from places


def _row(
    row: CaptureSetting, order: Sequence[int], own: int, reasons: Sequence[Reason]
) -> PairSetting:
    values = [row.values[place] for place in order]
    kind = _pair_kind(row, values[:own])
    reason = None
    if kind in ("differs", "unknown"):
        reason = _reason_for(row.name, reasons)
    return PairSetting(
        name=row.name,
        values=tuple(value or UNKNOWN for value in values),
        kind=kind,
        group=_group_of(row.name, kind, reason),
        reason=reason,
    )


def _pair_kind(row: CaptureSetting, own: Sequence[str | None]) -> PairKind:
    if not own:
        return row.kind
    if None in own:
        return "unknown"
    if len(set(own)) > 1:
        return "differs"
    if row.kind == "differs":
        return "elsewhere"
    return "same"


def _group_of(name: str, kind: PairKind, reason: Reason | None) -> Group:
    """What the gate objects to stands before everything else."""
    is_objected = reason is not None and reason.severity != "info"
    if is_objected and kind == "differs":
        return "matters"
    return _kind_of_fact(name)


def _kind_of_fact(name: str) -> Group:
    table = _table_of(name)
    if table == "environment":
        return "environment"
    if name in _NUMBERS:
        return "numbers"
    if name in _MODEL or table in _MODEL_TABLES:
        return "model"
    return "run"


def _table_of(name: str) -> str:
    """``config`` of ``config.rope_theta``, ``chat_template`` of a template's line."""
    table, _, _ = name.partition(".")
    word, _, _ = table.partition(" ")
    return word


def _reason_for(name: str, reasons: Sequence[Reason]) -> Reason | None:
    """The gravest reason of the gate that a fact is about."""
    codes = _CODES.get(name, ())
    own = [reason for reason in reasons if reason.code in codes]
    own += [reason for reason in reasons if _names(reason, name)]
    if not own:
        return None
    return min(own, key=lambda reason: _SEVERITY_ORDER.index(reason.severity))


def _names(reason: Reason, name: str) -> bool:
    """Whether a reason is about an entry of a table, or names a fact it lacks."""
    table = _table_of(name)
    _, _, entry = name.partition(".")
    if reason.code == "unknown":
        words = reason.text.replace(",", " ").split()
        return name in words
    if reason.code not in _TABLE_CODES.get(table, ()):
        return False
    names = [difference.name for difference in reason.differences]
    return entry in names or entry in reason.text


def _place(row: PairSetting) -> tuple[int, int, int]:
    """The order of the rows: by group, what differs in the pair first, and of it what
    weighs most.
    """
    severity = row.reason.severity if row.reason is not None else None
    groups = tuple(GROUPS)
    return (
        groups.index(row.group),
        _ORDER.index(row.kind),
        _SEVERITY_ORDER.index(severity),
    )


def _column(labels: tuple[str, ...]) -> str:
    """``vllm/decode +2`` for three captures that ran alike."""
    first, *others = labels
    if others:
        return f"{first} +{len(others)}"
    return first


def _counts_in_words(rows: Sequence[PairSetting]) -> str:
    """``3 differ, 1 unknown, 12 alike``."""
    words: dict[PairKind, str] = {
        "differs": "differ",
        "unknown": "unknown",
        "elsewhere": "differ elsewhere",
        "same": "alike",
    }
    kinds = [row.kind for row in rows]
    parts = [
        f"{kinds.count(kind)} {word}"
        for kind, word in words.items()
        if kinds.count(kind)
    ]
    return ", ".join(parts)


def copied(settings: PairSettings) -> str:
    """Every row with tabs between its cells, folded or not."""
    rows = [["", "", *settings.heads(), "matters?"]]
    for row in settings.rows:
        rows.append([row.mark, row.name, *row.values, row.matters])
    lines = ["\t".join(map(visible, row)) for row in rows]
    return "\n".join(lines)
