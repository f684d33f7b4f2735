"""Run beside the copy of logdrift that has the toy engine: ``python adding.py SESSION
MODEL OUT.json`` adds the toy engine to a session by the form, from the list and once
more from the explorer, and writes what the screens show of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from logdrift.tui.app import LogdriftApp
from logdrift.tui.screens.add_backend import AddBackendScreen
from logdrift.tui.screens.sessions import SessionsScreen
from tests.tui_screen import explorer, make_app, screen_text, until

SIZE = (120, 40)


async def filled(
    pilot: Pilot[Any], app: LogdriftApp, name: str, model: Path | None = None
) -> AddBackendScreen:
    """The form with the toy engine as its only backend."""
    await pilot.press("f6")
    await until(pilot, lambda: isinstance(app.screen, AddBackendScreen))
    form = app.screen
    assert isinstance(form, AddBackendScreen)
    if model is not None:
        form.typed("model", str(model))
    form.pressed("backend[0].remove")
    form.pressed("engine.toy")
    form.typed("backend[0].name", name)
    form.set_form(form.form)
    return form


async def added(session: Path, model: Path) -> dict[str, object]:
    app = make_app(None, session.parent)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SessionsScreen))
        listed = app.screen
        assert isinstance(listed, SessionsScreen)
        await until(pilot, lambda: bool(listed.list.sessions))
        form = await filled(pilot, app, "first", model)
        await until(pilot, lambda: "--backend" in screen_text(app))
        shown = screen_text(app)
        form.stepped("backend[0].role", 2)
        await pilot.press("f5")
        await until(pilot, lambda: app.screen is listed, 60)
        said = screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: explorer(app).model.labels is not None, 60)
        await until(pilot, lambda: "first is captured" in screen_text(app), 60)
        first = explorer(app).model.labels
        await filled(pilot, app, "second")
        await pilot.press("f5")
        await until(pilot, lambda: app.screen is explorer(app), 60)
        await until(pilot, lambda: "second is captured" in screen_text(app), 60)
        second = explorer(app).model.labels
    return {"form": shown, "said": said, "first": first, "second": second}


if __name__ == "__main__":
    found = asyncio.run(added(Path(sys.argv[1]), Path(sys.argv[2])))
    Path(sys.argv[3]).write_text(json.dumps(found), encoding="utf-8")
