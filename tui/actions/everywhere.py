"""Commands of every screen."""

from __future__ import annotations

from logdrift.tui.actions.command import Command

EVERYWHERE_COMMANDS: tuple[Command, ...] = (
    Command(
        scope="app",
        action="help",
        keys=("question_mark", "f1"),
        help="Help: all keys and what the colours mean",
        hint="help",
        also="shortcuts manual legend",
    ),
    Command(
        scope="app",
        action="command_palette",
        keys=("ctrl+p",),
        help="Command palette: every command by name",
        palette=False,
    ),
    Command(
        scope="app",
        action="command_line",
        keys=("colon",),
        help="Command by name: Tab completes, Up brings back earlier ones",
        palette=False,
    ),
    Command(
        scope="app",
        action="quit_now",
        keys=("ctrl+q",),
        help="Quit at once, from any screen",
        also="exit close",
    ),
    Command(
        scope="app",
        action="suspend",
        keys=("ctrl+z",),
        help="Suspend: back to the shell, where fg comes back here",
    ),
    Command(
        scope="app",
        action="how_to_quit",
        keys=("ctrl+c",),
        help="Say how to quit: Ctrl+C ends nothing",
        palette=False,
    ),
    Command(
        scope="app",
        action="redraw",
        keys=("ctrl+l",),
        help="Draw the screen again: where something else has written to the terminal",
        also="repaint garbage refresh",
    ),
    Command(
        scope="app",
        action="save_picture",
        keys=("P",),
        help="Picture: save the screen as it stands, as SVG",
        also="screenshot image",
    ),
    Command(
        scope="app",
        action="theme",
        arguments=("dark",),
        keys=(),
        help="Dark theme",
        also="colors scheme",
    ),
    Command(
        scope="app",
        action="theme",
        arguments=("light",),
        keys=(),
        help="Light theme",
        also="colors scheme",
    ),
    Command(
        scope="app",
        action="theme",
        arguments=("high-contrast",),
        keys=(),
        help="High-contrast theme",
        also="colors scheme",
    ),
)
