"""The worst tokens: the model against plain Python, and the screen driven by keys."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.numbers import ordinal, signed
from logdrift.core.session.reader import open_session
from logdrift.tui.clipboard import LIMIT
from logdrift.tui.models.flow import FragmentCache
from logdrift.tui.models.places import write_place
from logdrift.tui.models.sizes import (
    MOST,
    WORST_SORTS,
    by_size,
    rank_tokens,
    token_sizes,
)
from logdrift.tui.models.state import ViewState, save_state
from logdrift.tui.models.worst import HEADS, WorstList, columns_of, cut_context
from logdrift.tui.screens.prompt import LineBox, LinePrompt
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.screens.worst import WorstScreen
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.line_edit import TypedLine
from tests.common import NAN
from tests.made_sessions import BROKEN, capture, write_session
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    copied,
    explorer,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
)

pytestmark = pytest.mark.usefixtures("own_home")
PAIR = ("trainer/prefill", "vllm/decode")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 sequences, 3,000 tokens, 4 captures."""
    return make_session(
        tmp_path_factory.mktemp("worst") / "gen", 3000, 24, 20, captures=4
    )


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return make_pair(open_session(folder), *PAIR)


def every(pair: Pair) -> np.ndarray:
    return np.arange(pair.tokens)


def sort_named(name: str) -> int:
    return [sort.name for sort in WORST_SORTS].index(name)


# ---- the model


def test_the_order_by_size_is_that_of_plain_python(pair: Pair) -> None:
    sizes = {p: abs(float(pair.delta[p])) for p in np.flatnonzero(pair.scored).tolist()}
    expected = sorted((p for p in sizes if sizes[p] > 0), key=lambda p: (-sizes[p], p))
    ranking = rank_tokens(pair, WORST_SORTS[0], every(pair))
    assert ranking.total == len(expected) > MOST
    assert ranking.positions.tolist() == expected[:MOST]
    assert by_size(pair, np.array(sorted(expected))).tolist() == expected


@pytest.mark.parametrize("sort", WORST_SORTS, ids=lambda sort: sort.name)
def test_every_order_lists_its_largest_first_and_cuts_the_rest(
    pair: Pair, sort
) -> None:  # type: ignore[no-untyped-def]
    ranking = rank_tokens(pair, sort, every(pair))
    positions = ranking.positions
    assert len(set(positions.tolist())) == len(positions) == MOST
    keys = sort.keys(pair, positions)
    assert (np.diff(keys) <= 0).all()
    others = np.setdiff1d(np.flatnonzero(token_sizes(pair) > 0), positions)
    if sort.of_worst:
        sizes = token_sizes(pair)
        assert sizes[positions].min() >= sizes[others].max()
    else:
        assert keys.min() >= sort.keys(pair, others).max()


def test_equal_sizes_infinite_ones_and_nan_scores(tmp_path: Path) -> None:
    a = [[NAN, -1.0, -1.0, -2.0, -1.0], [NAN, -1.0, BROKEN, -1.0, -1.0]]
    first = [NAN, -1.5, -1.5, -2.0, -math.inf]
    second = [NAN, -0.5, -1.0, -1.0, -1.5]
    b = [first, second]
    session = write_session(
        tmp_path / "s", [1, 1], [capture("trainer/prefill", a), capture("v/decode", b)]
    )
    made = make_pair(session, "trainer/prefill", "v/decode")
    ranking = rank_tokens(made, WORST_SORTS[0], every(made))
    # Infinite and NaN first, then four of the same size in the order of the text.
    assert ranking.positions.tolist() == [4, 7, 1, 2, 6, 9]
    worst = WorstList(made, 0.1, FragmentCache(session.pieces))
    assert worst.counted() == "looking for them …"
    worst.take(ranking)
    assert worst.counted() == "6 tokens differ"
    found = [worst.row(i).delta_text for i in range(3)]
    expected = ["+inf", "NaN", "+0.500"]
    assert found == expected
    b_first = rank_tokens(made, WORST_SORTS[sort_named("−Δ")], every(made))
    assert b_first.positions.tolist()[:2] == [7, 6]
    worst.take(rank_tokens(made, WORST_SORTS[0], np.array([6])))
    assert worst.counted() == "1 token differs"


def test_a_pair_without_a_gap_has_no_worst_token(tmp_path: Path) -> None:
    rows = [[NAN, -1.0, -2.0]]
    session = write_session(
        tmp_path / "s",
        [1],
        [capture("trainer/prefill", rows), capture("v/decode", rows)],
    )
    made = make_pair(session, "trainer/prefill", "v/decode")
    assert rank_tokens(made, WORST_SORTS[0], every(made)).total == 0


def test_text_around_a_token_is_joined_and_cut_to_the_cell(tmp_path: Path) -> None:
    pieces = {
        0: b"a b",
        1: "能".encode()[:1],
        2: "能".encode()[1:],
        3: b"\n",
        4: b" x\x1b",
    }
    row = [NAN, -1.0, -1.0, -1.0, -1.0] * 9
    other = [NAN, -2.0, -1.0, -1.0, -1.5] * 9
    session = write_session(
        tmp_path / "s",
        [1],
        [capture("trainer/prefill", [row]), capture("v/decode", [other])],
        pieces=pieces,
    )
    made = make_pair(session, "trainer/prefill", "v/decode")
    worst = WorstList(made, 0.1, FragmentCache(session.pieces))
    worst.take(rank_tokens(made, WORST_SORTS[0], every(made)))
    for index in range(len(worst)):
        shown = worst.row(index)
        context = shown.before + shown.token + shown.after
        assert "能" in context
        assert "<0xE8>" not in context
        assert "\x1b" not in context
        for width in (10, 11, 38, 90):
            before, token, after = cut_context(shown, width)
            cells = cell_len(before + token + after)
            assert cell_len(before) == width * 2 // 5
            assert cells <= width, (width, before, token, after)


def test_it_is_fast_for_a_million_tokens() -> None:
    """Against a plain sort of as many numbers in the same process."""
    import time
    from types import SimpleNamespace
    from typing import Any, cast

    count = 1_000_000
    draws = np.random.default_rng(1).normal(size=count).astype(np.float32)
    made = cast(
        "Any",
        SimpleNamespace(
            tokens=count,
            delta=draws,
            scored=np.ones(count, bool),
            broken=np.zeros(count, bool),
        ),
    )
    begun = time.process_time()
    np.sort(draws.astype(np.float64))
    np.argsort(-draws, kind="stable")
    plain = time.process_time() - begun
    begun = time.process_time()
    ranking = rank_tokens(made, WORST_SORTS[0], np.arange(count))
    assert time.process_time() - begun < 3 * plain
    assert ranking.total == count
    assert len(ranking.positions) == MOST


def test_ordinals() -> None:
    shown = [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 101, 111, 1022)]
    assert shown == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "101st",
        "111th",
        "1,022nd",
    ]


# ---- the screen


async def opened(pilot) -> WorstScreen:  # type: ignore[no-untyped-def]
    await judged(pilot)
    await pilot.press("W")
    await until(
        pilot,
        lambda: (
            isinstance(pilot.app.screen, WorstScreen) and pilot.app.screen.worst.ready
        ),
    )
    screen = pilot.app.screen
    assert isinstance(screen, WorstScreen)
    return screen


@pytest.mark.parametrize("width", [79, 99, 119, 199])
@pytest.mark.parametrize("floor", [False, True])
def test_columns_take_the_whole_width_so_that_the_ellipsis_is_seen(
    width: int, floor: bool
) -> None:
    columns = columns_of(width, place=5, floor=floor)
    before = columns.place + columns.delta + 2 * columns.logprob
    before += columns.floor + columns.ranks + len("  ")
    assert before + columns.text == width


async def typed(pilot, words: str) -> None:  # type: ignore[no-untyped-def]
    await until_screen(pilot, LinePrompt)
    pilot.app.screen.query_one(LineBox).put(TypedLine.of(words))
    await pilot.pause()
    await pilot.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60), (60, 20)])
async def test_w_lists_the_worst_tokens_and_enter_goes_there(
    folder: Path, pair: Pair, size: tuple[int, int]
) -> None:
    ranking = rank_tokens(pair, WORST_SORTS[0], every(pair))
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        shown = lines(screen.list)
        assert "Worst tokens" in shown[0]
        assert "log p A" in shown[1]
        assert "text" in shown[1]
        for line, position in zip(shown[2:], ranking.positions.tolist(), strict=False):
            assert write_place(pair.sequences, position) in line
            assert signed(float(pair.delta[position]), 3) in line
            assert cell_len(line) <= size[0]
        if size[0] >= 80:
            assert f"the worst 1,000 of {ranking.total:,}" in shown[0]
        await pilot.press("down", "down", "enter")
        there = int(ranking.positions[2])
        await until(pilot, lambda: app.screen is explorer(app))
        assert explorer(app).position == there
        assert explorer(app).tokens.has_focus
        await pilot.press("u")
        assert explorer(app).position != there


async def test_it_is_sorted_and_filtered_by_key(folder: Path, pair: Pair) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        await pilot.press("s")
        await until(pilot, lambda: screen.worst.sort.name == "Δ")
        assert screen.worst.position(0) == int(
            np.where(pair.scored, pair.delta, -np.inf).argmax()
        )
        assert "by Δ" in lines(screen.list)[0]
        await pilot.press("f")
        await typed(pilot, "- >0.2")
        await until(pilot, lambda: screen.worst.filter == "- >0.2")
        with np.errstate(invalid="ignore"):
            expected = set(np.flatnonzero(pair.scored & (pair.delta < -0.2)).tolist())
        found = {screen.worst.position(i) for i in range(len(screen.worst))}
        assert found == expected
        await pilot.press("escape")
        await until(pilot, lambda: screen.worst.filter == "")
        assert len(screen.worst) == MOST
        await pilot.press("f")
        await typed(pilot, "no such text here")
        await until(pilot, lambda: not len(screen.worst))
        assert "no token has no such text here" in text(screen.query_one(Hints))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is explorer(app))


async def test_why_copy_and_save_from_the_list(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        sent: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("c")
        table = copied(sent)
        assert 1 < len(table.encode()) <= LIMIT, "as many rows as a terminal takes"
        rows = table.splitlines()
        assert rows[0] == "\t".join(HEADS)
        assert f"first {len(rows) - 1:,} rows" in text(screen.query_one(Hints))
        await pilot.press("ctrl+s")
        await typed(pilot, "w.tsv")
        await until(pilot, (tmp_path / "w.tsv").exists)
        table = (tmp_path / "w.tsv").read_text().splitlines()
        assert len(table) == 1 + MOST
        assert table[: len(rows)] == rows
        delta = float(screen.worst.pair.delta[screen.worst.position(0)])
        assert math.isclose(float(table[1].split("\t")[1]), delta, rel_tol=1e-5)
        await pilot.press("w")
        await until_screen(pilot, WhyScreen)
        await pilot.press("q")
        await until_back(pilot, screen)


# ---- by size, in the text


async def test_the_sizes_are_gone_through_from_the_worst(
    folder: Path, pair: Pair
) -> None:
    save_state("generated-3000", ViewState(threshold=0.5))
    order = by_size(pair, pair.divergences(0.5)).tolist()
    assert len(order) > 5
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        outside = next(p for p in range(pair.tokens) if p not in order)
        screen.moves.go_to(outside)
        for number, position in enumerate(order, 1):
            await pilot.press("greater_than_sign")
            assert screen.position == position
            said = text(screen.query_one(Hints))
            assert f"{ordinal(number)} of {len(order):,} by |Δ|" in said
        await pilot.press("greater_than_sign")
        assert screen.position == order[-1]
        assert "the smallest of" in text(screen.query_one(Hints))
        await pilot.press("less_than_sign")
        assert screen.position == order[-2]
        screen.moves.go_to(outside)
        await pilot.press("less_than_sign", "less_than_sign")
        assert screen.position == order[0]
        assert "this is the worst of" in text(screen.query_one(Hints))
        await pilot.press("u")
        assert screen.position == outside


async def test_without_a_pair_it_says_so(tmp_path: Path) -> None:
    write_session(
        tmp_path / "s", [1], [capture("trainer/prefill", [[NAN, -1.0, -2.0]])]
    )
    app = make_app(tmp_path / "s")
    async with app.run_test(size=SMALL) as pilot:
        for key in ("W", "greater_than_sign", "less_than_sign"):
            await pilot.press(key)
            assert "no pair to compare" in screen_text(app)
            await pilot.press("right")
