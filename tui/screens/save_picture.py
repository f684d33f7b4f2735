"""The screen as a picture: it is taken when the key is pressed, before the window that
asks for its name opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logdrift.core.session.reader import Session
from logdrift.tui.report_file import offered_name
from logdrift.tui.screen_picture import picture_of
from logdrift.tui.screens.base import SafeScreen
from logdrift.tui.screens.saving import save


def save_picture(screen: SafeScreen[Any]) -> None:
    """Take the picture, and ask where to save it."""
    session = getattr(screen, "session", None)
    folder = session.folder if isinstance(session, Session) else None
    name = "logdrift" if folder is None else folder.name
    picture = picture_of(screen, f"logdrift: {name}")
    save(
        screen,
        offered_name(name, ".svg", Path()),
        lambda: picture,
        session=folder,
        title="Save a picture of the screen",
        endings=(".svg",),
    )
