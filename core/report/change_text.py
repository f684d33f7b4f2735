"""A diff of two sessions for a person at a terminal of 80 columns: the answer first,
then what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from logdrift.core.compare.metric import resolve
from logdrift.core.errors import InputError
from logdrift.core.numbers import fixed
from logdrift.core.report.layout import Canvas, pad
from logdrift.core.report.text import _context, _reasons
from logdrift.core.words import VERDICTS

_VERDICTS = {
    "better": "good",
    "worse": "bad",
    "no_change": "dim",
    "not_comparable": "bad",
}
_STYLES = {"comparable": "good", "caution": "warn", "not_comparable": "bad"}
SHOWN_SETTINGS = 16
_LAST = ("model", "sampling", "asked", "option", "environment", "extra")
"""Tables of settings, in the order in which they follow the facts."""
_BY_NAME = {
    "config": "config_digest",
    "tokenizer": "tokenizer_digest",
    "chat_template": "template_digest",
}
"""Tables that are told by name, and the digest that says nothing more then."""
_PLACES = {"session": "session", "a": "A", "b": "B"}

Report = Mapping[str, Any]


def render_change(change: Report, canvas: Canvas) -> str:
    """The text of `logdrift.core.report.change.build_change`, ending in a newline; no
    line is wider than the canvas.
    """
    lines = [
        *_refusals(change, canvas),
        *_header(change, canvas),
        "",
        *_answer(change, canvas),
        "",
    ]
    lines += [*_metrics(change, canvas), "", *_settings(change, canvas)]
    for key, title in (("improved", "improved"), ("worsened", "worsened")):
        lines += ["", *_tokens(change[key], title, canvas)]
    lines += _cautions(change, canvas)
    return "\n".join(lines) + "\n"


def _sides(change: Report) -> tuple[tuple[str, Report], tuple[str, Report]]:
    return ("old", change["old"]), ("new", change["new"])


def _refusals(change: Report, canvas: Canvas) -> Iterator[str]:
    """What makes the numbers meaningless comes before them."""
    refused = [
        (name, side)
        for name, side in _sides(change)
        if side["gate"]["verdict"] == "not_comparable"
    ]
    for name, side in refused:
        for line in canvas.wrap(f"NOT COMPARABLE in {name}: {side['a']} → {side['b']}"):
            yield canvas.paint(line, "bad")
        yield from _reasons(side, canvas)
    between = [
        reason for reason in change["between"] if reason["severity"] == "not_comparable"
    ]
    if between:
        yield canvas.paint("NOT COMPARABLE: two models", "bad")
        yield from _reasons({"gate": {"reasons": between}}, canvas)
    if refused or between:
        yield ""


def _header(change: Report, canvas: Canvas) -> Iterator[str]:
    for name, side in _sides(change):
        verdict = VERDICTS[side["gate"]["verdict"]]
        state = "" if side["state"] == "complete" else f", {side['state']}"
        first, *rest = canvas.wrap(f"{side['session']}{state}", 8, name)
        yield canvas.paint(first[:8], "bold") + first[8:]
        yield from rest
        pair = canvas.cut(
            canvas.text(f"{side['a']} → {side['b']}"), canvas.width - 9 - len(verdict)
        )
        yield pad("        " + pair, canvas.width - len(verdict)) + canvas.paint(
            verdict, _STYLES[side["gate"]["verdict"]]
        )
    matched, scope = change["matched"], change["scope"]
    parted = matched["sequences"] - matched["whole"]
    counts = (
        f"{matched['sequences']:,} of {change['old']['sequences']:,} and"
        f" {change['new']['sequences']:,} sequences"
    )
    if parted:
        counts += f", {parted:,} of them up to where the completions part"
    tokens = (
        f"{matched['scored']:,} {'' if scope == 'all' else scope + ' '}tokens scored in"
        " both"
    )
    first, *rest = canvas.wrap(f"{counts}; {tokens}", 8, "common")
    yield canvas.paint(first[:8], "bold") + first[8:]
    yield from rest


def _answer(change: Report, canvas: Canvas) -> Iterator[str]:
    mae = next(
        (row for row in change["metrics"] if row["metric"] == "errors.mae"), None
    )
    verdict = change["verdict"]
    if mae is None or mae["change"] is None:
        yield from canvas.wrap(
            "No MAE: no common token has a finite difference in both sessions."
        )
        return
    share = f" ({100 * mae['change'] / mae['old']:+.1f}%)" if mae["old"] else ""
    said = (
        f"MAE {fixed(mae['old'])} → {fixed(mae['new'])} nats{share}:"
        f" {_sentence(mae, verdict)}"
    )
    yield from (
        canvas.paint(line, _VERDICTS.get(verdict or "", "warn"))
        for line in canvas.wrap(said)
    )
    drawn = change["interval"]
    if drawn["method"] is None:
        yield from canvas.wrap(
            "No interval: the common tokens are too few to draw from."
        )
    elif drawn["method"] == "blocks":
        yield from canvas.wrap(
            f"Too few common sequences: the intervals are over {drawn['units']:,}"
            " blocks of tokens and say nothing of other prompts."
        )
    cautions = [
        reason for reason in change["between"] if reason["severity"] == "caution"
    ]
    yield from _reasons({"gate": {"reasons": cautions}}, canvas)
    floors = {name: change["floor"][name] for name in ("old", "new")}
    if any(floors.values()):
        said = ", ".join(
            f"{n} {fixed(f['mae']) if f else 'not measured'}" for n, f in floors.items()
        )
        yield from canvas.wrap(f"Noise floor (MAE between repeats): {said}.")
    else:
        yield from canvas.wrap("Noise floor not measured: capture with repeats = 2.")


def _sentence(mae: Report, verdict: str | None) -> str:
    if verdict == "not_comparable":
        return "not comparable, so the change means nothing."
    if verdict is None:
        return "whether that is more than noise cannot be said."
    interval = f"95% interval of the change {_range(mae['ci95'])}"
    if verdict == "no_change" and mae["change"] == 0:
        return "no change at all."
    if verdict == "no_change":
        low, high = mae["ci95"]
        why = (
            interval
            if low <= 0 <= high
            else f"below the noise floor {fixed(mae['floor'])}"
        )
        return f"no change beyond noise ({why})."
    return f"{verdict.upper()}, beyond noise ({interval})."


def _range(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{fixed(ends[0], True)} to {fixed(ends[1], True)}"


def _metrics(change: Report, canvas: Canvas) -> Iterator[str]:
    head = (
        f"{'metric':<19}{'old':>9}{'new':>9}{'change':>9}  {'95% of the change':<20} "
        " verdict"
    )
    yield canvas.paint(head, "dim")
    meaningless = change["verdict"] == "not_comparable"
    for row in change["metrics"]:
        cells = f"{fixed(row['old']):>9}{fixed(row['new']):>9}{fixed(row['change'], True):>9}"
        verdict = (
            "-"
            if meaningless or row["verdict"] is None
            else row["verdict"].replace("_", " ")
        )
        line = f"{_short(row['metric']):<19}{cells}  {_range(row['ci95']):<20}  "
        if meaningless:
            yield canvas.paint(line + verdict, "dim")
        else:
            yield line + canvas.paint(verdict, _VERDICTS.get(row["verdict"] or "", ""))


def _short(metric: str) -> str:
    """The shortest text that means this metric to `logdrift check` as well."""
    parts = metric.split(".")
    for start in range(len(parts) - 1, 0, -1):
        short = ".".join(parts[start:])
        try:
            if resolve(short) == metric:
                return short
        except InputError:
            continue
    return metric


def _settings(change: Report, canvas: Canvas) -> Iterator[str]:
    rows = change["changed"]
    said = {(row["where"], row["setting"]) for row in rows}
    named = {
        row["setting"].partition(".")[0].partition(" ")[0] for row in rows
    } & _BY_NAME.keys()
    digests = {_BY_NAME[table] for table in named}
    # The labels stand in the header, and what was asked says nothing where what was
    # observed differs too.
    shown = [
        row
        for row in rows
        if row["setting"] != "label"
        and row["setting"].removeprefix("model.") not in digests
        and (row["where"], row["setting"].removeprefix("asked."))
        not in said - {_key(row)}
    ]
    if not shown:
        yield from canvas.wrap("No setting that was observed changed.")
        return
    many = f"{len(shown)} settings" if len(shown) > 1 else "1 setting"
    yield canvas.paint(f"What changed ({many})", "bold")
    shown.sort(key=_rank)
    for row in shown[:SHOWN_SETTINGS]:
        text = f"{row['setting']}: {row['old_text']} → {row['new_text']}"
        if row["setting"].removeprefix("model.") in _BY_NAME.values() and None not in (
            row["old"],
            row["new"],
        ):
            text += " (capture both again to see which keys)"
        yield from canvas.wrap(text, 10, f"  {_PLACES[row['where']]}")
    if len(shown) > SHOWN_SETTINGS:
        yield f"  and {len(shown) - SHOWN_SETTINGS} more (--json has all)"


def _key(row: Report) -> tuple[str, str]:
    return row["where"], row["setting"]


def _rank(row: Report) -> int:
    """Facts come first, whatever their name: a table that is not among `_LAST` is a
    fact too.
    """
    table, dot, _ = row["setting"].partition(".")
    return _LAST.index(table) if dot and table in _LAST else -1


def _tokens(tokens: Sequence[Report], title: str, canvas: Canvas) -> Iterator[str]:
    if not tokens:
        yield f"No token {title}."
        return
    many = f"{len(tokens)} tokens that" if len(tokens) > 1 else "token that"
    yield canvas.paint(f"The {many} {title} most", "bold")
    deltas = [canvas.text(f"Δ {name}") for name in ("old", "new")]
    yield canvas.paint(
        f"{'seq':>6} {'pos':>6} {deltas[0]:>9} {deltas[1]:>9}  in context", "dim"
    )
    for token in tokens:
        cells = " ".join(
            f"{fixed(token[key], True):>9}" for key in ("delta_old", "delta_new")
        )
        start = f"{token['sequence_new']:>6} {token['position']:>6} {cells}  "
        yield start + _context(token, canvas, canvas.width - cell_len(start))


def _cautions(change: Report, canvas: Canvas) -> Iterator[str]:
    """Reasons of a caution, each said once, with the session that it belongs to;
    refused pairs have said theirs.
    """
    said: set[str] = set()
    for name, side in _sides(change):
        if side["gate"]["verdict"] == "not_comparable":
            continue
        fresh = [
            r
            for r in side["gate"]["reasons"]
            if r["severity"] == "caution" and r["text"] not in said
        ]
        said |= {reason["text"] for reason in fresh}
        if fresh:
            yield ""
            yield from canvas.wrap(
                f"{name}, {side['a']} → {side['b']}: {VERDICTS[side['gate']['verdict']]}"
            )
            yield from _reasons({"gate": {"reasons": fresh}}, canvas)
