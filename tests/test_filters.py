"""Filters: every form against plain Python over all tokens, and what is refused."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare import per_sequence
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.errors import InputError
from logdrift.core.session.reader import open_session
from logdrift.core.session.search import text_index
from logdrift.tui.models.filters import (
    SEQUENCE_NUMBERS,
    FilterInput,
    TokenFilter,
    filter_problem,
    parse_filter,
)
from logdrift.tui.models.state import ViewState, save_state
from logdrift.tui.screens.prompt import LineBox, LinePrompt
from logdrift.tui.widgets.bars import Hints
from logdrift.tui.widgets.line_edit import TypedLine
from tests.tui_screen import (
    SMALL,
    explorer,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_screen,
)

pytestmark = pytest.mark.usefixtures("own_home")
THRESHOLD = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("filters") / "gen", 1200, 12, 20)


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    session = open_session(folder)
    return make_pair(session, "trainer/prefill", "vllm/decode")


@pytest.fixture(scope="module")
def given(pair: Pair) -> FilterInput:
    index = text_index(pair.sequences, pair.session.pieces)
    return FilterInput(
        sequences=pair.sequences,
        pair=pair,
        threshold=THRESHOLD,
        marked=np.array([3, 40, 700, pair.tokens + 9]),
        find=index.find,
    )


def plainly(typed: str, given: FilterInput, position: int) -> bool:
    """Whether one condition holds for a token, read anew from what was typed."""
    pair = given.pair
    assert pair is not None
    delta = float(pair.delta[position])
    scored = bool(pair.scored[position])
    if typed == "*":
        return position in given.marked
    if typed == ">":
        return scored and abs(delta) > THRESHOLD
    if typed in "+-":
        return scored and (delta > 0 if typed == "+" else delta < 0)
    if typed.startswith("#"):
        return int(pair.sequences.token_ids[position]) == int(typed[1:])
    if typed[0] not in "<>":
        name, sign, value = typed.replace(">", " > ").replace("<", " < ").split()
        sequence = pair.sequence_of(position)
        number = float(per_sequence.reduction(name).values(pair, THRESHOLD)[sequence])
        return number > float(value) if sign == ">" else number < float(value)
    value = float(typed[1:])
    if typed[1] in "+-":
        return scored and (delta > value if typed[0] == ">" else delta < value)
    return scored and abs(delta) > value


def drawn(seed: int, given: FilterInput) -> str:
    """One condition of any kind."""
    draw = random.Random(seed)
    value = draw.choice((0.01, 0.05, 0.2, 0.6))
    position = draw.randrange(given.sequences.tokens)
    kinds = (
        "*",
        ">",
        "+",
        "-",
        f"#{given.sequences.token_ids[position]}",
        f">{value}",
        f">+{value}",
        f"<-{value}",
        f"<+{value}",
        f"{draw.choice(SEQUENCE_NUMBERS)}{draw.choice('<>')}{value}",
    )
    return kinds[seed % len(kinds)]


@pytest.mark.parametrize("seed", range(40))
def test_conditions_hold_for_one_token(given: FilterInput, seed: int) -> None:
    conditions = [drawn(seed, given)]
    if seed >= 20:
        conditions.append(drawn(seed * 7 + 3, given))
    # An id ends the conditions: what stands behind it would be another id.
    conditions.sort(key=lambda condition: condition.startswith("#"))
    if sum(condition.startswith("#") for condition in conditions) > 1:
        conditions.pop()
    asked = parse_filter(" ".join(conditions))
    expected = [
        position
        for position in range(given.sequences.tokens)
        if all(plainly(condition, given, position) for condition in conditions)
    ]
    assert asked.tokens(given).tolist() == expected, conditions
    offsets = given.sequences.offsets
    holders = {int(np.searchsorted(offsets, p, "right")) - 1 for p in expected}
    assert set(np.flatnonzero(asked.keeps(given)).tolist()) == holders, conditions


def test_text_keeps_the_tokens_of_its_matches(given: FilterInput) -> None:
    pair = given.pair
    assert pair is not None
    piece = pair.session.pieces.text(int(pair.sequences.token_ids[500])).strip()
    matches = given.find(piece)
    covered = set()
    for start, end in zip(matches.starts, matches.ends, strict=True):
        covered |= set(range(start, end))
    assert set(parse_filter(piece).tokens(given).tolist()) == covered
    assert covered
    both = parse_filter(f">0.05 {piece}").tokens(given).tolist()
    sizes = np.abs(pair.delta)
    assert both == sorted(p for p in covered if pair.scored[p] and sizes[p] > 0.05)


def test_without_a_pair_only_text_ids_and_marks_keep_anything(
    given: FilterInput,
) -> None:
    alone = given._replace(pair=None)
    for typed in (">", ">0.1", "-", "mean>0", "length>0"):
        assert not parse_filter(typed).keeps(alone).any()
    expected = [3, 40, 700]
    assert parse_filter("*").tokens(alone).tolist() == expected
    assert parse_filter("").keeps(alone).all()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("- item", "- item"),
        ("* item", "* item"),
        ("> quoted", "> quoted"),
        ('">0.3"', ">0.3"),
        ('"#12"', "#12"),
        ("a->b", "a->b"),
        ("x = 3", "x = 3"),
        ("if a<b", "if a<b"),
        ('""', '""'),
        ('>0.3 "> x"', "> x"),
    ],
)
def test_what_is_text_stays_text(typed: str, words: str) -> None:
    assert parse_filter(typed).words == words


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (">abc", '">abc" for the text'),
        ("<", '"<" for the text'),
        ("<0.3", "worst<0.3"),
        ("meen>0.3", "did you mean mean?"),
        ("zzzzz>0.3", "use worst, mean, bias"),
        ("#abc", "write #30010"),
        (">0.3 #abc", "write #30010"),
        (">0.3 <x", '"<x" for the text'),
    ],
)
def test_what_is_not_understood_is_said(typed: str, said: str) -> None:
    with pytest.raises(InputError):
        parse_filter(typed)
    problem = filter_problem(typed)
    assert said.rpartition(": ")[2] in problem, problem


@pytest.mark.parametrize(
    "typed", [">1e-3", ">.5", ">5", "< -0.2".replace(" ", ""), "beyond>5%", "Δ<-0.1"]
)
def test_numbers_are_written_as_people_do(typed: str) -> None:
    asked = parse_filter(typed)
    assert len(asked.bounds) == 1
    assert not asked.words
    assert math.isfinite(asked.bounds[0].value)
    assert parse_filter("beyond>5%").bounds[0].value == 0.05
    assert parse_filter(typed) != TokenFilter()


# ---- on the screen


async def typed_filter(pilot, words: str, *, enter: bool = True) -> None:  # type: ignore[no-untyped-def]
    await pilot.press("f")
    await until_screen(pilot, LinePrompt)
    pilot.app.screen.query_one(LineBox).put(TypedLine.of(words))
    await pilot.pause()
    if enter:
        await pilot.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_filter_is_taken_or_refused_at_once(
    folder: Path, given: FilterInput, size: tuple[int, int]
) -> None:
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        screen = await judged(pilot)
        await typed_filter(pilot, ">0.3")
        expected = parse_filter(">0.3").keeps(given)
        await until(pilot, lambda: screen.model.listing.filter == ">0.3")
        assert len(screen.model.listing) == int(expected.sum())
        await typed_filter(pilot, ">x")
        assert isinstance(app.screen, LinePrompt), "Enter does not take it"
        assert "compares with no number" in screen_text(app)
        await pilot.press("escape")
        await typed_filter(pilot, "no such words")
        await until(pilot, lambda: not len(screen.model.listing))
        assert "no sequence has no such words" in text(screen.query_one(Hints))
        await pilot.press("escape")
        assert len(screen.model.listing) == len(given.sequences)


async def test_a_saved_filter_that_is_none_today_is_said_and_removed(
    folder: Path,
) -> None:
    save_state(open_session(folder).manifest.id, ViewState(filter=">=abc"))
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        assert screen.model.state.filter == ""
        assert len(screen.model.listing) == len(screen.session.sequences)
        await pilot.press("2")
        assert "Sequences" in lines(explorer(app).sequences)[0]
