"""The report for a person at a terminal of 80 columns: what failed first, then the
numbers, then what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from logdrift.core.numbers import fixed, percentage
from logdrift.core.report.answers import sentence_of
from logdrift.core.report.layout import Canvas, pad, table
from logdrift.core.report.meaning import left_out
from logdrift.core.report.text_pair import main_pair
from logdrift.core.report.usual import in_words
from logdrift.core.words import MEANINGLESS, VERDICTS

SHOWN_WORST = 10
LOG_LINES = 5
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_STYLES = {
    "comparable": "good",
    "caution": "warn",
    "not_comparable": "bad",
    "info": "dim",
}
_RUNNING = (
    "Partial: this session is being written right now, and all numbers cover what is"
    " finished so far."
)

Report = Mapping[str, Any]


def render(report: Report, canvas: Canvas, main: tuple[str, str] | None = None) -> str:
    """The text report, ending in a newline; no line is wider than ``canvas.width``
    cells.

    ``main`` is the pair whose reasons and worst tokens are shown (default: the first of
    the report).
    """
    lines = [
        *_failures(report, canvas),
        *_broken(report, canvas),
        *_header(report, canvas),
        "",
        *_captures(report, canvas),
    ]
    pairs = report["pairs"]
    if pairs:
        chosen = next((p for p in pairs if (p["a"], p["b"]) == main), pairs[0])
        lines += [
            "",
            *_pairs(pairs, canvas),
            "",
            *_verdict(report, chosen, canvas),
            *main_pair(report, chosen, canvas),
            "",
            *_worst(chosen, canvas),
        ]
        lines += _other_reasons(pairs, chosen, canvas)
    else:
        lines += [
            "",
            *canvas.wrap(
                "Nothing to compare: fewer than two captures have a finished sequence."
            ),
        ]
    return "\n".join(lines) + "\n"


def _failures(report: Report, canvas: Canvas) -> Iterator[str]:
    failed = [
        capture for capture in report["captures"] if capture["status"] == "failed"
    ]
    for capture in failed:
        log = [
            line for line in (capture["failure"] or "").splitlines() if line.strip()
        ] or ["no reason was recorded"]
        yield from (
            canvas.paint(line, "bad")
            for line in canvas.wrap(f"FAILED {capture['label']}: {log[0]}", 0)
        )
        for line in log[1:][-LOG_LINES:]:
            yield canvas.paint(
                canvas.cut("  " + canvas.text(line), canvas.width), "dim"
            )
        yield from canvas.wrap(
            f"whole log: logs/{capture['backend']}.log in the session folder", 2
        )
    if failed:
        yield ""


def _broken(report: Report, canvas: Canvas) -> Iterator[str]:
    """NaN first of all: what it is of, said once for all pairs."""
    said = [
        reason["text"]
        for pair in report["pairs"]
        for reason in pair["gate"]["reasons"]
        if reason["code"] == "nan"
    ]
    for text in dict.fromkeys(said):
        yield from (
            canvas.paint(line, "bad") for line in canvas.wrap(f"BROKEN {text}", 0)
        )
    if said:
        yield ""


def _header(report: Report, canvas: Canvas) -> Iterator[str]:
    model = report["model"]
    name = model["id"] + (f" @ {model['revision']}" if model["revision"] else "")
    planned = max(report["sequences_planned"], report["sequences"])
    counts = (
        f"{report['sequences']:,} of {planned:,}, {report['tokens']:,} tokens "
        f"({report['completion_tokens']:,} of completions)"
    )
    rows = [
        ("session", report["session"]),
        ("title", report["title"]),
        ("model", name),
        ("sequences", counts),
        ("created", report["created"].replace("T", " ")),
        ("state", report["state"]),
    ]
    for key, value in rows:
        if value:
            lines = canvas.wrap(str(value), 11, key)
            yield canvas.paint(lines[0][:11], "bold") + lines[0][11:]
            yield from lines[1:]
    if report["state"] == "running":
        yield from (canvas.paint(line, "warn") for line in canvas.wrap(_RUNNING))


def _captures(report: Report, canvas: Canvas) -> Iterator[str]:
    rows, unknown = [], False
    for capture in report["captures"]:
        facts = capture["facts"] or {}
        seen = [
            facts.get(name)
            for name in ("engine_version", "dtype", "device", "attention_backend")
        ]
        version, dtype, device, attention = (
            str(value) if value is not None else "?" for value in seen
        )
        unknown |= None in seen
        rows.append(
            (
                capture["label"],
                f"{capture['engine']} {version}",
                _DTYPES.get(dtype, dtype),
                device,
                attention,
                f"{capture['tokens']:,}",
                capture["status"],
            )
        )
    if not rows:
        yield "no captures"
        return
    head = ("capture", "engine", "dtype", "device", "attention", "tokens", "status")
    lines = table(canvas, head, rows, shrink=(4, 1, 0, 3, 2), right=(5,))
    yield canvas.paint(lines[0], "bold")
    for line, capture in zip(lines[1:], report["captures"], strict=True):
        yield canvas.paint(line, "bad" if capture["status"] == "failed" else "")
    if unknown:
        yield canvas.paint("? = not observed", "dim")


def _pairs(pairs: Sequence[Report], canvas: Canvas) -> Iterator[str]:
    numbers = ("MAE", "RMSE", "p99", "max", "Pearson", "exact")
    scope = {
        "all": "all tokens",
        "prompt": "prompt tokens",
        "completion": "completion tokens",
    }[pairs[0]["scope"]]
    title = canvas.text(f"A → B over {scope}; Δ = log p_A - log p_B in nats")
    yield canvas.paint(canvas.cut(title, canvas.width), "bold")
    yield canvas.paint(
        pad("    tokens", 16) + "".join(pad(name, 10, right=True) for name in numbers),
        "dim",
    )
    for index, pair in enumerate(pairs, 1):
        verdict = VERDICTS[pair["gate"]["verdict"]]
        room = canvas.width - len(verdict) - 1
        label = canvas.cut(canvas.text(f"{index:>2}  {pair['a']} → {pair['b']}"), room)
        yield pad(label, room + 1) + canvas.paint(
            verdict, _STYLES[pair["gate"]["verdict"]]
        )
        e = pair["errors"]
        exact = percentage(e["exact_fraction"])
        pearson = "-" if e["pearson"] is None else f"{e['pearson']:.6f}"
        cells = [fixed(e[name]) for name in ("mae", "rmse", "p99", "max_abs")] + [
            pearson,
            exact,
        ]
        line = pad(f"    {pair['tokens']:,}", 16) + "".join(
            pad(cell, 10, right=True) for cell in cells
        )
        yield canvas.paint(line, _grey(pair))
        if without := left_out(pair):
            yield from (canvas.paint(line, "warn") for line in canvas.wrap(without, 4))


def _verdict(report: Report, pair: Report, canvas: Canvas) -> Iterator[str]:
    captures = {capture["label"]: capture for capture in report["captures"]}
    yield from _title(pair, canvas)
    if sentence := sentence_of(pair):
        yield from (canvas.paint(line, "bold") for line in canvas.wrap(sentence, 2, ""))
    e = pair["errors"]
    if _grey(pair):
        yield from _reasons(pair, canvas)
        yield from (
            canvas.paint(line, "dim") for line in canvas.wrap(MEANINGLESS, 2, "")
        )
        return
    words = in_words(e["mae"], captures[pair["a"]], captures[pair["b"]])
    first = f"MAE {fixed(e['mae'])} nats." if e["mae"] is not None else ""
    if without := left_out(pair):
        first = f"Of the rest ({without}): {first}"
    yield from canvas.wrap(f"{first} {words}".strip(), 2, "")
    yield from _reasons(pair, canvas)


def _grey(pair: Report) -> str:
    """The style of a pair's numbers: dim where they mean nothing."""
    return "dim" if pair["gate"]["verdict"] == "not_comparable" else ""


def _title(pair: Report, canvas: Canvas) -> Iterator[str]:
    verdict = pair["gate"]["verdict"]
    for line in canvas.wrap(f"{pair['a']} → {pair['b']}: {VERDICTS[verdict]}"):
        yield canvas.paint(line, "bold")


def _reasons(pair: Report, canvas: Canvas) -> Iterator[str]:
    for reason in pair["gate"]["reasons"]:
        mark = {"not_comparable": "!!", "caution": "!", "info": "i"}[reason["severity"]]
        lines = canvas.wrap(reason["text"], 5, f"  {mark}")
        yield canvas.paint(lines[0][:5], _STYLES[reason["severity"]]) + lines[0][5:]
        yield from lines[1:]


def _worst(pair: Report, canvas: Canvas) -> Iterator[str]:
    worst = pair["worst"][:SHOWN_WORST]
    if not worst:
        yield from canvas.wrap(
            "No token differs." if pair["tokens"] else "No token to show."
        )
        return
    more = (
        f" (--json has {len(pair['worst'])})" if len(pair["worst"]) > len(worst) else ""
    )
    yield canvas.paint(canvas.text(f"The {len(worst)} worst tokens{more}"), "bold")
    delta = canvas.text("Δ")
    yield canvas.paint(
        f"{'seq':>6} {'pos':>6} {delta:>8} {'log p_A':>8} {'log p_B':>8} {'ranks':>9} "
        " in context",
        "dim",
    )
    for token in worst:
        ranks = canvas.text(f"{_rank(token['rank_a'])}→{_rank(token['rank_b'])}")
        numbers = " ".join(
            [f"{fixed(token['delta'], sign=True):>8}"]
            + [f"{fixed(token[k]):>8}" for k in ("logprob_a", "logprob_b")]
        )
        start = f"{token['sequence']:>6} {token['position']:>6} {numbers} {ranks:>9}  "
        context = _context(
            token, canvas, canvas.width - cell_len(start), "" if _grey(pair) else "bold"
        )
        yield canvas.paint(start + context, _grey(pair))


def _context(token: Report, canvas: Canvas, room: int, style: str = "bold") -> str:
    """The token between marks, painted in ``style``, in the middle of as much text as
    fits.
    """
    left, right = canvas.text("»"), canvas.text("«")
    piece = canvas.cut(canvas.text(token["piece"]), max(1, room - 2 * len(left) - 6))
    rest = room - 2 * len(left) - cell_len(piece)
    before = canvas.cut_left(canvas.text(token["before"]), rest // 2)
    after = canvas.cut(canvas.text(token["after"]), rest - cell_len(before))
    return before + canvas.paint(left + piece + right, style) + after


def _other_reasons(
    pairs: Sequence[Report], chosen: Report, canvas: Canvas
) -> Iterator[str]:
    """Reasons of the other pairs that the main pair does not have, each said once."""
    said = {reason["text"] for reason in chosen["gate"]["reasons"]}
    for pair in pairs:
        fresh = [
            r
            for r in pair["gate"]["reasons"]
            if r["text"] not in said and r["severity"] != "info"
        ]
        if fresh:
            said |= {reason["text"] for reason in fresh}
            yield ""
            yield from _title(pair, canvas)
            yield from _reasons({"gate": {"reasons": fresh}}, canvas)


def _rank(rank: int | None) -> str:
    return "?" if rank is None else str(rank)
