"""The tables of the HTML report. Every function returns HTML whose text is escaped, ""
where there is nothing to show.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from logdrift.core.numbers import Unit, exact, figure, interval_text, multiple_text
from logdrift.core.report.meaning import (
    Row,
    bound_text,
    bucket_text,
    get,
    meaning_text,
    parts_of,
    ranks_text,
)
from logdrift.core.session.visible import visible
from logdrift.core.words import VERDICTS

Report = Mapping[str, Any]

UNKNOWN = '<span class="none">unknown</span>'
_LINK = re.compile(r"https?://[A-Za-z0-9._~/?#@!$&'*+,;=:%-]+")
_ERRORS = (("mean", "mean Δ"), ("mae", "MAE"), ("rmse", "RMSE"), ("max_abs", "max |Δ|"))


def esc(value: Any) -> str:
    """Text of any origin as HTML: what could steer a terminal or a browser is shown,
    not done.
    """
    return escape(visible(str(value)))


def known(text: str) -> str:
    """A formatted number; the word where it is unknown."""
    return UNKNOWN if text == "-" else esc(text)


def number(value: Any, unit: Unit = "nats", *, sign: bool = False) -> str:
    """`figure` as HTML."""
    return known(figure(value, unit, sign=sign))


def table(head: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """A table from (name, class) of each column and cells of HTML; wider ones scroll
    within themselves.
    """

    def attribute(index: int) -> str:
        return f' class="{head[index][1]}"' if head[index][1] else ""

    top = "".join(
        f'<th scope="col"{attribute(i)}>{escape(name)}</th>'
        for i, (name, _) in enumerate(head)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{attribute(i)}>{cell}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        "<div"
        f' class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def verdict_tag(verdict: Any) -> str:
    """The verdict of the gate in its colour."""
    word = VERDICTS.get(verdict)
    return (
        f'<span class="tag {escape(verdict)}">{word}</span>'
        if word
        else f'<span class="tag">{UNKNOWN}</span>'
    )


def metrics(rows: Sequence[Row]) -> str:
    """Numbers with what they mean, their interval and their multiple of the floor."""
    return table([("number", ""), ("value", "n")], [_metric(row) for row in rows])


def _metric(row: Row) -> list[str]:
    metric = row.metric
    words = meaning_text(metric)
    name = esc(metric.title) + (
        f'<span class="mean">{esc(words)}</span>' if words else ""
    )
    if row.text == "-":
        return [name, UNKNOWN]
    notes = [f"95% {escape(interval_text(row.interval, metric.format))}"] * (
        row.interval is not None
    )
    notes += [floor_words(row.multiple)] * (row.multiple is not None)
    unit = '<span class="unit"> nats</span>' if metric.format == "nats" else ""
    below = "".join(f'<span class="mean">{note}</span>' for note in notes)
    return [name, known(row.text) + unit + below]


def floor_words(multiple: float | None) -> str:
    """``21.1x the noise floor``."""
    if multiple is None:
        return ""
    return (
        "the noise floor is 0"
        if math.isinf(multiple)
        else f"{escape(multiple_text(multiple))} the noise floor"
    )


_OUTSIDE = {
    "normal": ("! beyond normal", "caution"),
    "exact": ("· not exact", "muted"),
    "fault": ("✕ outside", "not_comparable"),
}


def thresholds(pair: Report) -> str:
    """Published and own limits, each with what was measured."""
    rows = []
    for limit in pair.get("thresholds") or []:
        word, style = {
            True: ("✓ ok", "comparable"),
            False: _OUTSIDE.get(str(limit.get("level")), _OUTSIDE["fault"]),
        }.get(limit.get("ok"), ("? not judged", "none"))
        name = (
            f"<b>{esc(limit.get('framework') or '-')}</b>"
            f" {esc(limit.get('name') or limit.get('metric') or '-')}"
        )
        words = [esc(limit[key]) for key in ("meaning", "note") if limit.get(key)]
        name += "".join(f'<span class="mean">{line}</span>' for line in words)
        rows.append(
            [
                name,
                f'<span class="tag {style}">{word}</span>',
                known(exact(limit.get("value"))),
                escape(bound_text(limit)),
                f'<span class="mean">{source(limit.get("source"))}</span>',
            ]
        )
    return (
        table(
            [
                ("limit of", ""),
                ("verdict", "w"),
                ("here", "n"),
                ("limit", "n"),
                ("source", ""),
            ],
            rows,
        )
        if rows
        else ""
    )


def source(text: Any) -> str:
    """Where a limit comes from: a link where it is exactly one, text otherwise."""
    if not text:
        return UNKNOWN
    if isinstance(text, str) and _LINK.fullmatch(text):
        shown = text.split("://", 1)[1]
        return f'<a href="{escape(text)}" rel="noopener noreferrer">{esc(shown)}</a>'
    return esc(text)


def what_if(pair: Report) -> str:
    """What the corrections of the frameworks would clip or mask."""
    rows = []
    for rule in pair.get("what_if") or []:
        kind = ", ".join(esc(rule[key]) for key in ("rule", "level") if rule.get(key))
        name = (
            f'<span class="long">{esc(rule.get("name") or "-")}</span><span'
            f' class="mean">{kind}</span>'
        )
        shares = (number(rule.get(key), "share") for key in ("tokens", "sequences"))
        rows.append([name, escape(bound_text(rule)), *shares])
    head = [
        ("correction", ""),
        ("keeps ratios", "w"),
        ("tokens hit", "n"),
        ("sequences hit", "n"),
    ]
    return table(head, rows) if rows else ""


def limits_in_words(pair: Report) -> str:
    """How many limits hold, do not, or could not be judged."""
    limits = pair.get("thresholds") or []
    words = {True: "hold", False: "are exceeded", None: "could not be judged"}
    missed = sum(
        limit.get("ok") is False and limit.get("level") == "exact" for limit in limits
    )
    counts = {
        ok: (
            sum(limit.get("ok") is ok for limit in limits)
            - (missed if ok is False else 0)
        )
        for ok in words
    }
    said = [f"{count:,} {words[ok]}" for ok, count in counts.items() if count]
    said += [f"{missed:,} for bitwise equal setups do not hold"] if missed else []
    return (
        f'<p class="muted">Of {len(limits):,} limits {", ".join(said)}.</p>'
        if limits
        else ""
    )


def scopes(pair: Report) -> str:
    """The errors of prompt, completion and all tokens side by side."""
    rows = []
    for item in pair.get("scopes") or []:
        nested = item.get("errors") if isinstance(item.get("errors"), Mapping) else item
        cells = [number(nested.get(key), sign=key == "mean") for key, _ in _ERRORS]
        rows.append(
            [
                esc(item.get("scope") or "-"),
                number(item.get("tokens"), "tokens"),
                *cells,
                number(item.get("k3")),
            ]
        )
    head = [
        ("scope", ""),
        ("tokens", "n"),
        *((name, "n") for _, name in _ERRORS),
        ("k3", "n"),
    ]
    return table(head, rows) if rows else ""


def buckets(rows: Sequence[Report], label: str, *, whole: bool = False) -> str:
    """The numbers of buckets, behind their chart."""
    cells = [
        [
            escape(bucket_text(row, whole=whole)),
            number(row.get("tokens"), "tokens"),
            *(
                number(row.get(key), sign=key == "mean") if row.get("tokens") else ""
                for key, _ in _ERRORS
            ),
        ]
        for row in rows
    ]
    return table(
        [(label, "w"), ("tokens", "n"), *((name, "n") for _, name in _ERRORS)], cells
    )


def floor(pair: Report) -> str:
    """Where the noise floor comes from."""
    data = pair.get("floor")
    if not isinstance(data, Mapping):
        return ""
    names = {
        "a": "repeat of A",
        "b": "repeat of B",
        "batch_a": "A alone in its batch",
        "batch_b": "B alone in its batch",
    }
    rows = [["used", "", number(data.get("mae")), number(data.get("rmse"))]]
    for key, name in names.items():
        item = data.get(key)
        values = (
            [number(get(item, "mae")), number(get(item, "rmse"))]
            if item
            else [UNKNOWN, UNKNOWN]
        )
        rows.append([escape(name), esc(get(item, "label") or ""), *values])
    return table(
        [("noise floor", ""), ("measured with", ""), ("MAE", "n"), ("RMSE", "n")], rows
    )


def decomposition(item: Report) -> str:
    """The parts of a gap as numbers."""
    rows = [
        [
            esc(name),
            *(
                number(part.get(key), sign=key == "mean") if part else UNKNOWN
                for key in ("mean", "mae", "rmse")
            ),
        ]
        for name, part in parts_of(item)
    ]
    return table([("part", ""), ("mean Δ", "n"), ("MAE", "n"), ("RMSE", "n")], rows)


def worst_tokens(pair: Report, link: Callable[[Any], str]) -> str:
    """The tokens with the largest gaps in their context; ``link`` makes a sequence's
    number clickable.
    """
    rows = []
    for token in pair.get("worst") or []:
        ranks = ranks_text(token)
        context = (
            f'<span class="context">{esc(token.get("before") or "")}'
            '<mark title="id'
            f' {esc(token.get("token_id", "?"))}">{esc(token.get("piece") or "")}</mark>{esc(token.get("after") or "")}</span>'
        )
        times = token.get("times_floor")
        rows.append(
            [
                link(token.get("sequence")),
                number(token.get("position"), "tokens"),
                number(token.get("delta"), sign=True),
                known(multiple_text(times)),
                number(token.get("logprob_a")),
                number(token.get("logprob_b")),
                escape(ranks),
                context,
            ]
        )
    head = [
        ("seq", "n"),
        ("pos", "n"),
        ("Δ", "n"),
        ("floor", "n"),
        ("log p_A", "n"),
        ("log p_B", "n"),
        ("rank A→B", "n"),
        ("in context", "c"),
    ]
    if all(token.get("times_floor") is None for token in pair.get("worst") or []):
        head.pop(3)
        rows = [[*row[:3], *row[4:]] for row in rows]
    return table(head, rows) if rows else ""


def worst_sequences(
    pair: Report, link: Callable[[Any], str], spark: Callable[[Any], str]
) -> str:
    """The sequences with the largest gaps; ``spark`` draws one."""
    rows = [
        [
            link(item.get("sequence")),
            number(item.get("tokens"), "tokens"),
            number(item.get("mae")),
            number(item.get("mean"), sign=True),
            number(item.get("max_abs")),
            number(item.get("log_ratio"), sign=True),
            spark(item.get("sequence")),
        ]
        for item in pair.get("worst_sequences") or []
    ]
    head = [
        ("seq", "n"),
        ("tokens", "n"),
        ("MAE", "n"),
        ("mean Δ", "n"),
        ("max |Δ|", "n"),
        ("log ratio", "n"),
        ("Δ along it", ""),
    ]
    return table(head, rows) if rows else ""


def pairs(report: Report, link: Callable[[int, str], str]) -> str:
    """All pairs with their verdict and main numbers; those that mean nothing are struck
    out.
    """
    rows = []
    for index, pair in enumerate(report.get("pairs") or []):
        e = pair.get("errors") or {}
        cells = [
            number(e.get("mae")),
            number(e.get("rmse")),
            number(e.get("p99")),
            number(e.get("max_abs")),
            number(get(pair, "mismatch.k3")),
            number(get(pair, "mismatch.ess_token"), "share"),
            number(e.get("exact_fraction"), "share"),
        ]
        if get(pair, "gate.verdict") == "not_comparable":
            cells = [f"<s>{cell}</s>" for cell in cells]
        name = link(index, f"{pair.get('a')} → {pair.get('b')}")
        rows.append(
            [
                name,
                verdict_tag(get(pair, "gate.verdict")),
                number(pair.get("tokens"), "tokens"),
                *cells,
            ]
        )
    head = [
        ("A → B", ""),
        ("verdict", ""),
        ("tokens", "n"),
        ("MAE", "n"),
        ("RMSE", "n"),
        ("p99", "n"),
        ("max", "n"),
        ("k3", "n"),
        ("ESS", "n"),
        ("exact", "n"),
    ]
    return table(head, rows) if rows else ""


_FACTS = ("engine_version", "dtype", "device", "attention_backend")


def captures(report: Report) -> str:
    """What was captured and how, as observed."""
    rows = []
    for capture in report.get("captures") or []:
        facts = capture.get("facts") or {}
        seen = [
            UNKNOWN if facts.get(key) is None else esc(facts[key]) for key in _FACTS
        ]
        rows.append(
            [
                esc(capture.get("label") or "-"),
                esc(capture.get("role") or "-"),
                f"{esc(capture.get('engine') or '-')} {seen[0]}",
                *seen[1:],
                number(capture.get("tokens"), "tokens"),
                esc(capture.get("status") or "-"),
            ]
        )
    head = [
        ("capture", ""),
        ("role", ""),
        ("engine", ""),
        ("dtype", ""),
        ("device", ""),
        ("attention", ""),
        ("tokens", "n"),
        ("status", ""),
    ]
    return table(head, rows) if rows else ""
