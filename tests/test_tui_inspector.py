"""The token under the cursor: what is said of it, whatever it is and however narrow."""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.numbers import number, signed
from logdrift.core.session.contents import Sequences
from logdrift.core.session.reader import open_session
from logdrift.tui.models.inspection import CaptureRow, Inspection, inspect
from logdrift.tui.models.token_role import role_of
from logdrift.tui.palette import make_palette
from logdrift.tui.widgets.token_details import TokenDetails
from logdrift.tui.widgets.token_lines import inspector_lines, summary_lines
from tests.common import Fields
from tests.made_sessions import edit_manifest

PAIR = ("trainer/prefill", "vllm/decode")
INFINITY = float("inf")
PALETTE = make_palette("256")
WIDTHS = (47, 50, 56, 60, 72, 80, 100, 119, 160, 199)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(
        tmp_path_factory.mktemp("inspector") / "s", 900, 6, 20, captures=5
    )


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return make_pair(open_session(folder), *PAIR)


def written(found: Inspection, width: int) -> list[str]:
    details = TokenDetails(found, 1, False, PALETTE)
    return [strip.text for strip in inspector_lines(details, width)]


def four_lines(found: Inspection, width: int = 80) -> list[str]:
    details = TokenDetails(found, 1, False, PALETTE)
    return [strip.text for strip in summary_lines(details, width)]


def scored(pair: Pair) -> list[int]:
    return np.flatnonzero(pair.scored).tolist()[::17]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_capture_has_its_full_name_and_whole_numbers_at_any_width(
    pair: Pair, width: int
) -> None:
    for position in scored(pair):
        found = inspect(pair.session, pair, position)
        shown = written(found, width)
        table = "\n".join(line.split("│")[0] for line in shown)
        for row in found.captures:
            assert row.label in table
            assert number(row.logprob) in table
            if row.side != "A":
                assert signed(row.delta) in table
        assert "A−this" in table
        assert "Δ A−\n" not in table


def test_a_is_above_b_whichever_came_first(folder: Path) -> None:
    """A trainer that was added to an import comes last in it."""
    session = open_session(folder)
    pair = make_pair(session, *reversed(PAIR))
    found = inspect(session, pair, scored(pair)[0])
    sides = [(row.side, row.label) for row in found.captures if row.side]
    assert sides == [("A", PAIR[1]), ("B", PAIR[0])]
    others = [row.label for row in found.captures if not row.side]
    assert others == [info.label for info in session.captures if info.label not in PAIR]
    whole = "\n".join(written(found, 119))
    assert whole.index("A vllm/decode") < whole.index("B trainer/prefill")
    four = "\n".join(four_lines(found))
    assert four.index("A vllm/decode") < four.index("B trainer/prefill")


@pytest.mark.parametrize("length", [3, 17, 30, 44])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_name_is_never_cut_and_takes_no_number_away(
    pair: Pair, length: int, width: int
) -> None:
    found = inspect(pair.session, pair, scored(pair)[3])
    rows = [
        replace(row, label=f"{place}{'x' * length}/forced_decode#2"[-width + 4 :])
        for place, row in enumerate(found.captures)
    ]
    shown = written(replace(found, captures=tuple(rows), columns=()), width)
    for row in rows:
        assert any(row.label in line for line in shown)
        assert any(number(row.logprob) in line for line in shown)
    assert not any("…" in line for line in shown)


@pytest.mark.parametrize("width", [width for width in WIDTHS if width >= 56])
def test_every_alternative_has_its_delta_or_what_it_is_beyond(
    pair: Pair, width: int
) -> None:
    for position in scored(pair)[:20]:
        found = inspect(pair.session, pair, position)
        assert found.pair_columns == (0, 1)
        shown = written(found, width)
        for row in found.top:
            a, b = row.cells[:2]
            its_row = re.compile(rf'["…] +{row.token_id} ')
            line = next(line for line in shown if its_row.search(line))
            if a.logprob is not None and b.logprob is not None:
                assert f" {signed(a.logprob - b.logprob)}" in line
            elif a.logprob is not None and b.below is not None:
                assert f">{signed(a.logprob - b.below)}" in line
            elif b.logprob is not None and a.below is not None:
                assert f"<{signed(a.below - b.logprob)}" in line


def test_the_bound_of_an_unlisted_alternative_holds(pair: Pair) -> None:
    """Whatever the number is that a list leaves out, Δ is beyond what is said."""
    chance = random.Random(5)
    seen = set()
    for position in scored(pair):
        for row in inspect(pair.session, pair, position).top:
            delta = row.delta(0, 1)
            a, b = row.cells[:2]
            if delta is None or not delta.bound:
                continue
            seen.add(delta.bound)
            hidden = (a if a.logprob is None else b).below
            assert hidden is not None
            unlisted = hidden - chance.random()
            if delta.bound == ">":
                assert a.logprob is not None
                assert a.logprob - unlisted >= delta.value
            else:
                assert b.logprob is not None
                assert unlisted - b.logprob <= delta.value
    assert seen == {">", "<"}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_ever_written_as_infinite(pair: Pair, seed: int) -> None:
    """An impossible token, a floor of 0, a difference beyond all: said in words."""
    chance = random.Random(seed)
    values = (0.0, -0.5, -30.0, -1e6, -INFINITY, None)
    floors = {
        label: chance.choice((0.0, 0.0, 1e-300, 0.01))
        for label in (info.label for info in pair.session.captures)
    }
    found = inspect(pair.session, pair, scored(pair)[seed], floors=floors)
    rows = []
    for row in found.captures:
        logprob = chance.choice(values)
        delta = chance.choice((0.0, 1.0, 800.0, -800.0, INFINITY, -INFINITY, None))
        rows.append(replace(row, logprob=logprob, delta=delta))
    for delta in {row.delta for row in rows}:
        other = replace(found, captures=tuple(rows), delta=delta)
        for width in WIDTHS:
            shown = "\n".join([*written(other, width), *four_lines(other)])
            assert "inf" not in shown
            assert "nan" not in shown


def test_a_floor_of_zero_is_said_once(pair: Pair) -> None:
    labels = [info.label for info in pair.session.captures]
    floors = dict.fromkeys(labels, 0.0)
    found = inspect(pair.session, pair, scored(pair)[0], floors=floors)
    for width in WIDTHS:
        shown = "\n".join(written(found, width))
        assert shown.count("repeats agree to the last bit") == 1
        assert "floors" not in shown
    assert "\n".join(four_lines(found)).count("repeats agree to the last bit") == 1


def test_the_difference_is_said_in_floors(pair: Pair) -> None:
    floors = {info.label: 0.02 for info in pair.session.captures}
    for position in scored(pair)[:10]:
        found = inspect(pair.session, pair, position, floors=floors)
        (b,) = (row for row in found.captures if row.side == "B")
        times = f"{number(abs(float(pair.delta[position])) / 0.02, 3)}×"
        assert b.times is not None
        expected = float(np.exp(pair.delta[position]))
        assert b.ratio == pytest.approx(expected)
        for width in WIDTHS:
            assert any(times in line for line in written(found, width))
        assert times in four_lines(found)[-1]


def test_the_entropy_of_every_capture_that_has_one_is_shown(pair: Pair) -> None:
    found = inspect(pair.session, pair, scored(pair)[4])
    with_entropy = [row for row in found.captures if row.entropy is not None]
    assert with_entropy
    assert len(with_entropy) < len(found.captures)
    shown = written(found, 100)
    for row in with_entropy:
        line = next(line for line in shown if row.label in line)
        assert line.rstrip().endswith(number(row.entropy, 3))
    sides = [row for row in with_entropy if row.side]
    for row in sides:
        narrow = "\n".join(written(found, 48))
        assert f"entropy {row.side} {number(row.entropy, 3)}" in narrow
        assert f"entropy {number(row.entropy, 3)}" in "\n".join(four_lines(found))


def made_sequences(prompt: int, mask: list[int]) -> Sequences:
    count = len(mask)
    return Sequences(
        token_ids=np.zeros(count, np.int32),
        offsets=np.array([0, count]),
        prompt_lengths=np.array([prompt]),
        mask=np.array(mask, np.uint8),
        finish=np.zeros(1, np.uint8),
    )


@pytest.mark.parametrize("seed", range(30))
def test_role_mask_and_turn_are_those_of_the_session(seed: int) -> None:
    chance = random.Random(seed)
    prompt = chance.randrange(0, 4)
    turns = chance.randrange(1, 5)
    parts: list[tuple[int, int]] = [(0, 0)] * chance.randrange(0, 3)
    for turn in range(1, turns + 1):
        parts += [(1, turn)] * chance.randrange(1, 4)
        if turn < turns or chance.random() < 0.5:
            parts += [(0, 0)] * chance.randrange(1, 3)
    mask = [chance.randrange(2) for _ in range(prompt)]
    sequences = made_sequences(prompt, [*mask, *(bit for bit, _ in parts)])
    for index in range(prompt):
        role = role_of(sequences, 0, index)
        assert role.in_prompt
        assert role.masked == (mask[index] == 0)
        assert role.words().startswith(f"prompt {index + 1} of {prompt}")
    for place, (bit, turn) in enumerate(parts):
        role = role_of(sequences, 0, prompt + place)
        assert not role.in_prompt
        assert role.masked == (bit == 0)
        assert role.words().startswith(f"completion {place + 1} of {len(parts)}")
        assert ("masked" in role.words()) == (bit == 0)
        assert (role.turn, role.turns) == (
            (turn, turns) if turns > 1 and bit else (0, 0)
        ) or (turns > 1 and not bit and role.turn == 0)
        assert (f"turn {turn} of {turns}" in role.words()) == (turns > 1 and bit == 1)


def test_the_version_of_the_weights_is_shown_where_it_is_known(
    folder: Path, tmp_path: Path
) -> None:

    copy = shutil.copytree(folder, tmp_path / "s")
    session = open_session(copy)
    plain = make_pair(session, *PAIR)
    position = scored(plain)[0]
    assert "weight version" not in "\n".join(
        written(inspect(plain.session, plain, position), 100)
    )

    def add(manifest: Fields) -> None:
        for entry in manifest["captures"]:
            if entry["label"] in PAIR:
                entry["facts"] = {
                    **(entry["facts"] or {}),
                    "weight_version": f"step {PAIR.index(entry['label']) + 7}",
                }

    session = edit_manifest(session, add)
    pair = make_pair(session, *PAIR)
    shown = "\n".join(written(inspect(pair.session, pair, position), 100))
    assert "weight version A step 7  B step 8" in shown


def test_a_capture_row_without_numbers_says_why() -> None:
    row = CaptureRow("a/prefill", "A", note="failed")
    assert row.ratio is None
    assert row.times is None
    assert not row.exact
