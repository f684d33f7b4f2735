"""What is sent to the terminal: a terminal that is given only the differences shows the
screen, whatever the text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte
import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.app import App
from textual.geometry import Region, Size
from textual.strip import Strip

from benchmarks.make_session import make_session
from logdrift.core.session.layout import ModelInfo, read_manifest
from logdrift.core.session.writer import write_manifest
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.wire import CellPiece, ChangedCells, Wire
from tests.made_sessions import capture, write_session
from tests.tui_screen import LARGE, judged, make_app, until, until_quiet, until_screen

pytestmark = pytest.mark.usefixtures("own_home")
FULL = 30_000
"""Bytes that a full repaint at 200x60 may cost: docs/explorer.md."""


class Mirror:
    """A terminal emulator that is fed what the app sends."""

    def __init__(self, width: int, height: int) -> None:
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.Stream(self.screen)
        self.sent = 0

    def feed(self, text: str) -> None:
        self.sent += len(text.encode("utf-8"))
        self.stream.feed(text)

    def cells(self) -> list[list[tuple[Any, ...]]]:
        """Every cell with its style, as far as it shows: on a space neither ink nor
        weight does.
        """
        columns = range(self.screen.columns)
        buffer = self.screen.buffer
        return [
            [_shown(buffer[y][x]) for x in columns] for y in range(self.screen.lines)
        ]


def _shown(cell: Any) -> tuple[Any, ...]:
    lined = cell.underscore or cell.strikethrough or cell.reverse
    return (" ", cell.bg) if cell.data == " " and not lined else tuple(cell)


@contextmanager
def mirrored(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> Iterator[Mirror]:
    """Every frame of an app of the test goes to the mirror; what a test terminal is
    would else not be drawn at all.
    """
    mirror = Mirror(width, height)

    def display(app: App[Any], screen: Any, update: Any) -> None:
        if update is not None and app._running:
            assert isinstance(update, ChangedCells)
            mirror.feed(update.render_segments(app.console))

    with monkeypatch.context() as patch:
        patch.setattr(App, "_display", display)
        yield mirror


def rows_of(app: App[Any]) -> list[str]:
    """What the screen is, by Textual's own account."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def assert_same(app: App[Any], mirror: Mirror) -> None:
    wanted = rows_of(app)
    assert len(wanted) == len(mirror.screen.display)
    for y, (shown, row) in enumerate(zip(mirror.screen.display, wanted, strict=True)):
        assert shown.rstrip() == row.rstrip(), f"row {y}"


TOUR = (
    "n",
    "pagedown",
    "pageup",
    "o",
    "right_square_bracket",
    "p",
    "escape",
    "question_mark",
    "pagedown",
    "escape",
    "4",
    "z",
    "5",
    "right",
    "4",
    "q",
    "t",
    "down",
    "escape",
    "m",
    "down",
    "q",
    "d",
    "q",
    "T",
    "q",
    "colon",
    "3",
    "escape",
    "ctrl+p",
    "escape",
    "S",
    "escape",
)


async def test_the_terminal_shows_the_screen_and_a_window_costs_no_more_than_one_repaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(make_session(tmp_path / "s", 12_000, 6, 20, captures=3))
    with mirrored(monkeypatch, 200, 60) as mirror:
        async with app.run_test(size=LARGE) as pilot:
            await judged(pilot)
            await until_quiet(pilot)
            assert 12_000 < mirror.sent < 2 * FULL, (
                "the first screen, and the numbers that come in"
            )
            for key in TOUR:
                before = mirror.sent
                await pilot.press(key)
                await until_quiet(pilot)
                assert mirror.sent - before < FULL, key
                assert_same(app, mirror)
            cells = mirror.cells()
            before = mirror.sent
            await pilot.press("ctrl+l")
            await until(pilot, lambda: mirror.sent > before)
            assert mirror.cells() == cells, (
                "sent in full, styles too, it is what the differences made"
            )
            assert 12_000 < mirror.sent - before < FULL


async def test_a_held_page_key_keeps_up_with_a_slow_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 pages in a second must be through a line of 1 Mbit/s two seconds after the key
    is released: 375 KB.
    """
    app = make_app(make_session(tmp_path / "s", 60_000, 1, 5, captures=2))
    with mirrored(monkeypatch, 200, 60) as mirror:
        async with app.run_test(size=LARGE) as pilot:
            screen = await judged(pilot)
            await until_quiet(pilot)
            before = mirror.sent
            top = screen.tokens.top
            for _ in range(6):
                await pilot.press("pagedown")
                await pilot.pause(0.02)
            assert screen.tokens.top >= top + 6 * (screen.tokens.page - 2)
            assert (mirror.sent - before) / 6 * 30 < 375_000


FAMILY = "👨‍👩‍👧‍👦".encode()
FLAG = "🇩🇪".encode()


def hostile_pieces() -> list[bytes]:
    """Every control character of C0 and C1 in both forms, sequences, bidi marks,
    characters cut in two, random bytes.
    """
    rng = random.Random(4)
    return [
        *(bytes([code]) for code in (*range(0x20), *range(0x7F, 0x100))),
        *(chr(code).encode() for code in range(0x80, 0xA0)),
        *(
            chr(code).encode()
            for code in (
                0x061C,
                0x200B,
                0x200E,
                0x200F,
                *range(0x202A, 0x202F),
                *range(0x2060, 0x206A),
            )
        ),
        b"\x1b[31m",
        b"\x1b]0;owned\x07",
        b"\x1b]52;c;b3duZWQ=\x07",
        b"\x1b[6n",
        b"\x1bc",
        b"\x1b[?1049l",
        b"\x1b[2J\x1b[H",
        b"\x1bPq#0\x1b\\",
        b"\x1b_x\x1b\\",
        b"\x9b31m",
        b"\x1b[999C",
        b"\x1b[1;1Hhere",
        b"a",
        *(FAMILY[i : i + 3] for i in range(0, len(FAMILY), 3)),
        b"b",
        FAMILY,
        b"c",
        FLAG[:4],
        FLAG[4:],
        b"d",
        FLAG[:3],
        FLAG[3:6],
        FLAG[6:],
        "e\u0301".encode(),
        b"e",
        "\u0301".encode(),
        "👍".encode(),
        "🏽".encode(),
        b"x" * 10_000,
        "字".encode() * 3334,
        FAMILY * 400,
        b"\x00" * 2000,
        "\u202e".encode() * 2500,
        b"",
        b"\n",
        b"\r\n",
        b"\t",
        *(rng.randbytes(rng.randrange(1, 12)) for _ in range(60)),
    ]


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_no_row_is_misaligned_by_hostile_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    pieces = dict(enumerate(hostile_pieces()))
    count = len(pieces)
    nan = float("nan")
    a, b = ([nan, *[value] * (count - 1)] for value in (-1.0, -1.3))
    made = write_session(
        tmp_path / "ho\x1b]0;st\x07ile\u202e",
        [count // 2, 3],
        [capture("trainer/prefill", [a, a]), capture("vllm/decode", [b, b])],
        pieces=pieces,
        model=ModelInfo("mo\x1b[31mdel\u202e", vocab_size=4000),
        title="ti\x9b2Jtle\u200d",
    )
    manifest = read_manifest(made.folder)
    failed = manifest.captures[1]._replace(
        failure="no\x1b[2J memory\x07\u202e 👨\u200d👩"
    )
    write_manifest(
        made.folder, manifest._replace(captures=(manifest.captures[0], failed))
    )
    (made.folder / "logs").mkdir()
    for info in manifest.captures:
        (made.folder / "logs" / f"{info.backend}.log").write_bytes(
            b"\n".join(pieces.values())
        )
    app = make_app(None, tmp_path)
    with mirrored(monkeypatch, *size) as mirror:
        async with app.run_test(size=size) as pilot:
            # The name stays; the title is shown only until the answer is worked out.
            await until(pilot, lambda: "ho<0x1B>]0;st" in "\n".join(rows_of(app)))
            assert_same(app, mirror)
            await pilot.press("enter")
            await judged(pilot)
            keys = [
                *["pagedown"] * (count // 8),
                "2",
                "down",
                "1",
                "3",
                "pagedown",
                "4",
                "1",
                "n",
                "o",
                "slash",
                "e",
                "enter",
                "n",
                "escape",
                "L",
                "enter",
            ]
            for at, key in enumerate(keys):
                await pilot.press(key)
                if at % 3 == 0 or key in ("3", "n", "enter"):
                    await pilot.pause()
                    assert_same(app, mirror)
            await until_screen(pilot, TextScreen)
            for key in ("home", *["pagedown"] * 6, "end"):
                await pilot.press(key)
                await pilot.pause()
                assert_same(app, mirror)
            for key in (
                "escape",
                "p",
                "escape",
                "m",
                "q",
                "d",
                "space",
                "escape",
                "q",
                "R",
            ):
                await pilot.press(key)
                await pilot.pause()
            await until_quiet(pilot)
            assert_same(app, mirror)


def line(*runs: tuple[str, Style]) -> Strip:
    return Strip([Segment(text, style) for text, style in runs])


def sent(wire: Wire, strips: list[Strip], width: int) -> list[tuple[int, int, str]]:
    update = wire.changes(
        LayoutUpdate([[s] for s in strips], Region(0, 0, width, len(strips))),
        Size(width, len(strips)),
    )
    return (
        [] if update is None else [(x, y, strip.text) for x, y, strip in update.pieces]
    )  # type: ignore[attr-defined]


def test_only_what_differs_is_sent() -> None:
    red = Style(color="red")
    blue = Style(color="blue")
    wire = Wire()
    first = [line(("a" * 40, red)), line(("中文" * 10, red))]
    assert sent(wire, first, 40) == [(0, 0, "a" * 40), (0, 1, "中文" * 10)]
    assert sent(wire, first, 40) == []
    assert sent(wire, [line(("a" * 39, red), ("b", red)), first[1]], 40) == [
        (39, 0, "b")
    ]
    # Another colour is a difference; far apart are two pieces, near each other one.
    expected = [(0, 0, "a"), (39, 0, "b")]
    assert (
        sent(wire, [line(("a", blue), ("a" * 38, red), ("b", blue)), first[1]], 40)
        == expected
    )
    assert sent(
        wire, [line(("c" * 3, blue), ("a" * 36, red), ("b", blue)), first[1]], 40
    ) == [(0, 0, "ccc")]
    # Of a wide character never half is sent.
    assert sent(
        wire,
        [
            line(("c" * 3, blue), ("a" * 36, red), ("b", blue)),
            line(("中字" + "中文" * 9, red)),
        ],
        40,
    ) == [(2, 1, "字")]
    # The ink of a space is not seen, its background and a line under it are.
    wire.forget()
    sent(wire, [line((" " * 20, red), ("a" * 20, red)), first[1]], 40)
    assert sent(wire, [line((" " * 20, blue), ("a" * 20, red)), first[1]], 40) == []
    assert sent(
        wire, [line((" " * 20, Style(bgcolor="red")), ("a" * 20, red)), first[1]], 40
    ) == [(0, 0, " " * 20)]
    assert sent(
        wire, [line((" " * 20, Style(underline=True)), ("a" * 20, red)), first[1]], 40
    ) == [(0, 0, " " * 20)]
    wire.forget()
    assert len(sent(wire, first, 40)) == 2
    assert len(sent(wire, [line(("a" * 30, red))], 30)) == 1, "another size: all of it"


@pytest.mark.parametrize("system", ["standard", "256", "truecolor"])
def test_what_changes_of_a_style_draws_what_whole_styles_draw(system: str) -> None:
    """Styles in a made order, each of its own sequence and each after the one before:
    the cells are the same, and the second way never costs more.
    """
    rng = random.Random(12)
    names = [None, "red", "#5f87af", "#303030"]
    console = Console(color_system=system, force_terminal=True)  # type: ignore[arg-type]
    runs = []
    for _ in range(300):
        bold, dim, underline, reverse = (
            rng.choice((None, None, True)) for _ in range(4)
        )
        style = Style(
            color=rng.choice(names),
            bgcolor=rng.choice(names),
            bold=bold,
            dim=dim,
            underline=underline,
            reverse=reverse,
        )
        runs.append((rng.choice(("a", "  ", " b", "中", "cd")), style))
    strips = [line(*runs[start : start + 10]) for start in range(0, 300, 10)]
    pieces = [CellPiece(0, y, strip) for y, strip in enumerate(strips)]
    short = Mirror(30, 30)
    whole = Mirror(30, 30)
    short.feed(ChangedCells(pieces).render_segments(console))
    for x, y, strip in pieces:
        whole.feed(f"\x1b[{y + 1};{x + 1}H" + strip.render(console))
    assert short.cells() == whole.cells()
    assert short.screen.cursor.attrs == whole.screen.cursor.attrs, "nothing stays on"
    assert short.sent < whole.sent


def test_a_change_of_one_thing_sends_that_alone() -> None:
    console = Console(color_system="256", force_terminal=True)
    plain = Style(color="color(252)", bgcolor="color(233)")
    shaded = plain + Style(bgcolor="color(236)")
    strip = line(("ab", plain), ("cd", shaded), ("ef", plain), ("gh", plain))
    text = ChangedCells([CellPiece(4, 1, strip)]).render_segments(console)
    assert text == (
        "\x1b[2;5H\x1b[38;5;252;48;5;233mab\x1b[48;5;236mcd\x1b[48;5;233mefgh\x1b[0m"
    )
