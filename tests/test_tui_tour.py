"""docs/tour.md, done: its keys are pressed on the shipped sample, and what it shows is
on the screen.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.common import REPOSITORY
from tests.tui_screen import make_app, screen_text, until

TOUR = (REPOSITORY / "docs" / "tour.md").read_text(encoding="utf-8")
STEPS = re.findall(
    r"^## (\d+)\. .*?<!-- keys:(.*?)-->\n```\n(.*?)```", TOUR, re.MULTILINE | re.DOTALL
)


def plain(text: str) -> str:
    """Words alone: how far apart they stand, and a scroll bar between them, depends on
    the terminal.
    """
    return " ".join(text.replace("┃", " ").split())


@pytest.mark.usefixtures("own_home")
async def test_the_tour_shows_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "sessions" / "sample-smollm2",
        tmp_path / "sessions" / "sample-smollm2",
    )
    found = [int(number) for number, _, _ in STEPS]
    assert found == list(range(1, 11))
    app = make_app(None, tmp_path / "sessions")
    async with app.run_test(size=(100, 30)) as pilot:
        for number, keys, shown in STEPS:
            for key in keys.split():
                await pilot.press(key)
                await pilot.pause()
            for line in shown.strip().splitlines():
                await until(
                    pilot, lambda line=line: plain(line) in plain(screen_text(app))
                )  # type: ignore[misc]
            assert shown.strip(), number
