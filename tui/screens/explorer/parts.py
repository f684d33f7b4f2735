"""The parts of the explorer that act on a key or work in a thread: each is made when
it is first asked, so that the first screen is drawn without them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from logdrift.tui.models.explorer import Explorer
from logdrift.tui.screens.explorer.dialogue import Dialogue
from logdrift.tui.screens.explorer.paned import PanedScreen
from logdrift.tui.screens.explorer.panes import PaneGroup

if TYPE_CHECKING:
    from logdrift.tui.screens.explorer.colours import Colours
    from logdrift.tui.screens.explorer.following import SessionWatch
    from logdrift.tui.screens.explorer.jobs import Jobs, Judging
    from logdrift.tui.screens.explorer.listing import SequenceOrder
    from logdrift.tui.screens.explorer.marks import Marks
    from logdrift.tui.screens.explorer.moves import Moves
    from logdrift.tui.screens.explorer.other_screens import OtherScreens
    from logdrift.tui.screens.explorer.search import Search
    from logdrift.tui.screens.explorer.thresholds import Threshold


class ExplorerParts(PanedScreen, inherit_bindings=False):
    """What the parts are made of, and the parts."""

    model: Explorer
    pane_group: PaneGroup
    dialogue: Dialogue

    # ---- threads

    @cached_property
    def jobs(self) -> Jobs:
        """Jobs that walk all tokens."""
        from logdrift.tui.screens.explorer.jobs import Jobs

        return Jobs(self, self.model)

    @cached_property
    def judging(self) -> Judging:
        """The verdict, the numbers and the answer of the pair."""
        from logdrift.tui.screens.explorer.jobs import Judging

        return Judging(self, self.model)

    @cached_property
    def folder_watch(self) -> SessionWatch:
        """What others write into the session folder."""
        from logdrift.tui.screens.explorer.following import SessionWatch

        return SessionWatch(self, self.model)

    # ---- keys

    @cached_property
    def moves(self) -> Moves:
        """Moves of the cursor."""
        from logdrift.tui.screens.explorer.moves import Moves

        return Moves(
            self.model, self.pane_group, self.dialogue, self.jobs, self.to_tokens
        )

    @cached_property
    def listing(self) -> SequenceOrder:
        """What the list is sorted and filtered by."""
        from logdrift.tui.screens.explorer.listing import SequenceOrder

        return SequenceOrder(self.model, self.pane_group, self.dialogue, self.jobs)

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
