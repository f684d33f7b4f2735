"""The lines about the token under the cursor: each capture's numbers, and the
alternatives.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.alternatives import AlternativesTable, arrange_for
from logdrift.tui.widgets.lines import Run, Runs, strip_of
from logdrift.tui.widgets.token_details import TokenDetails

_HIGH = 24
"""Rows from which all captures stand above the alternatives."""
_WHOLE_WIDTH = 72
"""Cells of a pane that has a small screen for itself: beside other panes, captures stay
together.
"""
_LEFT = 56
"""Cells that the token's rows take at least, where the alternatives stand beside."""
_WIDEST_LEFT = 74
"""Cells that they take where the pane is wide."""
_GAP = 2
"""Cells of the rule between both."""
_LEAST_BESIDE = 56
"""Cells that the alternatives need to stand beside, not below."""
_WIDE_RIGHT = 76
"""Cells of the alternatives from which the token's rows get more than `_LEFT`."""


def inspector_lines(
    details: TokenDetails, width: int, shift: int = 0, *, height: int = _HIGH
) -> list[Strip]:
    """All lines of the inspector in ``width`` cells: the alternatives below the
    captures, or beside them where there is room.

    ``shift``: how many captures after A and B are skipped in the table of alternatives.
    Where a small screen shows nothing else, A and B come first with the five likeliest
    tokens of each, and the other captures below.
    """
    palette = details.palette
    if not details.view.columns:
        rows = _token_rows(details, width)
        return _strips(rows, width, palette)
    right_cells = width - _LEFT - _GAP
    if right_cells < _LEAST_BESIDE:
        rows = _stacked(details, width, shift, height)
        return _strips(rows, width, palette)
    left_cells = max(_LEFT, min(_WIDEST_LEFT, width - _GAP - _WIDE_RIGHT))
    right_cells = width - _GAP - left_cells
    left = _strips(_token_rows(details, left_cells), left_cells, palette)
    rows = list(_alternatives(details, right_cells, shift))
    right = _strips(rows, right_cells, palette)
    return _beside(left, right, left_cells, palette)


def _token_rows(details: TokenDetails, width: int) -> list[Runs]:
    """The token, each capture's numbers, and the pair's."""
    palette = details.palette
    rows = [
        *details.head(width),
        details.bytes(),
    ]
    mark = details.view.mark
    if mark is not None:
        head = ("mark ", palette.accent)
        words = (visible(mark), palette.text)
        rows.append([head, words])
    table = details.table(width)
    rows += table.lines()
    rows += details.pair(table)
    return rows


def _stacked(details: TokenDetails, width: int, shift: int, height: int) -> list[Runs]:
    """The token's rows and the alternatives below them."""
    blank: Runs = [("", details.palette.text)]
    is_low = height < _HIGH and width >= _WHOLE_WIDTH
    if not is_low:
        rows = [*_token_rows(details, width), blank]
        return [*rows, *_alternatives(details, width, shift)]
    pair = details._replace(view=details.view.of_the_pair())
    return [
        *_token_rows(pair, width),
        *_alternatives(pair, width, shift),
        blank,
        *details.table(width).lines(),
    ]


def _beside(
    left: list[Strip], right: list[Strip], left_cells: int, palette: Palette
) -> list[Strip]:
    """Two columns of lines with a rule between them."""
    rule = strip_of([("│ ", palette.muted)], _GAP)
    blank = Strip.blank(left_cells)
    lines = []
    for one, other in itertools.zip_longest(left, right, fillvalue=blank):
        lines.append(Strip.join([one, rule, other]))
    return lines


def _alternatives(details: TokenDetails, width: int, shift: int) -> Iterator[Runs]:
    """The rows of the table of alternatives."""
    view = details.view
    table = AlternativesTable(
        view=view,
        arrangement=arrange_for(view, shift, width),
        value=details.value,
        palette=details.palette,
    )
    return table.lines()


def summary_lines(details: TokenDetails, width: int) -> list[Strip]:
    """The four lines of the summary: the token, A, B and their difference."""
    muted = details.palette.muted
    delta = details.delta()
    floor = details.floor_words()
    if floor:
        words = f", {floor}"
        delta.append((words, muted))
    rows = [
        details.head_line(width),
        details.side("A", width),
        details.side("B", width),
        delta,
    ]
    return _strips(rows, width, details.palette)


def _strips(rows: list[Runs], width: int, palette: Palette) -> list[Strip]:
    """Rows as lines of ``width`` cells, with a margin of one cell."""
    margin: Run = (" ", palette.text)
    strips = []
    for row in rows:
        strip = strip_of([margin, *row], width)
        strips.append(strip)
    return strips
