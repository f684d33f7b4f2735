"""Run beside the copy of logdrift that has the toy engine: ``python screens.py SESSION
OUT.json`` writes what the screens show of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from logdrift.core.engines import ENGINES
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.new_capture import NewCaptureScreen
from logdrift.tui.screens.sessions import SessionsScreen
from tests.tui_screen import explorer, make_app, screen_text, until

SIZE = (120, 40)


async def new_capture(folder: Path) -> str:
    """The form for a new capture, once every interpreter was looked for."""
    app = make_app(None, folder)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: isinstance(app.screen, NewCaptureScreen))
        screen = app.screen
        assert isinstance(screen, NewCaptureScreen)
        await until(pilot, lambda: len(screen.found) == len(ENGINES))
        return screen_text(app)


async def matrix(session: Path) -> str:
    """The matrix of all pairs."""
    app = make_app(session)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: explorer(app).is_mounted)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MatrixScreen))
        await until(pilot, lambda: "toy/decode" in screen_text(app))
        return screen_text(app)


async def main(session: Path, out: Path) -> None:
    shown = {
        "new capture": await new_capture(session.parent),
        "matrix": await matrix(session),
    }
    out.write_text(json.dumps(shown), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
