"""Run as a program: the screen of a session whose registry has the toy chart as its
first line. Prints what the pane, the list of charts, the help and the keys show.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from logdrift.core.charts import registry
from tests.toy_chart import LINE

# The one line, before the commands are made of the registry.
registry.CHARTS = (LINE, *registry.CHARTS)

from logdrift.tui.actions import COMMANDS  # noqa: E402
from logdrift.tui.screens.chart import ChartScreen  # noqa: E402
from logdrift.tui.screens.texts import Picker  # noqa: E402
from tests.tui_screen import (  # noqa: E402
    judged,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)


async def main(folder: Path) -> dict[str, str]:
    """Zoom the chart, look at the list and at the help."""
    app = make_app(folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await judged(pilot)
        await pilot.press("4", "z")
        await until_screen(pilot, ChartScreen)
        zoomed = app.screen
        assert isinstance(zoomed, ChartScreen)
        await pilot.press("2", "1")
        await until(pilot, lambda: zoomed.chart.chart is not None)
        await until(pilot, lambda: "sorted |Δ|" in text(zoomed.chart))
        shown = {"pane": text(zoomed.chart)}
        await pilot.press("question_mark")
        await until_shown(pilot, "Chart 1:")
        shown["help"] = screen_text(app)
        await pilot.press("escape")
        await until_back(pilot, zoomed)
        await pilot.press("C")
        await until_screen(pilot, Picker)
        await until_shown(pilot, "sorted gaps")
        shown["list"] = screen_text(app)
    (command,) = (one for one in COMMANDS if one.id == "chart.chart_sorted")
    return {**shown, "key": command.keys[0], "command": command.help}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
