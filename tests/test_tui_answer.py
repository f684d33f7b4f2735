"""The answer of a pair on the screens: explorer, why and limits print the sentence of
report and `why`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.answer import Answer
from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.numbers import number
from logdrift.core.session.reader import Session
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.limits import LimitsScreen
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.widgets.answer_bar import AnswerBar
from tests.made_experiments import (
    PROMPTS,
    named,
    processed,
    record_of,
    rows,
    save_record,
    simple,
)
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    LARGE,
    MEDIUM,
    explorer,
    head,
    joined,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_back,
)

pytestmark = pytest.mark.usefixtures("own_home")
SIZES = [(60, 20), (80, 24), (100, 30), (120, 36), (200, 60)]
Made = Callable[[Path], tuple[Session, Any]]


def sentence_of(session: Session) -> str:
    """What report and `why` print of the session's pair."""
    second = session.captures[1].label
    return diagnose(
        session, make_pair(session, "trainer/prefill", second)
    ).answer.sentence


async def answered(pilot: Any) -> ExplorerScreen:
    """The explorer with the answer on it."""
    screen = await judged(pilot)
    await until(pilot, lambda: screen.model.answer is not None)
    return screen


def bar_of(screen: ExplorerScreen) -> AnswerBar:
    return screen.query_one(AnswerBar)


def sure_title(answer: Answer) -> str:
    """The cause, as the line has it where there is little room."""
    if answer.cause == "noise":
        return "numerical noise"
    return f"{answer.sureness} {answer.title}"


@pytest.mark.parametrize("made", [simple, processed])
@pytest.mark.parametrize("size", SIZES)
async def test_the_explorer_has_the_answer_and_every_pane_its_last_line(
    tmp_path: Path, size: tuple[int, int], made: Made
) -> None:
    """Comparable, size and cause at every size, each in the colour of its meaning; the
    worst token, the share and the floor from 80 columns on.
    """
    session, _ = made(tmp_path / "s")
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await answered(pilot)
        await until(pilot, lambda: screen.model.numbers is not None)
        assert screen.model.answer is not None
        answer = screen.model.answer.answer
        assert answer is not None
        assert answer.mae is not None
        bar = bar_of(screen)
        shown = text(bar)
        assert f"MAE {number(answer.mae)}" in shown
        assert sure_title(answer)[: size[0] - 20] in joined(shown)
        refused = answer.comparable == "not_comparable"
        assert shown.startswith(" not comparable: " if refused else " comparable")
        if refused:
            reason = answer.next.rstrip(".")
            assert reason[: size[0] - 30] in joined(shown)
        elif size[0] >= 80:
            assert answer.standing
            assert answer.usual
            assert f"{answer.standing} for {answer.usual.dtype}" in shown
            assert f"({answer.usual.words})" in shown
            assert "worst " in shown
            assert "% beyond 0.1" in shown
            assert "floor" in shown
        if size[0] >= 80:
            assert "worst " in shown
        for widget in screen.query("*"):
            if widget.display and widget.size.height:
                assert widget.region.bottom <= size[1], widget
        for line in screen_text(app).splitlines():
            assert cell_len(line) <= size[0]
        if size[1] < 30:
            assert screen_text(app).splitlines()[-2].strip(), (
                "the last of the four lines below the text"
            )


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 60)])
async def test_nothing_moves_when_it_comes(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """Its two lines are there from the first screen on."""
    session, _ = simple(tmp_path / "s")
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = explorer(app)
        before = [
            (widget.id, widget.region) for widget in screen.query("*") if widget.display
        ]
        assert screen.model.answer is None
        assert joined(text(bar_of(screen))) in ("", "judging …")
        await answered(pilot)
        assert [
            (widget.id, widget.region) for widget in screen.query("*") if widget.display
        ] == before


@pytest.mark.parametrize(
    "name", ["verdict", "size", "cause", "worst", "share", "floor"]
)
async def test_a_click_on_a_part_does_what_its_key_does(
    tmp_path: Path, name: str
) -> None:
    """The key stands beside the part, and both lead to one screen."""
    session, _ = simple(tmp_path / "s")
    app = make_app(session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await answered(pilot)
        await until(pilot, lambda: screen.model.numbers is not None)
        bar = bar_of(screen)
        row, line, entry = next(
            (row, line, entry)
            for row, line in enumerate(bar.placed)
            for entry in line
            if entry.part.name == name
        )
        assert entry.key, "there is room for it"
        assert f"{entry.text} {entry.key}" in lines(bar)[row]
        before = line[: line.index(entry)]
        column = 1 + sum(placed.cells + 3 for placed in before)
        opened = []
        for way in (
            pilot.press(entry.key),
            pilot.click(AnswerBar, offset=(column, row)),
            pilot.click(AnswerBar, offset=(column + entry.cells - 1, row)),
        ):
            await way
            await until(pilot, lambda: app.screen is not screen)
            opened.append(type(app.screen))
            await pilot.press("escape" if name == "share" else "q")
            await until_back(pilot, screen)
        assert len(set(opened)) == 1
        await pilot.click(AnswerBar, offset=(119, row))
        await pilot.pause()
        assert app.screen is screen, "beside all parts a click does nothing"


async def test_the_share_is_that_of_the_threshold(tmp_path: Path) -> None:
    session, _ = simple(tmp_path / "s")
    app = make_app(session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await answered(pilot)
        for _ in range(3):
            await pilot.press("plus")
            pair = screen.model.pair
            assert pair is not None
            threshold = screen.model.threshold
            share = len(pair.divergences(threshold)) / int(pair.scored.sum())
            said = f"{share:.1%} beyond {threshold:g}"
            await until(
                pilot, lambda said=said: said in text(bar_of(screen)).replace("<", "")
            )  # type: ignore[misc]


async def test_another_pair_has_another_answer_and_never_the_old_one(
    tmp_path: Path,
) -> None:
    values = [np.array([np.nan, *(-1.0 - 0.1 * i for i in range(30))])]
    made = [
        capture("trainer/prefill", values),
        capture("vllm/prefill", values),
        capture("vllm/decode", values, facts={"weights_digest": "sha256:" + "f" * 64}),
    ]
    session = write_session(tmp_path / "s", [1], made)
    app = make_app(session.folder, pair=("trainer/prefill", "vllm/prefill"))
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await answered(pilot)
        assert screen.model.answer is not None
        assert screen.model.answer.sentence.startswith("comparable")
        screen.take_pair(make_pair(session, "trainer/prefill", "vllm/decode"))
        assert screen.model.answer is None, "nothing is shown until it is known"
        await until(pilot, lambda: screen.model.answer is not None)
        assert screen.model.answer.labels == ("trainer/prefill", "vllm/decode")
        await until(
            pilot,
            lambda: text(screen.query_one("#answer")).startswith(" not comparable: "),
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("made", [simple, processed])
async def test_why_and_limits_have_it_whole(
    tmp_path: Path, size: tuple[int, int], made: Made
) -> None:
    session, _ = made(tmp_path / "s")
    sentence = sentence_of(session)
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        await answered(pilot)
        await pilot.press("w")
        await until(
            pilot,
            lambda: isinstance(app.screen, WhyScreen) and app.screen.found is not None,
        )
        await until(pilot, lambda: head(app.screen).startswith(sentence))
        await pilot.press("q", "T")
        await until(
            pilot,
            lambda: isinstance(app.screen, LimitsScreen) and bool(app.screen.limits),
        )
        shown = joined(text(app.screen.query_one("#answer")))
        assert shown == sentence or (
            size[0] == 60
            and shown.endswith("…")
            and sentence.startswith(shown[:-1].rstrip())
        )


async def test_limits_work_it_out_where_the_explorer_had_no_time(
    tmp_path: Path,
) -> None:
    session, pair = simple(tmp_path / "s")
    app = make_app(session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        app.push_screen(LimitsScreen(pair))
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, LimitsScreen) and app.screen.answer is not None
            ),
        )
        assert joined(text(app.screen.query_one("#answer"))) == sentence_of(session)


async def test_a_proof_reaches_why_and_the_explorer(tmp_path: Path) -> None:
    """An experiment ran meanwhile: the why screen weighs it, and the explorer's line
    says it too.
    """
    session, pair = processed(tmp_path / "s")
    raw = "vllm: logprobs_mode=raw_logprobs"
    app = make_app(session.folder)
    async with app.run_test(size=LARGE) as pilot:
        screen = await answered(pilot)
        assert "proven" not in text(bar_of(screen))
        outcome = Outcome(
            named(session, pair)[raw],
            "explains",
            mae_before=0.3,
            mae_after=0.036,
            explained=0.88,
            low=0.84,
            high=0.9,
            floor=0.0,
            tokens=900,
            moved=0.3,
            repeats=2,
        )
        save_record(session, outcome.experiment.id, record_of(pair, outcome))
        await pilot.press("w")
        said = f"proven: {raw} explains 88% of the MAE"
        await until(
            pilot,
            lambda: isinstance(app.screen, WhyScreen) and said in head(app.screen),
        )
        assert lines(app.screen.topics)[1].split()[2] == "✓", (
            "the first of the list is marked as proven"
        )
        await pilot.press("q")
        await until(pilot, lambda: "proven temperature" in text(bar_of(screen)))
        assert f"{raw} explains 88% of the MAE" in joined(text(bar_of(screen)))


async def test_another_capture_that_cannot_be_read_is_said_in_the_line(
    tmp_path: Path,
) -> None:
    """The pair is whole; the reference, which a diagnosis looks at, is not."""
    labels = ("trainer/prefill", "vllm/prefill", "reference/prefill")
    made = [capture(label, rows(seed, 0.03)) for seed, label in enumerate(labels[:2])]
    made.append(capture(labels[2], rows(3, 0.03), dtype="float32"))
    session = write_session(tmp_path / "s", [4] * PROMPTS, made)
    part = session.manifest.capture("reference/prefill").parts[0].file
    (session.folder / part).write_bytes(b"no numbers at all")
    app = make_app(session.folder, pair=labels[:2])
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await answered(pilot)
        assert f"not explained: {part}: " in joined(text(bar_of(screen)))
        await pilot.press("T")
        await until(
            pilot,
            lambda: isinstance(app.screen, LimitsScreen) and bool(app.screen.limits),
        )


def test_what_an_answer_means() -> None:
    fine = Answer(
        comparable="comparable",
        tokens=900,
        mae=0.03,
        standing="usual",
        usual=None,
        assumed=False,
        cause="noise",
        title="numerical noise, nothing to fix",
        sureness="certain",
        next="",
    )
    assert fine.meaning == "good"
    assert replace(fine, comparable="caution").meaning == "warn"
    assert replace(fine, cause="attention", sureness="likely").meaning == "warn"
    assert replace(fine, cause=None, sureness=None).meaning == "warn"
    for bad in (
        replace(fine, comparable="not_comparable"),
        replace(fine, standing="broken", cause=None, sureness=None),
        replace(fine, cause="temperature", sureness="certain"),
    ):
        assert bad.meaning == "bad"
