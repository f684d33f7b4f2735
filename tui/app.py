"""The application: sessions screen or explorer, themes, copying, errors."""

from __future__ import annotations

import base64
import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen
from textual.theme import Theme

from core.compare.pair import parse_pair
from core.errors import LogdriftError
from core.session.reader import Session, open_session
from core.session.visible import visible
from tui.actions import Command, bindings, commands
from tui.palette import Depth, Palette, depth_of, make_palette

_COPY_LIMIT = 74_000
"""Bytes: the largest OSC 52 text that common terminals take."""
_SETTLE_SECONDS = 0.6

_DARK = Theme(
    "logdrift-dark", primary="#5fd7ff", foreground="#d0d0d0", background="#121212", surface="#121212", panel="#303030",
    accent="#5fd7ff", error="#ff8787", warning="#ffd75f", success="#87d787", dark=True,
)  # fmt: skip
_LIGHT = Theme(
    "logdrift-light", primary="#005f87", foreground="#303030", background="#eeeeee", surface="#eeeeee",
    panel="#d0d0d0", accent="#005f87", error="#af0000", warning="#875f00", success="#005f00", dark=False,
)  # fmt: skip


class Commands(Provider):
    """The palette lists the registry: what applies to the screen that is open."""

    def _found(self) -> list[tuple[Command, Callable[[], Any]]]:
        scopes = getattr(self.screen, "SCOPES", ())
        return [(c, partial(self.screen.run_action, c.name)) for c in commands(*scopes, "app") if c.palette]

    async def discover(self) -> Hits:
        for command, run in self._found():
            yield DiscoveryHit(command.title, run, help=_palette_help(command))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command, run in self._found():
            score = matcher.match(f"{command.title} {command.help}")
            if score > 0:
                yield Hit(score, matcher.highlight(command.title), run, help=_palette_help(command))


def _palette_help(command: Command) -> str:
    return f"{' '.join(command.key_names)}   {command.help}"


class LogdriftApp(App[int], inherit_bindings=False):
    """Starts on a session, or on the list of a folder of sessions."""

    TITLE = "logdrift"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[Any]] = {Commands}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = bindings("app")

    def __init__(
        self,
        session: Session | None,
        sessions_dir: Path,
        pair: tuple[str, str] | None = None,
        depth: Depth | None = None,
    ) -> None:
        # Without colours nothing may be mixed from them either: the terminal's own two are used as they are.
        plain = depth == "none" or (depth is None and "NO_COLOR" in os.environ)
        super().__init__(ansi_color=plain or None)
        self.animation_level = "none"
        self.session, self.sessions_dir, self.pair = session, sessions_dir, pair
        self.depth: Depth = depth or depth_of(self.console.color_system, self.no_color)
        for theme in (_DARK, _LIGHT):
            self.register_theme(theme)
        # Set without its watcher, which would parse all style sheets a second time.
        first = "ansi-dark" if self.depth == "none" else "logdrift-dark"
        self.set_reactive(App.theme, first)  # type: ignore[arg-type]
        self.stylesheet.set_variables(self.get_css_variables())
        self.palette: Palette = make_palette(self.depth, self.current_theme.dark)

    def get_default_screen(self) -> Screen[Any]:
        """The first screen is what was asked for: nothing stands below it that would be laid out for nothing."""
        if self.session is not None:
            from tui.screens.explorer import ExplorerScreen

            return ExplorerScreen(self.session, self.pair)
        from tui.screens.sessions import SessionsScreen

        return SessionsScreen(self.sessions_dir)

    def on_mount(self) -> None:
        self.set_timer(_SETTLE_SECONDS, settle)

    def open_folder(self, folder: Path) -> None:
        """Open the explorer over the list; a folder that does not open is an error that can be copied."""
        from tui.screens.explorer import ExplorerScreen

        try:
            self.push_screen(ExplorerScreen(open_session(folder)))
        except LogdriftError as error:
            self.show_error(str(error))

    def show_error(self, text: str) -> None:
        """A window with an error's text."""
        from tui.screens.texts import TextScreen

        self.push_screen(TextScreen("Error", ["", visible(text), "", "c copies this text."], bad=True))

    def copy_text(self, text: str) -> str:
        """Copy through OSC 52, wrapped for tmux, and say what was sent."""
        data = text.encode("utf-8", "replace")
        if len(data) > _COPY_LIMIT:
            return f"not copied: {len(data):,} bytes are more than terminals take ({_COPY_LIMIT:,})"
        sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\a"
        if os.environ.get("TMUX"):
            sequence = "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
        if self._driver is not None:
            self._driver.write(sequence)
        first = text.partition("\n")[0]
        return f"copied {len(data):,} bytes: {first[:60]}" + ("…" if len(text) > min(60, len(first)) else "")

    def action_help(self) -> None:
        from tui.screens.help import help_screen
        from tui.state import DEFAULT_THRESHOLD

        threshold = getattr(self.screen, "threshold", DEFAULT_THRESHOLD)
        self.push_screen(help_screen(self.palette, threshold))

    def action_quit_now(self) -> None:
        self.exit(0)


def settle() -> None:
    """Once loaded, what stands is left out of garbage collection: its pauses were the longest of all key presses."""
    gc.collect()
    gc.freeze()
    gc.enable()


def run(session: Path | None, sessions_dir: Path, mouse: bool = True, pair: str | None = None) -> int:
    """Run on the terminal until the user leaves; the exit code.

    Raises InputError before the screen is touched where the session does not open or has no such pair.
    """
    opened = open_session(session) if session is not None else None
    labels = parse_pair(opened, pair) if opened is not None and pair else None
    app = LogdriftApp(opened, sessions_dir, labels)
    code = app.run(mouse=mouse)
    return code if code is not None else app.return_code or 0
