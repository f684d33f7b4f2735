"""The application: sessions screen or explorer, themes, copying, errors."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual._compositor import CompositorUpdate
from textual._context import active_message_pump
from textual.app import App
from textual.command import Provider
from textual.css.query import NoMatches
from textual.dom import DOMNode, NoScreen
from textual.driver import Driver
from textual.geometry import Size
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import AwaitMount
from textual.worker import WorkerFailed

from logdrift.core import errors
from logdrift.core.compare.pair import parse_pair
from logdrift.core.errors import words_of
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.visible import visible
from logdrift.tui.actions import COMMANDS, NO_KEYMAP, Command, Keymap, key_of
from logdrift.tui.bindings import bindings
from logdrift.tui.driver import TerminalDriver, end_by_signals, usable
from logdrift.tui.faults import Safe, finish_writing, traceback_of
from logdrift.tui.palette import Depth, Palette, depth_of, exchange, make_palette
from logdrift.tui.screens.base import BaseScreen, SafeScreen
from logdrift.tui.services import Services
from logdrift.tui.start import settle
from logdrift.tui.themes import THEMES, ThemeName, theme_of
from logdrift.tui.typed_ahead import TypedAhead, TypedEvent
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.lines import Lines
from logdrift.tui.wire import Wire

_SETTLE_SECONDS = 0.6
_EVERYWHERE = [
    command for command in COMMANDS if command.name in ("quit_now", "suspend")
]
"""Commands that are done from everywhere: from lines that are typed in too."""
_DEEPEST = 20
"""Screens over each other beyond which no more is opened: each is drawn within the
drawing of those over it.
"""


def _commands() -> type[Provider]:
    """What the command window lists; imported when it opens, not for a start."""
    from logdrift.tui.command_window import Commands

    return Commands


class LogdriftApp(Safe, App[int], inherit_bindings=False):
    """Starts on a session, or on the list of a folder of sessions."""

    TITLE = "logdrift"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[Any]] = {_commands}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = bindings("app")
    keymap: Keymap = NO_KEYMAP
    _has_theme = False

    def __init__(
        self,
        session: Session | None,
        sessions_dir: Path,
        pair: tuple[str, str] | None = None,
        depth: Depth | None = None,
        theme: ThemeName = "dark",
        keymap: Keymap = NO_KEYMAP,
    ) -> None:
        # Without colours nothing may be mixed from them either: the terminal's own two
        # are used as they are.
        super().__init__(ansi_color=_without_colours(depth) or None)
        self.animation_level = "none"
        self.wire = Wire()
        asked_to_debug = "LOGDRIFT_DEBUG" in os.environ
        self.debugs = asked_to_debug or errors.debugging
        self._typed_ahead = TypedAhead(self)
        self._shown_faults: set[str] = set()
        self.session = session
        self.sessions_dir = sessions_dir
        self.pair = pair
        self.trend: tuple[str | None, Scope | None] | None = None
        """What the first screen is to measure over the steps of the folder."""
        if depth is None:
            depth = depth_of(self.console.color_system, self.no_color)
        self.depth: Depth = depth
        self._begin_theme(theme)
        if keymap:
            self.keymap = keymap
            self.set_keymap(_as_textual_wants_it(keymap))

    def _begin_theme(self, name: ThemeName) -> None:
        for known in THEMES.values():
            self.register_theme(known)
        textual_name = THEMES[name].name
        if self.depth == "none":
            textual_name = "ansi-dark"
        self.theme_name: ThemeName = name
        self._has_theme = True
        # Set without its watcher, which would parse all style sheets a second time.
        self.set_reactive(App.theme, textual_name)
        variables = self.get_css_variables()
        self.stylesheet.set_variables(variables)
        self.palette: Palette = self._palette_of(name)

    def get_css_variables(self) -> dict[str, str]:
        """As Textual has them, but none as long as the theme is not known: mixing the
        colours of its own theme would be for nothing.
        """
        if not self._has_theme:
            return {}
        return super().get_css_variables()

    def _palette_of(self, theme: ThemeName) -> Palette:
        is_dark = THEMES[theme].dark
        has_contrast = theme == "high-contrast"
        return make_palette(self.depth, is_dark, has_contrast)

    def get_driver_class(self) -> type[Driver]:
        driver = super().get_driver_class()
        if driver.__name__ != "LinuxDriver":
            return driver  # a browser's, for textual serve
        return TerminalDriver

    @property
    def size(self) -> Size:
        driver = self._driver
        if self._size is None and isinstance(driver, TerminalDriver):
            # As its events say it: Rich guesses another one.
            columns_and_rows = driver._get_terminal_size()
            return usable(Size(*columns_and_rows))
        return usable(super().size)

    def get_default_screen(self) -> Screen[Any]:
        """The first screen is what was asked for: nothing stands below it that would be
        laid out for nothing.
        """
        if self.trend is not None:
            from logdrift.tui.screens.trend import TrendScreen

            return TrendScreen(self.sessions_dir, *self.trend)
        if self.session is not None:
            from logdrift.tui.screens.explorer import ExplorerScreen

            return ExplorerScreen(self.session, self.pair)
        from logdrift.tui.screens.sessions import SessionsScreen

        return SessionsScreen(self.sessions_dir)

    def on_mount(self) -> None:
        if not self.is_headless:
            end_by_signals(self)

        def resumed(_: object) -> None:
            self.wire.forget()

        self.app_resume_signal.subscribe(self, resumed)
        self.set_timer(_SETTLE_SECONDS, settle)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """As Textual does, less what the terminal shows already."""
        is_update = isinstance(renderable, CompositorUpdate)
        if is_update and not self._batch_count:
            renderable = self.wire.changes(renderable, self.size)
        super()._display(screen, renderable)

    def on_resize(self, event: events.Resize) -> None:
        """A terminal that was resized may have moved its text: even where it has its
        old size again.
        """
        self.wire.forget()
        if event.size == self._size:
            self.screen.refresh()

    def action_redraw(self) -> None:
        """Send everything: something else has written to the terminal."""
        self.wire.forget()
        self.screen.refresh()

    def action_save_picture(self) -> None:
        """Save the screen as it stands as a picture: asks for the name."""
        from logdrift.tui.screens.save_picture import save_picture

        if isinstance(self.screen, SafeScreen):
            save_picture(self.screen)

    def push_screen(self, screen: Any, *args: Any, **options: Any) -> Any:
        """As Textual does, but a key that is pressed again before, or while, its screen
        stands opens it once, and beyond `_DEEPEST` no screen opens.
        """
        is_open = _same(self.screen, screen)
        if is_open or len(self.screen_stack) >= _DEEPEST:
            return AwaitMount(self.screen, [])
        return super().push_screen(screen, *args, **options)

    def action_command_palette(self) -> None:
        from logdrift.tui.command_window import CommandWindow  # not for a start

        if not isinstance(self.screen, CommandWindow):
            self.push_screen(CommandWindow())

    def action_command_line(self) -> None:
        """Ask for a command by name, on a screen and not in a window."""
        from logdrift.tui.screens.command_line import ask_command

        if isinstance(self.screen, BaseScreen):
            ask_command(self.screen)

    # ---- what is typed

    async def on_event(self, event: events.Event) -> None:
        """As Textual does, but what is typed reaches the screen that it is meant for,
        or none (`TypedAhead`).
        """
        if isinstance(event, events.Resize):
            event = _usable(event)
        if isinstance(event, events.Key):
            command = self._done_everywhere(event)
            if command is not None:
                await self.run_action(command.name, self)
                return
        if isinstance(event, TypedEvent) and self._typed_ahead.keeps_back(event):
            return
        await super().on_event(event)

    def _done_everywhere(self, event: events.Key) -> Command | None:
        """The command of a key that means it wherever it is pressed, but for a
        character, which is typed.
        """
        if not self.screen_stack or event.is_printable:
            return None
        for command in _EVERYWHERE:
            if event.key in command.keys_in(self.keymap):
                return command
        return None

    def type_early(self) -> None:
        """A screen stands: it is given what was typed before."""
        self._typed_ahead.type_early()

    async def _dispatch_action(
        self, namespace: DOMNode, action_name: str, params: Any
    ) -> bool:
        if not _stands(namespace):
            return (
                False  # the palette hands over actions of a screen that may have left
            )
        return await super()._dispatch_action(namespace, action_name, params)

    # ---- what goes wrong

    def failed(self, error: Exception, where: MessagePump) -> None:
        """Show an exception that nothing foresaw, once, and go on; with LOGDRIFT_DEBUG
        the program ends.
        """
        if isinstance(error, NoMatches) and not _stands(where):
            return  # a screen that is opening or has left is asked for what it has not
        words = words_of(error)
        if self.debugs or not self.screen_stack:
            super()._handle_exception(error)
        elif words not in self._shown_faults:
            self._shown_faults.add(words)
            advice = (
                "This is a fault of logdrift; nothing was lost. Please report it with"
                " the lines below."
            )
            lines = [words, "", advice, "", *traceback_of(error)]
            self.show_error("\n".join(lines))

    def _handle_exception(self, error: Exception) -> None:
        """Called by Textual for what is raised outside of a message: timers, layouts,
        callbacks.
        """
        if isinstance(error, WorkerFailed):
            cause = error.error
            if isinstance(cause, Exception):
                error = cause
        where = active_message_pump.get(self)
        self.failed(error, where)

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
        """Open the explorer over the list; a folder that does not open is an error that
        can be copied. ``before``: an earlier session to compare with; ``front``: the
        explorer's action that opens a screen over it at once.
        """
        from logdrift.tui.screens.explorer import ExplorerScreen

        try:
            session = readable(folder)
            explorer = ExplorerScreen(session, pair, before, front=front, place=place)
            explorer.added = added
            self.push_screen(explorer)
        except Exception as error:
            # Whatever is wrong with one session, the list stays.
            words = words_of(error)
            self.show_error(words)

    def show_error(self, text: str) -> None:
        """A window with an error's text, which its keys copy and save."""
        from logdrift.tui.screens.texts import TextScreen

        lines = list(map(visible, text.split("\n")))
        window = TextScreen("Error", lines, bad=True)
        self.push_screen(window)

    def copy_text(self, text: str) -> str:
        """Copy through OSC 52, wrapped for tmux, and say what was sent."""
        from logdrift.tui import clipboard  # not for the first screen

        if not text.strip():
            return clipboard.NOTHING
        data = text.encode("utf-8", "replace")
        if len(data) > clipboard.LIMIT:
            return clipboard.too_long(data)
        if self._driver is not None:
            sequence = clipboard.sequence_of(data)
            self._driver.write(sequence)
        return clipboard.copied(data, text)

    def action_help(self) -> None:
        """Open the help for what is in front; where the help is in front, close it."""
        from logdrift.tui.command_window import active_commands
        from logdrift.tui.models.state import DEFAULT_THRESHOLD
        from logdrift.tui.screens.help import HelpScreen, help_screen

        screen = self.screen
        if isinstance(screen, HelpScreen):
            screen.dismiss()
            return
        scopes = [active.command.scope for active in active_commands(screen)]
        here = tuple(dict.fromkeys(scopes))
        threshold = getattr(screen, "threshold", DEFAULT_THRESHOLD)
        window = help_screen(threshold, here, self.keymap)
        self.push_screen(window)

    def action_theme(self, name: ThemeName) -> None:
        """Other colours, from now on and until the end."""
        if self.depth == "none":
            self._say(
                "NO_COLOR is set, or the terminal has no colours: there is only one"
                " theme"
            )
            return
        old = self.palette
        self.theme_name = name
        self.palette = self._palette_of(name)
        self.theme = THEMES[name].name
        styles = exchange(old, self.palette)
        for screen in self.screen_stack:
            for pane in screen.query(Lines):
                pane.recolour(styles)
            if isinstance(screen, BaseScreen):
                screen.recoloured()
        self._say(
            f'theme {name}, until the end: theme = "{name}" in the config file keeps it'
        )

    def _say(self, text: str) -> None:
        """Say something on the line of keys of what is in front."""
        lines = list(self.screen.query(Hints))
        if lines:
            lines[-1].say(text)

    def action_quit_now(self) -> None:
        self.exit(0)

    def action_how_to_quit(self) -> None:
        """Ctrl+C ends nothing: say what does."""
        key = key_of("app", "quit_now", self.keymap)
        self._say(f"{key} quits; q and Esc go back, from the first screen q quits too")

    def action_suspend(self) -> None:
        """Stop, with the shell's prompt back on the terminal."""
        driver = self._driver
        if isinstance(driver, TerminalDriver) and driver.has_shell:
            os.kill(os.getpid(), signal.SIGTSTP)
        else:
            self._say("there is no shell here to suspend to")


if TYPE_CHECKING:
    from logdrift.core.compare.scopes import Scope
    from logdrift.core.config import Config

    _offers_services: type[Services] = LogdriftApp  # checked by mypy


def _without_colours(depth: Depth | None) -> bool:
    if depth is None:
        return "NO_COLOR" in os.environ
    return depth == "none"


def _as_textual_wants_it(keymap: Keymap) -> dict[str, str]:
    """Keys by the id of their binding; a binding without a key gets one that is on no
    keyboard.
    """
    return {name: ",".join(keys) or f"unbound_{name}" for name, keys in keymap.items()}


def _usable(event: events.Resize) -> events.Resize:
    """The event with a size that can be drawn."""
    size = usable(event.size)
    if size == event.size:
        return event
    return events.Resize(size, size)


def _same(screen: Screen[Any], other: Screen[Any]) -> bool:
    """Whether two screens show the same: windows of a kind have the same title."""
    if type(screen) is not type(other):
        return False
    return _title(screen) == _title(other)


def _title(screen: Screen[Any]) -> str | None:
    return getattr(screen, "title_text", None)


def _stands(where: MessagePump) -> bool:
    """Whether the screen of a pane, or the screen itself, is there and has not left."""
    if isinstance(where, App) or not isinstance(where, DOMNode):
        return True
    try:
        screen = where.screen
    except NoScreen:
        return False
    if isinstance(screen, SafeScreen):
        return screen.stands
    return True


def readable(folder: Path) -> Session:
    """A session of which at least the tokens and their text can be read: without them
    there is nothing to explore.

    Raises InputError that names the file.
    """
    session = open_session(folder, patient=False)
    _ = session.sequences, session.pieces
    return session


def run(
    session: Path | None,
    sessions_dir: Path,
    mouse: bool = True,
    pair: str | None = None,
    trend: tuple[str | None, Scope | None] | None = None,
) -> int:
    """Run on the terminal until the user leaves; the exit code. ``trend``: begin with
    the sessions over the steps of a training.

    Raises InputError before the screen is touched where the session does not open or
    has no such pair, and where the config file says what cannot be done.
    """
    from logdrift.core.config import load_config

    config = load_config()
    keymap = _keymap_of(config)
    opened = None
    labels = None
    if session is not None:
        opened = readable(session)
        if pair:
            labels = parse_pair(opened, pair)
    theme = theme_of(config.theme)
    app = LogdriftApp(opened, sessions_dir, labels, theme=theme, keymap=keymap)
    app.trend = trend
    code = app.run(mouse=mouse and config.mouse)
    finish_writing()
    if code is not None:
        return code
    return app.return_code or 0


def _keymap_of(config: Config) -> Keymap:
    if not config.keys:
        return NO_KEYMAP
    from logdrift.tui.keymap import check_keymap

    return check_keymap(config.keys, f"config {config.source}")
