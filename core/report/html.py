"""The report as one HTML file that needs no script and fetches nothing: what people
show to their colleagues.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from logdrift.core.compare.pair import Pair, Scope, make_pair
from logdrift.core.numbers import figure, interval_text, is_number
from logdrift.core.report import charts, html_tables, svg
from logdrift.core.report.html_style import CSS
from logdrift.core.report.html_tables import UNKNOWN, esc, number, verdict_tag
from logdrift.core.report.html_tokens import Shown, choose, sequence_text
from logdrift.core.report.meaning import (
    SCOPES,
    capture_of,
    floor_multiple,
    get,
    interval_of,
    left_out,
    metric,
    parts_of,
    sections,
    sentence_of,
)
from logdrift.core.report.scale import STEPS, THRESHOLD
from logdrift.core.report.usual import in_words, usual_range
from logdrift.core.session.reader import Session
from logdrift.core.session.visible import visible
from logdrift.core.version import __version__
from logdrift.core.words import MEANINGLESS, SEVERITIES, VERDICTS

Report = Mapping[str, Any]

SEQUENCES = 12
TOKENS = 20_000
"""At most so many sequences and tokens are drawn, at about 130 bytes a token."""

_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'"
)
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
_MARKS = {"comparable": "✓", "caution": "!", "not_comparable": "✕"}
_BUCKETS = (
    (
        "by_probability",
        "Error by the probability of the token",
        "probability that B gives",
        False,
    ),
    ("by_position", "Error by position", "position", True),
    ("by_entropy", "Error by entropy of the distribution", "entropy, nats", False),
)


def render_html(
    report: Report,
    session: Session,
    pairs: Sequence[Pair] = (),
    main: tuple[str, str] | None = None,
    *,
    sequences: int = SEQUENCES,
    tokens: int = TOKENS,
) -> str:
    """The whole page. ``main`` is the pair shown in full (default: the first of the
    report), the others are folded.

    ``pairs`` are pairs already made from ``session``, so that their arrays are not
    computed again; others are made here. Of the worst ``sequences`` of the main pair at
    most ``tokens`` tokens are drawn; the page says how many.
    """
    chosen = _main(report, main)
    made = {(pair.a.info.label, pair.b.info.label): pair for pair in pairs}
    body = [*_head(report, chosen), *_failures(report)]
    for index, data in enumerate(report.get("pairs") or []):
        if chosen is not None and data is chosen:
            body += _main_pair(
                report,
                data,
                session,
                _pair(session, made, data),
                index,
                (sequences, tokens),
            )
    others = [
        item for item in enumerate(report.get("pairs") or []) if item[1] is not chosen
    ]
    if others:
        body.append('<h2 id="others">The other pairs in full</h2>')
    for index, data in others:
        body.append(_other(report, data, _pair(session, made, data), index))
    body += [
        '<h2 id="captures">Captures</h2><div class="panel">',
        html_tables.captures(report) or UNKNOWN,
        "</div>",
    ]
    body.append(
        f"<footer><p>Made by logdrift {esc(__version__)}. Δ = log p_A - log p_B in"
        " nats, for the same token after the same tokens; r = exp(Δ). Where a number"
        " is unknown it could not be observed or computed.</p></footer>"
    )
    title = f"logdrift: {esc(report.get('title') or report.get('session') or 'report')}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta'
        ' name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _main(report: Report, main: tuple[str, str] | None) -> Report | None:
    pairs: Sequence[Report] = report.get("pairs") or []
    return next(
        (p for p in pairs if (p.get("a"), p.get("b")) == main),
        pairs[0] if pairs else None,
    )


def _pair(session: Session, made: Mapping[tuple[str, str], Pair], data: Report) -> Pair:
    return made.get((data["a"], data["b"])) or make_pair(session, data["a"], data["b"])


def _head(report: Report, chosen: Report | None) -> Iterator[str]:
    model = report.get("model") or {}
    name = esc(model.get("id") or "unknown") + (
        f" @ {esc(model['revision'])}" if model.get("revision") else ""
    )
    counts = ", ".join(
        f"{figure(report[key], 'tokens')} {word}"
        for key, word in (
            ("sequences", "sequences"),
            ("tokens", "tokens"),
            ("completion_tokens", "of completions"),
        )
        if is_number(report.get(key))
    )
    facts = [
        f"model {name}",
        counts,
        esc(report.get("created") or ""),
        f"state {esc(report.get('state') or 'unknown')}",
    ]
    yield (
        '<p class="brand">logdrift report · session'
        f" {esc(report.get('session') or 'unknown')}</p>"
    )
    yield f"<h1>{esc(report.get('title') or report.get('session') or 'report')}</h1>"
    yield f'<p class="facts">{" · ".join(part for part in facts if part)}</p>'
    if report.get("state") == "running":
        yield (
            '<div class="banner caution"><p>Partial: this session is being written'
            " right now.</p></div>"
        )
    if chosen is None:
        yield (
            '<div class="banner unknown"><p>Nothing to compare: fewer than two captures'
            " have a finished sequence.</p></div>"
        )
        return
    links = [
        ("pairs", "All pairs"),
        ("charts", "Charts"),
        ("thresholds", "Limits"),
        ("metrics", "Numbers"),
        ("worst", "Worst tokens"),
        ("text", "Text"),
        ("captures", "Captures"),
    ]
    yield (
        "<nav>"
        + "".join(f'<a href="#{key}">{word}</a>' for key, word in links)
        + "</nav>"
    )


def _failures(report: Report) -> Iterator[str]:
    for capture in report.get("captures") or []:
        if capture.get("status") == "failed":
            log = [
                line
                for line in str(capture.get("failure") or "").splitlines()
                if line.strip()
            ]
            rest = "<br>".join(esc(line) for line in log[1:])
            rest = (
                "<details><summary>its last lines</summary><p"
                f' class="context">{rest}</p></details>'
                if rest
                else ""
            )
            yield (
                '<div class="banner failed"><p><span class="word'
                f' not_comparable">FAILED</span> {esc(capture.get("label"))}: '
                f"{esc(log[0] if log else 'no reason was recorded')}</p>{rest}</div>"
            )


def _main_pair(
    report: Report,
    data: Report,
    session: Session,
    pair: Pair,
    index: int,
    most: tuple[int, int],
) -> Iterator[str]:
    void = " void" if get(data, "gate.verdict") == "not_comparable" else ""
    shown = _chosen_sequences(data, pair, most)
    drawn = {item.sequence for item in shown}

    def to_sequence(sequence: Any) -> str:
        text = number(sequence, "tokens")
        return f'<a href="#s{sequence}">{text}</a>' if sequence in drawn else text

    def to_pair(at: int, text: str) -> str:
        return (
            f"<b>{esc(text)}</b>"
            if at == index
            else f'<a href="#p{at}">{esc(text)}</a>'
        )

    yield from _banner(report, data)
    yield (
        f'<div class="pairs{void}" id="p{index}"><div class="cards'
        f' dim">{"".join(_cards(report, data))}</div></div>'
    )
    yield (
        '<h2 id="pairs">All pairs</h2><div'
        f' class="panel">{html_tables.pairs(report, to_pair)}</div>'
    )
    yield (
        f'<h2 id="charts">{esc(data.get("a"))} → {esc(data.get("b"))} in pictures</h2>'
    )
    yield f'<div class="grid{void}">{"".join(_panels(report, data, pair))}</div>'
    yield _more_charts(session, pair, void)
    yield (
        "<div"
        f' class="{void.strip() or "valid"}">{"".join(_numbers(data, "thresholds", "metrics"))}</div>'
    )
    yield f'<h2 id="worst">Worst tokens</h2>{_voided(void)}<div class="panel{void}">'
    yield (
        html_tables.worst_tokens(data, to_sequence) or "<p>No token differs.</p>"
    ) + "</div>"
    yield from _worst_sequences(data, pair, to_sequence, void)
    yield from _text(session, data, pair, shown, void)


def _voided(void: str) -> str:
    return f'<p class="not_comparable">{MEANINGLESS}</p>' if void else ""


def _banner(report: Report, data: Report) -> Iterator[str]:
    verdict = get(data, "gate.verdict")
    style = verdict if verdict in VERDICTS else "unknown"
    yield (
        f'<section class="banner {style}"><p class="pair">{esc(data.get("a"))} →'
        f" {esc(data.get('b'))}</p>"
    )
    word = VERDICTS.get(str(verdict), "UNKNOWN")
    yield f'<span class="word {style}">{_MARKS.get(style, "?")} {word}</span>'
    reasons = "".join(_reasons(data))
    if sentence := sentence_of(data):
        yield f'<p class="answer"><b>{esc(sentence)}</b></p>'
    yield (
        f"<p>{_sentence(report, data)}</p>{f'<ul>{reasons}</ul>' if reasons else ''}</section>"
    )


def _reasons(data: Report) -> Iterator[str]:
    order = {"not_comparable": 0, "caution": 1}
    for reason in sorted(
        get(data, "gate.reasons") or [], key=lambda r: order.get(r.get("severity"), 2)
    ):
        severity = reason.get("severity")
        word = SEVERITIES.get(severity, "note")
        style = severity if severity in VERDICTS else "muted"
        yield (
            f'<li><span class="tag {style}">{word}:</span>'
            f" {esc(reason.get('text') or reason.get('code') or 'unknown')}</li>"
        )


def _sentence(report: Report, data: Report) -> str:
    if get(data, "gate.verdict") == "not_comparable":
        return f"<b>{MEANINGLESS}</b>"
    mae = get(data, "errors.mae")
    scope = SCOPES.get(str(data.get("scope")), "tokens of an unknown scope")
    without = f" ({esc(left_out(data))})" if left_out(data) else ""
    counts = (
        f"{figure(data.get('tokens'), 'tokens')} {scope} in"
        f" {figure(data.get('sequences'), 'tokens')} sequences{without}."
    )
    sides = _sides(report, data)
    words = esc(in_words(mae, *map(capture_of, sides))) if sides else ""
    return f"MAE {number(mae)} nats over {counts} {words}"


def _sides(report: Report, data: Report) -> tuple[Report, Report] | None:
    captures = {
        capture.get("label"): capture for capture in report.get("captures") or []
    }
    a, b = captures.get(data.get("a")), captures.get(data.get("b"))
    return (a, b) if a and b else None


def _cards(report: Report, data: Report) -> Iterator[str]:
    sides = _sides(report, data)
    found = usual_range(*map(capture_of, sides)) if sides else None
    for path in _CARDS:
        group, key = path.split(".")
        known = metric(path)
        value = get(data, path)
        unit = {"nats": " nats", "share": "", "tokens": ""}.get(known.format, "")
        good = known.good
        if path == "errors.mae" and found:
            good = f"{found.words} in {found.dtype}"
        extra = []
        interval = interval_of(data, group, key)
        if interval:
            extra.append(f"95% {escape(interval_text(interval, known.format))}")
        multiple = floor_multiple(data, group, key, value)
        if multiple is not None:
            extra.append(html_tables.floor_words(multiple))
        lines = "".join(
            f'<p class="muted">{line}</p>'
            for line in (*extra, f"Good: {esc(good)}." if good else "")
            if line
        )
        yield (
            f'<div class="card"><div class="name">{esc(known.title)}</div><div'
            f' class="value">{number(value, known.format)}'
            f"<small>{unit if figure(value) != '-' else ''}</small></div><p>{esc(known.meaning)}</p>{lines}</div>"
        )


def _panel(title: str, text: str, body: str) -> str:
    words = f"<p class='muted'>{escape(text)}</p>" if text else ""
    return (
        f'<div class="panel"><h3>{escape(title)}</h3>{words}<div class="chart'
        f' dim">{body}</div></div>'
    )


def _panels(report: Report, data: Report, pair: Pair) -> Iterator[str]:
    scope = _scope(data)
    mask = pair.scope_mask(scope)
    delta = pair.delta[mask]
    yield _panel(
        "Δ over the position",
        "Mean (line) and the middle 80% of the tokens (band), all sequences together.",
        charts.position_chart(pair, scope, mask),
    )
    exact = int(np.count_nonzero(delta == 0))
    rest = f" {exact:,} tokens with Δ exactly 0 are not drawn." if exact else ""
    yield _panel(
        "How large Δ is",
        f"Tokens by |Δ|. Orange: A gives more; blue: B gives more.{rest}",
        charts.histogram_chart(delta, data),
    )
    yield _panel(
        "log p_A against log p_B",
        "Stronger colour: more tokens (log scale). On the dashed line both sides"
        " agree.",
        charts.density_chart(pair.logprob_a[mask], pair.logprob_b[mask]),
    )
    yield from _bucket_panels(data)
    for item in report.get("decomposition") or []:
        if item.get("rollout") in (data.get("a"), data.get("b")) or item.get(
            "trainer"
        ) in (
            data.get("a"),
            data.get("b"),
        ):
            yield _decomposition(item)


def _more_charts(session: Session, pair: Pair, void: str) -> str:
    """The charts of the registry that the page does not show in its own panels."""
    panels = [_panel(*chart) for chart in charts.more_charts(session, pair)]
    if not panels:
        return ""
    return (
        "<details><summary>More charts</summary>"
        f'<div class="grid{void}">{"".join(panels)}</div></details>'
    )


def _scope(data: Report) -> Scope:
    scope: Scope = data["scope"] if data.get("scope") in SCOPES else "all"
    return scope


def _bucket_panels(data: Report) -> Iterator[str]:
    for key, title, label, whole in _BUCKETS:
        rows = get(data, f"buckets.{key}")
        if rows:
            chart = charts.bucket_chart(rows, title, label, whole=whole)
            folded = (
                "<details><summary>as a"
                f" table</summary>{html_tables.buckets(rows, label, whole=whole)}</details>"
            )
            text = f"MAE (bar), RMSE (dot) and number of tokens by {label}."
            yield f"{_panel(title, text, chart).removesuffix('</div>')}{folded}</div>"


def _decomposition(item: Report) -> str:
    parts = parts_of(item)
    rows = [
        (visible(name), get(part, "mae"), _or_unknown(figure(get(part, "mae"))))
        for name, part in parts
    ]
    styles = [
        "cx-down" if "reference" in name else "cx-up" if i else "cx-bar"
        for i, (name, _) in enumerate(parts)
    ]
    title = (
        f"Where the gap of {item.get('trainer') or 'unknown'} →"
        f" {item.get('rollout') or 'unknown'} comes from"
    )
    chart = svg.bars(
        rows,
        title=visible(title),
        label="MAE, nats",
        styles=styles,
        description=(
            "Mean absolute error of the whole gap, of its two parts, and of each side"
            " against the reference."
        ),
    )
    text = (
        "MAE of the whole (grey), of its parts (orange) and against the float32"
        " reference (blue). Parts add up in mean Δ, not in MAE."
    )
    folded = (
        "<details><summary>as a"
        f" table</summary>{html_tables.decomposition(item)}</details>"
    )
    return f"{_panel(visible(title), text, chart).removesuffix('</div>')}{folded}</div>"


def _or_unknown(text: str) -> str:
    return "unknown" if text == "-" else text


def _numbers(data: Report, limits_id: str = "", metrics_id: str = "") -> Iterator[str]:
    """Everything of a pair that is a table, but for worst tokens and sequences."""
    void = get(data, "gate.verdict") == "not_comparable"
    said = _voided(" void" if void else "")

    def heading(name: str, ident: str) -> str:
        return f"<h2 id='{ident}'>{name}</h2>{said}" if ident else f"<h3>{name}</h3>"

    checks = html_tables.thresholds(data)
    yield heading("Published and own limits", limits_id)
    yield (
        '<div class="panel"><div'
        f' class="dim">{html_tables.limits_in_words(data)}{checks or "<p>No limits were evaluated.</p>"}</div></div>'
    )
    yield heading("Every number", metrics_id) + '<div class="columns dim">'
    for group, title, rows in sections(data):
        note = _interval_note(data) if group == "errors" else ""
        yield (
            "<div"
            f' class="panel"><h3>{esc(title)}</h3>{html_tables.metrics(rows)}{note}</div>'
        )
    for title, body in (
        ("What corrections would do", html_tables.what_if(data)),
        ("Prompt, completion, all", html_tables.scopes(data)),
        ("Noise floor", html_tables.floor(data)),
    ):
        if body:
            yield f'<div class="panel"><h3>{title}</h3>{body}</div>'
    yield "</div>"


def _interval_note(data: Report) -> str:
    method, units = get(data, "ci95.method"), get(data, "ci95.units")
    if method is None:
        return ""
    draws = get(data, "ci95.resamples")
    return (
        f'<p class="muted">Intervals: bootstrap over {number(units, "tokens")}'
        f" {esc(method)}, "
        f"{number(draws, 'tokens')} resamples.</p>"
    )


def _chosen_sequences(data: Report, pair: Pair, most: tuple[int, int]) -> list[Shown]:
    """The sequences to draw: those with NaN, those of the report, else by their mean
    |delta|, worst first.
    """
    ranked = np.argsort(
        -np.where(np.isnan(pair.mean_abs), -1.0, pair.mean_abs), kind="stable"
    )
    named = [item.get("sequence") for item in data.get("worst_sequences") or []]
    broken = np.flatnonzero(pair.count_per_sequence(pair.broken))[: most[0] // 2]
    order = dict.fromkeys(int(s) for s in broken)
    order |= dict.fromkeys(
        [s for s in named if isinstance(s, int) and 0 <= s < pair.count]
    )
    order |= dict.fromkeys(int(s) for s in ranked[: most[0]])
    return choose(pair, list(order), *most)


def _worst_sequences(data: Report, pair: Pair, link: Any, void: str) -> Iterator[str]:
    mask = pair.scope_mask(_scope(data))
    scale = get(data, "errors.p99")
    largest = float(scale) if is_number(scale) and scale > 0 else 1.0

    def spark(sequence: Any) -> str:
        inside = isinstance(sequence, int) and 0 <= sequence < pair.count
        return charts.sparkline(pair, sequence, mask, largest) if inside else UNKNOWN

    body = html_tables.worst_sequences(data, link, spark)
    if body:
        yield (
            f'<h2 id="sequences">Worst sequences</h2>{_voided(void)}<div'
            f' class="panel{void}">{body}'
        )
        yield (
            f'<p class="muted">Full height of the last column: p99, {number(largest)}'
            " nats; orange up: A gives more.</p></div>"
        )


def _text(
    session: Session, data: Report, pair: Pair, shown: Sequence[Shown], void: str
) -> Iterator[str]:
    drawn = sum(item.stop - item.start for item in shown)
    yield f'<h2 id="text">The text, by Δ</h2>{_voided(void)}'
    yield (
        f"<p>{len(shown):,} of {pair.count:,} sequences, {drawn:,} of {pair.tokens:,}"
        " tokens: the worst ones first. Coloured and underlined: |Δ| above the step."
        " Hover over a token for its numbers. Grey: without a score on both sides.</p>"
    )
    steps = [f"{THRESHOLD * 2**i:g}" for i in range(STEPS)]
    for name, side in (("A gives more, above", "o"), ("B gives more, above", "b")):
        marks = "".join(
            f'<span class="{side}{i}">{step}</span> ' for i, step in enumerate(steps, 1)
        )
        yield f'<p class="legend"><span>{name} {marks}nats</span></p>'
    for item in shown:
        cut = (
            f", tokens {item.start:,} to {item.stop - 1:,} of {item.length:,}"
            if item.stop - item.start < item.length
            else ""
        )
        mae = number(
            None
            if np.isnan(pair.mean_abs[item.sequence])
            else float(pair.mean_abs[item.sequence])
        )
        worst = number(
            None
            if np.isnan(pair.worst[item.sequence])
            else float(pair.worst[item.sequence])
        )
        yield (
            f'<div class="panel{void}" id="s{item.sequence}"><h3>Sequence'
            f" {item.sequence:,}</h3>"
        )
        yield (
            f'<p class="muted">MAE {mae}, worst {worst} nats over {item.length:,}'
            f" tokens with the prompt{cut}</p>"
        )
        yield f'<div class="dim">{sequence_text(session, pair, item)}</div></div>'


def _other(report: Report, data: Report, pair: Pair, index: int) -> str:
    """A pair folded away: verdict and reasons, all numbers, two charts, worst
    tokens.
    """
    void = " void" if get(data, "gate.verdict") == "not_comparable" else ""
    mask = pair.scope_mask(_scope(data))
    pictures = _panel(
        "How large Δ is", "", charts.histogram_chart(pair.delta[mask], data)
    ) + "".join(_bucket_panels(data))
    worst = html_tables.worst_tokens(data, lambda sequence: number(sequence, "tokens"))
    reasons = "".join(_reasons(data))
    mae = (
        f"<s>{number(get(data, 'errors.mae'))}</s>"
        if void
        else number(get(data, "errors.mae"))
    )
    return (
        f'<details class="pair{void}" id="p{index}"><summary>{esc(data.get("a"))} →'
        f" {esc(data.get('b'))} "
        f'{verdict_tag(get(data, "gate.verdict"))} <span class="muted">MAE'
        f" {mae}</span></summary>"
        f"<p>{_sentence(report, data)}</p>{f'<ul>{reasons}</ul>' if reasons else ''}"
        f"{''.join(_numbers(data))}<h3>Pictures</h3><div class='grid'>{pictures}</div>"
        f"<h3>Worst tokens</h3>{worst or '<p>No token differs.</p>'}</details>"
    )
