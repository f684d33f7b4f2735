"""The token under the cursor: every capture's number for it, and the alternatives side
by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.strip import Strip

from logdrift.core.session.visible import visible
from logdrift.tui.bindings import bindings
from logdrift.tui.palette import Palette
from logdrift.tui.widgets.alternatives import AlternativesTable, arrange
from logdrift.tui.widgets.lines import Run, Text, strip_of
from logdrift.tui.widgets.token_details import TokenDetails

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import Inspection


class Inspector(Text, inherit_bindings=False):
    """Shows an `Inspection`; scrolls where it is longer than the pane, and sideways
    through the captures.
    """

    BINDINGS = bindings("pane", "inspector")
    fixed = 1

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[Inspection, int, bool] | None = None
        self._shift = 0

    def fixed_line(self, y: int, width: int) -> Strip:
        return self.title_line("Token", width)

    def show(self, inspection: Inspection, level: int, greyed: bool) -> None:
        """``level`` as `Palette.level` takes it; ``greyed`` where the pair cannot be
        compared.
        """
        self._shown = (inspection, level, greyed)
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            self.set_lines([])
        elif self.size.width:
            view, level, greyed = self._shown
            width = self.inner_width
            shift = self._shift
            lines = inspector_lines(view, level, greyed, width, self.palette, shift)
            self.set_lines(lines)

    def action_shift_captures(self, step: int) -> None:
        """Show captures further right (1) or left (-1) beside A and B."""
        if self._shown is not None:
            count = len(self._shown[0].columns)
        else:
            count = 0
        fitting = len(arrange(count, 0, self.inner_width).columns)
        self._shift = max(0, min(self._shift + step, count - fitting))
        self._draw()


class Summary(Text, can_focus=False):
    """Four lines about the token under the cursor, for screens with no room for the
    inspector.
    """

    def show(self, inspection: Inspection, level: int, greyed: bool) -> None:
        """As `Inspector.show`."""
        width = max(1, self.size.width)
        lines = summary_lines(inspection, level, greyed, width, self.palette)
        self.set_lines(lines)


def inspector_lines(
    view: Inspection,
    level: int,
    greyed: bool,
    width: int,
    palette: Palette,
    shift: int = 0,
) -> list[Strip]:
    """All lines of the inspector in ``width`` cells; ``shift``: how many captures
    beside A and B are skipped.
    """
    details = TokenDetails(view, level, greyed, palette)
    blank: list[Run] = [("", palette.text)]
    rows = [details.head(width), details.bytes()]
    if view.mark is not None:
        rows.append([("mark ", palette.accent), (visible(view.mark), palette.text)])
    rows += [blank, *details.captures(width)]
    if not details.fits_all_columns(width):
        rows += details.pair()
    if view.columns:
        table = arrange(len(view.columns), shift, width)
        alternatives = AlternativesTable(view, table, details.value, palette)
        rows += [blank, *alternatives.lines()]
    return [strip_of([(" ", palette.text), *row], width) for row in rows]


def summary_lines(
    view: Inspection, level: int, greyed: bool, width: int, palette: Palette
) -> list[Strip]:
    """What one always wants to know of a token, in four lines."""
    details = TokenDetails(view, level, greyed, palette)
    floor = details.floor_words()
    words = f", {floor}" if floor else ""
    rows = [
        details.head(width),
        details.side("A", width),
        details.side("B", width),
        [*details.delta(), (words, palette.muted)],
    ]
    return [strip_of([(" ", palette.text), *row], width) for row in rows]
