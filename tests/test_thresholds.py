"""Thresholds: those offered by share, one's own, in every mode."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.events import Key

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.pair_numbers import PairNumbers
from logdrift.core.errors import InputError
from logdrift.core.session.reader import open_session
from logdrift.tui.models.levels import Counts, Levels
from logdrift.tui.models.modes import MODES, Mode
from logdrift.tui.models.thresholds import (
    SHARES,
    beyond_which,
    parse_threshold,
    threshold_choices,
)
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.threshold_picker import ThresholdPicker
from logdrift.tui.widgets.bars import Hints
from tests.common import refused
from tests.tui_screen import (
    SMALL,
    judged,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(
        tmp_path_factory.mktemp("thresholds") / "gen", 3000, 24, 20, captures=4
    )


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return make_pair(open_session(folder), "trainer/prefill", "vllm/decode")


def levels_of(pair: Pair, mode: Mode, threshold: float = 0.1) -> Levels:
    numbers = PairNumbers(k3=None, ess=None, floor=0.02, floors={})
    return Levels(pair, mode, threshold, numbers, Counts())


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_share_of_the_tokens_lies_beyond_its_threshold(
    pair: Pair, mode: Mode
) -> None:
    levels = levels_of(pair, mode)
    numbers = mode.values(levels.stretch(0, pair.tokens))
    if mode.diverging:
        numbers = np.abs(numbers)
    known = numbers[~np.isnan(numbers)]
    for share in (*SHARES, 0.5):
        value = beyond_which(levels, share)
        if value is None:
            continue
        beyond = len(replace(levels, threshold=value).beyond())
        # Equal numbers lie on one side together: fewer then, and as many with them.
        assert beyond <= math.floor(share * len(known))
        assert np.count_nonzero(known >= value) > math.floor(share * len(known))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_choices_rise_and_what_the_list_shows_can_be_typed(
    pair: Pair, mode: Mode
) -> None:
    levels = levels_of(pair, mode)
    choices = threshold_choices(levels)
    values = [choice.value for choice in choices]
    assert values == sorted(values)
    assert min(values) > 0
    for choice in choices:
        shown = mode.bound_text(choice.value)
        typed = parse_threshold(shown, levels)
        assert mode.bound_text(typed) == shown


@pytest.mark.parametrize(
    "typed", ["", "x", "-0.2", "0", "nan", "inf", "1e999", "0%", "1..2", "0,5", "%"]
)
def test_what_is_no_threshold_is_said(pair: Pair, typed: str) -> None:
    with refused("threshold"):
        parse_threshold(typed, levels_of(pair, MODES[0]))


def test_a_ratio_is_typed_as_it_is_shown(pair: Pair) -> None:
    ratio = next(mode for mode in MODES if mode.name == "ratio")
    assert parse_threshold("1.25×", levels_of(pair, ratio)) == pytest.approx(0.25)
    with pytest.raises(InputError):
        parse_threshold("0.9", levels_of(pair, ratio))


@pytest.mark.parametrize("first", ["picker", "explorer"])
async def test_a_threshold_that_comes_in_one_burst_is_taken_whole(
    folder: Path, first: str
) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        if first == "picker":
            await pilot.press("t")
            await until_screen(pilot, ThresholdPicker)
        else:
            app.post_message(Key("t", "t"))
        names = {".": "full_stop", "\r": "enter"}
        for character in "0.25\r":
            app.post_message(Key(names.get(character, character), character))
        await until(pilot, lambda: screen.threshold == 0.25)
        await until_back(pilot, screen)
        assert screen.threshold == 0.25


async def test_a_threshold_of_ones_own_is_typed(folder: Path, pair: Pair) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("t")
        await until_screen(pilot, ThresholdPicker)
        assert "own value" in screen_text(app)
        await pilot.press("0", "full_stop", "2", "5")
        await until_screen(pilot, LinePrompt)
        await until(pilot, lambda: screen.threshold == 0.25)  # coloured while typing
        await pilot.press("enter")
        await until_back(pilot, screen)
        assert screen.threshold == 0.25
        count = len(pair.divergences(0.25))
        assert f"{count:,} of" in text(screen.query_one(Hints))

        await pilot.press("t", "1", "percent_sign", "enter")
        await until_back(pilot, screen)
        scored = int(pair.scored.sum())
        assert len(pair.divergences(screen.threshold)) == scored // 100

        before = screen.threshold
        await pilot.press("t", "9", "escape", "escape")
        await until_back(pilot, screen)
        assert screen.threshold == before, "left twice: nothing was changed"
