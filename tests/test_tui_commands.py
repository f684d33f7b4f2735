"""Every command of the registry is done by its key, where that key is listened to, and
leaves the screen working.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from benchmarks.make_session import make_session
from logdrift.tui.actions import COMMANDS, SCOPE_TITLES, Command, Scope
from logdrift.tui.app import LogdriftApp
from logdrift.tui.screens.confirm import Confirm
from logdrift.tui.screens.diff import DiffScreen
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.new_capture import NewCaptureScreen
from logdrift.tui.screens.sessions import SessionsScreen
from tests.tui_screen import MEDIUM, make_app, until
from tests.ways import WAYS, steps_to

ELSEWHERE: frozenset[Scope] = frozenset({"experiments", "identity", "layers"})
"""Two steps from the explorer, with more to see than that it was done:
tests/test_tui_experiments.py, tests/test_tui_identity.py and tests/test_tui_layers.py
press each of their keys, and fail where one is not pressed.
"""
BY_THE_LIST = {
    ("sessions", "open"): ("choose", ()),
    ("facts", "whole"): ("choose", ()),
    ("limits", "whole"): ("choose", ()),
    ("diff", "to_tokens"): ("choose", ()),
    ("trend", "open"): ("choose", ()),
    ("worst", "to_tokens"): ("choose", ()),
    ("app", "command_line"): ("go_to", ()),
}
"""The list under the cursor listens to the same key first, to the same end; the command
itself is in the palette.
"""
STEPS = {"next_field", "previous_field", "fields_down", "fields_up"}
"""The form takes these keys before a binding would, so that the next key typed lands in
the new field.
"""


def _starts_in_explorer(scope: Scope) -> bool:
    return not WAYS[scope].starts_on_list


def test_every_scope_is_reached() -> None:
    assert set(WAYS) == set(SCOPE_TITLES), "tests/ways.py: say the way"


class Doer:
    """An app over a folder of sessions, and what was done in it."""

    def __init__(self, app: LogdriftApp, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot
        self.done: list[tuple[str, tuple[Any, ...]]] = []
        self.ended = 0

    async def go(self, scope: Scope) -> None:
        """To where the keys of a scope are listened to."""
        app = self.app
        in_explorer = _starts_in_explorer(scope)
        while len(app.screen_stack) > 1 and not (
            in_explorer and isinstance(app.screen, ExplorerScreen)
        ):
            app.pop_screen()
            await self.pilot.pause()
        if in_explorer and not isinstance(app.screen, ExplorerScreen):
            await self.pilot.press("enter")
            await until(self.pilot, self._judged)
        if isinstance(app.screen, ExplorerScreen):
            app.screen.to_tokens()  # digits are charts while a chart has the focus
            await self.pilot.pause()
        base = app.screen
        for command in steps_to(scope):
            await self.pilot.press(command.keys[0])
        if scope in ("confirm", "diff"):
            wanted = Confirm if scope == "confirm" else DiffScreen
            await until(self.pilot, lambda: isinstance(app.screen, wanted))
        elif scope not in (
            "sessions",
            "app",
            "explorer",
            "move",
            "list",
            "pane",
            "inspector",
            "charts",
            "chart",
        ):
            await until(self.pilot, lambda: app.screen is not base)

    def _judged(self) -> bool:
        screen = self.app.screen
        return (
            isinstance(screen, ExplorerScreen)
            and screen.view is not None
            and screen.view.gate is not None
        )

    async def do(self, command: Command) -> None:
        name, _, arguments = command.name.partition("(")
        wanted = (
            name,
            ast.literal_eval(f"({arguments.rstrip(')')},)") if arguments else (),
        )
        if name in STEPS:
            await self._stepped(command.keys)
        elif command.keys:
            await self._pressed(
                command.keys[0], BY_THE_LIST.get((command.scope, name), wanted)
            )
        if not command.keys or name in STEPS or (command.scope, name) in BY_THE_LIST:
            await self.go(command.scope)
            self.done.clear()
            await self.app.run_action(
                command.name, self.app if command.scope == "app" else self.app.screen
            )
            await until(self.pilot, lambda: wanted in self.done, 5)

    async def _stepped(self, keys: tuple[str, ...]) -> None:
        screen = self.app.screen
        assert isinstance(screen, NewCaptureScreen)
        await self.pilot.press("down", "down", "down")
        for key in keys:
            before = screen.fields.selected
            await self.pilot.press(key)
            assert screen.fields.selected != before, key

    async def _pressed(self, key: str, wanted: tuple[str, tuple[Any, ...]]) -> None:
        self.done.clear()
        await self.pilot.press(key)
        try:
            await until(self.pilot, lambda: wanted in self.done, 5)
        except AssertionError as error:
            raise AssertionError(
                f"{key}: {wanted} was not done, but {self.done}"
            ) from error


@pytest.fixture
def recorded(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Doer], None]:
    dispatch = App._dispatch_action

    def watch(doer: Doer) -> None:
        async def record(app: Any, namespace: Any, name: str, parameters: Any) -> bool:
            found = await dispatch(app, namespace, name, parameters)
            if found:
                doer.done.append((name, tuple(parameters)))
            return found

        monkeypatch.setattr(App, "_dispatch_action", record)
        # The app ends at the end of the test, not at each command that ends it.
        monkeypatch.setattr(
            doer.app, "exit", lambda *_: setattr(doer, "ended", doer.ended + 1)
        )

    return watch


async def test_every_command_is_done_by_its_key(
    tmp_path: Path, recorded: Callable[[Doer], None]
) -> None:
    folder = tmp_path / "sessions"
    made = make_session(folder / "one", 400, 4, 5, captures=4)
    shutil.copytree(made, folder / "two")
    app = make_app(None, folder)
    async with app.run_test(size=MEDIUM) as pilot:
        doer = Doer(app, pilot)
        recorded(doer)
        await until(
            pilot,
            lambda: (
                len(app.screen_stack) == 1 and isinstance(app.screen, SessionsScreen)
            ),
        )
        listing = app.screen
        assert isinstance(listing, SessionsScreen)
        await until(pilot, lambda: len(listing.list.sessions) == 2)
        done = 0
        # What was begun in one scope does not stay for the next.
        for scope in WAYS:
            if scope in ELSEWHERE:
                continue
            await doer.go(scope)
            here = app.screen
            for command in [c for c in COMMANDS if c.scope == scope]:
                if app.screen is not here or command.scope in (
                    "picker",
                    "prompt",
                    "confirm",
                    "explorer",
                    "chart",
                    "move",
                    "form",
                ):
                    await doer.go(scope)
                    here = app.screen
                await doer.do(command)
                done += 1
        assert done == sum(command.scope not in ELSEWHERE for command in COMMANDS)
        assert doer.ended == 2, "quit at once, and back from the list"
        await until(pilot, lambda: len(listing.list.rows) == 1)
