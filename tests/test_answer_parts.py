"""The parts of an answer, and how they are set in two lines: without an application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from rich.cells import cell_len

from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.usual import USUAL, UsualStanding
from logdrift.core.diagnose.answer import Answer
from logdrift.core.diagnose.causes import BY_CODE
from logdrift.tui.actions import commands
from logdrift.tui.models.answer_lines import LINES, set_parts
from logdrift.tui.models.answer_parts import (
    ANSWER_ACTIONS,
    AnswerPart,
    cause_part,
    size_part,
    verdict_part,
)
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.opening import worst_position
from logdrift.tui.models.pairs import PairView
from logdrift.tui.models.state import ViewState
from logdrift.tui.models.token_text import token_text
from tests.made_sessions import capture, write_session

HEALTHY = Answer(
    comparable="comparable",
    tokens=900,
    mae=0.0433,
    standing="usual",
    usual=USUAL["bfloat16"],
    assumed=False,
    cause="noise",
    title="numerical noise, nothing to fix",
    sureness="certain",
    next="",
)
KEYS = {action: action[0] for action in ANSWER_ACTIONS}


def answers() -> Iterator[Answer]:
    """Every cause with every sureness, proven and not; every place in every range."""
    yield HEALTHY
    yield replace(HEALTHY, cause=None, sureness=None, title="")
    for title in ("too few tokens to tell why", "the cause cannot be told from this"):
        yield replace(HEALTHY, cause=None, sureness=None, title=title)
    for code, cause in BY_CODE.items():
        faulty = replace(HEALTHY, cause=code, title=cause.title, sureness="likely")
        yield faulty
        yield replace(faulty, sureness="certain")
        yield replace(faulty, proof="vllm: x=1 explains 88% of the MAE")
        yield replace(faulty, comparable="not_comparable")
    for usual in USUAL.values():
        for standing in get_args(UsualStanding):
            yield replace(HEALTHY, usual=usual, standing=standing)
            yield replace(HEALTHY, usual=usual, standing=standing, assumed=True)


def parts_of(answer: Answer) -> list[AnswerPart]:
    """As the explorer has them, with a long reason, a long token and a small share."""
    severity = answer.comparable if answer.comparable != "comparable" else "info"
    gate = Gate(answer.comparable, (Reason("x", severity, "a reason " * 12 + "."),))
    worst = AnswerPart(
        "worst",
        "worst 1234:56789 “long token” Δ -10.25",
        "worst 1234:56789 -10.25",
        "plain",
        "worst",
    )
    share = AnswerPart("share", "12.6% beyond 0.1", "12.6% beyond 0.1", "plain", "t")
    floor = AnswerPart("floor", "floor 0: repeats agree", "floor 0", "plain", "matrix")
    return [
        verdict_part(gate),
        size_part(answer, answer.mae),
        cause_part(answer),
        worst,
        share,
        floor,
    ]


@pytest.mark.parametrize("width", [58, 78, 98, 118, 198])
def test_every_answer_fits_in_two_lines_and_always_has_its_cause(width: int) -> None:
    for answer in answers():
        parts = parts_of(answer)
        placed = set_parts(parts, KEYS, width)
        assert len(placed) <= LINES
        for line in placed:
            cells = sum(entry.cells for entry in line) + 3 * (len(line) - 1)
            assert cells <= width, (answer, line)
        shown = {entry.part.name: entry.text for line in placed for entry in line}
        cause = parts[2]
        assert shown["cause"] in (cause.text, cause.short) or (
            shown["cause"].endswith("…")
            and cause.text.startswith(shown["cause"][:-1].rstrip())
            and cell_len(shown["cause"]) >= min(width, cell_len(cause.short))
        ), shown
        assert "verdict" in shown
        if width >= 118:
            assert set(shown) == {part.name for part in parts}
            assert any(entry.key for line in placed for entry in line)


@pytest.mark.parametrize("width", range(58, 220))
def test_a_verdict_is_never_cut_within_its_word(width: int) -> None:
    for comparable, word in (("caution", "caution"), ("not_comparable", "not comp")):
        parts = parts_of(replace(HEALTHY, comparable=comparable))
        placed = set_parts(parts, KEYS, width)
        shown = {entry.part.name: entry.text for line in placed for entry in line}
        assert word in shown["verdict"]


def test_what_comes_first_is_kept_first() -> None:
    """With ever more room no part is lost that was there with less."""
    parts = parts_of(HEALTHY)
    before: set[str] = set()
    for width in range(40, 220):
        placed = set_parts(parts, KEYS, width)
        names = {entry.part.name for line in placed for entry in line}
        assert names >= before, width
        before = names
    texts = {entry.text for line in placed for entry in line}
    assert texts == {part.text for part in parts}


def test_what_each_part_means() -> None:
    assert size_part(HEALTHY, None).tone == "good"
    assert size_part(replace(HEALTHY, standing="below"), None).tone == "good"
    assert size_part(replace(HEALTHY, standing="unusual"), None).tone == "warn"
    assert size_part(replace(HEALTHY, standing="beyond"), None).tone == "bad"
    assert size_part(replace(HEALTHY, standing="broken"), None).tone == "bad"
    assert cause_part(HEALTHY).tone == "good"
    fault = replace(HEALTHY, cause="attention", title="attention kernel")
    assert cause_part(replace(fault, sureness="likely")).tone == "warn"
    assert cause_part(fault).tone == "bad"
    assert cause_part(fault).text == "certain attention kernel"
    proven = cause_part(replace(fault, sureness="likely", proof="x explains 88%"))
    assert proven.tone == "bad"
    assert proven.short == "proven attention kernel"
    assert proven.text.endswith(": x explains 88%")
    assert cause_part(replace(HEALTHY, cause=None)).tone == "warn"
    refused = size_part(replace(HEALTHY, comparable="not_comparable"), None)
    assert refused.text == "MAE 0.0433", "its place in the range means nothing"


def test_every_part_leads_to_a_command_of_the_explorer() -> None:
    known = {command.action for command in commands("explorer")}
    assert known >= ANSWER_ACTIONS
    assert {part.action for part in parts_of(HEALTHY)} - {"t"} <= ANSWER_ACTIONS


@pytest.mark.parametrize("seed", range(12))
def test_the_worst_token_is_found_and_never_one_without_a_score(
    seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, 5)
    a, b = (
        [np.where(rng.random(n) < 0.4, np.nan, -5 * rng.random(n)) for n in lengths]
        for _ in range(2)
    )
    made = [capture("trainer/prefill", a), capture("vllm/decode", b)]
    session = write_session(tmp_path / "s", [1] * 5, made)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    position = worst_position(pair)
    gaps = np.abs(np.concatenate(a) - np.concatenate(b))
    gaps = np.where(pair.scored, gaps, np.nan)
    if np.isnan(gaps).all():
        assert position is None
        return
    assert position is not None
    assert pair.scored[position]
    assert np.isclose(abs(pair.delta[position]), np.nanmax(gaps), atol=1e-5)
    explorer = Explorer(session, ViewState())
    explorer.take(session, PairView(pair))
    assert explorer.position == position, "the first look"
    explorer = Explorer(session, ViewState(position=0))
    explorer.take(session, PairView(pair))
    assert explorer.position == 0, "a saved view wins"


def test_the_cursor_waits_for_a_pair_unless_it_was_moved(tmp_path: Path) -> None:
    """A capture has begun: there is no pair yet."""
    a = [np.array([np.nan, -1.0, -2.0, -3.0])]
    b = [np.array([np.nan, -1.1, -2.9, -3.0])]
    made = [capture("trainer/prefill", a), capture("vllm/decode", b)]
    session = write_session(tmp_path / "s", [1], made)
    view = PairView(make_pair(session, "trainer/prefill", "vllm/decode"))
    for moved, position in ((False, 2), (True, 3)):
        explorer = Explorer(session, ViewState())
        explorer.take(session, None)
        assert explorer.position == 0
        if moved:
            explorer.place(3)
        explorer.take(session, view)
        assert explorer.position == position
        explorer.take(session, view)
        assert explorer.position == position


def test_a_token_that_has_a_part_of_a_character_is_shown_with_all_of_it(
    tmp_path: Path,
) -> None:
    raw = (b"a", "搠".encode()[:2], "搠".encode()[2:], b"\x1b", b" x")
    pieces = dict(enumerate(raw))
    values = [np.array([np.nan, -1.0, -2.0, -1.0, -1.0])]
    made = [capture("trainer/prefill", values), capture("vllm/decode", values)]
    session = write_session(tmp_path / "s", [1], made, pieces=pieces)
    shown = [token_text(session, position) for position in range(5)]
    expected = ["a", "搠", "搠"]
    assert shown[:3] == expected
    assert shown[4] == " x"
    assert "\x1b" not in shown[3]
    assert all(cell_len(text) for text in shown)
