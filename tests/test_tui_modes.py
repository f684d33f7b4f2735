"""What tokens are coloured by: the levels of every mode, worked out token by token."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.token_values import Stretch, has_entropy
from logdrift.core.session.reader import Sequences, open_session
from logdrift.tui.models import state
from logdrift.tui.models.modes import MODES, Mode, legend, mode_of
from logdrift.tui.models.places import parse_place, write_place
from logdrift.tui.palette import STEPS, make_palette
from logdrift.tui.widgets.token_paint import legend_runs
from tests.common import INF, NAN, refused
from tests.made_sessions import capture, write_session


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = make_session(
        tmp_path_factory.mktemp("modes") / "gen", 3000, 12, 4, captures=3
    )
    return make_pair(open_session(folder), "trainer/prefill", "vllm/decode")


def plain(pair: Pair, name: str, at: int, floor: float) -> float:
    """The number of one token, NaN where it has none."""
    a = float(pair.logprob_a[at])
    b = float(pair.logprob_b[at])
    if name == "logprob_a":
        return -a
    if name == "logprob_b":
        return -b
    if not pair.scored[at]:
        return NAN
    delta = float(pair.delta[at])
    if name == "rank":
        first = int(pair.a.rank.whole()[at])
        second = int(pair.b.rank.whole()[at])
        if not first or not second:
            return NAN
        return max(first, second) / min(first, second) * np.sign(second - first)
    if name == "entropy":
        side = pair.a if pair.a.entropy is not None else pair.b
        return float(side.entropy.whole()[at]) if side.entropy is not None else NAN
    return {
        "delta": delta,
        "size": abs(delta),
        "floor": delta / floor,
        "ratio": math.copysign(math.exp(abs(delta)) - 1, delta),
    }[name]


OF_SESSIONS_THAT_TELL = ("role", "lag")
"""tests/test_tui_turns.py has these modes."""
NUMERIC = [mode for mode in MODES if mode.name not in OF_SESSIONS_THAT_TELL]


@pytest.mark.parametrize("mode", NUMERIC, ids=lambda mode: mode.name)
def test_levels_are_those_of_the_definition(pair: Pair, mode: Mode) -> None:
    floor = 0.03
    threshold = 1.3 * (
        mode.default or 0.1
    )  # off the values that ranks and the like really have
    of = Stretch(pair, 0, pair.tokens, floor)
    found = mode.levels(of, threshold)
    assert found.dtype == np.int8
    assert len(found) == pair.tokens
    for at in range(0, pair.tokens, 3):
        value = plain(pair, mode.name, at, floor)
        size = 0
        if not math.isnan(value):
            size = sum(abs(value) > threshold * 2**step for step in range(STEPS))
        if mode.diverging:
            wanted = size * (-1 if value < 0 else 1)
        else:
            wanted = size + STEPS if size and value > 0 else 0
        assert found[at] == wanted, (at, value)
    assert mode.beyond(of, threshold).tolist() == np.flatnonzero(found).tolist()
    assert mode.name == "entropy" or np.count_nonzero(found) > 10
    part = mode.levels(Stretch(pair, 100, 350, floor), threshold)
    assert part.tolist() == found[100:350].tolist()


def test_the_first_mode_is_the_scale_of_delta(pair: Pair) -> None:
    def level(at: int) -> int:
        delta = float(pair.delta[at])
        steps = sum(abs(delta) > 0.1 * 2**step for step in range(STEPS))
        return int(math.copysign(steps, delta)) if pair.scored[at] else 0

    found = MODES[0].levels(Stretch(pair, 0, pair.tokens), 0.1)
    assert found.tolist() == [level(at) for at in range(pair.tokens)]


def test_infinite_deltas_a_floor_of_0_and_no_floor(tmp_path: Path) -> None:
    made = write_session(
        tmp_path / "s",
        [0],
        [
            capture("trainer/prefill", [[NAN, -1.0, -INF, -1.0, -INF]]),
            capture("vllm/decode", [[NAN, -1.0, -2.0, -INF, -INF]]),
        ],
    )
    pair = make_pair(made, "trainer/prefill", "vllm/decode")
    shown = {
        mode.name: mode.levels(Stretch(pair, 0, 5, 0.0), mode.default or 0.1).tolist()
        for mode in MODES
    }
    for name in ("delta", "ratio", "floor"):
        assert shown[name] == [0, 0, -STEPS, STEPS, 0], name
    expected = [0, 0, 2 * STEPS, 2 * STEPS, 0]
    assert shown["size"] == expected
    assert shown["logprob_a"] == [0, 0, 2 * STEPS, 0, 2 * STEPS]
    assert mode_of("floor").levels(Stretch(pair, 0, 5, None), 3.0).tolist() == [0] * 5
    assert "floor" in (mode_of("floor").missing(pair, None) or "")
    assert mode_of("floor").missing(pair, 0.0) is None
    assert not has_entropy(pair)
    assert "entropies" in (mode_of("entropy").missing(pair, None) or "")


def test_every_mode_of_a_saved_view_is_known() -> None:
    assert tuple(mode.name for mode in MODES) == state.MODE_NAMES
    assert mode_of("a mode of a newer version") is MODES[0]


def test_thresholds_rise_and_hold_the_default() -> None:
    for mode in MODES:
        assert list(mode.thresholds) == sorted(mode.thresholds)
        assert not mode.thresholds or mode.default in mode.thresholds
        assert mode.words
        assert not mode.words.endswith(".")


def test_a_legend_writes_the_bounds_of_the_steps() -> None:
    found = legend(mode_of("ratio"), 0.2, 5, 100, None)
    expected = ["1.20×", "1.40×", "1.80×", "2.60×"]
    assert [text for _, text in found.steps] == expected
    assert [level for level, _ in found.steps] == [1, 2, 3, 4]
    assert [level for level, _ in legend(mode_of("size"), 0.1, 5, 100, None).steps] == [
        5,
        6,
        7,
        8,
    ]


@pytest.mark.parametrize("mode", NUMERIC, ids=lambda mode: mode.name)
def test_every_legend_counts_in_the_narrowest_pane(mode: Mode) -> None:
    """40 cells are what the tokens have between the other panes at 120x36."""
    found = legend(mode, mode.default, 1490, 1490, None)
    shown = "".join(
        text for text, _ in legend_runs(found, False, 40, make_palette("256"))
    )
    assert cell_len(shown) <= 40, shown
    assert "1,490" in shown, shown
    assert mode.bound_text(mode.default) in shown, (
        "and the scale begins with the threshold"
    )


SEQUENCES = Sequences(
    np.arange(10, dtype=np.int32),
    np.array([0, 4, 10]),
    np.zeros(2, np.int32),
    np.ones(10, np.uint8),
    np.zeros(2, np.uint8),
)


@pytest.mark.parametrize(
    ("text", "place"), [("3", 3), ("1:0", 4), ("1:5", 9), (" 0 : 2 ", 2), ("1:", 4)]
)
def test_a_place_is_read(text: str, place: int) -> None:
    assert parse_place(text, SEQUENCES, 0) == place
    assert parse_place(write_place(SEQUENCES, place), SEQUENCES, 1) == place


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4", "0 to 3"),
        ("2:0", "0 to 1"),
        ("1:6", "0 to 5"),
        ("x", "not a place"),
        ("-1", "not a place"),
        ("1:2:3", "not a place"),
        ("٣", "not a place"),
    ],
)
def test_a_wrong_place_is_an_error_that_says_what_there_is(
    text: str, says: str
) -> None:
    with refused(says):
        parse_place(text, SEQUENCES, 0)
