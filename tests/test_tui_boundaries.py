"""Where a token begins and ends in the text, and which tokens do not count."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from rich.style import Style

from logdrift.core.session.reader import Session
from logdrift.tui.glyphs import JOINT
from logdrift.tui.models.flow import every_other
from logdrift.tui.models.state import load_state
from logdrift.tui.palette import Depth
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.widgets.token_paint import MARKS
from tests.common import NAN
from tests.made_sessions import capture, write_session
from tests.tui_screen import SMALL, judged, lines, make_app, text, until

pytestmark = pytest.mark.usefixtures("own_home")
TEXTS = (
    " the",
    "cap",
    "it",
    "al",
    " of",
    ".",
    "\n",
    "中",
    "x" * 70,
    "",
    " ",
    "'s",
    "é",
)


def made(folder: Path, seed: int, count: int = 60) -> Session:
    """A sequence of random pieces; some tokens masked, some divergent."""
    chance = random.Random(seed)
    pieces = {i: chance.choice(TEXTS).encode() for i in range(count)}
    row = [NAN, *(-1.0 for _ in range(count - 1))]
    other = [value - chance.choice((0, 0, 0, 0.5)) for value in row]
    mask = [int(chance.random() < 0.7) for _ in range(count)]
    return write_session(
        folder,
        [4],
        [capture("trainer/prefill", [row]), capture("vllm/prefill", [other])],
        masks=[mask],
        pieces=pieces,
    )


def cells(screen: ExplorerScreen) -> list[list[tuple[str, Style]]]:
    """The characters of the text line by line, each with its style."""
    tokens = screen.tokens
    rows = []
    for y in range(tokens.line_count):
        strip = tokens.line(y, tokens.inner_width)
        rows.append([(char, style) for part, style, _ in strip for char in part])
    return rows


def drawn_tokens(screen: ExplorerScreen) -> list[list[tuple[str, Style]]]:
    """The characters of each token with their styles."""
    layout = screen.tokens.flow
    drawn: list[list[tuple[str, Style]]] = [
        [] for _ in range(screen.tokens.token_count)
    ]
    for y, row in enumerate(cells(screen)):
        at = screen.tokens._gutter
        for fragment in range(layout.lines[y], layout.lines[y + 1]):
            token = int(layout.token[fragment])
            before = layout.ends[fragment - 1] if fragment else 0
            end = at + int(layout.ends[fragment] - before)
            taken = 0
            while at + taken < end and row:
                char, style = row_at(row, at + taken)
                drawn[token].append((char, style))
                taken += 1
            at = end
    return drawn


def row_at(row: list[tuple[str, Style]], cell: int) -> tuple[str, Style]:
    """The character that begins at a cell, or covers it."""
    from rich.cells import cell_len

    used = 0
    for char, style in row:
        used += cell_len(char)
        if used > cell:
            return char, style
    return " ", row[-1][1]


@pytest.mark.parametrize("depth", ["256", "16", "none"])
@pytest.mark.parametrize("seed", range(4))
async def test_the_start_of_every_token_is_seen_at_every_depth_of_colour(
    tmp_path: Path, seed: int, depth: Depth
) -> None:
    session = made(tmp_path / "s", seed)
    app = make_app(session.folder, depth=depth)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("vertical_line")
        await pilot.pause()
        drawn = drawn_tokens(screen)
        layout = screen.tokens.flow
        ids = session.sequences.token_ids.tolist()
        for token in range(1, len(drawn)):
            piece = session.pieces.text(ids[token])
            before = session.pieces.text(ids[token - 1])
            if piece.startswith(" ") or before.endswith("↵") or token == 4:
                assert not layout.joints[token]
                continue
            assert layout.joints[token]
            styles = drawn[token - 1][-1][1], drawn[token][0][1]
            first = drawn[token][0][0]
            assert styles[0] != styles[1] or first in (JOINT, *MARKS.values()), token


@pytest.mark.parametrize("depth", ["256", "none"])
async def test_a_key_shows_the_boundaries_and_it_is_remembered(
    tmp_path: Path, depth: Depth
) -> None:
    session = made(tmp_path / "s", 1)
    for shown in (True, False):
        app = make_app(session.folder, depth=depth)
        async with app.run_test(size=SMALL) as pilot:
            screen = await judged(pilot)
            await pilot.press("vertical_line")
            await pilot.pause()
            assert screen.model.state.boundaries == shown
            shades = {
                style.bgcolor for row in cells(screen) for _, style in row if style
            }
            shade = app.palette.shade.bgcolor
            assert (JOINT in text(screen.tokens)) == (shown and depth == "none")
            assert (shade in shades) == (shown or depth == "none")
            await pilot.press("q")
        state, _ = load_state(session.manifest.id)
        assert state.boundaries == shown


@pytest.mark.parametrize("seed", range(3))
async def test_the_token_at_the_cursor_is_whole_on_however_many_lines(
    tmp_path: Path, seed: int
) -> None:
    session = made(tmp_path / "s", seed)
    app = make_app(session.folder)
    async with app.run_test(size=(60, 40)) as pilot:
        screen = await judged(pilot)
        longest = 0
        for token in range(screen.tokens.token_count):
            screen.moves.go_to(token)
            await pilot.pause()
            drawn = drawn_tokens(screen)
            found = {style for _, style in drawn[token]}
            assert found == {app.palette.cursor}
            longest = max(longest, len(drawn[token]))
            others = [
                style for row in drawn[:token] + drawn[token + 1 :] for _, style in row
            ]
            assert app.palette.cursor not in others
        assert longest >= 70


@pytest.mark.parametrize("depth", ["256", "16", "none"])
@pytest.mark.parametrize("seed", range(3))
async def test_masked_tokens_are_dim_and_counted(
    tmp_path: Path, seed: int, depth: Depth
) -> None:
    session = made(tmp_path / "s", seed)
    mask = session.sequences.mask
    app = make_app(session.folder, depth=depth)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        masked = int(np.count_nonzero(mask == 0))
        assert f"(4 prompt, {masked} masked)" in lines(screen.tokens)[0]
        drawn = drawn_tokens(screen)
        levels = screen.tokens.passage.levels if screen.tokens.passage else []
        plain = {False: set(), True: set()}
        for token in range(4, len(drawn)):
            if token != screen.tokens.cursor and not levels[token] and drawn[token]:
                style = drawn[token][-1][1]
                plain[bool(mask[token])].add((style.color, style.dim))
        assert plain[False]
        assert plain[True]
        assert not plain[False] & plain[True]
        for token in range(len(drawn)):
            screen.moves.go_to(token)
            await until(
                pilot,
                lambda token=token: f"[{token}]" in text(screen.pane_group.summary),
            )  # type: ignore[misc]
            assert ("masked" in text(screen.pane_group.summary)) == (mask[token] == 0)


def test_every_other_token_of_a_word_begins_with_the_second() -> None:
    joints = np.array([0, 1, 1, 1, 0, 0, 1, 0], bool)
    assert every_other(joints).tolist() == [
        False,
        True,
        False,
        True,
        False,
        False,
        True,
        False,
    ]
