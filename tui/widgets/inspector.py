"""The panes about the token under the cursor. Their lines are made by `token_lines`,
which is imported when the first token is shown: after the first screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.events import Resize
from textual.strip import Strip

from logdrift.tui.bindings import bindings
from logdrift.tui.widgets.lines import Text

if TYPE_CHECKING:
    from logdrift.tui.models.inspection import Inspection
    from logdrift.tui.widgets.token_details import TokenDetails


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
        from logdrift.tui.widgets.token_details import TokenDetails

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
        from logdrift.tui.widgets.token_lines import inspector_lines

        height = self.size.height
        return inspector_lines(details, self.inner_width, self._shift, height=height)

    def action_shift_captures(self, step: int) -> None:
        """Show captures further right (1) or left (-1) beside A and B."""
        if self._shown is None:
            return
        from logdrift.tui.widgets.alternatives import arrange_for

        inspection, _, _ = self._shown
        count = len(inspection.columns)
        arrangement = arrange_for(inspection, 0, self.inner_width)
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
        from logdrift.tui.widgets.token_lines import summary_lines

        return summary_lines(details, self.size.width)
