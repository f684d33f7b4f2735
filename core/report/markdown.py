"""The report as GitHub Markdown, to be pasted into an issue or a pull request: verdict
first, then the numbers.

Text of models and files is hostile here too: nothing of it may become markup, a mention
or a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.numbers import exact, figure, interval_text, multiple_text
from logdrift.core.report.meaning import (
    SCOPES,
    Row,
    bound_text,
    bucket_text,
    capture_of,
    get,
    left_out,
    limits,
    meaning_text,
    parts_of,
    ranks_text,
    sections,
    sentence_of,
)
from logdrift.core.report.usual import in_words
from logdrift.core.session.visible import visible
from logdrift.core.words import MEANINGLESS, SEVERITIES, VERDICTS

Report = Mapping[str, Any]

LIMIT = 60_000
"""Characters: GitHub refuses a comment of more than 65,536."""
WORST = 10
_LONGEST = 200
_LONGEST_ANSWER = 1000
"""Characters of a cell, and of the sentence that all else is about."""
_MARKUP = re.compile(r"[&<>|`*\[\]\\#@~$!^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""An underscore within a word is no markup."""
_ERRORS = (("mean", "mean Δ"), ("mae", "MAE"), ("rmse", "RMSE"), ("max_abs", "max |Δ|"))
_BUCKETS = (
    ("by_probability", "probability that B gives", False),
    ("by_position", "position", True),
    ("by_entropy", "entropy, nats", False),
)
_OUTSIDE = {"normal": "beyond normal", "exact": "not exact"}


def render_markdown(
    report: Report, main: tuple[str, str] | None = None, *, limit: int = LIMIT
) -> str:
    """The report with ``main`` (default: the first pair) in full and every number of
    the others in one table.

    What comes behind the main pair is left out, and said to be, where the text would
    pass ``limit`` characters.
    """
    pairs: Sequence[Report] = report.get("pairs") or []
    chosen = next(
        (p for p in pairs if (p.get("a"), p.get("b")) == main),
        pairs[0] if pairs else None,
    )
    blocks = [*_failures(report), *_verdict(report, chosen), *_overview(pairs)]
    if chosen is not None:
        blocks += _numbers(report, chosen)
    rest = [
        *(_other(pair) for pair in pairs if pair is not chosen),
        _matrix(pairs),
        _captures(report),
    ]
    size = sum(len(block) + 2 for block in blocks)
    left = 0
    for block in filter(None, rest):
        if size + len(block) > limit:
            left += 1
        else:
            blocks.append(block)
            size += len(block) + 2
    if left:
        blocks.append(
            f"{left} folded parts were left out so that this fits a comment: --html and"
            " --json have everything."
        )
    return "\n\n".join(block for block in blocks if block) + "\n"


def text(value: Any, longest: int = _LONGEST) -> str:
    """Text of any origin that no Markdown renderer takes for markup, a mention, a link
    or a line's end.
    """
    # GitHub looks for mentions and issues in the rendered text, where an entity is the
    # character again: the empty comment parts it from what follows.
    return (
        _entities(value, longest)
        .replace("&#64;", "&#64;<!-- -->")
        .replace("&#35;", "&#35;<!-- -->")
    )


def code(value: Any) -> str:
    """Text of any origin in a fixed-width font. A code span cannot hold a pipe or a
    backtick safely, this can.
    """
    return f"<code>{_entities(value)}</code>" if value not in (None, "") else ""


def _entities(value: Any, longest: int = _LONGEST) -> str:
    shown = visible(str(value))
    shown = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    safe = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", shown)
    return (
        safe.replace("://", "&#58;//")
        .replace("www.", "www&#46;")
        .replace("WWW.", "WWW&#46;")
    )


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> str:
    """A table of cells that are Markdown already; columns in ``right`` are numbers. ""
    without rows.
    """
    if not rows:
        return ""
    rule = ["---:" if index in right else "---" for index in range(len(head))]
    return "\n".join(
        f"| {' | '.join(row)} |" for row in (list(map(text, head)), rule, *rows)
    )


def _folded(summary: str, body: str) -> str:
    return (
        f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>" if body else ""
    )


def _void(pair: Report) -> bool:
    return bool(get(pair, "gate.verdict") == "not_comparable")


def _struck(pair: Report, value: str) -> str:
    """A number of a pair that may not be compared is struck out."""
    return f"~~{value}~~" if _void(pair) and value != "-" else value


def _name(pair: Report) -> str:
    return f"{code(pair.get('a') or 'unknown')} → {code(pair.get('b') or 'unknown')}"


def _word(pair: Report) -> str:
    return VERDICTS.get(str(get(pair, "gate.verdict")), "UNKNOWN")


def _failures(report: Report) -> Iterator[str]:
    for capture in report.get("captures") or []:
        if capture.get("status") == "failed":
            lines = [
                line
                for line in str(capture.get("failure") or "").splitlines()
                if line.strip()
            ]
            yield (
                f"**FAILED** {code(capture.get('label'))}:"
                f" {text(lines[0] if lines else 'no reason was recorded')}"
            )


def _verdict(report: Report, pair: Report | None) -> Iterator[str]:
    model = report.get("model") or {}
    source = f"{text(model.get('id') or 'unknown')}" + (
        f", revision {text(model['revision'])}" if model.get("revision") else ""
    )
    about = (
        f"Session {code(report.get('session') or 'unknown')}, model {source}, state"
        f" {text(report.get('state') or 'unknown')}."
    )
    if pair is None:
        yield "## logdrift: nothing to compare"
        yield "Fewer than two captures have a finished sequence."
        yield about
        return
    yield f"## logdrift: {_name(pair)}: {_word(pair)}"
    # Not comparable: the reason stands before any number.
    sentence = (
        f"{_answer(pair)}**{MEANINGLESS}**" if _void(pair) else _sentence(report, pair)
    )
    parts = (
        ["\n".join(_reasons(pair)), sentence]
        if _void(pair)
        else [sentence, "\n".join(_reasons(pair))]
    )
    yield from filter(None, parts)
    yield about + " Δ = log p_A - log p_B in nats."


def _reasons(pair: Report) -> Iterator[str]:
    order = {"not_comparable": 0, "caution": 1}
    for reason in sorted(
        get(pair, "gate.reasons") or [], key=lambda r: order.get(r.get("severity"), 2)
    ):
        word = SEVERITIES.get(reason.get("severity"), "note")
        yield (
            f"- **{word}:**"
            f" {text(reason.get('text') or reason.get('code') or 'unknown')}"
        )


def _sentence(report: Report, pair: Report) -> str:
    captures = {
        capture.get("label"): capture for capture in report.get("captures") or []
    }
    a, b, mae = (
        captures.get(pair.get("a")),
        captures.get(pair.get("b")),
        get(pair, "errors.mae"),
    )
    scope = SCOPES.get(str(pair.get("scope")), "tokens of an unknown scope")
    interval = limits(get(pair, "ci95.mae"))
    range_ = f", 95% {figure(interval[0])} to {figure(interval[1])}" if interval else ""
    words = text(in_words(mae, capture_of(a), capture_of(b))) if a and b else ""
    number = f"**MAE {figure(mae)} nats**{range_}" if mae is not None else "MAE unknown"
    without = f" ({text(left_out(pair))})" if left_out(pair) else ""
    counts = (
        f"{figure(pair.get('tokens'), 'tokens')} {scope} in"
        f" {figure(pair.get('sequences'), 'tokens')} sequences"
    )
    return f"{_answer(pair)}{number}, over {counts}{without}. {words}".strip()


def _answer(pair: Report) -> str:
    """The answer of the pair, where it was made, before what follows it."""
    return (
        f"**{text(sentence_of(pair), _LONGEST_ANSWER)}** " if sentence_of(pair) else ""
    )


def _overview(pairs: Sequence[Report]) -> Iterator[str]:
    rows = []
    for pair in pairs:
        e = pair.get("errors") or {}
        cells = [figure(e.get(key)) for key in ("mae", "rmse", "p99", "max_abs")]
        cells += [
            figure(get(pair, "mismatch.k3")),
            figure(get(pair, "mismatch.ess_token"), "share"),
        ]
        cells += [figure(e.get("exact_fraction"), "share")]
        rows.append(
            [
                _name(pair),
                _word(pair),
                figure(pair.get("tokens"), "tokens"),
                *(_struck(pair, c) for c in cells),
            ]
        )
    head = (
        "A → B",
        "verdict",
        "tokens",
        "MAE",
        "RMSE",
        "p99",
        "max",
        "k3",
        "ESS",
        "exact",
    )
    if rows:
        yield table(head, rows, range(2, 10))


def _numbers(report: Report, pair: Report) -> Iterator[str]:
    yield f"### {_name(pair)} in full"
    if _void(pair):
        yield f"**{MEANINGLESS}**"
    yield from _thresholds(pair)
    for _, title, rows in sections(pair):
        yield f"**{text(title)}**"
        yield _metrics(pair, rows)
    yield from _interval_note(pair)
    yield from _tables(pair)
    yield from _decomposition(report)
    yield from _worst(pair)


def _metrics(pair: Report, rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        unit = (
            f" {row.metric.format}"
            if row.metric.format == "nats" and row.text != "-"
            else ""
        )
        value = _struck(pair, text(row.text)) + unit
        interval = _struck(pair, interval_text(row.interval, row.metric.format))
        cells.append(
            [
                text(row.metric.title),
                value,
                interval,
                multiple_text(row.multiple),
                text(meaning_text(row.metric)),
            ]
        )
    # Columns that nothing of this table fills are noise.
    kept = [
        i for i in range(5) if i not in (2, 3) or any(row[i] != "-" for row in cells)
    ]
    head = ("number", "value", "95% interval", "of the noise floor", "meaning")
    return table(
        [head[i] for i in kept],
        [[row[i] for i in kept] for row in cells],
        [1, *range(2, len(kept) - 1)],
    )


def _interval_note(pair: Report) -> Iterator[str]:
    method = get(pair, "ci95.method")
    if method is not None:
        units, draws = get(pair, "ci95.units"), get(pair, "ci95.resamples")
        yield (
            f"Intervals: bootstrap over {figure(units, 'tokens')} {text(method)},"
            f" {figure(draws, 'tokens')} resamples."
        )


def _thresholds(pair: Report) -> Iterator[str]:
    rows = []
    for limit in pair.get("thresholds") or []:
        ok = limit.get("ok")
        mark = (
            "✓ ok"
            if ok is True
            else (
                f"✕ {_OUTSIDE.get(str(limit.get('level')), 'outside')}"
                if ok is False
                else "? not judged"
            )
        )
        words = " ".join(
            text(limit[key]) for key in ("meaning", "note") if limit.get(key)
        )
        rows.append(
            [
                text(limit.get("framework") or "-"),
                code(limit.get("name") or limit.get("metric") or "-"),
                _struck(pair, exact(limit.get("value"))),
                text(bound_text(limit)),
                mark,
                words or "-",
                text(limit.get("source") or "unknown"),
            ]
        )
    if rows:
        yield "**Published and own limits**"
        yield table(
            ("limit of", "its number", "here", "limit", "verdict", "meaning", "source"),
            rows,
            (2, 3),
        )


def _tables(pair: Report) -> Iterator[str]:
    rules = [
        [
            text(rule.get("rule") or "-"),
            text(rule.get("name") or "-"),
            text(bound_text(rule)),
            text(rule.get("level") or "-"),
            _struck(pair, figure(rule.get("tokens"), "share")),
            _struck(pair, figure(rule.get("sequences"), "share")),
        ]
        for rule in pair.get("what_if") or []
    ]
    if rules:
        yield (
            "**What corrections would do**: share of tokens and sequences that they"
            " clip or mask"
        )
        yield table(
            ("rule", "name", "keeps ratios", "of a", "tokens", "sequences"),
            rules,
            (4, 5),
        )
    scopes = [
        [
            text(item.get("scope") or "-"),
            *_error_cells(pair, item),
            _struck(pair, figure(item.get("k3"))),
        ]
        for item in pair.get("scopes") or []
    ]
    if scopes:
        yield "**Prompt, completion, all**"
        yield table(
            ("scope", "tokens", *(name for _, name in _ERRORS), "k3"),
            scopes,
            range(1, 7),
        )
    for key, label, whole in _BUCKETS:
        rows = [
            [text(bucket_text(item, whole=whole)), *_error_cells(pair, item)]
            for item in get(pair, f"buckets.{key}") or []
            if item.get("tokens")
        ]
        if rows:
            yield f"**Error by {label}**"
            yield table(
                (label, "tokens", *(name for _, name in _ERRORS)), rows, range(1, 6)
            )
    yield from _floor(pair)


def _error_cells(pair: Report, item: Report) -> list[str]:
    numbers = [
        _struck(pair, figure(item.get(key), sign=key == "mean")) for key, _ in _ERRORS
    ]
    return [figure(item.get("tokens"), "tokens"), *numbers]


def _floor(pair: Report) -> Iterator[str]:
    floor = pair.get("floor")
    if isinstance(floor, Mapping):
        names = {
            "a": "repeat of A",
            "b": "repeat of B",
            "batch_a": "A alone in its batch",
            "batch_b": "B alone in its batch",
        }
        rows = [["used", "", figure(floor.get("mae")), figure(floor.get("rmse"))]]
        rows += [
            [
                name,
                code(get(floor, f"{key}.label")),
                figure(get(floor, f"{key}.mae")),
                figure(get(floor, f"{key}.rmse")),
            ]
            for key, name in names.items()
        ]
        yield "**Noise floor**"
        yield table(("noise floor", "measured with", "MAE", "RMSE"), rows, (2, 3))


def _decomposition(report: Report) -> Iterator[str]:
    rows = [
        [
            (
                f"{code(item.get('trainer') or 'unknown')} →"
                f" {code(item.get('rollout') or 'unknown')}"
            ),
            text(name),
            *(
                figure(get(part, key), sign=key == "mean")
                for key in ("mean", "mae", "rmse")
            ),
        ]
        for item in report.get("decomposition") or []
        for name, part in parts_of(item)
    ]
    if rows:
        yield "**Where the gap comes from** (parts add up in mean Δ, not in MAE)"
        yield table(("gap", "part", "mean Δ", "MAE", "RMSE"), rows, (2, 3, 4))


def _worst(pair: Report, count: int = WORST) -> Iterator[str]:
    rows = []
    for token in (pair.get("worst") or [])[:count]:
        times = token.get("times_floor")
        ranks = ranks_text(token)
        context = f"<code>{_entities(token.get('before') or '')}<b>»{_entities(token.get('piece') or '')}«</b>{_entities(token.get('after') or '')}</code>"
        numbers = [
            figure(token.get("delta"), sign=True),
            multiple_text(times),
            figure(token.get("logprob_a")),
            figure(token.get("logprob_b")),
        ]
        places = [
            figure(token.get(key), "tokens")
            for key in ("sequence", "position", "token_id")
        ]
        rows.append([*places, *(_struck(pair, n) for n in numbers), ranks, context])
    if rows:
        more = (
            f" of {len(pair['worst'])} in --json"
            if len(pair["worst"]) > len(rows)
            else ""
        )
        yield f"**The {len(rows)} worst tokens**{more}"
        yield table(
            (
                "seq",
                "pos",
                "id",
                "Δ",
                "of the floor",
                "log p_A",
                "log p_B",
                "rank A→B",
                "in context",
            ),
            rows,
            range(8),
        )
    sequences = [
        [
            figure(item.get("sequence"), "tokens"),
            figure(item.get("tokens"), "tokens"),
            *(
                _struck(pair, figure(item.get(key), sign=key in ("mean", "log_ratio")))
                for key in ("mae", "mean", "max_abs", "log_ratio")
            ),
        ]
        for item in (pair.get("worst_sequences") or [])[:count]
    ]
    if sequences:
        yield "**The worst sequences**"
        yield table(
            ("seq", "tokens", "MAE", "mean Δ", "max |Δ|", "log ratio"),
            sequences,
            range(6),
        )


def _other(pair: Report) -> str:
    """Another pair, folded: its reasons, and a few of its worst tokens."""
    body = [
        *((f"**{MEANINGLESS}**",) if _void(pair) else ()),
        "\n".join(_reasons(pair)),
        *_worst(pair, 3),
    ]
    return _folded(
        f"{_name(pair)}: {_word(pair)}, MAE {figure(get(pair, 'errors.mae'))}",
        "\n\n".join(filter(None, body)),
    )


def _matrix(pairs: Sequence[Report]) -> str:
    """Every number of every pair: one row a number, one column a pair."""
    columns = [
        {row.metric.path: row for _, _, rows in sections(pair) for row in rows}
        for pair in pairs
    ]
    paths = dict.fromkeys(path for column in columns for path in column)
    if len(pairs) < 2 or not paths:
        return ""
    rows = []
    for path in paths:
        found = [column.get(path) for column in columns]
        cells = [text(row.text) if row else "-" for row in found]
        rows.append(
            [
                text(path),
                *(_struck(pair, cell) for pair, cell in zip(pairs, cells, strict=True)),
            ]
        )
    names = "\n".join(
        f"{i}. {_name(pair)}: {_word(pair)}" for i, pair in enumerate(pairs, 1)
    )
    head = ("number", *(str(i) for i in range(1, len(pairs) + 1)))
    return _folded(
        "every number of every pair",
        f"{names}\n\n{table(head, rows, range(1, len(pairs) + 1))}",
    )


def _captures(report: Report) -> str:
    rows = []
    for capture in report.get("captures") or []:
        facts = capture.get("facts") or {}
        seen = [
            text(facts[key]) if facts.get(key) is not None else "unknown"
            for key in ("engine_version", "dtype", "device", "attention_backend")
        ]
        rows.append(
            [
                code(capture.get("label") or "-"),
                text(capture.get("role") or "-"),
                f"{text(capture.get('engine') or '-')} {seen[0]}",
                *seen[1:],
                figure(capture.get("tokens"), "tokens"),
                text(capture.get("status") or "-"),
            ]
        )
    head = (
        "capture",
        "role",
        "engine",
        "dtype",
        "device",
        "attention",
        "tokens",
        "status",
    )
    return _folded("captures", table(head, rows, (6,)))
