"""A terminal screen as SVG: a still of one screen, or a film of several.

Every run of cells of one look stands at its own place with its own width, so columns
are straight in browsers, in librsvg and with any font, and no blanks have to be kept.
No font and no other file is fetched, and text is escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape, quoteattr

from rich.cells import cell_len

CELL_WIDTH = 8.4
CELL_HEIGHT = 17
FONT_SIZE = 14
_BASELINE = 13
"""From the top of a row to the line that its letters stand on."""
_MARGIN = 10
_PIECES = re.compile(
    r"([\u2580-\u2590])\1*|[\u2800-\U0010ffff]|[^\u2580-\u2590\u2800-\U0010ffff]+"
)
"""Braille, wide characters and emoji come from other fonts than the letters beside
them, where librsvg knows no width: each is put in its place alone. Blocks of one kind
stand together.
"""
_UPPER_HALF, _FULL, _RIGHT_HALF = "\u2580\u2588\u2590"
_EIGHTHS = 8
_FONTS = "ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """Cells of one look that stand side by side.

    Attributes:
        text: what stands in them.
        cells: how many columns it takes.
        colour: of the letters, as ``#rrggbb``.
        background: of the cells; None for that of the screen.
        bold, italic, underline, strike: how the letters are set.
    """

    text: str
    cells: int
    colour: str
    background: str | None = None
    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False


Rows = Sequence[Sequence[CellRun]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What a screen is drawn on: its size in cells, its colours, and the title that a
    reader of the picture is told.
    """

    columns: int
    lines: int
    background: str
    foreground: str
    title: str

    @property
    def width(self) -> float:
        """In pixels."""
        return self.columns * CELL_WIDTH + 2 * _MARGIN

    @property
    def height(self) -> float:
        """In pixels."""
        return self.lines * CELL_HEIGHT + 2 * _MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmScene:
    """One screen of a film and how long it stands, in seconds."""

    rows: Rows
    seconds: float


def still(rows: Rows, paper: Paper) -> str:
    """One screen as a whole SVG file."""
    return _file(paper, style="", body=_screen(rows))


def film(scenes: Sequence[FilmScene], paper: Paper) -> str:
    """Scenes one after the other, for ever, as a whole SVG file.

    Where nothing moves (a viewer without animation, a reader who wants none) the last
    scene stands still.
    """
    total = sum(scene.seconds for scene in scenes)
    styles: list[str] = []
    bodies: list[str] = []
    begin = 0.0
    for number, scene in enumerate(scenes):
        end = begin + scene.seconds
        styles.append(_shown_between(number, begin / total, end / total))
        bodies.append(f'<g class="s s{number}">\n{_screen(scene.rows)}</g>\n')
        begin = end
    last = len(scenes) - 1
    style = "\n".join(
        [
            f".s{{visibility:hidden}}.s{last}{{visibility:visible}}",
            "@media (prefers-reduced-motion: no-preference){",
            f".s{{animation:{total:g}s step-end infinite}}",
            *styles,
            "}",
        ]
    )
    return _file(paper, style=style, body="".join(bodies))


def _shown_between(number: int, begin: float, end: float) -> str:
    """The rule that shows a scene between two shares of the film."""
    steps = [f"0%{{visibility:{'visible' if begin == 0 else 'hidden'}}}"]
    if begin > 0:
        steps.append(f"{begin:.3%}{{visibility:visible}}")
    if end < 1:
        steps.append(f"{end:.3%}{{visibility:hidden}}")
    name = f"s{number}"
    return f"@keyframes {name}{{{''.join(steps)}}}.{name}{{animation-name:{name}}}"


def _file(paper: Paper, *, style: str, body: str) -> str:
    width, height = paper.width, paper.height
    sheet = f"text{{font:{FONT_SIZE}px {_FONTS}}}{style}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" role="img"'
        f" aria-label={quoteattr(paper.title)}>\n"
        f"<title>{escape(paper.title)}</title>\n"
        f"<style>{sheet}</style>\n"
        f'<rect width="100%" height="100%" rx="6" fill="{paper.background}"/>\n'
        f'<g fill="{paper.foreground}">\n{body}</g>\n</svg>\n'
    )


def _screen(rows: Rows) -> str:
    return "".join(
        element for line, row in enumerate(rows) for element in _row(row, line)
    )


def _row(row: Sequence[CellRun], line: int) -> Iterator[str]:
    """The backgrounds of a row, then its letters: a glyph that is wider than its cell
    is not cut by the background of the next one.
    """
    top = _MARGIN + line * CELL_HEIGHT
    texts: list[str] = []
    column = 0
    for run in row:
        left = _MARGIN + column * CELL_WIDTH
        if run.background is not None:
            yield _rectangle(left, top, run.cells, 1, run.background)
        at = column
        for piece in _pieces(run):
            left = _MARGIN + at * CELL_WIDTH
            yield from _block(piece, left, top)
            if piece.text.strip():
                texts.append(_text(piece, left, top + _BASELINE))
            at += piece.cells
        column += run.cells
    yield from texts


def _pieces(run: CellRun) -> Iterator[CellRun]:
    """The parts of a run that are placed by themselves."""
    for found in _PIECES.finditer(run.text):
        text = found[0]
        yield replace(run, text=text, cells=cell_len(text))


def _rectangle(
    left: float, top: float, columns: float, rows: float, colour: str
) -> str:
    """Part of the cells that begin there. Its edges are not smoothed: between two that
    touch each other the ground would shine through.
    """
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{columns * CELL_WIDTH:.1f}"'
        f' height="{rows * CELL_HEIGHT:.1f}" fill="{colour}"'
        ' shape-rendering="crispEdges"/>\n'
    )


def _block(run: CellRun, left: float, top: float) -> Iterator[str]:
    """What block elements fill of their cells, under the characters themselves: a font
    leaves gaps between them.
    """
    character = run.text[:1]
    if not _UPPER_HALF <= character <= _RIGHT_HALF or run.text == "":
        return
    eighths = ord(character) - ord(_UPPER_HALF)
    if character == _UPPER_HALF:
        yield _rectangle(left, top, run.cells, 1 / 2, run.colour)
    elif character <= _FULL:  # from below
        share = eighths / _EIGHTHS
        below = top + (1 - share) * CELL_HEIGHT
        yield _rectangle(left, below, run.cells, share, run.colour)
    elif run.cells == 1:  # from a side: narrower than its cell
        share = (2 * _EIGHTHS - eighths) / _EIGHTHS
        begin = left
        if character == _RIGHT_HALF:
            share = 1 / 2
            begin += CELL_WIDTH / 2
        yield _rectangle(begin, top, share, 1, run.colour)


def most_frequent_background(rows: Rows, default: str) -> str:
    """The background that most cells have."""
    cells: Counter[str] = Counter()
    for row in rows:
        for run in row:
            cells[run.background or default] += run.cells
    if not cells:
        return default
    ((background, _),) = cells.most_common(1)
    return background


def _text(run: CellRun, left: float, baseline: float) -> str:
    """The letters of a run, without the blanks at its ends: some viewers drop them, and
    all of them take several blanks inside as one.
    """
    text = run.text.rstrip()
    trailing = len(run.text) - len(text)
    leading = len(text) - len(text.lstrip())
    letters = text.lstrip().replace(" ", "\N{NO-BREAK SPACE}")
    x = left + leading * CELL_WIDTH
    width = (run.cells - leading - trailing) * CELL_WIDTH
    return (
        f'<text x="{x:.1f}" y="{baseline:.1f}" textLength="{width:.1f}"'
        f' lengthAdjust="spacingAndGlyphs"{_look(run)}>{escape(letters)}</text>\n'
    )


def _look(run: CellRun) -> str:
    """The attributes of a run's letters."""
    lines = [
        name
        for name, drawn in (
            ("underline", run.underline),
            ("line-through", run.strike),
        )
        if drawn
    ]
    look = f' fill="{run.colour}"'
    if run.bold:
        look += ' font-weight="bold"'
    if run.italic:
        look += ' font-style="italic"'
    if lines:
        look += f' text-decoration="{" ".join(lines)}"'
    return look
