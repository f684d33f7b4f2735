"""The token under the cursor: each capture's numbers, and the alternatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.events import Resize
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.alternatives import AlternativesTable, arrange
from logdrift.tui.widgets.lines import Run, Runs, Text, strip_of
from logdrift.tui.widgets.token_details import TokenDetails

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import Inspection


class TokenPane(Text, inherit_bindings=False):
    """A pane about one token; it draws anew when its size changes."""

    _shown: tuple[Inspection, int, bool] | None = None

    def show(self, inspection: Inspection, level: int, greyed: bool) -> None:
        """Show a token; ``level`` and ``greyed`` as `TokenDetails` takes them."""
        self._shown = (inspection, level, greyed)
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is None or not self.size.width:
            return
        inspection, level, greyed = self._shown
        details = TokenDetails(
            view=inspection,
            level=level,
            greyed=greyed,
            palette=self.palette,
        )
        lines = self.lines_of(details)
        self.set_lines(lines)

    def lines_of(self, details: TokenDetails) -> list[Strip]:
        """The lines about the token for the present width."""
        raise NotImplementedError


class Inspector(TokenPane, inherit_bindings=False):
    """Shows an `Inspection`; scrolls down its lines and sideways through the
    captures.
    """

    BINDINGS = bindings("pane", "inspector")
    fixed = 1

    _shift = 0

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Token", width)

    def lines_of(self, details: TokenDetails) -> list[Strip]:
        return inspector_lines(details, self.inner_width, self._shift)

    def action_shift_captures(self, step: int) -> None:
        """Show captures further right (1) or left (-1) beside A and B."""
        count = 0
        if self._shown is not None:
            inspection, _, _ = self._shown
            count = len(inspection.columns)
        arrangement = arrange(count, 0, self.inner_width)
        farthest = count - len(arrangement.columns)
        shift = self._shift + step
        shift = min(shift, farthest)
        self._shift = max(0, shift)
        self._draw()


class Summary(TokenPane, can_focus=False):
    """Four lines about the token under the cursor, for screens without the
    inspector.
    """

    def lines_of(self, details: TokenDetails) -> list[Strip]:
        return summary_lines(details, self.size.width)


def inspector_lines(details: TokenDetails, width: int, shift: int = 0) -> list[Strip]:
    """All lines of the inspector in ``width`` cells.

    ``shift``: how many captures after A and B are skipped in the table of alternatives.
    """
    palette = details.palette
    blank: Runs = [("", palette.text)]
    rows = [
        details.head(width),
        details.bytes(),
    ]
    mark = details.view.mark
    if mark is not None:
        head = ("mark ", palette.accent)
        words = (visible(mark), palette.text)
        rows.append([head, words])
    rows.append(blank)
    rows += details.captures(width)
    if not details.fits_all_columns(width):
        rows += details.pair()
    if details.view.columns:
        rows.append(blank)
        rows += _alternatives(details, width, shift)
    return _strips(rows, width, palette)


def _alternatives(details: TokenDetails, width: int, shift: int) -> Iterator[Runs]:
    """The rows of the table of alternatives."""
    view = details.view
    count = len(view.columns)
    arrangement = arrange(count, shift, width)
    table = AlternativesTable(
        view=view,
        arrangement=arrangement,
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
        details.head(width),
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
