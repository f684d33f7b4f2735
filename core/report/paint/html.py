"""Blocks as one HTML file that needs no script and fetches nothing.

Text of any origin is escaped in one place, `html_lines.esc`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

from logdrift.core.numbers import UNKNOWN
from logdrift.core.report import charts
from logdrift.core.report.document import (
    Block,
    CardBlock,
    ChartBlock,
    ChartCell,
    ContextCell,
    FactCell,
    FailureBlock,
    FoldedBlock,
    Gap,
    GroupBlock,
    HeadBlock,
    HeadingBlock,
    Inline,
    InlinePart,
    LegendBlock,
    LineBlock,
    MutedSpan,
    NameCell,
    NumberCell,
    PairCell,
    ParagraphBlock,
    ReasonsBlock,
    SentenceBlock,
    SeriesBlock,
    SourceCell,
    Span,
    SplitBlock,
    TableBlock,
    TableCell,
    TableColumn,
    TagCell,
    TokensBlock,
    VerdictBlock,
)
from logdrift.core.report.paint import html_lines
from logdrift.core.report.paint.html_lines import esc, toned
from logdrift.core.report.paint.html_style import CSS
from logdrift.core.report.paint.html_tokens import sequence_text
from logdrift.core.report.svg_chart import chart_svg
from logdrift.core.version import __version__
from logdrift.core.words import SEVERITIES, VERDICTS

_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'"
)
_UNKNOWN = '<span class="none">unknown</span>'
_LINK = re.compile(r"https?://[A-Za-z0-9._~/?#@!$&'*+,;=:%-]+")
_MARKS = {"comparable": "✓", "caution": "!", "not_comparable": "✕"}
_PARAGRAPHS = {
    "": "<p>",
    "muted": '<p class="muted">',
    "answer": '<p class="answer">',
    "void": '<p class="not_comparable">',
}
_GROUPS = {
    "panel": "panel",
    "grid": "grid",
    "columns": "columns dim",
    "cards": "cards dim",
    "pair": "pairs",
    "dim": "dim",
}
_COLUMNS = {"": "", "word": "w", "context": "c", "place": "n p"}
_FOOTER = (
    "Δ = log p_A - log p_B in nats, for the same token after the same tokens; r ="
    " exp(Δ). Where a number is unknown it could not be observed or computed."
)

_PICTURES: Mapping[str, Callable[..., str]] = {
    "position": charts.position_chart,
    "histogram": charts.histogram_chart,
    "density": charts.density_chart,
    "buckets": charts.bucket_chart,
    "terms": charts.terms_chart,
    "sparkline": charts.sparkline,
    "registered": chart_svg,
}
"""What draws a chart by its name, from its data."""


def paint_html(blocks: Iterable[Block], title: str) -> str:
    """Blocks as a whole page."""
    body = "\n".join(map(_block, blocks))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta'
        ' name="referrer" content="no-referrer">'
        f"<title>logdrift: {esc(title)}</title><style>{CSS}</style></head>\n"
        f"<body><main>\n{body}\n"
        f"<footer><p>Made by logdrift {esc(__version__)}. {_FOOTER}</p></footer>\n"
        "</main></body></html>\n"
    )


def _all(blocks: Iterable[Block]) -> str:
    return "".join(map(_block, blocks))


def _block(block: Block) -> str:
    painter = _PAINTERS.get(type(block))
    if painter is None:
        raise TypeError(f"a page has no {type(block).__name__}")
    return painter(block)


def _class(name: str, void: bool) -> str:
    if void:
        return f"{name} void"
    return name


def _anchor(name: str) -> str:
    if name:
        return f' id="{name}"'
    return ""


# Blocks.


def _heading(block: HeadingBlock) -> str:
    tag = f"h{block.level}"
    anchor = _anchor(block.anchor)
    words = _inline(block.parts)
    return f"<{tag}{anchor}>{words}</{tag}>"


def _paragraph(block: ParagraphBlock) -> str:
    start = _PARAGRAPHS[block.kind]
    words = _inline(block.parts)
    return f"{start}{words}</p>"


def _group(block: GroupBlock) -> str:
    if block.kind == "part":
        name = "void" if block.void else "valid"
    else:
        name = _class(_GROUPS[block.kind], block.void)
    anchor = _anchor(block.anchor)
    content = _all(block.blocks)
    return f'<div class="{name}"{anchor}>{content}</div>'


def _folded(block: FoldedBlock) -> str:
    name = ""
    if block.pair:
        name = f' class="{_class("pair", block.void)}"'
    anchor = _anchor(block.anchor)
    summary = _inline(block.summary)
    content = _all(block.blocks)
    return f"<details{name}{anchor}><summary>{summary}</summary>{content}</details>"


def _head(block: HeadBlock) -> str:
    facts = " · ".join(map(esc, block.facts))
    anchors = [f'<a href="#{anchor}">{word}</a>' for anchor, word in block.links]
    links = "".join(anchors)
    parts = [
        f'<p class="brand">{esc(block.brand)}</p>',
        f"<h1>{esc(block.title)}</h1>",
        f'<p class="facts">{facts}</p>',
    ]
    if block.warning:
        warning = f"<p>{esc(block.warning)}</p>"
        parts.append(f'<div class="banner {block.kind}">{warning}</div>')
    if links:
        parts.append(f"<nav>{links}</nav>")
    return "\n".join(parts)


def _failure(block: FailureBlock) -> str:
    first, *rest = map(esc, block.log)
    more = ""
    if rest:
        log = f'<p class="context">{"<br>".join(rest)}</p>'
        more = f"<details><summary>its last lines</summary>{log}</details>"
    word = '<span class="word not_comparable">FAILED</span>'
    return (
        f'<div class="banner failed"><p>{word} {esc(block.label)}: {first}</p>{more}'
        "</div>"
    )


def _verdict(block: VerdictBlock) -> str:
    kind = block.verdict if block.verdict in VERDICTS else "unknown"
    word = f"{_MARKS.get(kind, '?')} {VERDICTS.get(kind, 'UNKNOWN')}"
    pair = f"{esc(block.pair.a)} → {esc(block.pair.b)}"
    return (
        f'<section class="banner {kind}"><p class="pair">{pair}</p>\n'
        f'<span class="word {kind}">{word}</span>\n'
        f"{_all(block.blocks)}</section>"
    )


def _reasons(block: ReasonsBlock) -> str:
    items = "".join(
        f'<li><span class="tag {severity if severity in VERDICTS else "muted"}">'
        f"{SEVERITIES[severity]}:</span> {esc(text)}</li>"
        for severity, text in block.reasons
    )
    return f"<ul>{items}</ul>"


def _card(block: CardBlock) -> str:
    paragraphs = [f'<p class="muted">{esc(line)}</p>' for line in block.lines]
    lines = "".join(paragraphs)
    number = block.number
    return (
        f'<div class="card"><div class="name">{esc(block.title)}</div>'
        f'<div class="value">{known(number.text)}<small>{number.unit}</small></div>'
        f"<p>{esc(block.meaning)}</p>{lines}</div>"
    )


def _chart(block: ChartBlock) -> str:
    words = ""
    if block.text:
        words = f'<p class="muted">{esc(block.text)}</p>'
    table = ""
    if block.table is not None:
        summary = "<summary>as a table</summary>"
        table = f"<details>{summary}{_table(block.table)}</details>"
    picture = _picture(block.name, block.data)
    return (
        f'<div class="panel"><h3>{esc(block.title)}</h3>{words}'
        f'<div class="chart dim">{picture}</div>{table}</div>'
    )


def _picture(name: str, data: object) -> str:
    assert isinstance(data, tuple)
    painter = _PICTURES[name]
    return painter(*data)


def _legend(block: LegendBlock) -> str:
    lines = []
    sides = {"A gives more, above": "o", "B gives more, above": "b"}
    for words, side in sides.items():
        marks = ""
        for place, step in enumerate(block.steps, 1):
            marks += f'<span class="{side}{place}">{step:g}</span> '
        lines.append(f'<p class="legend"><span>{words} {marks}nats</span></p>')
    return "\n".join(lines)


def _tokens(block: TokensBlock) -> str:
    assert isinstance(block.tokens, tuple)
    return sequence_text(*block.tokens)


# Text within a line.


def _inline(parts: Inline) -> str:
    return "".join(map(_part, parts))


def _part(part: InlinePart) -> str:
    match part:
        case NumberCell():
            return known(part.text)
        case TagCell():
            return _tag(part)
        case MutedSpan():
            number = known(part.number.text)
            if part.number.void:
                number = f"<s>{number}</s>"
            return f'<span class="muted">{esc(part.before)}{number}</span>'
        case Span(tone="bold"):
            return f"<b>{esc(part.text)}</b>"
    return esc(part.text)


def known(text: str) -> str:
    """A number as it is written; the word where it is unknown."""
    if text == UNKNOWN:
        return _UNKNOWN
    return esc(text)


def _tag(cell: TagCell) -> str:
    if cell.text == "UNKNOWN":
        return f'<span class="tag">{_UNKNOWN}</span>'
    return f'<span class="tag {escape(cell.kind)}">{esc(cell.text)}</span>'


# Tables: wider ones scroll within themselves.


def _table(block: TableBlock) -> str:
    classes = list(map(_column_class, block.columns))
    titles = ""
    for column, name in zip(block.columns, classes, strict=True):
        titles += f'<th scope="col"{name}>{escape(column.title)}</th>'
    rows = ""
    for row in block.rows:
        cells = ""
        if row.tone:
            rows += f'<tr class="{html_lines.TONES[row.tone]}">'
        else:
            rows += "<tr>"
        for cell, name in zip(row.cells, classes, strict=True):
            content = _cell(cell, struck=block.mixed)
            cells += f"<td{name}>{content}</td>"
        rows += f"{cells}</tr>"
    return (
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _column_class(column: TableColumn) -> str:
    name = _COLUMNS[column.kind]
    if column.right and not name:
        name = "n"
    if name:
        return f' class="{name}"'
    return ""


def _cell(cell: TableCell, *, struck: bool) -> str:
    match cell:
        case str():
            return esc(cell)
        case NumberCell():
            return _number(cell, struck=struck)
        case NameCell():
            return _name(cell)
        case FactCell():
            fact = _UNKNOWN
            if cell.text is not None:
                fact = esc(cell.text)
            if cell.before:
                return f"{esc(cell.before)} {fact}"
            return fact
        case PairCell():
            return _pair(cell)
        case TagCell():
            return _tag(cell)
        case SourceCell():
            return f'<span class="mean">{_source(cell.text)}</span>'
        case ContextCell():
            return _context(cell)
        case ChartCell():
            return _picture(cell.name, cell.data)
    return toned(cell.text, cell.tone)


def _number(cell: NumberCell, *, struck: bool) -> str:
    text = known(cell.text)
    if struck and cell.void and cell.text != UNKNOWN:
        text = f"<s>{text}</s>"
    if cell.anchor:
        text = f'<a href="#{cell.anchor}">{text}</a>'
    if cell.unit:
        text += f'<span class="unit">{cell.unit}</span>'
    return text + _notes(cell.notes)


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<span class="mean">{esc(note)}</span>' for note in notes if note)


def _name(cell: NameCell) -> str:
    text = esc(cell.text)
    if cell.long:
        text = f'<span class="long">{text}</span>'
    if cell.owner:
        text = f"<b>{esc(cell.owner)}</b> {text}"
    return text + _notes(cell.notes)


def _pair(cell: PairCell) -> str:
    name = f"{esc(cell.a)} → {esc(cell.b)}"
    if cell.anchor:
        return f'<a href="#{cell.anchor}">{name}</a>'
    return f"<b>{name}</b>"


def _source(text: str) -> str:
    """Where a limit comes from: a link where it is exactly one, text otherwise."""
    if not text:
        return _UNKNOWN
    if not _LINK.fullmatch(text):
        return esc(text)
    _, address = text.split("://", 1)
    words = esc(address)
    return f'<a href="{escape(text)}" rel="noopener noreferrer">{words}</a>'


def _context(cell: ContextCell) -> str:
    mark = f'<mark title="id {cell.token_id}">{esc(cell.piece)}</mark>'
    before = esc(cell.before)
    after = esc(cell.after)
    return f'<span class="context">{before}{mark}{after}</span>'


def _gap(block: Gap) -> str:
    """What stands between two parts: they have margins of their own."""
    return ""


_PAINTERS: Mapping[type, Callable[[Any], str]] = {
    Gap: _gap,
    LineBlock: html_lines.line,
    SentenceBlock: html_lines.sentence,
    SplitBlock: html_lines.split,
    SeriesBlock: html_lines.series,
    HeadBlock: _head,
    FailureBlock: _failure,
    HeadingBlock: _heading,
    ParagraphBlock: _paragraph,
    VerdictBlock: _verdict,
    ReasonsBlock: _reasons,
    CardBlock: _card,
    ChartBlock: _chart,
    TableBlock: _table,
    GroupBlock: _group,
    FoldedBlock: _folded,
    LegendBlock: _legend,
    TokensBlock: _tokens,
}
