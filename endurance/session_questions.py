"""All that can be asked of a session without starting an engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Ask = Callable[[Path], int]
"""Asks something of the session in a folder; the exit code."""

_KEYS = ("n", "end", "question_mark", "escape", "i", "escape", "l", "w", "escape", "t")
"""Pressed in the explorer: to the next divergence, help, report, log, why, a choice."""


def models(session: Path) -> int:
    """All that the explorer does with a session before and behind its first screen, but
    for the screen.
    """
    from logdrift.tui.app import readable
    from logdrift.tui.models.backend_log import log_lines
    from logdrift.tui.models.inspection import inspect
    from logdrift.tui.models.pairs import judged, open_pair
    from logdrift.tui.models.state import load_state
    from logdrift.tui.models.why import explain

    opened = readable(session)
    load_state(opened.manifest.id)
    pair, _ = open_pair(opened, None)
    for info in opened.captures:
        log_lines(opened, info.backend)
    if opened.sequences.tokens:
        inspect(opened, pair, opened.sequences.tokens - 1)
    if pair is not None:
        judged(opened, pair)
        explain(opened, pair)
    return 0


def listed(session: Path) -> int:
    """The list of sessions, with all that it learns of each."""
    from logdrift.tui.models.session_watch import FolderWatch

    FolderWatch(session.parent).look(depth="answers", stop=lambda: False)
    return 0


def command(*arguments: str) -> Ask:
    """A command line in this process; SESSION, OUT and FOLDER stand for places."""

    def run(session: Path) -> int:
        from logdrift.cli.main import main

        return main(filled(arguments, session))

    return run


def filled(arguments: Sequence[str], session: Path) -> list[str]:
    """The arguments with the places in them."""
    places = {"SESSION": session, "OUT": out_of(session), "FOLDER": session.parent}
    known = []
    for argument in arguments:
        for name, path in places.items():
            argument = argument.replace(name, str(path))
        known.append(argument)
    return known


def out_of(session: Path) -> Path:
    """The folder beside the sessions that questions write into."""
    return session.parent.parent / "out"


def explorer(session: Path) -> int:
    """The session on the real screens, without a terminal."""
    from logdrift.tui.app import LogdriftApp, readable

    opened = readable(session)
    return asyncio.run(_looked_at(LogdriftApp(opened, session.parent, depth="256")))


def list_screen(session: Path) -> int:
    """The list with the session in it, and the session opened from there."""
    from logdrift.tui.app import LogdriftApp

    return asyncio.run(_looked_at(LogdriftApp(None, session.parent, depth="256")))


async def _looked_at(app: Any) -> int:
    """Press keys, then leave. Raises what the application ended with."""
    async with app.run_test(size=(120, 36)) as pilot:
        for key in ("enter", *_KEYS):
            await pilot.press(key)
        await pilot.pause()
    return int(app.return_code or 0)


WHY = "why --json"
QUESTIONS: dict[str, Ask] = {
    "open": models,
    "list": listed,
    "report": command("report", "SESSION"),
    "report --md": command("report", "SESSION", "--md"),
    "report --html": command("report", "SESSION", "--html"),
    "report --why": command("report", "SESSION", "--why"),
    "why": command("why", "SESSION"),
    WHY: command("why", "SESSION", "--json"),
    "why --identity": command("why", "SESSION", "--identity"),
    "why --run": command("why", "SESSION", "--run"),
    "check": command("check", "SESSION", "--max", "mae=1"),
    "diff": command("diff", "SESSION", "SESSION"),
    "csv": command("export", "SESSION", "--to", "csv", "-o", os.devnull),
    "lines": command("export", "SESSION", "--to", "jsonl", "-o", os.devnull),
    "parquet": command(
        "export", "SESSION", "--to", "parquet", "-o", "OUT/rows.parquet"
    ),
    "import": command("import", "session", "SESSION", "--out", "OUT/copy"),
    "resume": command("capture", "--resume", "--out", "SESSION"),
}
NUMBERS = "report --json"
SCREEN_SECONDS = 10.0
"""Of a core: a dozen keys, each with a frame of its own."""
SCREENS: dict[str, Ask] = {"explorer": explorer, "list screen": list_screen}
PROCESSES: dict[str, Sequence[str]] = {
    "process report": ("report", "SESSION"),
    "process check": ("check", "SESSION", "--max", "mae=1"),
    "process import": ("import", "session", "SESSION", "--out", "OUT/copy"),
}
"""Command lines for a process of its own."""
numbers_asked = command("report", "SESSION", "--json")
