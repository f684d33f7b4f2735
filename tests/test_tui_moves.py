"""Moving in the explorer: search, places, marks, labels, flips, filters, and back.
Driven by keys.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from textual import events

from benchmarks.make_session import make_session
from logdrift.core.compare.distribution import rank_flips
from logdrift.core.compare.pair import Pair, list_pairs, make_pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.numbers import number, percent
from logdrift.core.session.reader import open_session
from logdrift.core.session.search import find_ids, text_index
from logdrift.tui.models.inspection import inspect
from logdrift.tui.models.modes import MODES
from logdrift.tui.models.pairs import PairView
from logdrift.tui.models.state import Mark, ViewState, load_state, save_state
from logdrift.tui.palette import make_palette
from logdrift.tui.screens.explorer.following import SessionRead
from logdrift.tui.screens.prompt import LineBox, LinePrompt
from logdrift.tui.screens.texts import Picker
from logdrift.tui.widgets.answer_bar import AnswerBar
from logdrift.tui.widgets.bars import Header, Hints
from logdrift.tui.widgets.inspector import Inspector
from logdrift.tui.widgets.line_edit import TypedLine
from logdrift.tui.widgets.token_details import TokenDetails
from logdrift.tui.widgets.token_lines import inspector_lines, summary_lines
from tests.common import NAN, SAMPLE
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    LARGE,
    MEDIUM,
    SMALL,
    explorer,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_back,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
PAIR = ("trainer/prefill", "vllm/decode")


async def test_below_a_short_sequence_stand_those_that_follow_it(
    tmp_path: Path,
) -> None:
    short = make_session(tmp_path / "short", 400, 20, 20, captures=2)
    app = make_app(short, at=0)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        tokens = screen.tokens
        shown = [line for line in lines(tokens) if line.startswith(" Sequence ")]
        listed = screen.model.listing.order.tolist()
        place = listed.index(screen.model.sequence)
        expected = listed[place : place + len(shown)]
        assert len(shown) >= 3
        assert [int(line.split()[1]) for line in shown] == expected
        await pilot.press("S", "end", "enter")
        await until(pilot, lambda: screen.model.listing.order.tolist() != listed)
        listed = screen.model.listing.order.tolist()
        place = listed.index(screen.model.sequence)
        following = listed[place + 1 : place + 3]

        def titles() -> list[int]:
            all_lines = lines(tokens)[2:]
            heads = [line for line in all_lines if line.startswith(" Sequence ")]
            return [int(line.split()[1]) for line in heads]

        await until(pilot, lambda: titles()[:2] == following)
        row = next(
            y
            for y, line in enumerate(lines(tokens))
            if y > 1 and line.startswith(f" Sequence {following[-1]} ")
        )
        await pilot.click("#tokens", offset=(20, row + 1))
        await until(pilot, lambda: screen.model.sequence == following[-1])
        assert screen.model.index == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 sequences, 3,000 tokens, 4 captures."""
    return make_session(
        tmp_path_factory.mktemp("moves") / "gen", 3000, 24, 20, captures=4
    )


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return make_pair(open_session(folder), *PAIR)


@pytest.fixture(scope="module")
def rare(folder: Path) -> str:
    """Text over tokens that some sequences have."""
    session = open_session(folder)
    index = text_index(session.sequences, session.pieces)
    for at in range(100, 900):
        found = session.pieces.text(int(session.sequences.token_ids[at])) + " the"
        holders = {
            int(np.searchsorted(session.sequences.offsets, p, "right"))
            for p in index.find(found.strip()).starts
        }
        if (
            found.replace(" ", "").isalpha()
            and found.isascii()
            and 1 < len(holders) < 12
        ):
            return found.strip()
    raise AssertionError("the made session has no such text")


async def type_in(pilot, key: str, typed: str) -> None:  # type: ignore[no-untyped-def]
    """Open a prompt with a key, type, Enter."""
    await pilot.press(key)
    await until_screen(pilot, LinePrompt)
    prompt = pilot.app.screen
    prompt.query_one(LineBox).put(TypedLine.of(typed))
    await pilot.pause()
    await pilot.press("enter")
    await until(pilot, lambda: pilot.app.screen is not prompt)


def hint(pilot) -> str:  # type: ignore[no-untyped-def]
    return text(explorer(pilot.app).query_one("#hints", Hints))


async def test_search_text_steps_through_every_match_and_escape_ends_it(
    folder: Path,
) -> None:
    session = open_session(folder)
    wanted = text_index(session.sequences, session.pieces).find("the w").starts.tolist()
    assert 3 < len(wanted) < 100
    app = make_app(folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await type_in(pilot, "slash", "the w")
        await until(pilot, lambda: screen.position == wanted[0])
        assert f"1 of {len(wanted)} found: the w" in hint(pilot)
        passage = screen.tokens.passage
        assert passage is not None
        assert passage.matched is not None
        assert passage.matched[screen.tokens.cursor]
        assert not passage.matched.all()
        seen = [screen.position]
        for _ in wanted[1:]:
            await pilot.press("n")
            seen.append(screen.position)
        assert seen == wanted
        await pilot.press("n")
        assert "no match after" in hint(pilot)
        await pilot.press("N")
        assert screen.position == wanted[-2]
        await pilot.press("escape", "n")
        assert screen.tokens.passage is not None
        assert screen.tokens.passage.matched is None
        assert screen.position in screen.model.levels.beyond()


async def test_matches_are_counted_while_typing_and_ids_are_found(folder: Path) -> None:
    session = open_session(folder)
    token_id = int(session.sequences.token_ids[700])
    wanted = find_ids(session.sequences, [token_id]).starts.tolist()
    app = make_app(folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("slash")
        await until_screen(pilot, LinePrompt)
        await pilot.press(*[{"#": "number_sign"}.get(c, c) for c in f"#{token_id}"])
        await until_shown(pilot, f"{len(wanted):,} found")
        await pilot.press("enter")
        await until(pilot, lambda: screen.position == wanted[0])
        await type_in(pilot, "slash", "nowhere at all")
        await until(pilot, lambda: "nothing found of 'nowhere at all'" in hint(pilot))
        assert screen.position == wanted[0]
        await pilot.press("slash", "escape")
        await until_back(pilot, screen)


async def test_go_to_a_place_and_undo_and_redo_it(folder: Path) -> None:
    session = open_session(folder)
    start = session.sequences.bounds(5)[0]
    app = make_app(folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("u")
        assert "no jump to undo" in hint(pilot)
        await type_in(pilot, "colon", "5:17")
        await until(pilot, lambda: screen.position == start + 17)
        await type_in(pilot, "colon", "3")
        await until(pilot, lambda: screen.position == start + 3)
        await pilot.press("right")  # no jump
        await pilot.press("u")
        assert screen.position == start + 17
        await pilot.press("u")
        assert screen.position == 0
        await pilot.press("U")
        assert screen.position == start + 17
        await pilot.press("U")
        assert screen.position == start + 4
        await pilot.press("U")
        assert "no jump to redo" in hint(pilot)
        await pilot.press("colon")
        await until_screen(pilot, LinePrompt)
        await pilot.press("9", "9", "colon", "enter")
        assert isinstance(app.screen, LinePrompt)
        assert "there is no sequence 99: they are 0 to 23" in screen_text(app)
        await pilot.press("escape")
        await until_back(pilot, screen)
        assert screen.position == start + 4
        token_id = int(session.sequences.token_ids[start + 40])
        await type_in(pilot, "colon", f"#{token_id}")
        wanted = find_ids(session.sequences, [token_id]).starts
        await until(
            pilot, lambda: screen.position == int(wanted[wanted >= start + 4][0])
        )


async def test_rank_flips_are_visited_in_order(folder: Path, pair: Pair) -> None:
    flips = np.zeros(pair.tokens, bool)
    flips[pair.scored] = rank_flips(
        pair.a, pair.b, pair.sequences.token_ids[: pair.tokens], pair.scored
    )
    wanted = np.flatnonzero(flips).tolist()
    assert len(wanted) > 10
    app = make_app(folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("full_stop")
        await until(pilot, lambda: screen.position == wanted[0])
        assert f"rank flip 1 of {len(wanted):,}" in hint(pilot)
        await pilot.press("full_stop", "full_stop")
        assert screen.position == wanted[2]
        await pilot.press("comma")
        assert screen.position == wanted[1]
        await pilot.press("G", *["right_square_bracket"] * 24, "G", "full_stop")
        assert "no rank flip after" in hint(pilot)


async def test_a_label_leads_to_its_token_and_any_other_key_leaves(
    folder: Path,
) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("n", "semicolon")
        tokens = screen.tokens
        labels = dict(tokens.labels)
        assert labels
        assert tokens.passage is not None
        assert all(tokens.passage.levels[token] for token in labels)
        token, label = list(labels.items())[-1]
        cells_before = [
            strip.cell_length
            for strip in (tokens.render_line(y) for y in range(tokens.size.height))
        ]
        assert len(set(cells_before)) == 1
        line = tokens.flow.line_of(token) - tokens.top + tokens.fixed
        column = tokens._gutter + tokens.flow.column_of(token)
        assert label in tokens.render_line(line).text[column : column + 3]
        before = screen.position
        await pilot.press(*label)
        assert screen.tokens.cursor == token
        assert not screen.tokens.labels
        await pilot.press("u")
        assert screen.position == before
        await pilot.press("semicolon", "escape")
        assert not screen.tokens.labels
        assert screen.position == before
        await pilot.press("semicolon", "Q")
        assert not screen.tokens.labels
        assert screen.position == before
        assert app.is_running
        await pilot.press("semicolon", "tab")
        assert not screen.tokens.labels
        assert screen.pane == "tokens"


async def test_labels_stand_on_a_text_that_was_hidden(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        screen.action_pane("chart")
        await until(pilot, lambda: screen.pane == "chart")
        assert not screen.tokens.display
        await pilot.press("semicolon")
        await until(pilot, lambda: bool(screen.tokens.labels))
        assert screen.pane == "tokens"


async def test_more_than_26_labels_have_two_letters_and_all_rows_keep_their_width(
    folder: Path,
) -> None:
    save_state("generated-3000", ViewState(threshold=0.005))
    app = make_app(folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        await pilot.press("semicolon")
        tokens = screen.tokens
        labels = dict(tokens.labels)
        assert len(labels) > 26
        found = {len(label) for label in labels.values()}
        assert found == {2}
        assert len(set(labels.values())) == len(labels)
        assert {
            tokens.render_line(y).cell_length for y in range(tokens.size.height)
        } == {tokens.size.width}
        token, label = list(labels.items())[30]
        await pilot.press(*label)
        assert tokens.cursor == token


async def test_marks_are_noted_shown_listed_saved_and_taken_away(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("B")
        assert "no token is marked" in hint(pilot)
        await pilot.press("n")
        first = screen.position
        await type_in(pilot, "b", "odd one\x1b[31m")
        await pilot.press("n", "n")
        second = screen.position
        await type_in(pilot, "b", "")
        found = [mark.position for mark in screen.model.state.marks]
        assert found == [first, second]
        assert any("*" in line[:8] for line in lines(screen.tokens))
        await pilot.press("u", "u")
        await until(pilot, lambda: "mark odd one" in text(screen.query_one(Inspector)))
        await pilot.press("B")
        await until_screen(pilot, Picker)
        assert "odd one" in screen_text(app)
        assert "\x1b" not in screen_text(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.position == second)
        await until(
            pilot, lambda: len(load_state("generated-3000")[0].marks) == 2
        )  # saved while the screen runs
        await type_in(pilot, "b", "")
        assert [mark.position for mark in screen.model.state.marks] == [first]
        await pilot.press("q")
    saved, notice = load_state("generated-3000")
    assert notice is None
    assert [mark.position for mark in saved.marks] == [first]


async def test_filters_count_while_typing_and_list_what_they_keep(
    folder: Path, pair: Pair, rare: str
) -> None:
    session = open_session(folder)
    index = text_index(session.sequences, session.pieces)
    with_text = sorted({pair.sequence_of(int(p)) for p in index.find(rare).starts})
    beyond = sorted({pair.sequence_of(int(p)) for p in pair.divergences(0.5)})
    assert 0 < len(with_text) < 24
    assert 0 < len(beyond) < 24
    save_state("generated-3000", ViewState(threshold=0.5))
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("f")
        await until_screen(pilot, LinePrompt)
        await pilot.press(*(char if char != " " else "space" for char in rare))
        await until_shown(pilot, f"{len(with_text)} of 24 sequences")
        assert screen.sequences.line_count == 24
        await pilot.press("enter")
        await until(pilot, lambda: screen.sequences.order.tolist() == with_text)
        assert f"Sequences {len(with_text)}/24" in lines(screen.sequences)[0]
        await pilot.press("right_square_bracket")
        assert screen.model.sequence in with_text
        await type_in(pilot, "f", ">")
        await until(pilot, lambda: screen.sequences.order.tolist() == beyond)
        await pilot.press("minus")
        more = sorted({pair.sequence_of(int(p)) for p in pair.divergences(0.2)})
        assert more != beyond
        await until(pilot, lambda: screen.sequences.order.tolist() == more)
        screen.jump(session.sequences.bounds(7)[0] + 3)
        await type_in(pilot, "b", "here")
        await type_in(pilot, "f", "*")
        await until(pilot, lambda: screen.sequences.order.tolist() == [7])
        await pilot.press("escape")
        await until(pilot, lambda: screen.sequences.line_count == 24)
        assert screen.model.state.filter == ""


async def test_a_filter_that_keeps_nothing_and_leaving_the_line(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await type_in(pilot, "f", "nowhere at all")
        await until(pilot, lambda: screen.sequences.line_count == 0)
        for key in ("n", "right_square_bracket", "2", "down", "enter", "1", "s"):
            await pilot.press(key)
        assert screen.position > 0
        await pilot.press("f", "escape")
        await until_back(pilot, screen)
        assert screen.model.state.filter == "nowhere at all"


async def test_every_mode_is_reached_by_key_and_by_list_and_its_threshold_is_its_own(
    folder: Path,
) -> None:
    app = make_app(folder, at=0)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        await until(pilot, lambda: screen.model.numbers is not None)
        for mode in (*MODES[1:], MODES[0]):
            await pilot.press("o")
            assert screen.model.mode is mode
            passage = screen.tokens.passage
            assert passage is not None
            assert passage.legend is not None
            legend_line = lines(screen.tokens)[1]
            assert mode.head in legend_line
            missing = mode.missing(
                screen.model.pair,
                screen.model.numbers.floor if screen.model.numbers else None,
            )  # type: ignore[arg-type]
            if missing:
                assert missing in legend_line
                assert not passage.levels.any()
            else:
                assert f"{len(screen.model.levels.beyond()):,} beyond" in legend_line
        await pilot.press("o", "o", "o")
        assert screen.model.mode.name == "ratio"
        await pilot.press("plus")
        assert screen.model.levels.threshold == 0.3
        assert screen.threshold == 0.1
        assert f"{len(screen.model.levels.beyond()):,} of" in hint(pilot)
        await pilot.press("n")
        assert screen.position == screen.model.levels.beyond()[0]
        await pilot.press("t")
        await until(
            pilot,
            lambda: isinstance(app.screen, Picker) and "1.30×" in screen_text(app),
        )
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.model.levels.threshold == 0.5)
        await pilot.press("O")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, Picker)
                and "Colour tokens by" in screen_text(app)
            ),
        )
        await pilot.press("down")
        await until(pilot, lambda: screen.model.mode.name == "rank")
        await pilot.press("escape")
        await until(pilot, lambda: screen.model.mode.name == "ratio")


async def test_the_share_is_of_the_tokens_that_could_have_a_level(
    folder: Path, pair: Pair
) -> None:
    known = ~np.isnan(pair.logprob_a)
    beyond = pair.logprob_a < -1.0
    assert int(known.sum()) > int(pair.scored.sum())
    save_state("generated-3000", ViewState(mode="logprob_a"))
    app = make_app(folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        wanted = (
            f"{int(beyond.sum()):,} beyond"
            f" ({percent(int(beyond.sum()), int(known.sum()))})"
        )
        await until(pilot, lambda: wanted in lines(screen.tokens)[1])
        await pilot.resize_terminal(120, 36)
        await until(
            pilot, lambda: lines(screen.tokens)[1].endswith(f" {int(beyond.sum()):,}")
        )
        assert "◆8.0" in lines(screen.tokens)[1]


async def test_a_long_count_is_made_in_a_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logdrift.tui.models.levels.AT_ONCE", 100)
    app = make_app(folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        await pilot.press("o", "o", "o", "plus")
        assert screen.model.mode.name == "ratio"
        await until(pilot, lambda: ("ratio", 0.3) in screen.model.counts)
        wanted = screen.model.mode.beyond(Stretch(screen.model.pair, 0, 3000), 0.3)  # type: ignore[arg-type]
        assert 0 < len(wanted) == len(screen.model.levels.beyond())
        assert f"{len(wanted):,} beyond" in lines(screen.tokens)[1]


async def test_a_sequential_mode_is_told_without_colour(folder: Path) -> None:
    save_state("generated-3000", ViewState(mode="logprob_b", threshold=0.1))
    for depth in ("none", "16", "256"):
        app = make_app(folder, depth=depth)  # type: ignore[arg-type]
        async with app.run_test(size=SMALL) as pilot:
            screen = await judged(pilot)
            await pilot.press("G")
            passage = screen.tokens.passage
            tokens = screen.tokens
            assert passage is not None
            first = tokens.flow.tokens_of(tokens.top)[0]
            last = len(passage.ids)
            seen = passage.levels[first:last]
            assert set(np.unique(seen).tolist()) >= {0, 5, 6}
            shown = "\n".join(lines(tokens)[2:])
            assert shown.count("◇") == int((seen == 7).sum())
            assert shown.count("◆") == int((seen == 8).sum())
            under = {
                segment.text.strip()
                for y in range(2, tokens.size.height)
                for segment in tokens.render_line(y)
                if segment.style is not None and segment.style.underline
            }
            assert under


async def test_what_cannot_be_compared_is_greyed_in_the_text_too(
    tmp_path: Path,
) -> None:
    made = write_session(
        tmp_path / "s",
        [1],
        [
            capture("trainer/prefill", [[NAN, -1.0, -2.0]]),
            capture(
                "vllm/decode",
                [[NAN, -1.5, -2.0]],
                facts={"weights_digest": "sha256:" + "f" * 64},
            ),
        ],
    )
    app = make_app(made.folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await until(
            pilot, lambda: "not comparable" in text(screen.query_one(AnswerBar))
        )
        styles = [
            s.style
            for y in range(2, 8)
            for s in screen.tokens.render_line(y)
            if "▲" in s.text
        ]
        assert styles
        for style in styles:
            assert style is not None
            assert style.color == app.palette.grey.color
            assert style.bgcolor == app.palette.back.bgcolor


async def test_a_character_of_several_tokens_is_shown_whole_and_rows_add_up(
    tmp_path: Path,
) -> None:
    smile = "😀".encode()
    row = [NAN, -1.0, -2.0, -1.0]
    made = write_session(
        tmp_path / "s",
        [1],
        [
            capture("trainer/prefill", [row]),
            capture("vllm/decode", [[NAN, -1.0, -1.0, -1.0]]),
        ],
    )
    ids = made.sequences.token_ids.tolist()
    pieces = {str(i): base64.b64encode(b"x").decode() for i in ids}
    for token_id, piece in zip(
        ids[1:], (smile[:2], smile[2:], " 中".encode()), strict=True
    ):
        pieces[str(token_id)] = base64.b64encode(piece).decode()
    assert len(set(ids)) == len(ids), "each token has a piece of its own"
    (made.folder / "pieces.json").write_text(json.dumps(pieces))
    app = make_app(made.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        shown = text(screen.tokens)
        assert "‹▼😀 中" in shown
        assert {screen.tokens.render_line(y).cell_length for y in range(10)} == {
            screen.tokens.size.width
        }


async def test_sorts_are_chosen_from_a_list_and_their_number_is_shown(
    folder: Path, pair: Pair
) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("S")
        await until_screen(pilot, Picker)
        await pilot.press("down", "down", "down", "down", "enter")
        await until(pilot, lambda: screen.model.state.sort == "sum")
        delta = np.where(pair.scored, pair.delta, 0).astype(np.float64)
        sums = np.array(
            [delta[slice(*pair.sequences.bounds(s))].sum() for s in range(24)]
        )
        assert (
            screen.sequences.order.tolist()
            == np.argsort(-np.abs(sums), kind="stable").tolist()
        )
        assert "▾sum" in lines(screen.sequences)[1]


async def test_the_inspector_orders_by_either_side_and_shows_more_captures(
    folder: Path,
) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("n", "3")
        inspector = screen.query_one(Inspector)
        await until(pilot, lambda: "top 20" in text(inspector))
        for by in (0, 1):
            found = screen.model.inspection()
            assert found.by == by
            known = [
                row.cells[by].logprob
                for row in found.top
                if row.cells[by].logprob is not None and not row.target
            ]
            assert known == sorted(known, reverse=True)
            await pilot.press("percent_sign")
        assert screen.model.inspection().by == 0
        await pilot.resize_terminal(80, 24)
        await until(
            pilot, lambda: "ratio" in text(inspector) and "entropy" in text(inspector)
        )
        await pilot.press("G")
        await until(pilot, lambda: "1 more capture" in text(inspector))
        await pilot.press("g")
        await until(
            pilot,
            lambda: (
                "reference" in next(row for row in lines(inspector) if "top 20" in row)
            ),
        )
        await pilot.press("right")
        await until(
            pilot,
            lambda: (
                "vllm/prefill"
                in next(row for row in lines(inspector) if "top 20" in row)
            ),
        )
        await pilot.press("left")
        await until(
            pilot,
            lambda: (
                "reference" in next(row for row in lines(inspector) if "top 20" in row)
            ),
        )


@pytest.mark.parametrize(
    ("floor", "said"),
    [(0.05, "× the floor"), (0.0, "repeats agree to the last bit"), (None, "")],
)
def test_where_a_column_does_not_fit_its_number_of_the_pair_is_said(
    folder: Path, pair: Pair, floor: float | None, said: str
) -> None:
    position = int(pair.divergences(0.2)[0])
    floors = {} if floor is None else {PAIR[1]: floor}
    found = inspect(pair.session, pair, position, floors=floors)
    palette = make_palette("256")
    details = TokenDetails(found, 1, False, palette)
    narrow = "\n".join(strip.text for strip in inspector_lines(details, 48))
    four = "\n".join(strip.text for strip in summary_lines(details, 80))
    assert "floors" not in narrow
    assert "ratio" in narrow
    if floor:
        said = f"{number(abs(float(pair.delta[position])) / floor, 3)}{said}"
    assert said in narrow
    assert said in four
    assert narrow.count(said) == 1 or not said
    assert said or "floor" not in narrow + four


async def test_the_header_has_the_numbers_of_the_report(
    folder: Path, pair: Pair
) -> None:
    from logdrift.core.compare.mismatch import mismatch_stats

    keep = pair.scope_mask("completion")
    wanted = mismatch_stats(
        pair.delta[keep],
        pair.logprob_a[keep],
        pair.logprob_b[keep],
        pair.count_per_sequence(keep),
        True,
    )
    app = make_app(folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await judged(pilot)
        await until(pilot, lambda: screen.model.numbers is not None)
        shown = text(screen.query_one(Header))
        assert f"k3 {number(wanted.k3, 3)}" in shown
        assert f"ESS {number(wanted.ess_token, 3)}" in shown
        assert "no floor: nothing repeated" in text(screen.query_one(AnswerBar))


async def test_reopening_restores_mode_filter_thresholds_and_marks(
    folder: Path, rare: str
) -> None:
    app = make_app(folder, at=0)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("o", "o", "o", "plus")
        await type_in(pilot, "b", "first")
        await type_in(pilot, "f", rare)
        await until(pilot, lambda: 0 < screen.sequences.line_count < 24)
        kept = screen.sequences.order.tolist()
        left = screen.model.state
        await pilot.press("q")
    assert left == ViewState(
        None, 0, "number", 0.1, "ratio", (("ratio", 0.3),), rare, (Mark(0, "first"),)
    )
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        assert screen.model.state == left
        assert screen.model.mode.name == "ratio"
        assert screen.model.levels.threshold == 0.3
        await until(pilot, lambda: screen.sequences.order.tolist() == kept)
        assert any("*" in line[:8] for line in lines(screen.tokens))


async def test_the_new_keys_do_no_harm_in_an_empty_session(tmp_path: Path) -> None:
    made = write_session(tmp_path / "empty", [], [])
    app = make_app(made.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = explorer(app)
        await until(
            pilot, lambda: "no pair to compare yet" in text(screen.query_one(Header))
        )
        for key in (
            "colon",
            "semicolon",
            "full_stop",
            "comma",
            "u",
            "U",
            "b",
            "B",
            "o",
            "i",
            "escape",
        ):
            await pilot.press(key)
        assert app.screen is screen
        for key in ("slash", "f"):
            await type_in(pilot, key, "x")
        for key in ("O", "S"):
            await pilot.press(key)
            await until_screen(pilot, Picker)
            await pilot.press("escape")
            await until_back(pilot, screen)


async def test_a_line_is_edited_pasted_into_and_made_visible(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("slash")
        await until_screen(pilot, LinePrompt)
        prompt = app.screen
        assert isinstance(prompt, LinePrompt)
        await pilot.press("a", "b", "c", "left", "backspace", "d")
        assert prompt.text == "adc"
        prompt.query_one(LineBox).post_message(
            events.Paste("\x1b[31m\u202e\nnext line")
        )
        await until_shown(pilot, "ad<0x1B>[31m<U+202E>c")
        assert prompt.text == "ad\x1b[31m\u202ec"
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not prompt)


async def test_letters_of_labels_have_a_style_that_no_token_has(folder: Path) -> None:
    for depth in ("none", "16", "256"):
        app = make_app(folder, depth=depth)
        async with app.run_test(size=SMALL) as pilot:
            screen = await judged(pilot)
            await pilot.press("n", "semicolon")
            tokens = screen.tokens
            labels = sorted(tokens.labels.values())
            assert labels
            found = screen.palette.found
            drawn = []
            for y in range(tokens.fixed, tokens.size.height):
                for segment in tokens.render_line(y):
                    style = segment.style
                    if style is not None and style + found == style:
                        drawn.append(segment.text)
            assert sorted("".join(drawn)) == sorted("".join(labels)), depth
            await pilot.press("escape")


async def test_space_marks_without_a_note_and_enter_shows_all_of_a_token(
    folder: Path,
) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("n", "space")
        position = screen.position
        assert screen.model.state.marks == (Mark(position, ""),)
        assert "marked; there are 1" in hint(pilot)
        await pilot.press("space")
        assert screen.model.state.marks == ()
        screen.model.mark(position, "odd")
        await pilot.press("space")
        assert screen.model.state.marks == ()
        assert "its note was: odd" in hint(pilot)

        await pilot.press("enter")
        assert screen.pane_switch.zoomed
        assert screen.query_one(Inspector).has_focus
        await pilot.press("z")
        assert not screen.pane_switch.zoomed
        assert screen.tokens.has_focus
        assert screen.position == position


async def test_a_pair_that_takes_the_place_of_another_is_named() -> None:
    """As a capture that runs brings it."""
    app = make_app(SAMPLE)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        session = screen.model.session
        shown = screen.model.labels
        pairs = [pair for pair in list_pairs(session) if pair != shown]
        other = make_pair(session, *pairs[0])
        screen.post_message(SessionRead(session, PairView(other), "running", None))
        await until_shown(pilot, f"compared now: {pairs[0][0]}")
        assert screen.model.labels == pairs[0]
