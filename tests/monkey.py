"""A monkey at the keyboard: bursts of random keys, pastes and resizes, over all
screens, and nothing may end the program.

    python -m tests.monkey [--bursts 2000 | --seconds 120] [--seed 1] [--pty]

A burst is sent back to back: several keys before the application gets to do any of
them. Most runs are in process, with the real application on Textual's headless driver;
with ``--pty`` the real program is on a real terminal. What must hold after each burst:
the application runs, nothing unforeseen was raised, and Esc and q lead back.

The screens and keys are those of the registry: what was done least often where the
monkey is has the best chance to be pressed next. With ``--seconds`` it is led to each
kind of screen first (`tests.ways`), and left to chance there.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual import events
from textual.dom import DOMNode
from textual.geometry import Size
from textual.keys import key_to_character
from textual.pilot import Pilot

from benchmarks.screen import Terminal
from logdrift.core.errors import unforeseen
from logdrift.tui.actions import COMMANDS, SCOPE_TITLES, Command, Scope
from logdrift.tui.app import LogdriftApp, readable
from logdrift.tui.command_window import active_commands
from tests.common import REPOSITORY
from tests.monkey_world import (
    SAMPLE,
    TYPED,
    Found,
    make_twins,
    make_world,
    no_engines,
    own_world,
)
from tests.tui_screen import judged, screen_text, until
from tests.ways import WAYS, steps_to

SIZES = ((80, 24), (120, 36), (200, 60))
TINY = ((1, 1), (12, 3), (40, 10), (59, 20), (60, 20))
LONGEST_BURST = 8
BURSTS_A_START = 25
"""After as many the program is left and started again: most faults are near a start."""
MANY = 10**9
BURSTS_A_WAY = 5
"""After as many where the monkey was led to, the next way begins."""
ARRIVES = 60
"""Seconds that one step of a way may take, however slow the machine is."""
_BACK = 60
"""Presses of Esc and q that must lead out of any depth."""

STOPPING = frozenset({"ctrl+q"})
KEYS = sorted({key for command in COMMANDS for key in command.keys} - STOPPING)
LEAVING = ("enter", "escape", "q", "enter", "escape")
LEAVES = frozenset({"back", "cancel", "leave"})


class WatchedApp(LogdriftApp):
    """Notes which actions are run."""

    CSS_PATH = str(REPOSITORY / "tui" / "app.tcss")
    found: Found

    async def _dispatch_action(
        self, namespace: DOMNode, action_name: str, params: Any
    ) -> bool:
        self.found.done[action_name] += 1
        return await super()._dispatch_action(namespace, action_name, params)


class Monkey:
    """Presses keys by chance; the same seed presses the same ones, as far as the
    machine is as fast.
    """

    def __init__(
        self,
        sessions: Path,
        seed: int,
        sizes: Sequence[tuple[int, int]] = SIZES,
        found: Found | None = None,
    ) -> None:
        self.sessions = sessions
        self.random = random.Random(seed)
        self.sizes = sizes
        self.found = found or Found()

    def burst(self, app: LogdriftApp) -> list[events.Event]:
        """The next burst: mostly keys that mean something where it is sent."""
        chance = self.random.random()
        if chance < 0.06:
            return [self._paste(), self._key("enter")]
        if chance < 0.10:
            return [self._resize(), *(self._key(key) for key in self._keys(app, 2))]
        # Where it took a way to come to, there is more to try.
        is_deep = len(app.screen_stack) > 1
        if chance < (0.75 if is_deep else 0.45):
            return [self._key(self._step(app, "once"))]
        if chance < (0.85 if is_deep else 0.65):
            # The same on one row and on another: two sessions are compared so.
            key = self._step(app, "twice")
            move = self.random.choice(("down", "up", "down", "up", "right", "tab"))
            return [self._key(each) for each in (key, move, key)]
        count = self.random.randint(1, LONGEST_BURST)
        return [self._key(key) for key in self._keys(app, count)]

    def _heard(self, app: LogdriftApp) -> list[Command]:
        """The commands with a key that are heard now, but for quitting."""
        here = [active.command for active in active_commands(app.screen)]
        self.found.scopes.update({command.scope for command in here})
        return [
            command
            for command in here
            if command.keys and STOPPING.isdisjoint(command.keys)
        ]

    def _keys(self, app: LogdriftApp, count: int) -> list[str]:
        keys = [key for command in self._heard(app) for key in command.keys]
        pools = [keys or KEYS, keys or KEYS, KEYS, LEAVING]
        return [self.random.choice(self.random.choice(pools)) for _ in range(count)]

    def _step(self, app: LogdriftApp, how: str) -> str:
        """A key of a command that was seldom chosen before; seldom one that leaves, or
        no screen below others would ever be reached.
        """
        chosen = self.found.chosen
        heard = [
            command for command in self._heard(app) if command.action not in LEAVES
        ]
        if not heard or self.random.random() < 0.12:
            return self.random.choice(LEAVING)
        counts = [chosen[f"{command.id} {how}"] for command in heard]
        weights = [1 / (1 + count) ** 2 for count in counts]
        (command,) = self.random.choices(heard, weights)
        chosen[f"{command.id} {how}"] += 1
        return self.random.choice(command.keys)

    def _key(self, key: str) -> events.Key:
        return events.Key(key, key if len(key) == 1 else key_to_character(key))

    def _paste(self) -> events.Paste:
        return events.Paste(self.random.choice(TYPED))

    def _resize(self) -> events.Resize:
        size = Size(*self.random.choice((*self.sizes, *self.sizes, *TINY)))
        return events.Resize(size, size)

    def start(self) -> LogdriftApp:
        """The list, or the explorer of one session."""
        names = [
            path.name
            for path in sorted(self.sessions.iterdir())
            if path.name not in ("damaged",)
        ]
        if self.random.random() < 0.6:
            return self._app(self.random.choice(names))
        return self._app(None)

    def _app(self, name: str | None) -> LogdriftApp:
        session = None
        if name is not None:
            try:
                session = readable(self.sessions / name)
            except Exception:
                unforeseen.clear()
        app = WatchedApp(session, self.sessions, depth="256")
        app.found = self.found
        return app

    async def run(self, bursts: int, seconds: float = math.inf) -> Found:
        """Do so many bursts, or as many as there is time for."""
        bursts += self.found.bursts
        end = time.monotonic() + seconds
        while self.found.bursts < bursts and time.monotonic() < end:
            is_usual = self.random.random() < 0.85
            size = self.random.choice(self.sizes if is_usual else TINY)
            count = min(BURSTS_A_START, bursts - self.found.bursts)
            app = self.start()
            await self._open(app, size, partial(self._sit_down, app, count))
        return self.found

    async def lead_to(self, scope: Scope, bursts: int) -> None:
        """On purpose to where the keys of a scope are heard; then by chance."""
        way = WAYS[scope]
        app = self._app(None if way.starts_on_list else SAMPLE)
        await self._open(app, self.sizes[0], partial(self._go, app, scope, bursts))

    async def _open(
        self,
        app: LogdriftApp,
        size: tuple[int, int],
        sit_down: Callable[[Pilot[int]], Awaitable[None]],
    ) -> None:
        """Run the application once; what ends it otherwise than by quitting is a
        fault.
        """
        self.found.starts += 1
        self.found.last = [f"start {size}"]
        try:
            async with app.run_test(size=size) as pilot:
                await sit_down(pilot)
        except Exception as error:
            self.found.add(f"{type(error).__name__}: {error}", error)
        unforeseen.clear()

    async def _sit_down(self, app: LogdriftApp, bursts: int, pilot: Pilot[int]) -> None:
        if app.session is None and self.random.random() < 0.4:
            await self._compare(app, pilot)
        await self._play(app, bursts, pilot)

    async def _go(
        self, app: LogdriftApp, scope: Scope, bursts: int, pilot: Pilot[int]
    ) -> None:
        """Take the way to a scope, each step once the one before has arrived, and play
        there.
        """
        if WAYS[scope].starts_on_list:
            await until(pilot, lambda: SAMPLE in screen_text(app), ARRIVES)
        else:
            await judged(pilot)
        for command in steps_to(scope):
            await self._step_on(app, command, pilot)
        await until(pilot, lambda: scope in self._scopes(app), ARRIVES)
        await self._play(app, bursts, pilot)

    async def _step_on(
        self, app: LogdriftApp, command: Command, pilot: Pilot[int]
    ) -> None:
        """Press the key of a command as soon as it is heard."""
        await until(pilot, lambda: command in self._heard(app), ARRIVES)
        key = command.keys[0]
        self.found.last.append(key)
        await pilot.press(key)

    def _scopes(self, app: LogdriftApp) -> set[Scope]:
        return {command.scope for command in self._heard(app)}

    async def _play(self, app: LogdriftApp, bursts: int, pilot: Pilot[int]) -> None:
        for _ in range(bursts):
            for event in self.burst(app):
                self.found.last.append(_words(event))
                app.post_message(event)
            self.found.last.append("|")
            self.found.bursts += 1
            await self._wait(pilot)
            if self._ended(app):
                return
            self._heard(app)
        await self._lead_back(app, pilot)

    async def _compare(self, app: LogdriftApp, pilot: Pilot[int]) -> None:
        """Mark one session of the list and another: chance alone seldom does."""
        await pilot.pause(0.4)
        downs = ["down"] * self.random.randint(0, 6)
        keys = [*downs, "space", "down", "space"]
        self.found.last += keys
        await pilot.press(*keys)
        await pilot.pause(0.4)
        self._heard(app)

    async def _wait(self, pilot: Pilot[int]) -> None:
        """Sometimes the next burst comes at once, sometimes all threads are done
        before.
        """
        chance = self.random.random()
        if chance < 0.3:
            await asyncio.sleep(0)
        elif chance < 0.9:
            await pilot.pause(0.004)
        else:
            await pilot.pause(0.15)

    def _ended(self, app: LogdriftApp) -> bool:
        for error in (*unforeseen, *filter(None, [app._exception])):
            self.found.add(f"{type(error).__name__}: {error}", error)
        if app._exit and app.return_value == 0:
            self.found.quits += 1
        elif app._exit or not app._running:
            self.found.add("the program ended, and nobody had quit")
        return bool(unforeseen) or app._exit or not app._running

    async def _lead_back(self, app: LogdriftApp, pilot: Pilot[int]) -> None:
        """Out of every window by Esc and q; a form that asks whether it may be left is
        told that it may.
        """
        for press in range(_BACK):
            if len(app.screen_stack) == 1:
                return
            leaves = str(getattr(app.screen, "title_text", "")).startswith("Leave")
            key = "y" if leaves else ("escape", "q")[press % 2]
            self.found.last.append(key)
            await pilot.press(key)
            await pilot.pause(0.002)
            if self._ended(app):
                return
        self.found.add(f"stuck on {app.screen_stack}")


def _words(event: events.Event) -> str:
    if isinstance(event, events.Key):
        return event.key
    if isinstance(event, events.Paste):
        return f"paste {event.text[:30]!a}"
    return (
        f"resize {event.size.width}x{event.size.height}"
        if isinstance(event, events.Resize)
        else repr(event)
    )


def run(bursts: int, seed: int, seconds: float = math.inf) -> Found:
    """So many bursts in process."""
    with own_world(make_world) as sessions, no_engines():
        return asyncio.run(Monkey(sessions, seed).run(bursts, seconds))


def run_at_each_size(seconds: float, seed: int) -> Found:
    """To each kind of screen on purpose, then by chance as long at one size as at the
    other; the ways alone are done to their end on a machine that is slower.
    """
    found = Found()
    end = time.monotonic() + seconds
    lead_everywhere(found, seed)
    with own_world(make_world) as sessions, no_engines():
        for done, size in enumerate(SIZES):
            share = (end - time.monotonic()) / (len(SIZES) - done)
            monkey = Monkey(sessions, seed, [size], found)
            asyncio.run(monkey.run(MANY, share))
    return found


def lead_everywhere(found: Found, seed: int) -> None:
    """To where each scope is heard, each from a fresh home; another seed comes to it at
    another size.
    """
    for at, scope in enumerate(WAYS):
        size = SIZES[(at + seed) % len(SIZES)]
        with own_world(make_twins) as sessions, no_engines():
            monkey = Monkey(sessions, seed + at, [size], found)
            asyncio.run(monkey.lead_to(scope, BURSTS_A_WAY))


def never_seen(found: Found) -> set[str]:
    """Scopes of the registry whose keys were not heard."""
    return {scope for scope in SCOPE_TITLES if scope not in found.scopes}


def never_done(found: Found) -> set[str]:
    """Commands of the registry that were not done."""
    return {
        command.id
        for command in COMMANDS
        if not found.done[command.action] and command.keys
    }


_PROGRAM = (
    "import sys; from pathlib import Path; from tests.monkey_world import no_engines;"
    " from logdrift.tui.door import run\nwith no_engines(): sys.exit(run(None,"
    " Path(sys.argv[1])))"
)
_BYTES = (
    b"\r",
    b"\x1b",
    b"q",
    b"\x10",
    b"?",
    b"\x1b[A",
    b"\x1b[B",
    b"\x1b[5~",
    b"\x1b[6~",
    b"\t",
    b" ",
    b"/",
    b":",
    b";",
    b"\xff",
    b"\xc3\x28",
    b"\0",
    b"\x1b[200~~nosuch\xfe\x1b[201~",
    b"\x1b[<0;5;5M\x1b[<0;5;5m",
    b"\x0c",
    b"\x13",
    *(bytes([code]) for code in range(ord("!"), ord("~") + 1)),
)
"""What a terminal sends: keys, a paste and a click, and bytes that are no UTF-8; no
Ctrl+Q.
"""
_ALONE = 0.15
"""Seconds after which an Esc is a key of its own."""


def run_on_terminal(bursts: int, seed: int) -> Found:
    """So many bursts for the real program on a real terminal."""
    found = Found()
    chance = random.Random(seed)
    with own_world(make_world) as sessions:
        while found.bursts < bursts:
            width, height = chance.choice(SIZES)
            program = [sys.executable, "-c", _PROGRAM, str(sessions)]
            terminal = Terminal(program, width, height, PYTHONPATH=str(REPOSITORY))
            found.starts, found.last = found.starts + 1, [f"start {width}x{height}"]
            try:
                terminal.wait_for(b"session")
                _burst_on(
                    terminal, found, chance, min(bursts, found.bursts + BURSTS_A_START)
                )
            finally:
                terminal.close()
    return found


def _burst_on(
    terminal: Terminal, found: Found, chance: random.Random, until: int
) -> None:
    while found.bursts < until:
        keys = [
            chance.choice(chance.choice((_BYTES, _BYTES[:12])))
            for _ in range(chance.randint(1, LONGEST_BURST))
        ]
        found.last += [*map(ascii, keys), "|"]
        found.bursts += 1
        for _ in range(chance.choice((0, 0, 1, 2))):
            # Alone, or it is read as a part of what follows: out of the lines that
            # would take all that is typed.
            os.write(terminal.fd, b"\x1b")
            terminal.quiet(_ALONE)
        os.write(terminal.fd, b"".join(keys))
        terminal.quiet(chance.choice((0.0, 0.03, 0.1)))
        pid, status = os.waitpid(terminal.pid, os.WNOHANG)
        if pid and os.waitstatus_to_exitcode(status) == 0:
            found.quits += 1
        elif pid:
            found.add(f"it ended: {os.waitstatus_to_exitcode(status)}")
        elif b"unexpected " in terminal.output:
            found.add("something unexpected is shown")
        else:
            continue
        return


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bursts", type=int, default=2000)
    parser.add_argument("--seconds", type=float, help="so long, a third at each size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pty", action="store_true", help="the real program on a real terminal"
    )
    args = parser.parse_args()
    began = time.monotonic()
    if args.pty:
        found = run_on_terminal(args.bursts, args.seed)
    elif args.seconds:
        found = run_at_each_size(args.seconds, args.seed)
    else:
        found = run(args.bursts, args.seed)
    seconds = time.monotonic() - began
    print(
        f"{found.bursts} bursts in {found.starts} starts ({found.quits} quit by key),"
        f" {seconds:.0f} s, seed {args.seed}"
    )
    if not args.pty:
        print(f"never done: {' '.join(sorted(never_done(found))) or 'nothing'}")
        print(f"never seen: {' '.join(sorted(never_seen(found))) or 'nothing'}")
    for kind, led in found.faults.items():
        print(f"\n=== {kind}\n{led}")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
