"""Which pane of the explorer is in front and has the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.screen import Screen

from logdrift.tui.widgets.bars import Tabs

PANES = (
    ("tokens", "Tokens"),
    ("sequences", "Sequences"),
    ("inspector", "Inspector"),
    ("chart", "Chart"),
)
"""The name of each pane and the title of its tab."""
_WIDE = 120
_TALL = 30
"""Cells and rows from which on all panes are shown side by side."""
_BESIDE = 100
"""Cells from which on the inspector stands beside the text, however few rows."""
NAMES = tuple(name for name, _ in PANES)
_CLASSES = {f"-{name}" for name in NAMES}


class PaneSwitch:
    """Brings a pane to the front: a narrow screen shows one or two at a time, a zoomed
    one only the pane that has the keys.

    ``draw_soon`` draws the panes that have come into sight.
    """

    def __init__(
        self, screen: Screen[Any], tabs: Tabs, draw_soon: Callable[[], None]
    ) -> None:
        self._screen = screen
        self._tabs = tabs
        self._draw_soon = draw_soon
        self._size = (0, 0)
        self.pane = "tokens"
        self.zoomed = False
        self._zoomed_from = ""

    def go_to(self, name: str) -> None:
        """Show a pane and give it the keys."""
        self.show(name)
        pane = self._screen.query_one(f"#{name}")
        # At once: `Widget.focus` is later, and the next key would be the old pane's.
        self._screen.set_focus(pane)

    def step(self, step: int) -> None:
        """Go to the next pane (``step`` -1: the one before), around the ends."""
        index = NAMES.index(self.pane) + step
        name = NAMES[index % len(NAMES)]
        self.go_to(name)

    def zoom(self, name: str = "") -> None:
        """Show a pane alone on the whole screen, by default the one with the keys."""
        if not self.zoomed:
            self._zoomed_from = self.pane
        self.zoomed = True
        self._set_classes()
        self.go_to(name or self.pane)
        self._draw_soon()

    def end_zoom(self) -> bool:
        """Show the other panes again, the keys where they were before.

        Returns False where no pane is zoomed.
        """
        if not self.zoomed:
            return False
        self.zoomed = False
        self._set_classes()
        self.go_to(self._zoomed_from)
        self._draw_soon()
        return True

    def fit_size(self, width: int, height: int) -> bool:
        """Set the screen's classes for its size; returns whether it has few rows."""
        self._size = (width, height)
        self._set_classes()
        # Before the layout, which would take the focus from a pane that is hidden.
        self.show(self.pane)
        return height < _TALL

    def _set_classes(self) -> None:
        width, height = self._size
        is_low = height < _TALL
        shows_all = width >= _WIDE and not is_low
        is_narrow = self.zoomed or not shows_all
        has_two = is_narrow and width >= _BESIDE and not self.zoomed
        classes = {
            "-narrow": is_narrow,
            "-beside": has_two,
            "-low": is_low,
            "-zoomed": self.zoomed,
        }
        self._screen.update_classes(classes)

    def show(self, name: str) -> None:
        """Show a pane; on a wide screen all of them are seen already."""
        self.pane = name
        screen = self._screen
        its_class = f"-{name}"
        shows_all = not screen.has_class("-narrow")
        if shows_all or screen.has_class(its_class):
            return
        others = screen.classes - _CLASSES
        screen.set_classes([*others, its_class])
        self.show_tabs()
        self._draw_soon()

    def show_tabs(self) -> None:
        """Write the tabs, the one of the pane in front marked.

        In the chart digits choose among charts, so they are no keys of the tabs.
        """
        self._tabs.show(PANES, self.pane, numbered=self.pane != "chart")
