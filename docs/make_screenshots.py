"""Draw the pictures and the film of the documentation from the shipped samples: `make
screenshots`. The real program runs on a pty; no engine is needed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.recording import FOREGROUND, Recording, recording  # noqa: E402
from logdrift.tui.picture import CellRun, FilmScene, film, still  # noqa: E402

DOCS = ROOT / "docs"
HEALTHY = ROOT / "sessions" / "sample-smollm2"
TEMPERATURE = ROOT / "sessions" / "sample-temperature"
PROGRAM = str(Path(sys.executable).with_name("logdrift"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Keys that are pressed, and a text that is on the screen when they have acted.

    ``words`` say in the film what is pressed; the screen then stands for ``seconds``.
    """

    keys: bytes = b""
    shows: str
    words: str = ""
    seconds: float = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A terminal of ``size`` with a session, after some steps."""

    size: tuple[int, int]
    session: Path
    steps: tuple[Step, ...]
    title: str
    theme: str = "dark"


JUDGED = Step(shows="usual")
PICTURES = {
    "explorer.svg": Picture(
        size=(120, 36),
        session=HEALTHY,
        steps=(JUDGED,),
        title="The explorer: text, inspector and chart at the worst token",
    ),
    "explorer-80x24.svg": Picture(
        size=(80, 24),
        session=HEALTHY,
        steps=(JUDGED,),
        title="The explorer on 80 columns and 24 rows",
    ),
    "explorer-light.svg": Picture(
        size=(120, 36),
        session=HEALTHY,
        steps=(JUDGED,),
        title="The explorer in its light theme",
        theme="light",
    ),
    "chart.svg": Picture(
        size=(110, 32),
        session=HEALTHY,
        steps=(JUDGED, Step(keys=b"4az4", shows="both axes log")),
        title="A chart on the whole screen",
    ),
    "matrix.svg": Picture(
        size=(110, 20),
        session=HEALTHY,
        steps=(JUDGED, Step(keys=b"m", shows="sglang/prefill#2")),
        title="The matrix: every capture against every capture",
    ),
    "why.svg": Picture(
        size=(110, 32),
        session=TEMPERATURE,
        steps=(Step(shows="proven"), Step(keys=b"w", shows="1.428")),
        title="Why: the causes with their evidence",
    ),
}
FILM = (
    Step(shows="88%", words="logdrift: one session is red"),
    Step(keys=b"\r", shows="worst 1:13", words="Enter: it opens on its worst token"),
    Step(keys=b"W", shows="differ", words="W: the worst tokens of all sequences"),
    Step(keys=b"q", shows="Sequence "),
    Step(keys=b"w", shows="1.428", words="w: why? A temperature", seconds=5),
    Step(
        keys=b"x",
        shows="explains 88%",
        words="x: one experiment on the real vLLM proved it",
        seconds=5,
    ),
)
"""Steps without words are not in the film."""


def main() -> None:
    for name, picture in PICTURES.items():
        arguments = ["open", str(picture.session)]
        with _recorded(arguments, picture.size, picture.theme) as screen:
            for step in picture.steps:
                _do(screen, step)
            drawn = still(screen.rows(), screen.paper(picture.title))
        _write(name, drawn)
    with _recorded(["open", "--sample"], (100, 30), "dark") as screen:
        scenes = list(_scenes(screen))
        paper = screen.paper("From a red session to its cause", extra_lines=1)
    _write("film.svg", film(scenes, paper))


@contextmanager
def _recorded(
    arguments: list[str], size: tuple[int, int], theme: str
) -> Iterator[Recording]:
    """The program with a state and a config of its own: no cursor of an earlier look
    is restored.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text(f'theme = "{theme}"\n', encoding="utf-8")
        environment = {
            "XDG_STATE_HOME": folder,
            "LOGDRIFT_CONFIG": str(config),
            "LANG": "C.UTF-8",
        }
        with recording([PROGRAM, *arguments], *size, **environment) as screen:
            yield screen


def _scenes(screen: Recording) -> Iterator[FilmScene]:
    for step in FILM:
        _do(screen, step)
        if not step.words:
            continue
        rows = [*screen.rows(), [_caption(step.words)]]
        yield FilmScene(rows=rows, seconds=step.seconds)


def _caption(words: str) -> CellRun:
    text = f" {words}"
    return CellRun(text=text, cells=len(text), colour=FOREGROUND, bold=True)


def _do(screen: Recording, step: Step) -> None:
    screen.press(step.keys)
    screen.wait_for(step.shows)


def _write(name: str, drawn: str) -> None:
    (DOCS / name).write_text(drawn, encoding="utf-8")
    print(f"docs/{name}")


if __name__ == "__main__":
    main()
