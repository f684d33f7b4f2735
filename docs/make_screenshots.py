"""Draw the pictures of the documentation from the shipped sample session: `make screenshots`."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.tui_screen import judged, make_app  # noqa: E402

SAMPLE = ROOT / "sessions" / "sample-smollm2"
PICTURES = {
    "explorer.svg": ((150, 44), ["right_square_bracket"] * 10 + ["n", "n"]),
    "explorer-80x24.svg": ((80, 24), ["right_square_bracket"] * 10 + ["n", "n"]),
}


async def _draw(name: str, size: tuple[int, int], keys: list[str]) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=size) as pilot:
        await judged(pilot)
        for key in keys:
            await pilot.press(key)
        await judged(pilot)
        picture = app.export_screenshot(title="logdrift")
    # The fonts of the picture are the reader's own: nothing is fetched to look at it.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    (Path(__file__).parent / name).write_text(picture.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    for name, (size, keys) in PICTURES.items():
        with tempfile.TemporaryDirectory() as state:  # no cursor of an earlier look is restored
            os.environ["XDG_STATE_HOME"] = state
            asyncio.run(_draw(name, size, keys))
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
