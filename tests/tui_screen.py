"""Helpers for tests of the screen: a session made once, an app on it, and what it shows
as text.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, cast

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from logdrift.core.session.reader import open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.state import load_state, save_state
from logdrift.tui.palette import Depth
from logdrift.tui.screens.explorer import ExplorerScreen

SMALL = (80, 24)
MEDIUM = (120, 36)
LARGE = (200, 60)
SIZES = (SMALL, MEDIUM, LARGE)


def luminance(rgb: tuple[int, int, int]) -> float:
    """Relative luminance, WCAG 2."""
    parts = [
        c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4
        for c in rgb
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """Of two colours, WCAG 2: 1 to 21."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def make_app(
    session: Path | None,
    folder: Path = Path(),
    depth: Depth = "256",
    at: int | None = None,
    **options: Any,
) -> LogdriftApp:
    """An app on a session, or on the list of ``folder``; colours do not depend on the
    terminal of the test. ``at``: where a reader has left the cursor.
    """
    opened = open_session(session, patient=False) if session is not None else None
    if opened is not None and at is not None:
        state, _ = load_state(opened.manifest.id)
        save_state(opened.manifest.id, state._replace(position=at))
    return LogdriftApp(opened, folder, depth=depth, **options)


def explorer(app: LogdriftApp) -> ExplorerScreen:
    found = next(
        screen
        for screen in reversed(app.screen_stack)
        if isinstance(screen, ExplorerScreen)
    )
    return found


def lines(widget: Widget) -> list[str]:
    """What a pane shows, line by line."""
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


def text(widget: Widget) -> str:
    return "\n".join(lines(widget))


def joined(shown: str) -> str:
    """As one text, however it is wrapped."""
    return " ".join(shown.split())


def head(screen: Screen[Any]) -> str:
    """What stands above the table."""
    return joined(text(screen.query_one("#verdict")))


def detail(screen: Screen[Any]) -> str:
    """What is told below it of the selected row."""
    return joined(text(screen.query_one("#detail")))


def copied(sent: Sequence[str]) -> str:
    """What went to the clipboard, once, among what was written to the terminal."""
    (data,) = (part for part in sent if "52;c;" in part)
    encoded = data.partition("52;c;")[2].rstrip("\x1b\\\a")
    return base64.b64decode(encoded).decode()


def copied_table(sent: Sequence[str]) -> list[list[str]]:
    """The rows and cells of a table that was copied."""
    return [line.split("\t") for line in copied(sent).split("\n")]


def screen_text(app: LogdriftApp) -> str:
    """The whole screen, windows over it included."""
    width, height = app.size
    shown = [strip.text for strip in app.screen._compositor.render_strips()]
    if len(shown) != height:
        return ""  # opened just now, not laid out yet
    return "\n".join(line[:width].rstrip() for line in shown)


async def until(
    pilot: Pilot[Any], holds: Callable[[], bool], seconds: float = 20
) -> None:
    """Let the app run until something holds; fails naming what did not come."""
    end = monotonic() + seconds
    while not holds():
        if monotonic() > end:
            shown = screen_text(cast("LogdriftApp", pilot.app))
            raise AssertionError(f"did not come about within {seconds} s:\n{shown}")
        await pilot.pause(0.01)
    await pilot.pause()


async def until_screen(pilot: Pilot[Any], kind: type[Screen[Any]]) -> None:
    """Let the app run until a screen of this kind is in front."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))


async def until_back(pilot: Pilot[Any], screen: Screen[Any]) -> None:
    """Let the app run until this very screen is in front (again)."""
    await until(pilot, lambda: pilot.app.screen is screen)


async def until_shown(pilot: Pilot[Any], words: str) -> None:
    """Let the app run until a line of the screen holds these words."""
    app = cast("LogdriftApp", pilot.app)
    await until(pilot, lambda: words in screen_text(app))


_FOLLOW = {"reader", "log", "asking"}
"""Groups of workers that follow a folder or a file for as long as their screen is
there.
"""


async def until_quiet(pilot: Pilot[Any]) -> None:
    """Let the app run until nothing is worked out any more and its screen no longer
    changes.
    """
    app = cast("LogdriftApp", pilot.app)
    before = ""

    def quiet() -> bool:
        nonlocal before
        shown = screen_text(app)
        is_same = bool(shown) and shown == before
        before = shown
        groups = {worker.group for worker in app.workers if worker.is_running}
        return is_same and groups <= _FOLLOW

    await until(pilot, quiet)


async def judged(pilot: Pilot[Any]) -> ExplorerScreen:
    """The explorer once statistics and verdict of its pair, and the chart if it is
    seen, are there.
    """
    screen = explorer(pilot.app)  # type: ignore[arg-type]
    await until(pilot, lambda: screen.view is not None and screen.view.gate is not None)
    await until(
        pilot,
        lambda: (
            not screen.chart.display
            or screen.chart.plot_size is None
            or screen.chart.chart is not None
        ),
    )
    return screen
