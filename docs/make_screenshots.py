"""Draw the pictures of the documentation from the shipped sample session: `make
screenshots`.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from logdrift.tui.themes import ThemeName  # noqa: E402
from tests.tui_screen import judged, make_app, screen_text, until  # noqa: E402

SAMPLE = ROOT / "sessions" / "sample-smollm2"
TO_THE_TOKEN = ("right_square_bracket",) * 10 + ("n", "n")


@dataclass(frozen=True)
class Picture:
    """A terminal of ``size``, the ``keys`` pressed in the explorer, and a text that is
    there when it is done.
    """

    size: tuple[int, int]
    keys: tuple[str, ...]
    shows: str
    theme: ThemeName = "dark"


PICTURES = {
    "explorer.svg": Picture((150, 44), TO_THE_TOKEN, "top 20"),
    "explorer-80x24.svg": Picture((80, 24), TO_THE_TOKEN, "rank"),
    "explorer-light.svg": Picture((120, 36), TO_THE_TOKEN, "top 20", "light"),
    "chart.svg": Picture((110, 32), ("a", "z", "4"), "both axes log"),
    "matrix.svg": Picture((110, 20), ("m",), "8 sglang/prefill#2"),
    "why.svg": Picture((120, 32), ("w",), "numerical noise"),
}


async def _draw(name: str, picture: Picture) -> None:
    app = make_app(SAMPLE, theme=picture.theme)
    async with app.run_test(size=picture.size) as pilot:
        await judged(pilot)
        for key in picture.keys:
            await pilot.press(key)
        await until(pilot, lambda: picture.shows in screen_text(app))
        drawn = app.export_screenshot(title="logdrift")
    # The fonts of the picture are the reader's own: nothing is fetched to look at it.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    (Path(__file__).parent / name).write_text(drawn.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    for name, picture in PICTURES.items():
        with (
            tempfile.TemporaryDirectory() as state
        ):  # no cursor of an earlier look is restored
            os.environ["XDG_STATE_HOME"] = state
            asyncio.run(_draw(name, picture))
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
