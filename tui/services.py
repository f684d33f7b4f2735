"""What screens and panes may ask of the application that shows them.

They name this protocol and never the application: it imports them, so the other way
round would be a circle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from textual.message_pump import MessagePump

from logdrift.tui.actions import Keymap
from logdrift.tui.palette import Palette


class Services(Protocol):
    """Colours, keys, the clipboard, and the windows and screens that every part may
    open.
    """

    keymap: Keymap
    palette: Palette
    sessions_dir: Path

    def copy_text(self, text: str) -> str:
        """Copy to the clipboard; the answer says what was sent."""

    def show_error(self, text: str) -> None:
        """Open a window with the text of an error."""

    def open_folder(
        self,
        folder: Path,
        before: Path | None = None,
        front: str = "",
        *,
        pair: tuple[str, str] | None = None,
        place: tuple[int, int] | None = None,
        added: tuple[str, ...] = (),
    ) -> None:
        """Open the explorer on a session, next to an earlier one (``before``);
        ``front`` is the explorer's action that opens a screen over it at once.

        With ``pair`` and ``place``, a sequence and a position in it, the cursor stands
        there. ``added`` names backends whose pair is shown once they are captured.
        """

    def failed(self, error: Exception, where: MessagePump) -> None:
        """Show an exception that nothing foresaw, and go on."""

    def type_early(self) -> None:
        """Hand over the keys that were typed before the screen was ready."""


def services(part: MessagePump) -> Services:
    """The services of the application that ``part`` is shown by."""
    return cast("Services", part.app)
