"""What the text report says of its main pair: the numbers, limits, corrections, where
the gap sits and comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from logdrift.core.compare.metric import METRICS
from logdrift.core.numbers import (
    exact,
    figure,
    fixed,
    interval_text,
    is_number,
    multiple_text,
    percentage,
)
from logdrift.core.report.layout import Canvas, pad
from logdrift.core.report.meaning import bound_text, get, interval_of
from logdrift.core.report.meaning import floor_multiple as times_floor

Report = Mapping[str, Any]

_NAME, _VALUE = 21, 30
_CORRECTIONS = 6
_COLUMN = 9


def main_pair(report: Report, pair: Report, canvas: Canvas) -> Iterator[str]:
    """All sections of one pair but for its verdict and its worst tokens. Grey where the
    pair cannot be compared.
    """
    style = "dim" if pair["gate"]["verdict"] == "not_comparable" else ""
    lines = [
        *_numbers(pair, canvas),
        *_floor(pair, canvas),
        *_limits(pair, canvas),
        *_corrections(pair, canvas),
        *_buckets(pair, canvas),
        *_origin(report, pair, canvas),
    ]
    yield from (canvas.paint(line, style) for line in lines)


def _numbers(pair: Report, canvas: Canvas) -> Iterator[str]:
    yield ""
    yield _head(
        canvas, pad("number", _NAME) + pad("value and 95% interval", _VALUE) + "good"
    )
    for known in METRICS.values():
        path, group, key = known.path, known.section, known.key
        if not known.headline:
            continue
        if not isinstance(pair.get(group), Mapping):
            continue
        # A clip bound holds a dot itself, so the value is looked up by what stands
        # before it.
        value = (
            get(pair, path)
            if path.count(".") == 1
            else (pair[group].get(key.partition(".")[0]) or {}).get(
                key.partition(".")[2]
            )
        )
        interval = interval_of(pair, group, key)
        shown = figure(value, known.format) + (
            f" {interval_text(interval, known.format)}" if interval else ""
        )
        start = pad(canvas.text(known.title), _NAME) + pad(canvas.text(shown), _VALUE)
        # Never cut: a range that ends in an ellipsis helps nobody.
        lines = canvas.wrap(known.good, _NAME + _VALUE)
        yield start + lines[0][_NAME + _VALUE :]
        yield from lines[1:]
    yield from _interval_note(pair, canvas)


def _interval_note(pair: Report, canvas: Canvas) -> Iterator[str]:
    ci = pair.get("ci95") or {}
    if ci.get("method") == "blocks":
        text = (
            f"Intervals are over {ci['units']} blocks of tokens: too few sequences to"
            " draw from."
        )
        yield from (canvas.paint(line, "dim") for line in canvas.wrap(text))
    elif ci.get("method") is None and pair["tokens"]:
        yield canvas.paint("No interval: too few tokens.", "dim")


def _floor(pair: Report, canvas: Canvas) -> Iterator[str]:
    yield ""
    floor = pair.get("floor")
    if floor is None:
        text = (
            "Noise floor: unknown. Capture with repeats=2 to measure what a repeat"
            " alone differs by."
        )
        yield from canvas.wrap(text)
        return
    sides = [(side, floor.get(key)) for side, key in (("A", "a"), ("B", "b"))]
    measured = [
        f"{side} {fixed(gap['mae'])} ({_repeats(gap, pair[side.lower()])})"
        for side, gap in sides
        if gap
    ]
    missing = [side for side, gap in sides if not gap]
    multiple = times_floor(pair, "errors", "mae", pair["errors"]["mae"])
    said = "; ".join(measured) or "no repeats"
    text = f"Noise floor (MAE of repeats): {said}."
    if missing and measured:
        text += f" {' and '.join(missing)} was not repeated."
    if multiple is not None and floor["mae"]:
        text += f" The gap is {multiple_text(multiple)} that."
    elif multiple is not None:  # half of a floor is no proof
        text += (
            f" So the gap is not {measured[0][0]}'s noise."
            if missing
            else " So the gap is real."
        )
    yield from canvas.wrap(text)
    for side, key in (("A", "batch_a"), ("B", "batch_b")):
        gap = floor.get(key)
        if gap:
            yield from canvas.wrap(
                f"Batch shape: {side} alone against among others, MAE"
                f" {fixed(gap['mae'])}."
            )


def _repeats(gap: Report, label: str) -> str:
    """What was held against what; a decode cannot be repeated, so another path of its
    backend speaks for it.
    """
    said = f"{gap['label']} against {gap['against']}"
    path, own = (
        name.partition("#")[0].rpartition("/")[2] for name in (gap["against"], label)
    )
    return (
        said if path == own else f"{said}, in place of {own}, which cannot be repeated"
    )


def _limits(pair: Report, canvas: Canvas) -> Iterator[str]:
    """Those that are exceeded and the user's own; of the others the count."""
    limits = [x for x in pair.get("thresholds") or [] if x["level"] != "other"]
    if not limits:
        return
    judged = [x for x in limits if x["ok"] is not None and x["level"] != "exact"]
    over = [x for x in judged if not x["ok"]]
    yield ""
    title = (
        f"Limits of the frameworks: {len(judged) - len(over)} held, {len(over)}"
        " exceeded"
    )
    unjudged = sum(x["ok"] is None for x in limits)
    yield _head(
        canvas,
        title + (f", {unjudged} not judged" if unjudged else "") + " (--md has all)",
    )
    for limit in limits:
        own = limit["level"] == "own"
        if not (own or limit in over):
            continue
        state = (
            "unknown" if limit["ok"] is None else "held" if limit["ok"] else "exceeded"
        )
        name = (
            limit["name"]
            if own
            else f"{limit['framework']}: {limit['name'].rpartition('/')[2]}"
        )
        line = f"  {state:9}" + pad(canvas.cut(canvas.text(name), 38), 39)
        # Exact, as in the other formats: rounded, one that is exceeded can read as
        # held.
        line += f"{exact(limit['value'])} for {bound_text(limit)}"
        yield canvas.paint(
            canvas.cut(line, canvas.width), "" if limit["ok"] else "warn"
        )
    deterministic = [x for x in limits if x["level"] == "exact" and x["ok"]]
    if deterministic:
        names = ", ".join(dict.fromkeys(x["framework"] for x in deterministic))
        yield from canvas.wrap(
            f"Also the limits for deterministic runs hold: {names}.", 2, "  "
        )


def _corrections(pair: Report, canvas: Canvas) -> Iterator[str]:
    rules = [x for x in pair.get("what_if") or [] if x["tokens"]]
    if not rules:
        return
    rules = sorted(rules, key=lambda x: -x["sequences"])
    yield ""
    yield _head(
        canvas,
        "Corrections that would act (share of sequences and tokens cut or masked)",
    )
    for rule in rules[:_CORRECTIONS]:
        name = f"{rule['rule']} {rule['level']} {bound_text(rule)}"
        shares = f"{percentage(rule['sequences']):>7} {percentage(rule['tokens']):>7}"
        yield canvas.cut(
            f"  {pad(name, 30)} {shares}  {canvas.text(rule['name'])}", canvas.width
        )
    if len(rules) > _CORRECTIONS:
        yield canvas.paint(
            f"  and {len(rules) - _CORRECTIONS} more (--md has all)", "dim"
        )


def _buckets(pair: Report, canvas: Canvas) -> Iterator[str]:
    buckets = pair.get("buckets") or {}
    for key, title in (
        ("by_probability", "MAE by probability under B"),
        ("by_position", "MAE by position"),
        ("by_entropy", "MAE by entropy, nats"),
    ):
        rows = [b for b in buckets.get(key) or [] if b["tokens"]]
        if not rows:
            continue
        yield ""
        yield _head(canvas, title + ": from, tokens, MAE")
        per_line = max(1, (canvas.width - 2) // _COLUMN)
        for at in range(0, len(rows), per_line):
            for cells in (
                [f"{b['low']:g}" for b in rows[at : at + per_line]],
                [f"{b['tokens']:,}" for b in rows[at : at + per_line]],
                [fixed(b["mae"]) for b in rows[at : at + per_line]],
            ):
                yield "  " + "".join(f"{cell:>{_COLUMN}}" for cell in cells)


def _origin(report: Report, pair: Report, canvas: Canvas) -> Iterator[str]:
    """The decomposition to which the pair belongs, as sentences with numbers."""
    for split in report.get("decomposition") or []:
        if not {split["rollout"], split["trainer"]} <= {
            pair["a"],
            pair["b"],
            split["prefill"],
        }:
            continue
        if split["trainer"] not in (pair["a"], pair["b"]):
            continue
        yield ""
        yield _head(
            canvas,
            canvas.text(
                f"Where it comes from: {split['trainer']} → {split['rollout']}"
            ),
        )
        parts = (
            ("total", "all of it"),
            ("decode_vs_prefill", "decode against prefill, one engine"),
            ("prefill_vs_trainer", "engine against trainer, both prefill"),
        )
        for key, name in parts:
            term = split.get(key)
            if term:
                share = split.get(f"share_{key}")
                said = f"  {percentage(share)} of it" if is_number(share) else ""
                yield (
                    f"  {name:37} MAE {fixed(term['mae'])}  RMSE"
                    f" {fixed(term['rmse'])}{said}"
                )
        reference = split.get("reference")
        if reference:
            text = (
                f"Own error against {reference['label']}, RMSE: trainer"
                f" {fixed(reference['trainer']['rmse'])},"
                f" {split['rollout'].partition('/')[0]}"
                f" {fixed(reference['rollout']['rmse'])}. Independent, they would give"
                f" {fixed(reference['expected_rmse'])}; seen is"
                f" {fixed(reference['rmse'])}."
            )
            yield from canvas.wrap(text, 2, "  ")
        return


def _head(canvas: Canvas, text: str) -> str:
    return canvas.paint(canvas.cut(text, canvas.width), "bold")
