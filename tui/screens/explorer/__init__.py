"""The explorer: one pair of captures over the sequences of a session.

`ExplorerScreen` (screen.py) holds the model (`logdrift.tui.models.explorer.Explorer`),
the panes and one small object for each kind of command; it binds keys to them and takes
the messages of panes and threads.
"""

from logdrift.tui.screens.explorer.screen import ExplorerScreen

__all__ = ["ExplorerScreen"]
