"""The keys of the explorer that move the cursor, mark tokens, and choose what counts as
divergent, what is listed and what is shown of a token.
"""

from __future__ import annotations

from logdrift.core.session.visible import visible
from logdrift.tui.screens.explorer.parts import ExplorerParts


class ExplorerKeys(ExplorerParts, inherit_bindings=False):
    """Each key is done by one of the parts that the explorer holds."""

    # ---- moving
    def action_next_divergence(self) -> None:
        self._next_divergence(1)

    def action_previous_divergence(self) -> None:
        self._next_divergence(-1)

    def _next_divergence(self, step: int) -> None:
        """During a search the same keys go from match to match."""
        if self.model.found.matches is not None:
            self.search.next_match(step)
        else:
            self.moves.next_divergence(step)

    def action_smaller(self) -> None:
        self.moves.next_by_size(1)

    def action_larger(self) -> None:
        self.moves.next_by_size(-1)

    def action_next_flip(self) -> None:
        self.moves.next_flip(1)

    def action_previous_flip(self) -> None:
        self.moves.next_flip(-1)

    def action_next_turn(self) -> None:
        self.moves.next_turn(1)

    def action_previous_turn(self) -> None:
        self.moves.next_turn(-1)

    def action_next_sequence(self) -> None:
        self.moves.next_sequence(1)

    def action_previous_sequence(self) -> None:
        self.moves.next_sequence(-1)

    def action_undo_jump(self) -> None:
        self.moves.undo()

    def action_redo_jump(self) -> None:
        self.moves.redo()

    def action_labels(self) -> None:
        self.moves.start_labels()

    def action_search(self) -> None:
        self.search.ask()

    def action_go_to(self) -> None:
        """Ask for a place or a command."""
        from logdrift.tui.screens.command_line import ask_command

        ask_command(self, words=self.search.place_words, place=self.search.place)

    def action_end_search(self) -> None:
        """Esc ends the search; without one it removes the filter."""
        self.say("")
        if self.model.found.matches is not None:
            self.search.end()
        elif self.model.state.filter:
            self.listing.filter_by("")

    def action_mark(self) -> None:
        self.marks.ask_note()

    def action_marks(self) -> None:
        self.marks.choose()

    # ---- marks, threshold and list

    def action_threshold(self) -> None:
        self.divergent.choose()

    def action_threshold_up(self) -> None:
        self.divergent.step(1)

    def action_threshold_down(self) -> None:
        self.divergent.step(-1)

    def action_sort(self) -> None:
        self.listing.next_sort()

    def action_sorts(self) -> None:
        self.listing.choose_sort()

    def action_filter(self) -> None:
        self.listing.ask_filter()

    # ---- what is shown

    def action_next_mode(self) -> None:
        self.colours.next_mode()

    def action_modes(self) -> None:
        self.colours.choose_mode()

    def action_boundaries(self) -> None:
        self.colours.switch_boundaries()

    def action_order(self) -> None:
        """Order the alternatives by the other of A and B."""
        column = self.model.next_order()
        if column:
            self.pane_group.show_token()
            name = visible(column)
            self.say(f"alternatives in the order of {name}")

    def action_copy(self) -> None:
        if self.model.session.sequences.tokens:
            inspection = self.model.inspection()
            line = inspection.in_one_line()
            self.dialogue.copy(line)
