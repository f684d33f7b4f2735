"""The explorer, driven by keys. Every number that is asserted is worked out from the
session, not from the screen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.compare.pair import list_pairs, make_pair
from logdrift.core.numbers import number, signed
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import write_manifest
from logdrift.tui.actions import COMMANDS
from logdrift.tui.models.opening import worst_position
from logdrift.tui.models.state import Mark, ViewState, load_state, save_state
from logdrift.tui.models.thresholds import threshold_choices
from logdrift.tui.palette import Depth
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.pair_picker import PairPicker
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.widgets.answer_bar import AnswerBar
from logdrift.tui.widgets.bars import Header, Hints, Tabs
from logdrift.tui.widgets.inspector import Inspector, Summary
from logdrift.tui.widgets.reading import Reading
from tests.common import Fields
from tests.divergences import count_beyond
from tests.made_sessions import capture, edit_manifest, write_session
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
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
PAIR = ("trainer/prefill", "vllm/decode")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 sequences, 3,000 tokens, 4 captures, hostile pieces among them."""
    return make_session(
        tmp_path_factory.mktemp("explorer") / "gen", 3000, 24, 20, captures=4
    )


async def wait_for_picture(pilot: Any) -> None:
    await judged(pilot)
    await pilot.press("n", "n")
    screen = explorer(pilot.app)
    await until(
        pilot,
        lambda: screen.model.answer is not None and screen.model.numbers is not None,
    )
    await until(
        pilot,
        lambda: (
            screen.chart.chart is None
            or f"[{screen.tokens.cursor}]" in screen_text(pilot.app)
        ),
    )


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 36), (200, 60)])
def test_picture(
    snap_compare: Callable[..., bool], folder: Path, width: int, height: int
) -> None:
    assert snap_compare(
        make_app(folder), terminal_size=(width, height), run_before=wait_for_picture
    )


@pytest.mark.parametrize("depth", ["none", "16"])
def test_picture_with_few_colours(
    snap_compare: Callable[..., bool], folder: Path, depth: Depth
) -> None:
    assert snap_compare(
        make_app(folder, depth=depth),
        terminal_size=(80, 24),
        run_before=wait_for_picture,
    )


async def test_the_first_screen_shows_session_pair_verdict_and_text(
    folder: Path,
) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        assert screen.view is not None
        assert screen.view.stats is not None
        assert screen.view.gate is not None
        head = text(screen.query_one(Header))
        for wanted in (
            "gen",
            "24 seq",
            "3,000 tok",
            "trainer/prefill → vllm/decode",
        ):
            assert wanted in head
        answer = text(screen.query_one(AnswerBar))
        assert f"MAE {number(screen.view.stats.mae)}" in answer
        assert "caution" in answer
        assert "1 Tokens  2 Sequences  3 Inspector  4 Chart" in text(
            screen.query_one(Tabs)
        )
        worst = int(np.argmax(screen.view.pair.worst))
        assert f"Sequence {worst} " in lines(screen.tokens)[0]
        assert lines(screen.query_one(Hints))[0].strip().endswith("? help")


async def test_n_visits_every_divergence_in_order_and_says_when_there_is_none(
    folder: Path,
) -> None:
    pair = make_pair(open_session(folder), *PAIR)
    wanted = np.flatnonzero(pair.scored & (np.abs(pair.delta) > 0.5)).tolist()
    assert len(wanted) > 5
    assert len({pair.sequence_of(p) for p in wanted}) > 3
    save_state("generated-3000", ViewState(threshold=0.5))
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        seen = []
        for _ in wanted:
            await pilot.press("n")
            seen.append(screen.position)
            passage = screen.tokens.passage
            assert passage is not None
            assert passage.sequence == pair.sequence_of(screen.position)
        assert seen == wanted
        await pilot.press("n")
        assert screen.position == wanted[-1]
        assert "no token after this one" in text(screen.query_one(Hints))
        await pilot.press("N")
        assert screen.position == wanted[-2]


async def test_a_divergent_token_is_marked_and_underlined(folder: Path) -> None:
    for depth in ("none", "16", "256"):
        app = make_app(folder, depth=depth)
        async with app.run_test(size=SMALL) as pilot:
            screen = await judged(pilot)
            await pilot.press("n", "right")
            passage = screen.tokens.passage
            assert passage is not None
            divergent = np.flatnonzero(passage.levels)
            shown = "\n".join(lines(screen.tokens)[screen.tokens.fixed :])
            assert shown.count("▲") == int((passage.levels > 0).sum()) > 0
            assert shown.count("▼") == int((passage.levels < 0).sum()) > 0
            underlined = sum(
                segment.text.count("▲") + segment.text.count("▼")
                for y in range(screen.tokens.fixed, screen.tokens.size.height)
                for segment in screen.tokens.render_line(y)
                if segment.style is not None and segment.style.underline
            )
            # All but the one under the cursor, if it is one.
            assert underlined >= len(divergent) - 1


async def test_summary_and_inspector_show_the_numbers_of_the_token(
    folder: Path,
) -> None:
    session = open_session(folder)
    pair = make_pair(session, *PAIR)
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("n")
        position = screen.position
        await until(
            pilot,
            lambda: f"[{screen.tokens.cursor}]" in text(screen.query_one(Summary)),
        )
        shown = text(screen.query_one(Summary))
        for value in (
            number(float(pair.logprob_a[position])),
            number(float(pair.logprob_b[position])),
            signed(float(pair.delta[position])),
        ):
            assert value in shown
        await pilot.press("3")
        await until(pilot, lambda: "top 20" in text(screen.query_one(Inspector)))
        rows_of_captures(screen, session, PAIR, position)
        await pilot.press("G")
        every = tuple(info.label for info in session.captures)
        await until(pilot, lambda: every[0] in text(screen.query_one(Inspector)))
        rows_of_captures(screen, session, every, position)
        await until(pilot, lambda: "all other ids" in text(screen.query_one(Inspector)))


def rows_of_captures(
    screen: ExplorerScreen, session: Session, labels: Sequence[str], position: int
) -> None:
    """Each capture has a row with what it gave the token."""
    shown = text(screen.query_one(Inspector))
    for label in labels:
        logprob = float(session.capture(label).logprob.whole()[position])
        row = next(line for line in shown.splitlines() if label in line)
        assert number(logprob) in row


async def test_moving(folder: Path) -> None:
    session = open_session(folder)
    first = session.sequences.bounds(0)[1]
    second = session.sequences.bounds(1)[1]
    app = make_app(folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        steps = [
            ("l", 1),
            ("right", 2),
            ("h", 1),
            ("left", 0),
            ("G", first - 1),
            ("right", first),
            ("left", first - 1),
            ("g", 0),
            ("right_square_bracket", first),
            ("right_square_bracket", second),
            ("left_square_bracket", first),
        ]
        for key, position in steps:
            await pilot.press(key)
            assert screen.position == position, key
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert screen.position == 0
        assert "first sequence" in text(screen.query_one(Hints))
        layout = screen.tokens.flow
        for key, line in (
            ("j", 1),
            ("down", 2),
            ("k", 1),
            ("up", 0),
            ("pagedown", layout.height - 1),
            ("pageup", 0),
        ):
            await pilot.press(key)
            assert layout.line_of(screen.tokens.cursor) == line, key
        await pilot.press("j", "end")
        assert screen.tokens.cursor == layout.tokens_of(1)[1]
        await pilot.press("0")
        assert screen.tokens.cursor == layout.tokens_of(1)[0]


async def test_a_long_sequence_pages_with_the_cursor_in_sight(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "long", 20_000, 2, 3, captures=2)
    app = make_app(folder, at=0)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        tokens = screen.tokens
        seen = set()
        for _ in range(12):
            await pilot.press("pagedown")
            line = tokens.flow.line_of(tokens.cursor)
            assert tokens.top <= line < tokens.top + tokens.page
            seen.add(tokens.top)
        assert len(seen) == 12
        await pilot.press("G")
        assert tokens.top == tokens.flow.height - tokens.page
        await pilot.press("g")
        assert tokens.top == 0


async def test_threshold_keys_and_picker(folder: Path) -> None:
    pair = make_pair(open_session(folder), *PAIR)
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("plus")
        assert screen.threshold == 0.2
        assert f"{count_beyond(pair, 0.2):,} of {int(pair.scored.sum()):,}" in text(
            screen.query_one(Hints)
        )
        await pilot.press("minus", "minus")
        assert screen.threshold == 0.05
        before = screen.tokens.passage
        await pilot.press("t")
        await until_screen(pilot, Picker)
        assert f"{count_beyond(pair, 0.05):,}" in screen_text(app)
        choices = [c.value for c in threshold_choices(screen.model.levels)]
        index = choices.index(0.05)
        await pilot.press("down")
        await until(pilot, lambda: screen.threshold == choices[index + 1])
        assert screen.tokens.passage is not before
        await pilot.press("escape")
        await until_back(pilot, screen)
        assert screen.threshold == 0.05
        await pilot.press("t", "up", "enter")
        await until_back(pilot, screen)
        assert screen.threshold == choices[index - 1] == 0.02


async def test_pairs_are_listed_with_numbers_and_chosen(folder: Path) -> None:
    session = open_session(folder)
    pairs = list_pairs(session)
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("n")
        position = screen.position
        await pilot.press("p")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, PairPicker)
                and len(app.screen.known) == len(pairs)
            ),
        )
        shown = screen_text(app)
        for a, b in pairs:
            row = [line for line in shown.splitlines() if f"{a} → {b}" in line][-1]
            delta = make_pair(session, a, b)
            mae = np.abs(
                delta.delta[delta.scope_mask("completion")].astype(np.float64)
            ).mean()
            assert number(float(mae)) in row
        await pilot.press("down", "enter")
        await until(
            pilot,
            lambda: (
                screen.view is not None
                and screen.view.labels == pairs[1]
                and screen.view.gate is not None
            ),
        )
        assert screen.position == position
        assert " → ".join(pairs[1]) in text(screen.query_one(Header))


async def test_sort_and_jump_from_the_list(folder: Path) -> None:
    session = open_session(folder)
    pair = make_pair(session, *PAIR)
    app = make_app(folder, at=0)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("s")
        assert (
            screen.sequences.order.tolist()
            == np.argsort(-pair.worst, kind="stable").tolist()
        )
        assert screen.sequences.selected == screen.sequences.place_of(0)
        await pilot.press("tab")
        assert screen.pane == "sequences"
        await pilot.press("g", "enter")
        worst = int(np.argmax(pair.worst))
        await until(
            pilot, lambda: screen.model.sequence == worst and screen.pane == "tokens"
        )
        assert screen.position == session.sequences.bounds(worst)[0]
        assert number(float(pair.worst[worst]), 3) in lines(screen.sequences)[2]
        await pilot.press("s")
        assert (
            screen.sequences.order.tolist()
            == np.argsort(-pair.mean_abs, kind="stable").tolist()
        )


async def test_a_small_screen_shows_one_pane_at_a_time_and_a_wide_one_all(
    folder: Path,
) -> None:
    names = ("tokens", "sequences", "inspector", "chart")
    app = make_app(folder)
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await judged(pilot)
        for key, name in zip("1234", names, strict=True):
            await pilot.press(key)
            await until(pilot, lambda name=name: screen.query_one(f"#{name}").has_focus)  # type: ignore[misc]
            found = [n for n in names if screen.query_one(f"#{n}").size.area]
            assert found == [name]
        await until(pilot, lambda: "└" in text(screen.chart))
        await pilot.resize_terminal(130, 40)
        await until(
            pilot, lambda: all(screen.query_one(f"#{n}").size.area for n in names)
        )
        await until(
            pilot,
            lambda: (
                "top 20" in text(screen.query_one(Inspector))
                or "no score" in text(screen.query_one(Inspector))
            ),
        )
        await pilot.resize_terminal(59, 20)
        await until_shown(pilot, "59x20 is too small")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "too small" not in screen_text(app))


async def test_help_names_every_command(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("question_mark")
        await until_screen(pilot, TextScreen)
        window = app.screen
        assert isinstance(window, TextScreen)
        shown = " ".join(window.text_to_save().split())
        for command in COMMANDS:
            if command.action != "command_line":  # its key goes to places here
                assert " ".join(command.help.split()) in shown
        await pilot.press("q")
        await until_back(pilot, screen)


async def test_help_is_read_whole_in_the_smallest_terminal(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=(60, 20)) as pilot:
        await judged(pilot)
        await pilot.press("question_mark")
        await until_screen(pilot, TextScreen)
        reading = app.screen.query_one(Reading)
        width = reading.inner_width
        rows = [reading.line(index, width).text for index in range(reading.line_count)]
        words = " ".join(" ".join(rows).split())
        for command in COMMANDS:
            if command.action != "command_line":  # its key goes to places here
                assert command.help in words


async def test_copy_goes_through_osc_52(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    for tmux in ("", "socket,1,0"):
        monkeypatch.setenv("TMUX", tmux)
        app = make_app(folder)
        async with app.run_test(size=SMALL) as pilot:
            screen = await judged(pilot)
            sent: list[str] = []
            monkeypatch.setattr(app._driver, "write", sent.append)
            await pilot.press("n", "c")
            (data,) = (s for s in sent if "52;c;" in s)
            assert (
                data.startswith("\x1bPtmux;\x1b\x1b]52")
                if tmux
                else data.startswith("\x1b]52;c;")
            )
            line = copied(sent)
            assert f"pos {screen.tokens.cursor}" in line
            assert "vllm/decode" in line
            assert "copied" in text(screen.query_one(Hints))


async def test_reopening_restores_cursor_pair_sort_and_threshold(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("n", "n", "right_square_bracket", "right", "s", "plus", "p")
        await until_screen(pilot, Picker)
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.model.state.pair is not None)
        left = screen.model.state
        await pilot.press("q")
    assert load_state("generated-3000") == (left, None)
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        assert screen.model.state == left
        assert screen.view is not None
        assert screen.view.labels == left.pair


async def test_a_pair_from_the_command_line_wins(folder: Path) -> None:
    save_state(
        "generated-3000", ViewState(pair=("reference/prefill", "trainer/prefill"))
    )
    app = make_app(folder, pair=("reference/prefill", "vllm/prefill"))
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        assert screen.view is not None
        assert screen.view.labels == (
            "reference/prefill",
            "vllm/prefill",
        )


async def test_a_failed_capture_is_said_and_its_log_can_be_read(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "failed")
    (copy / "logs").mkdir()
    (copy / "logs" / "vllm.log").write_bytes(
        b"\n" * 50 + b"\x1b[31mCUDA out of memory\x1b[0m\x07\n"
    )

    def fail(data: Fields) -> None:
        data["captures"][3].update(
            status="failed", failure="Traceback\nout of memory\x1b]0;x\x07", parts=[]
        )

    edit_manifest(open_session(copy), fail)
    app = make_app(copy)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        assert "✗ vllm/prefill failed: out of memory<0x1B>]0;x<0x07>  (L: log)" in text(
            screen.query_one(Header)
        )
        await pilot.press("L")
        await until_screen(pilot, Picker)
        assert "vllm  failed" in screen_text(app)
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "CUDA out of memory<0x07>" in screen_text(app)
            ),
        )
        await pilot.press("q", "p")
        await until_screen(pilot, Picker)


async def test_a_pair_that_cannot_be_compared_says_why_and_greys_its_numbers(
    tmp_path: Path,
) -> None:
    nan = float("nan")
    made = write_session(
        tmp_path / "s",
        [1],
        [
            capture("trainer/prefill", [[nan, -1.0, -2.0]]),
            capture(
                "vllm/decode",
                [[nan, -1.5, -2.0]],
                facts={"weights_digest": "sha256:" + "f" * 64},
            ),
        ],
    )
    app = make_app(made.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        answer = text(screen.query_one(AnswerBar))
        assert "not comparable: the weights differ" in answer
        await until(pilot, lambda: "-1.5000" in text(screen.query_one(Summary)))
        row = screen.query_one(Summary).render_line(2)
        value = next(s.style for s in row if "-1.5000" in s.text)
        assert value is not None
        assert value.color == app.palette.muted.color


async def test_a_damaged_capture_leaves_the_rest_usable(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "damaged")
    (copy / "captures" / "vllm" / "decode" / "part-00000.safetensors").write_bytes(
        b"x" * 100
    )
    app = make_app(copy)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        assert "part-00000.safetensors" in text(screen.query_one(Header))
        assert screen.view is not None
        assert screen.view.labels == (
            "trainer/prefill",
            "vllm/prefill",
        )
        await pilot.press("p")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, PairPicker)
                and len(app.screen.known) == len(list_pairs(screen.session))
            ),
        )
        await pilot.press("g", "enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "not a whole safetensors file" in screen_text(app)
            ),
        )
        await pilot.press("q", "n")
        await until(pilot, lambda: app.screen is screen and screen.position > 0)


async def test_a_session_deleted_underneath_is_said_once_and_what_was_read_stays(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "gone")
    app = make_app(copy)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        shutil.rmtree(copy)
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "no such folder" in screen_text(app)
            ),
        )
        assert "What was read before stays on the screen." in [
            line.strip() for line in lines(app.screen.query_one(Reading))
        ]
        assert "↵" not in "".join(lines(app.screen.query_one(Reading)))
        await pilot.press("q", "n")
        await until(pilot, lambda: app.screen is screen and screen.position > 0)
        for key in ("o", "%", "]", "v", "s"):
            await pilot.press("right_square_bracket" if key == "]" else key)
        for key in ("m", "d", "T", "R", "w"):
            await pilot.press(key)
            await until(pilot, lambda: app.screen is not screen)
            while app.screen is not screen:
                await pilot.press(
                    "escape" if isinstance(app.screen, TextScreen) else "q"
                )
                await pilot.pause()
        assert app.is_running


async def test_two_explorers_on_one_session_keep_what_the_last_one_left(
    folder: Path,
) -> None:
    first = make_app(folder)
    second = make_app(folder)
    async with (
        first.run_test(size=SMALL) as one,
        second.run_test(size=MEDIUM) as two,
    ):
        here = await judged(one)
        there = await judged(two)
        await one.press("n")
        await two.press("n", "n", "b", *"noted", "enter")
        await until(two, lambda: there.model.state.marks != ())
        assert there.position > here.position > 0
        await one.press("b", *"mine", "enter")
        await until(one, lambda: here.model.state.marks != ())
    state, _ = load_state(open_session(folder).manifest.id)
    found = {mark.note for mark in state.marks}
    assert found == {"noted", "mine"}


def shown_so_far(session: Session, sequences: int, captures: dict[str, int]) -> None:
    """Write the manifest that a capture would have written at some moment: so many
    sequences of each.
    """
    full = read_manifest(session.folder.with_name("full"))
    infos = []
    for info in full.captures:
        done = captures.get(info.label, 0)
        kept = tuple(
            part for part in info.parts if part.first_sequence + part.sequences <= done
        )
        infos.append(
            info._replace(
                parts=kept, status="complete" if kept == info.parts else "running"
            )
        )
    parts = tuple(
        p for p in full.sequences.parts if p.first_sequence + p.sequences <= sequences
    )
    write_manifest(
        session.folder,
        full._replace(
            sequences=full.sequences._replace(parts=parts), captures=tuple(infos)
        ),
    )


async def test_a_session_being_written_is_followed_and_the_cursor_stays(
    tmp_path: Path,
) -> None:
    from logdrift.core.session.lock import acquire, release

    nan = float("nan")
    rows = [[nan, *[-1.0 - 0.3 * (i % 3) for i in range(9)]] for _ in range(6)]
    others = [[nan, *[-1.2] * 9] for _ in range(6)]
    made = write_session(
        tmp_path / "full",
        [2] * 6,
        [capture("trainer/prefill", rows), capture("vllm/decode", others)],
    )
    live = open_session(shutil.copytree(made.folder, tmp_path / "live"))
    shown_so_far(live, 2, {"vllm/decode": 2})
    acquire(live.folder, "test")
    app = make_app(live.folder)
    try:
        async with app.run_test(size=(140, 36)) as pilot:
            screen = explorer(app)
            await until(
                pilot,
                lambda: "no pair to compare yet" in text(screen.query_one(Header)),
            )
            assert "capturing 17%" in text(screen.query_one(Header))
            assert screen.sequences.line_count == 2
            await pilot.press("right", "right")
            assert "no scores" in lines(screen.tokens)[0]
            shown_so_far(live, 4, {"vllm/decode": 4, "trainer/prefill": 2})
            await until(
                pilot,
                lambda: (
                    screen.sequences.line_count == 4 and screen.model.pair is not None
                ),
            )
            assert screen.position == 2
            assert "capturing 50%" in text(screen.query_one(Header))
            shown_so_far(live, 6, {"vllm/decode": 6, "trainer/prefill": 6})
            release(live.folder)
            await until(
                pilot,
                lambda: screen.model.pair is not None and screen.model.pair.count == 6,
            )
            await until(
                pilot, lambda: "capturing" not in text(screen.query_one(Header))
            )
            assert screen.position == 2
            assert screen.sequences.line_count == 6
            await pilot.press("n")
            assert screen.position > 2
    finally:
        release(live.folder)


async def test_numbers_of_a_growing_pair_rest_and_come_at_once_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from logdrift.core.session.lock import acquire, release

    monkeypatch.setattr("logdrift.tui.screens.explorer.jobs._REST", 1e9)
    rows = [[float("nan"), *[-1.0] * 9] for _ in range(6)]
    others = [[float("nan"), *[-1.2] * 9] for _ in range(6)]
    made = write_session(
        tmp_path / "full",
        [2] * 6,
        [capture("trainer/prefill", rows), capture("vllm/decode", others)],
    )
    live = open_session(shutil.copytree(made.folder, tmp_path / "live"))
    shown_so_far(live, 2, {"vllm/decode": 2, "trainer/prefill": 2})
    acquire(live.folder, "test")
    app = make_app(live.folder)
    try:
        async with app.run_test(size=(140, 36)) as pilot:
            screen = explorer(app)
            await until(pilot, lambda: screen.model.numbers is not None)
            shown_so_far(live, 4, {"vllm/decode": 4, "trainer/prefill": 4})
            await until(
                pilot,
                lambda: screen.model.pair is not None and screen.model.pair.count == 4,
            )
            await until(
                pilot, lambda: screen.view is not None and screen.view.stats is not None
            )
            await pilot.pause(1.0)
            assert screen.model.numbers is None
            shown_so_far(live, 6, {"vllm/decode": 6, "trainer/prefill": 6})
            release(live.folder)
            await until(
                pilot,
                lambda: (
                    screen.model.numbers is not None
                    and screen.model.pair is not None
                    and screen.model.pair.count == 6
                ),
            )
    finally:
        release(live.folder)


async def test_a_damaged_saved_view_is_a_notice(folder: Path, tmp_path: Path) -> None:
    save_state("generated-3000", ViewState(position=5))
    next((tmp_path / "state" / "logdrift").iterdir()).write_text(
        json.dumps({"pair": 3})
    )
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = explorer(app)
        await until(pilot, lambda: "was ignored" in text(screen.query_one(Hints)))
        pair = screen.model.pair
        assert pair is not None
        assert screen.position == worst_position(pair)


async def test_an_empty_session_opens(tmp_path: Path) -> None:
    made = write_session(tmp_path / "empty", [], [])
    app = make_app(made.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = explorer(app)
        await until(
            pilot, lambda: "no pair to compare yet" in text(screen.query_one(Header))
        )
        for key in (
            "n",
            "N",
            "p",
            "t",
            "s",
            "plus",
            "right",
            "pagedown",
            "c",
            "L",
            "right_square_bracket",
            "4",
            "2",
            "enter",
            "1",
        ):
            await pilot.press(key)
        assert app.screen is screen
        await pilot.press("m", "enter")
        await until(
            pilot,
            lambda: (
                "two captures with a finished sequence are needed" in screen_text(app)
            ),
        )


async def test_a_mark_that_is_not_captured_yet_is_said_and_not_gone_to(
    folder: Path,
) -> None:
    session = open_session(folder)
    save_state(
        session.manifest.id,
        ViewState(marks=(Mark(5, "here"), Mark(session.sequences.tokens + 7, "later"))),
    )
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await judged(pilot)
        await pilot.press("B", "down", "enter")
        await until(
            pilot,
            lambda: "this token is not captured yet" in text(screen.query_one(Hints)),
        )
        assert screen.position == 0
        screen.listing.filter_by("*")
        await until(pilot, lambda: screen.sequences.line_count == 1)
        screen.moves.go_to(session.sequences.tokens + 7)
        last = session.sequences.tokens - 1
        await until(pilot, lambda: screen.position == last)


async def test_q_leaves_with_0(folder: Path) -> None:
    app = make_app(folder)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("q")
    assert app.return_value == 0
