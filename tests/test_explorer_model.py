"""The explorer's model without an application: every move, colour, list and mark.

Expected values are worked out from the arrays of the pair, one token after the other.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.compare.pair_numbers import pair_numbers
from logdrift.core.numbers import number
from logdrift.core.report.one_side import nothing_to_compare
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.search import find_ids, text_index
from logdrift.tui.models import levels as levels_model
from logdrift.tui.models.answer_parts import answer_parts
from logdrift.tui.models.explorer import Explorer
from logdrift.tui.models.heading import heading_of
from logdrift.tui.models.jumps import Jumps
from logdrift.tui.models.listing import sequences_with
from logdrift.tui.models.modes import MODES
from logdrift.tui.models.pairs import PairView, judged
from logdrift.tui.models.passage import passage_of
from logdrift.tui.models.places import beside
from logdrift.tui.models.state import SORTS, THRESHOLDS, Mark, ViewState
from tests.common import REPOSITORY
from tests.made_sessions import capture, write_session

PAIR = ("trainer/prefill", "vllm/decode")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """12 sequences, 1,500 tokens, 4 captures."""
    folder = tmp_path_factory.mktemp("model") / "gen"
    return open_session(make_session(folder, 1500, 12, 8, captures=4))


@pytest.fixture(scope="module")
def pair(session: Session) -> Pair:
    return make_pair(session, *PAIR)


def looking_at(session: Session, pair: Pair | None, **state: object) -> Explorer:
    values = {"position": 0, **state}
    explorer = Explorer(session, ViewState(**values))  # type: ignore[arg-type]
    explorer.take(session, None if pair is None else PairView(pair))
    return explorer


def walk(explorer: Explorer, positions: list[int], step: int, move: str) -> list[int]:
    """Jump from one to the next until there is none."""
    seen: list[int] = []
    while len(seen) <= len(positions):
        if move == "next_match":
            position = explorer.found.next(explorer.position, step)
        else:
            position = getattr(explorer, move)(step)
        if position is None:
            break
        explorer.jump(position)
        seen.append(explorer.position)
    return seen


def test_the_model_imports_no_textual() -> None:
    code = (
        "import sys, pkgutil, importlib, logdrift.tui.models as models\n"
        "for module in pkgutil.iter_modules(models.__path__):\n"
        "    importlib.import_module(f'{models.__name__}.{module.name}')\n"
        "print(*(name for name in sys.modules if name.startswith('textual')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.strip() == ""


def test_the_first_screen_imports_nothing_that_is_only_needed_later() -> None:
    code = (
        "import sys, logdrift.tui.app, logdrift.tui.screens.explorer\n"
        "later = ('core.diagnose', 'core.report', 'core.compare.gate',"
        " 'core.capture', 'tui.screens.texts', 'tui.models.inspection')\n"
        "later = tuple(f'logdrift.{name}' for name in later)\n"
        "print(*(name for name in sys.modules if name.startswith(later)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.strip() == ""


# ---- moving


def test_beside_is_strict_on_both_sides() -> None:
    positions = np.array([3, 7, 8])
    assert [beside(positions, at, 1) for at in (0, 3, 7, 8)] == [3, 7, 8, None]
    found = [beside(positions, at, -1) for at in (3, 4, 8, 99)]
    expected = [None, 3, 7, 8]
    assert found == expected
    assert beside(np.empty(0, np.int64), 5, 1) is None


def test_every_divergence_is_visited_in_both_directions(
    session: Session, pair: Pair
) -> None:
    expected = [
        at for at in range(pair.tokens) if pair.scored[at] and abs(pair.delta[at]) > 0.3
    ]
    explorer = looking_at(session, pair, threshold=0.3)
    assert walk(explorer, expected, 1, "next_divergence") == expected
    back = expected[-2::-1]
    assert walk(explorer, back, -1, "next_divergence") == back
    sequences = {pair.sequence_of(at) for at in expected}
    assert len(sequences) > 3
    assert explorer.sequence == pair.sequence_of(expected[0])


def test_every_rank_flip_is_visited(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    assert explorer.next_flip(1) is None, "not known yet"
    explorer.flips = np.array([2, 40, 900])
    expected = [2, 40, 900]
    assert walk(explorer, [2, 40, 900], 1, "next_flip") == expected
    assert walk(explorer, [40, 2], -1, "next_flip") == [40, 2]
    explorer.take(session, PairView(pair))
    assert explorer.flips is None, "of another view of the pair they are found again"


def test_matches_are_gone_through_from_the_cursor_and_marked(
    session: Session, pair: Pair
) -> None:
    matches = text_index(session.sequences, session.pieces).find("the w")
    starts = matches.starts.tolist()
    assert len(starts) > 3
    explorer = looking_at(session, pair, position=starts[1] + 1)
    explorer.found.keep("the w", matches)
    assert explorer.found.first(explorer.position) == starts[2]
    explorer.jump(starts[2])
    assert explorer.found.number(explorer.position) == 3
    assert walk(explorer, starts[3:], 1, "next_match") == starts[3:]
    explorer.place(session.sequences.tokens - 1)
    if explorer.position > starts[-1]:
        assert explorer.found.first(explorer.position) == starts[0], "around the end"

    matched = explorer.found.covered(0, session.sequences.tokens)
    expected = np.zeros(session.sequences.tokens, bool)
    for start, end in zip(starts, matches.ends.tolist(), strict=True):
        expected[start:end] = True
    assert matched is not None
    assert (matched == expected).all()
    part = explorer.found.covered(starts[0] + 1, starts[2] + 1)
    assert part is not None
    assert len(part) == starts[2] - starts[0]

    assert explorer.found.forget()
    assert explorer.found.covered(0, 5) is None
    assert not explorer.found.forget()
    assert explorer.found.query == ""


def test_an_id_is_found_as_text_is(session: Session, pair: Pair) -> None:
    token_id = int(session.sequences.token_ids[10])
    explorer = looking_at(session, pair)
    explorer.found.keep(f"#{token_id}", find_ids(session.sequences, [token_id]))
    expected = np.flatnonzero(session.sequences.token_ids == token_id).tolist()
    start = [explorer.found.first(explorer.position)]
    explorer.place(expected[0])
    assert start + walk(explorer, expected, 1, "next_match") == expected


def test_a_place_is_kept_within_the_session(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    last = session.sequences.tokens - 1
    for position, expected in ((-5, 0), (0, 0), (last, last), (last + 7, last)):
        explorer.place(position)
        start, stop = explorer.bounds
        assert explorer.position == expected
        assert start <= expected < stop
        assert explorer.index == expected - start


def test_jumps_are_undone_and_done_again(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    assert not explorer.undo_jump()
    assert not explorer.redo_jump()
    for position in (100, 100, 700, 5):
        explorer.jump(position)
    visited = []
    while explorer.undo_jump():
        visited.append(explorer.position)
    assert visited == [700, 100, 0], "a jump to where the cursor is does not count"
    assert explorer.redo_jump()
    assert explorer.position == 100
    explorer.jump(9)
    assert not explorer.redo_jump(), "a new jump ends what was undone"
    assert explorer.undo_jump()
    assert explorer.position == 100


def test_a_step_of_the_cursor_is_no_jump(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    explorer.jump(50)
    explorer.place(51)
    assert explorer.undo_jump()
    assert explorer.position == 0
    assert explorer.redo_jump()
    assert explorer.position == 51


def test_only_the_last_jumps_are_kept() -> None:
    jumps = Jumps()
    for position in range(2000):
        jumps.leave(position)
    kept = 0
    while jumps.back(0) is not None:
        kept += 1
    assert kept == 500


def test_sequences_follow_the_order_of_the_list(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair, sort="worst")
    order = explorer.listing.order.tolist()
    explorer.place(session.sequences.bounds(order[0])[0])
    for before, after in itertools.pairwise(order):
        assert explorer.sequence == before
        start, stop = session.sequences.bounds(after)
        assert explorer.next_sequence(1, at_end=True) == stop - 1
        position = explorer.next_sequence(1)
        assert position == start
        explorer.place(position)
    assert explorer.next_sequence(1) is None
    assert explorer.next_sequence(-1) == session.sequences.bounds(order[-2])[0]


# ---- levels


def test_a_newer_state_keeps_the_cursor_and_forgets_what_was_counted(
    session: Session, pair: Pair
) -> None:
    explorer = looking_at(session, pair, mode="ratio", position=321)
    explorer.numbers = pair_numbers(session, pair)
    assert len(explorer.levels.beyond())
    assert explorer.levels.key in explorer.counts
    explorer.take(session, PairView(pair))
    assert explorer.position == 321
    assert explorer.numbers is None
    assert explorer.levels.key not in explorer.counts


@pytest.mark.parametrize("name", [mode.name for mode in MODES])
def test_levels_and_counts_agree_in_every_mode(
    session: Session, pair: Pair, name: str
) -> None:
    explorer = looking_at(session, pair, mode=name)
    explorer.numbers = pair_numbers(session, pair)
    levels = explorer.levels
    if levels.missing is not None:
        assert levels.count is None
        assert not len(levels.beyond())
        assert not levels.of(0, pair.tokens).any()
        return
    coloured = np.flatnonzero(levels.of(0, pair.tokens))
    assert levels.beyond().tolist() == coloured.tolist()
    assert levels.count == len(coloured) > 0
    higher = explorer.next_threshold(1)
    assert len(levels.beyond_threshold(higher)) <= len(coloured)
    assert explorer.next_divergence(1) == coloured[coloured > 0][0]


def test_a_mode_without_numbers_says_why(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair, mode="floor")
    assert explorer.levels.missing == "the floor is not measured yet"
    explorer.numbers = pair_numbers(session, pair)
    assert "no capture of this pair was repeated" in str(explorer.levels.missing)
    nothing = looking_at(session, None)
    assert nothing.levels.missing == "no pair to compare yet"
    assert nothing.next_divergence(1) is None
    assert nothing.delta_level() == 0
    assert nothing.legend().missing == "no pair to compare yet"


def test_one_side_alone_leads_to_the_form_that_adds_the_other(
    tmp_path: Path,
) -> None:
    lone = open_session(make_session(tmp_path / "s", 99, 3, 2, captures=1))
    (part,) = answer_parts(looking_at(lone, None))
    assert part.text.startswith("reference/prefill is the only side")
    assert part.action == "add_backend"
    said = nothing_to_compare(lone.captures)
    assert "logdrift capture --into SESSION --model MODEL" in said
    two = open_session(make_session(tmp_path / "two", 99, 3, 2, captures=2))
    assert answer_parts(looking_at(two, None)) == ()


def test_modes_have_thresholds_of_their_own(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    assert explorer.mode.name == "delta"
    assert explorer.levels.threshold == 0.1
    assert explorer.set_threshold(0.2)
    assert explorer.threshold == 0.2
    assert not explorer.set_threshold(0.2)
    assert explorer.set_mode("ratio")
    assert not explorer.set_mode("ratio")
    assert explorer.levels.threshold == explorer.mode.default
    assert explorer.set_threshold(0.5)
    assert explorer.levels.threshold == 0.5
    assert explorer.threshold == 0.2, "that of delta is another one"
    assert explorer.levels.text == "ratio 1.50×"
    explorer.set_mode("delta")
    assert explorer.levels.threshold == 0.2


def test_modes_come_round(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    seen = []
    for _ in MODES:
        explorer.set_mode(explorer.next_mode())
        seen.append(explorer.mode.name)
    assert seen == [*(mode.name for mode in MODES[1:]), MODES[0].name]


@pytest.mark.parametrize("step", [1, -1])
def test_thresholds_end_at_the_last_choice(
    session: Session, pair: Pair, step: int
) -> None:
    explorer = looking_at(session, pair)
    seen = [explorer.levels.threshold]
    while explorer.set_threshold(explorer.next_threshold(step)):
        seen.append(explorer.levels.threshold)
    start = THRESHOLDS.index(0.1)
    assert seen == list(THRESHOLDS[start:] if step > 0 else THRESHOLDS[start::-1])


def test_a_long_count_is_left_to_a_thread(
    session: Session, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels_model, "AT_ONCE", 100)
    explorer = looking_at(session, pair, mode="ratio")
    explorer.view = judged(session, pair)
    levels = explorer.levels
    assert levels.slow
    assert levels.count is None
    assert explorer.legend().beyond is None
    explorer.counts.keep(levels.key, levels.find_beyond())
    assert not levels.slow
    assert levels.count == len(levels.beyond()) > 0
    assert explorer.legend().beyond == levels.count


def test_the_legend_counts_once_the_pair_is_judged(
    session: Session, pair: Pair
) -> None:
    explorer = looking_at(session, pair)
    assert explorer.legend().beyond is None
    explorer.view = judged(session, pair)
    legend = explorer.legend()
    assert legend.beyond == len(pair.divergences(0.1))
    assert legend.scored == int(pair.scored.sum())


def test_only_the_last_counts_are_kept(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair, mode="ratio")
    thresholds = [0.01 * step for step in range(1, 23)]
    for threshold in thresholds:
        explorer.levels.beyond_threshold(threshold)
    kept = [value for value in thresholds if ("ratio", value) in explorer.counts]
    assert kept == thresholds[-12:]


# ---- the list


@pytest.mark.parametrize("name", SORTS)
def test_sorts_list_every_sequence_once(
    session: Session, pair: Pair, name: str
) -> None:
    explorer = looking_at(session, pair)
    explorer.set_sort(name)
    listing = explorer.listing
    assert sorted(listing.order.tolist()) == list(range(12))
    assert listing.sort == name
    found = [listing.place_of(int(s)) for s in listing.order]
    assert found == list(range(12))
    if name == "worst":
        worst = [float(pair.worst[s]) for s in listing.order]
        assert worst == sorted(worst, reverse=True)


def test_sorts_come_round(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    for expected in (*SORTS[1:], SORTS[0]):
        explorer.set_sort(explorer.next_sort())
        assert explorer.state.sort == expected


def test_the_threshold_orders_what_is_sorted_by_it(
    session: Session, pair: Pair
) -> None:
    explorer = looking_at(session, pair, sort="beyond", threshold=0.5)
    counts = [
        sum(
            bool(pair.scored[at]) and abs(pair.delta[at]) > 0.05
            for at in range(*session.sequences.bounds(sequence))
        )
        / max(1, int(pair.scored[slice(*session.sequences.bounds(sequence))].sum()))
        for sequence in range(12)
    ]
    explorer.set_threshold(0.05)
    explorer.list_again()
    shares = [counts[sequence] for sequence in explorer.listing.order]
    assert shares == sorted(shares, reverse=True)


def test_a_filter_keeps_the_sequences_it_names(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair, sort="worst")
    everything = explorer.listing.order.tolist()
    offsets = session.sequences.offsets
    positions = np.array([0, 1, int(offsets[5]), int(offsets[6]) - 1, 10**9])
    keep = sequences_with(positions, offsets)
    assert np.flatnonzero(keep).tolist() == [0, 5], "what is behind the end is left out"
    explorer.set_filter("some text")
    assert explorer.listing.order.tolist() == everything, "until it is worked out"
    assert not explorer.take_filter("another text", keep)
    assert explorer.take_filter("some text", keep)
    kept = [sequence for sequence in everything if sequence in (0, 5)]
    assert explorer.listing.order.tolist() == kept
    assert explorer.listing.filter == "some text"
    assert explorer.listing.place_of(3) == -1

    explorer.place(int(offsets[3]))
    assert explorer.next_sequence(1) == int(offsets[kept[0]]), "a hidden one"
    assert explorer.next_sequence(-1) == int(offsets[kept[-1]])
    explorer.set_filter("")
    assert explorer.listing.order.tolist() == everything
    assert explorer.listing.filter == ""


# ---- marks, alternatives, what is shown


def test_marks_are_added_renamed_and_taken_away(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    assert explorer.mark(70, " second ")
    assert explorer.mark(7, "")
    assert explorer.state.marks == (Mark(7, ""), Mark(70, "second"))
    assert explorer.mark_at(70) == Mark(70, "second")
    assert explorer.mark_at(8) is None
    assert explorer.mark(7, "first")
    assert explorer.mark_at(7) == Mark(7, "first")
    assert not explorer.mark(7, "  ")
    assert explorer.state.marks == (Mark(70, "second"),)
    explorer.place(70)
    assert explorer.inspection().mark == "second"
    assert explorer.index in passage_of(explorer).notes


def test_the_token_under_the_cursor_is_inspected(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    position = explorer.next_divergence(1)
    assert position is not None
    explorer.place(position)
    inspection = explorer.inspection()
    assert inspection.position == position
    assert inspection.sequence == explorer.sequence
    assert inspection.delta == float(pair.delta[position])
    assert (explorer.delta_level() > 0) == (inspection.delta > 0)
    assert f"id {inspection.token_id}" in inspection.in_one_line()
    first = inspection.columns[0]
    assert explorer.next_order() == inspection.columns[1]
    assert explorer.next_order() == first


def test_the_passage_is_the_sequence_under_the_cursor(
    session: Session, pair: Pair
) -> None:
    explorer = looking_at(session, pair, position=int(session.sequences.offsets[4]))
    passage = passage_of(explorer)
    start, stop = session.sequences.bounds(4)
    assert passage.sequence == 4
    assert len(passage.ids) == stop - start
    beyond = sum(
        bool(pair.scored[at]) and abs(pair.delta[at]) > 0.1 for at in range(start, stop)
    )
    assert np.count_nonzero(passage.levels) == beyond
    assert passage.aside == f"{beyond} beyond 0.10"
    assert passage_of(looking_at(session, None)).aside == "no scores"


def test_another_pair_is_kept_to(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    explorer.problem = "the other one does not open"
    other = make_pair(session, "reference/prefill", "vllm/decode")
    explorer.keep_pair(other)
    assert explorer.pair is other
    assert explorer.problem is None
    assert (
        explorer.state.pair == explorer.labels == ("reference/prefill", "vllm/decode")
    )


def test_the_heading_says_what_is_known(session: Session, pair: Pair) -> None:
    explorer = looking_at(session, pair)
    heading = heading_of(explorer)
    assert heading.pair == PAIR
    assert not heading.refused
    found = [part.text for part in answer_parts(explorer)]
    assert found == ["judging …"]
    assert heading.running == 1.0
    assert not heading.measured
    explorer.view = judged(session, pair)
    explorer.numbers = pair_numbers(session, pair)
    heading = heading_of(explorer)
    assert heading.measured
    assert heading.k3 == explorer.numbers.k3
    parts = {part.name: part for part in answer_parts(explorer)}
    assert explorer.view.stats is not None
    assert parts["size"].text == f"MAE {number(explorer.view.stats.mae)}"
    assert not heading.refused
    assert not parts["verdict"].text.startswith("not")


def test_a_refused_pair_is_greyed_and_says_why(tmp_path: Path) -> None:
    nan = float("nan")
    other_weights = {"weights_digest": "sha256:" + "f" * 64}
    made = write_session(
        tmp_path / "s",
        [1],
        [
            capture("trainer/prefill", [[nan, -1.0, -2.0]]),
            capture("vllm/decode", [[nan, -1.5, -2.0]], facts=other_weights),
        ],
    )
    session = open_session(made.folder)
    explorer = looking_at(session, make_pair(session, *PAIR))
    assert not explorer.greyed
    explorer.view = judged(session, make_pair(session, *PAIR))
    assert explorer.greyed
    assert passage_of(explorer).greyed
    assert heading_of(explorer).refused
    refusal, *others = answer_parts(explorer)
    assert refusal.text.startswith("not comparable: ")
    assert "weights" in refusal.text
    assert refusal.tone == "bad"
    found = {part.tone for part in others if part.name != "cause"}
    assert found == {"muted"}


def test_an_empty_session_has_no_cursor(tmp_path: Path) -> None:
    session = open_session(write_session(tmp_path / "empty", [], []).folder)
    explorer = looking_at(session, None)
    assert explorer.sequence == -1
    assert explorer.position == 0
    assert len(explorer.listing) == 0
    assert explorer.next_order() == ""
    explorer.jump(5)
    assert explorer.position == 0
