"""The parts of the explorer that act on a key: each is made when it is first asked, so
that the first screen is drawn without them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.base import BaseScreen
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.jobs import Jobs
from logdrift.tui.screens.explorer.listing import SequenceOrder
from logdrift.tui.screens.explorer.moves import Moves
from logdrift.tui.screens.explorer.panes import PaneGroup

if TYPE_CHECKING:
    from logdrift.tui.screens.explorer.colours import Colours
    from logdrift.tui.screens.explorer.marks import Marks
    from logdrift.tui.screens.explorer.other_screens import OtherScreens
    from logdrift.tui.screens.explorer.search import Search
    from logdrift.tui.screens.explorer.thresholds import Threshold


class ExplorerParts(BaseScreen, inherit_bindings=False):
    """What the parts are made of, and the parts."""

    model: Explorer
    pane_group: PaneGroup
    jobs: Jobs
    dialogue: Dialogue
    moves: Moves
    listing: SequenceOrder

    @cached_property
    def search(self) -> Search:
        """Searches and places."""
        from logdrift.tui.screens.explorer.search import Search

        return Search(self.model, self.pane_group, self.dialogue, self.moves, self.jobs)

    @cached_property
    def marks(self) -> Marks:
        """The tokens that the user marked."""
        from logdrift.tui.screens.explorer.marks import Marks

        return Marks(self.model, self.pane_group, self.dialogue, self.moves)

    @cached_property
    def colours(self) -> Colours:
        """What tokens are coloured by."""
        from logdrift.tui.screens.explorer.colours import Colours

        return Colours(self.model, self.pane_group, self.dialogue)

    @cached_property
    def divergent(self) -> Threshold:
        """What counts as divergent."""
        from logdrift.tui.screens.explorer.thresholds import Threshold

        return Threshold(self.model, self.pane_group, self.dialogue, self.listing)

    @cached_property
    def other_screens(self) -> OtherScreens:
        """The screens that open from here."""
        from logdrift.tui.screens.explorer.other_screens import OtherScreens

        return OtherScreens(self, self.model, self.dialogue)
