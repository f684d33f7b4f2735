"""Turns, roles and versions of the weights in the explorer: colours, marks, keys, the
inspector, and two pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.compare.versions import version_changes
from logdrift.core.session.message_roles import MESSAGE_ROLES, UNKNOWN
from logdrift.core.session.reader import open_session
from logdrift.tui.glyphs import CHANGED, ROLE_MARKS
from logdrift.tui.models.modes import legend, mode_of
from logdrift.tui.models.token_role import role_of
from logdrift.tui.models.token_sampling import turn_numbers, weights_of
from logdrift.tui.palette import (
    BROKEN,
    ROLE_INSIDE,
    ROLE_STARTS,
    ROLES,
    STEPS,
    Depth,
    make_palette,
)
from logdrift.tui.widgets.token_paint import legend_runs
from tests.made_turns import make_conversations
from tests.tui_screen import (
    MEDIUM,
    explorer,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_conversations(tmp_path_factory.mktemp("turns"))


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return make_pair(open_session(folder), "trainer", "vllm/decode")


# ---- levels


def test_a_level_of_a_role_says_the_role_and_where_its_message_begins(
    pair: Pair,
) -> None:
    levels = mode_of("role").levels(Stretch(pair, 0, pair.tokens), 0.1)
    roles = pair.sequences.roles
    assert roles is not None
    starts = set(pair.messages.starts.tolist())
    for position, level in enumerate(levels.tolist()):
        role = int(roles[position])
        first = ROLE_STARTS if position in starts else ROLE_INSIDE
        assert level == first + role
    part = mode_of("role").levels(Stretch(pair, 7, 30), 0.1)
    assert part.tolist() == levels[7:30].tolist()


def test_the_roles_of_the_palette_are_those_of_sessions() -> None:
    assert len(MESSAGE_ROLES) == ROLES + 1
    assert tuple(ROLE_MARKS) == tuple(
        name for name in MESSAGE_ROLES if name != MESSAGE_ROLES[UNKNOWN]
    )


def test_a_lag_is_coloured_from_one_version_on(pair: Pair) -> None:
    mode = mode_of("lag")
    levels = mode.levels(Stretch(pair, 0, pair.tokens), mode.default)
    assert pair.versions is not None
    assert pair.versions.lags is not None
    lags = pair.versions.lags.tolist()
    for lag, level in zip(lags, levels.tolist(), strict=True):
        beyond = [bound for bound in (0, 1, 2, 4) if lag > bound]
        expected = 0
        if beyond:
            expected = STEPS + len(beyond)
        assert level == expected
    counted = legend(mode, mode.default, 10, mode.tokens(pair), None)
    found = [bound for _, bound in counted.steps]
    assert found == ["0.5", "1", "2", "4"]


def test_a_session_that_does_not_tell_says_so(tmp_path: Path) -> None:
    from tests.made_sessions import capture, write_session

    rows = [[float("nan"), -1.0, -2.0]]
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", rows)]
    session = write_session(tmp_path / "s", [1], captures)
    plain = make_pair(session, "trainer/prefill", "vllm/decode")
    assert "roles" in (mode_of("role").missing(plain, None) or "")
    assert "weights" in (mode_of("lag").missing(plain, None) or "")
    levels = mode_of("lag").levels(Stretch(plain, 0, 3), 0.5)
    expected = [0, 0, 0]
    assert levels.tolist() == expected


@pytest.mark.parametrize("depth", ["256", "16", "none"])
@pytest.mark.parametrize("dark", [True, False])
def test_the_legend_of_roles_fits_and_has_all_of_them(depth: Depth, dark: bool) -> None:
    """40 cells are what the tokens have between the other panes at 120x36."""
    palette = make_palette(depth, dark)
    shown = legend(mode_of("role"), 0.1, 3, 10, None)
    for width in (40, 78):
        runs = legend_runs(shown, False, width, palette)
        words = "".join(word for word, _ in runs)
        assert cell_len(words) <= width
        for mark in ROLE_MARKS.values():
            assert mark in words
    styles = [palette.level(BROKEN + 1 + role) for role in range(ROLES)]
    assert len(set(styles)) == ROLES


# ---- one token


def test_a_token_knows_its_message_and_its_turn(pair: Pair) -> None:
    sequences = pair.sequences
    tokens = len(sequences.ids(2))
    roles = [role_of(sequences, 2, index) for index in range(tokens)]
    assert roles[0].words() == "prompt 1 of 5, system"
    assert roles[5].words().endswith("assistant, turn 1 of 3")
    tools = [role for role in roles if role.message == "tool"]
    assert len(tools) == 4
    assert all(role.turn == 0 and "masked" in role.words() for role in tools)
    assert role_of(sequences, 0, 5).turn == 0  # one turn alone is not counted


def test_the_numbers_of_a_turn(pair: Pair) -> None:
    start, stop = pair.sequences.bounds(2)
    messages = pair.messages
    for position in range(start, stop):
        numbers = turn_numbers(pair, position, 0.1)
        number = int(messages.turn_of_token[position])
        if not number:
            assert numbers is None
            continue
        turns = messages.turn_of_token[start:stop]
        own = start + np.flatnonzero(turns == number)
        size = np.abs(pair.delta[own], dtype=np.float64)
        assert numbers is not None
        assert numbers.number == number
        assert numbers.tokens == len(own)
        assert numbers.mae == pytest.approx(size.mean(), rel=1e-12)
        assert numbers.beyond == np.count_nonzero(size > 0.1)
    first, _ = pair.sequences.bounds(0)
    assert turn_numbers(pair, first + 6, 0.1) is None


def test_the_weights_of_a_token_are_its_own(pair: Pair) -> None:
    start, stop = pair.sequences.bounds(0)
    completion = start + 5
    last = stop - 1
    expected = {
        start: "unknown",
        completion: "5, 4 behind the newest",
        last: "6, 3 behind the newest",
    }
    for position, words in expected.items():
        weights = dict(weights_of(pair, position))
        assert weights == {"A": "9", "B": words}


# ---- the screen


async def test_keys_go_to_the_next_and_the_previous_turn(folder: Path) -> None:
    app = make_app(folder, at=0)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        starts = screen.model.messages.turn_starts.tolist()
        for start in starts[:4]:
            await pilot.press(")")
            assert screen.position == start
        assert "turn 1 of 3 of sequence 2" in screen_text(app)
        await pilot.press("right", "(")
        assert screen.position == starts[3]
        await pilot.press("(")
        assert screen.position == starts[2]
        await pilot.press("u")
        assert screen.position == starts[3]


async def test_the_text_marks_where_the_weights_change(folder: Path) -> None:
    app = make_app(folder, at=0)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        pair = screen.model.pair
        assert pair is not None
        assert pair.versions is not None
        start, stop = screen.model.bounds
        (change,) = version_changes(pair.versions.of_token, start, stop)
        token_id = pair.sequences.token_ids[start + change]
        piece = pair.session.pieces.text(int(token_id))
        own_rows = screen.tokens.fixed + screen.tokens.line_count
        shown = "\n".join(lines(screen.tokens)[:own_rows])
        assert shown.count(CHANGED) == 1
        assert f"{CHANGED}{piece.strip()}" in shown
        await pilot.press("z")
        assert "weights 5, 6" in text(screen.tokens)


async def by_role(pilot: Any) -> None:
    """The third sequence, coloured by role, the cursor in its second turn."""
    screen = await judged(pilot)
    await until(
        pilot,
        lambda: screen.model.answer is not None and screen.model.numbers is not None,
    )
    screen.colours.colour_by("role")
    await pilot.press("right_square_bracket", "right_square_bracket", ")", ")")
    await until(pilot, lambda: screen.tokens.cursor == screen.model.index)
    await until(pilot, lambda: f"[{screen.tokens.cursor}]" in screen_text(pilot.app))


async def by_lag(pilot: Any) -> None:
    """The same, coloured by how old the weights were."""
    await by_role(pilot)
    screen = explorer(pilot.app)
    screen.colours.colour_by("lag")
    await until_shown(pilot, "behind")


@pytest.mark.parametrize(
    ("width", "height", "depth", "shown"),
    [
        (80, 24, "256", by_role),
        (120, 36, "256", by_lag),
        (80, 24, "none", by_role),
    ],
)
def test_picture_of_turns(
    snap_compare: Callable[..., bool],
    folder: Path,
    width: int,
    height: int,
    depth: Depth,
    shown: Callable[[Any], Any],
) -> None:
    app = make_app(folder, depth=depth, at=0)
    assert snap_compare(app, terminal_size=(width, height), run_before=shown)
