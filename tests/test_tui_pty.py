"""The real program on a real pty: what it sends to a terminal, in bytes."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.make_session import PIECES, make_session
from benchmarks.screen import Terminal
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.writer import write_manifest
from logdrift.tui.models.state import ViewState, save_state
from logdrift.tui.wire import ChangedCells, Wire
from tests.tui_screen import LARGE, judged, make_app, until

RUN = (
    "import sys; from pathlib import Path; from logdrift.tui.door import run;"
    " sys.exit(run({}, Path(sys.argv[1])))"
)
HOSTILE = [
    b"\x1b[31m",
    b"\x1b]0;owned\x07",
    b"\x1b]52;c;b3duZWQ=\x07",
    b"\x1b[6n",
    b"\x1bc",
    b"\x9b31m",
    "\u009b31m".encode(),
    b"\x1bPq#0\x1b\\",
    b"\r",
    b"\b\b\b",
    b"\x07",
    b"\x7f",
    "\u202eabc".encode(),
    "\u2066".encode(),
    "👩\u200d💻".encode(),
    "\u200d".encode(),
    "e\u0301".encode(),
    "\ufeff".encode(),
    b"\xff\xfe",
    b"\xf0\x9f",
    b"\x98\x80",
    "中".encode(),
    b" ok",
    b"\x1b[?1049l",
    b"\x1b[2J",
    b"x" * 10_000,
    "字".encode() * 300,
    "🇩🇪".encode(),
    "👍🏽".encode(),
    b"\0",
    b"\n",
    b"\t",
]
SEQUENCE = re.compile(
    r"\x1b\[([0-?]*[ -/]*)([@-~])|\x1b\]([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b([=>78c])"
)
SGR = re.compile(r"(?:(?:^|;)(?:0|1|2|4|7|39|49|(?:38|48);5;\d{1,3}))*$")


@contextmanager
def running(
    session: Path | None,
    folder: Path,
    width: int,
    height: int,
    state: Path,
    **environment: str,
) -> Iterator[Terminal]:
    argument = "Path(sys.argv[1])" if session is not None else "None"
    argv = [sys.executable, "-c", RUN.format(argument), str(session or folder)]
    terminal = Terminal(argv, width, height, XDG_STATE_HOME=str(state), **environment)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30,000 tokens, 5% of them far off."""
    return make_session(
        tmp_path_factory.mktemp("pty") / "plain", 30_000, 24, 20, captures=3
    )


def sequences_of(output: str) -> set[str]:
    """Control sequences of a stream by kind: colours and cursor positions by their
    final letter alone.
    """
    found = set()
    for match in SEQUENCE.finditer(output):
        parameters = match[1] or ""
        final = match[2] or ""
        if final == "m":
            assert SGR.match(parameters), f"not a colour of the palette: {match[0]!r}"
            found.add("m")
        else:
            found.add("H" if final == "H" else match[0])
    return found


def assert_nothing_raw(output: str) -> None:
    rest = SEQUENCE.sub("", output)
    bad = {
        c
        for c in rest
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me")
    } - {"\r", "\n"}
    assert not bad, {ascii(c) for c in bad}


def tour(terminal: Terminal, keys: bytes) -> str:
    """Press keys one after the other and return all that was ever sent."""
    for key in keys.split(b" "):
        os.write(terminal.fd, key)
        terminal.quiet(0.15)
    return terminal.output.decode("utf-8")


KEYS = (
    b"3 4 2 \x1b[B \r 1 \x1b[6~ \x1b[6~ n n ] ] L \r q p q ? q o o o O q / o \r n \x1b"
    b" ; \x1b b a \x7f \r B q : 3 \r u f o \r \x1b . S q 3 i \x1b[C 1 \x1b[C c"
)


def test_hostile_text_reaches_the_terminal_as_printable_glyphs_alone(
    plain: Path, tmp_path: Path
) -> None:
    folder = make_session(
        tmp_path / "ho\x1b]0;st\x07ile\u202e", 3000, 12, 8, captures=3
    )
    pieces = {
        str(i): base64.b64encode(HOSTILE[i % len(HOSTILE)]).decode()
        for i in range(len(PIECES))
    }
    (folder / "pieces.json").write_text(json.dumps(pieces))
    manifest = read_manifest(folder)
    model = manifest.model._replace(id="mo\x1b[31mdel\x9b")
    failed = manifest.captures[2]._replace(
        status="failed", failure="no\x1b[2J memory\x07\u202e"
    )
    write_manifest(
        folder,
        manifest._replace(model=model, captures=(*manifest.captures[:2], failed)),
    )
    (folder / "logs").mkdir()
    (folder / "logs" / "vllm.log").write_bytes(b"\n".join(HOSTILE))
    for width, height in ((80, 24), (140, 40)):
        with running(plain, plain, width, height, tmp_path / "a") as terminal:
            terminal.wait_for(b"Sequence")
            allowed = sequences_of(tour(terminal, KEYS))
        with running(folder, folder, width, height, tmp_path / "b") as terminal:
            terminal.wait_for(b"Sequence")
            output = tour(terminal, KEYS)
        assert "<0x1B>" in output
        assert "<U+202E>" in output
        assert "no<0x1B>[2J memory" in output
        assert_nothing_raw(output)
        # The last key copied: its OSC 52 differs by what was copied.
        extra = {
            s for s in sequences_of(output) - allowed if not s.startswith("\x1b]52;c;")
        }
        assert extra == set()


def test_hostile_names_in_the_list_of_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    make_session(folder / "a\x1b[31m\x9b\u202e", 300, 3, 4, captures=2)
    with running(None, folder, 80, 24, tmp_path / "state") as terminal:
        terminal.wait_for(b"300")
        terminal.quiet(1.0)
        output = terminal.output.decode("utf-8")
    assert "a<0x1B>[31m" in output
    assert_nothing_raw(output)
    sequences_of(output)


def test_bytes_on_the_wire(plain: Path, tmp_path: Path) -> None:
    """The limits are those of docs/explorer.md's promise for a slow line: 30 KB a
    repaint, idle nothing.
    """
    with running(plain, plain, 200, 60, tmp_path / "state") as terminal:
        terminal.wait_for(b"Sequence")
        terminal.quiet(1.5)
        before = len(terminal.output)
        # Longer than both polls of the folder.
        assert terminal.quiet(2.5) == 0
        assert len(terminal.output) == before
        # Back to where a page of the sequence follows: at its end a step goes on to the
        # next sequence.
        for page_key in (b"\x1b[6~", b"\x1b[5~"):
            _, page = terminal.key(page_key)
            assert 0 < page < 30_000
        # One frame of the tokens alone, below 200 bytes, then inspector and chart once
        # the cursor rests. A busy machine may send both before the first is read here.
        frames = []
        for _ in range(5):
            os.write(terminal.fd, b"\x1b[C")
            frames.append(len(terminal.read(0.5)))
            assert terminal.quiet(0.5) < 10_000
        assert 0 < min(frames) < 200
        # A held key sends the details when it rests, not for every step: three rests
        # allow for a busy machine.
        before = len(terminal.output)
        os.write(terminal.fd, b"\x1b[C" * 50)
        terminal.quiet(0.5)
        assert len(terminal.output) - before < 50 * 200 + 3 * 10_000
        # A step over the end draws another sequence: text, list and chart.
        os.write(terminal.fd, b"G")
        terminal.quiet(0.5)
        before = len(terminal.output)
        os.write(terminal.fd, b"\x1b[C")
        terminal.quiet(0.5)
        assert 2_000 < len(terminal.output) - before < 12_000


async def test_a_full_repaint_is_below_30_kb(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    save_state("generated-30000", ViewState(threshold=0.2))
    console = Console(color_system="256", force_terminal=True, width=200)
    app = make_app(plain)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        assert 0.02 < len(screen.model.levels.beyond()) / 30_000 < 0.08
        await pilot.press("n", *["pagedown"] * 3)
        for _ in range(3):
            await until(pilot, lambda: screen.model.numbers is not None)
            # As a terminal gets it of which nothing is known.
            drawn = app.screen._compositor.render_update(full=True)
            update = Wire().changes(drawn, app.size)
            assert isinstance(update, ChangedCells)
            cells = sum(piece.strip.cell_length for piece in update.pieces)
            assert cells == 200 * 60
            frame = update.render_segments(console)
            assert 12_000 < len(frame.encode()) < 30_000
            await pilot.press("o")


def test_no_color_sends_no_colour(plain: Path, tmp_path: Path) -> None:
    with running(plain, plain, 80, 24, tmp_path / "state", NO_COLOR="1") as terminal:
        terminal.wait_for(b"Sequence")
        output = tour(terminal, b"n 3 4 2 1 t q")
    colours = {
        p
        for m in re.finditer(r"\x1b\[([0-9;]*)m", output)
        for p in m[1].split(";")
        if p
    }
    assert colours <= {"0", "1", "2", "4", "7", "39", "49"}
    assert "▲" in output or "▼" in output


def test_16_colours_are_enough(plain: Path, tmp_path: Path) -> None:
    with running(plain, plain, 80, 24, tmp_path / "state", TERM="xterm") as terminal:
        terminal.wait_for(b"Sequence")
        output = tour(terminal, b"n 3 1")
    colours = {
        int(p)
        for m in re.finditer(r"\x1b\[([0-9;]*)m", output)
        for p in m[1].split(";")
        if p
    }
    assert colours <= {
        0,
        1,
        2,
        4,
        7,
        *range(30, 38),
        *range(40, 48),
        *range(90, 98),
        *range(100, 108),
    }
    assert {43, 103, 44, 106} & colours


@pytest.mark.parametrize("raw", ["\x9b", "\x1b", "\u202e", "\u200d", "e\u0301", "\x07"])
def test_the_check_for_raw_text_finds_it(raw: str) -> None:
    with pytest.raises(AssertionError):
        assert_nothing_raw(f"\x1b[0mtext{raw}")


def test_the_check_for_sequences_finds_foreign_ones() -> None:
    with pytest.raises(AssertionError):
        sequences_of("\x1b[38;5;251mtext\x1b[31m")
    assert sequences_of(
        "\x1b[38;5;251;48;5;233mtext\x1b[0m\x1b[3;4H\x1b]0;owned\x07"
    ) == {"m", "H", "\x1b]0;owned\x07"}
