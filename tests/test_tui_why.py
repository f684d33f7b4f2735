"""The why screen: causes ranked with their evidence, out to a token and back, the
table, and what cannot be explained.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.causes import BY_CODE, CAUSES
from logdrift.core.diagnose.evidence import Evidence, Ranked
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.why import explain_session
from logdrift.core.report.why_document import why_document
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.models import why as why_view
from logdrift.tui.models.topics import Topic
from logdrift.tui.models.why import TEXT_WIDTH, explain
from logdrift.tui.screens.cause_table import CauseTable
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.texts import Picker
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.widgets.topics import score_bar
from tests.common import SAMPLE
from tests.made_sessions import capture, write_session
from tests.planted.made import draw, made, noise
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    copied,
    explorer,
    joined,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """One side's log-probabilities are of logits / 0.7: the slope names
    ``temperature``.
    """
    drawn = draw(3, lengths=(60,) * 6)
    small = noise(0.01)
    sides = {"trainer": small, "rollout": lambda rows, ids: small(rows / 0.7, ids)}
    return made(tmp_path_factory.mktemp("why") / "s", drawn, sides)


async def opened(pilot: Any) -> WhyScreen:
    await judged(pilot)
    await pilot.press("w")
    await until_screen(pilot, WhyScreen)
    screen: WhyScreen = pilot.app.screen
    await until(pilot, lambda: screen.found is not None)
    return screen


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 60)])
async def test_causes_stand_in_order_with_score_word_and_bar(
    hot: Session, size: tuple[int, int]
) -> None:
    app = make_app(hot.folder, depth="none" if size[0] == 60 else "256")
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        found = diagnose(hot, make_pair(hot, "trainer/prefill", "rollout/prefill"))
        assert found.causes[0].cause == "temperature"
        assert found.causes[0].sureness == "likely"
        shown = lines(screen.topics)
        rows = iter(shown[1:])
        for ranked in found.causes[: (len(shown) - 1) // 2]:
            row = next(row for row in rows if ranked.sureness in row)
            assert f"{ranked.sureness:<8} {ranked.score:.2f}" in row
            assert score_bar(ranked.score).rstrip() in row
        # No name is cut.
        assert all(ranked.title in joined("\n".join(shown)) for ranked in found.causes)
        assert any("gate: " in row for row in shown)
        assert any("not checked: " in row for row in shown)
        head = text(screen.query_one("#verdict"))
        assert "trainer" in head
        assert "MAE" in head
        assert f"likely {found.causes[0].score:.2f}: " in head
        assert lines(screen.told)[0].strip() == "Evidence: temperature"
        assert all(len(line) <= size[0] for line in screen_text(app).split("\n"))
        # Everything that is told can be reached.
        assert BY_CODE["temperature"].sentence[:30] in " ".join(
            text(screen.told).split()
        )
        await pilot.press("tab", "G")
        await until(pilot, lambda: "Source: " in text(screen.told))


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (110, 30), (120, 36), (200, 60)])
async def test_every_name_is_whole_and_its_rows_are_one_stop(
    hot: Session, size: tuple[int, int]
) -> None:
    """All causes of the table, and a topic without a score; up and down visit each
    once.
    """
    app = make_app(hot.folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        topics = [
            Topic(cause.code, cause.title, (), "", score=0.5, sureness="possible")
            for cause in CAUSES
        ]
        topics.append(
            Topic("experiments", "experiments: 1, " + "the best " * 9, (), "")
        )
        listed = screen.topics
        listed.put(topics)
        screen.draw()
        await pilot.press("g")
        drawn = [
            "".join(part for part, _ in listed.runs(row, listed.inner_width))
            for row in range(listed.line_count)
        ]
        whole = joined("\n".join(drawn))
        assert all(joined(topic.title) in whole for topic in topics)
        for key in ("down", "up"):
            visited = [screen.topics.here]
            for _ in topics[1:]:
                await pilot.press(key)
                visited.append(listed.here)
            names = [topic.name for topic in visited if topic is not None]
            expected = [topic.name for topic in topics]
            assert names == (expected if key == "down" else expected[::-1])
        await pilot.press("G")
        assert listed.here is topics[-1]
        rows = [row for row in range(listed.line_count) if listed.is_selected(row)]
        assert len(rows) >= 2
        assert rows[-1] == listed.line_count - 1
        assert all(listed.top <= row < listed.top + listed.page for row in rows)


async def test_numbers_are_shown_where_they_are_asked_for(hot: Session) -> None:
    app = make_app(hot.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        sentences = [line for line in screen.told.lines if line.kind == "numbers"]
        assert sentences
        assert all(line.text.startswith("score ") for line in sentences)
        first = sentences[0].text[:20]
        assert first not in joined(text(screen.told))
        assert "bend z" not in text(screen.told)
        await pilot.press("v")
        await until(pilot, lambda: first in joined(text(screen.told)))
        await pilot.press("down", "up", "v")
        await until(pilot, lambda: first not in joined(text(screen.told)))


def test_the_proof_stands_above_the_tokens_of_other_evidence() -> None:
    session = open_session(SAMPLE)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    pieces = (
        Evidence("temperature", 0.9, "slope", "Steep.", positions=(30, 40)),
        Evidence("temperature", 0.5, "experiment", "Explains it.", shows="proven"),
    )
    ranked = Ranked("temperature", 0.9, pieces, None, "temperature", shown="proven")
    found = diagnose(session, pair)
    lines = [line.text for line in why_view._cause_lines(session, pair, found, ranked)]
    assert lines.index("Explains it.") < lines.index("Steep.")
    assert lines.index("Explains it.") < min(
        at for at, line in enumerate(lines) if " Δ " in line
    )


def test_a_bar_shows_what_is_not_nothing_and_is_full_at_one() -> None:
    assert score_bar(0.0) == " " * 6
    assert score_bar(1.0) == "█" * 6
    assert score_bar(0.001).strip()
    assert len(score_bar(0.001)) == 6
    assert score_bar(0.5) == "███   "


async def test_enter_on_a_token_goes_there_and_the_jump_is_undone(hot: Session) -> None:
    app = make_app(hot.folder)
    async with app.run_test(size=SMALL) as pilot:
        # Away from the worst token, on which it opens and which the evidence names first.
        await judged(pilot)
        await pilot.press("g")
        screen = await opened(pilot)
        assert screen.found is not None
        positions = [
            at for e in screen.found.found.causes[0].evidence for at in e.positions
        ]
        before = explorer(app).position
        await pilot.press("enter")
        await until(
            pilot, lambda: screen.told.has_focus and screen.told.position is not None
        )
        assert screen.told.position == positions[0] != before
        await pilot.press("enter")
        await until_screen(pilot, ExplorerScreen)
        assert explorer(app).position == positions[0]
        assert explorer(app).tokens.has_focus
        await pilot.press("u")
        await until(pilot, lambda: explorer(app).position == before)
        # Worked out once: the second time it stands there at once.
        known = explorer(app).explained(
            explorer(app).session, ("trainer/prefill", "rollout/prefill")
        )
        await pilot.press("w")
        await until_screen(pilot, WhyScreen)
        again: Any = app.screen
        assert again.found is known is screen.found
        for leave in ("escape", "q"):
            await pilot.press(leave)
            await until_screen(pilot, ExplorerScreen)
            await pilot.press("w")
            await until_screen(pilot, WhyScreen)


async def test_a_line_without_a_token_says_so_and_panes_are_changed(
    hot: Session,
) -> None:
    app = make_app(hot.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        await pilot.press("tab")
        await until(pilot, lambda: screen.told.has_focus)
        await pilot.press("g", "enter")
        await until_shown(pilot, "this line is about no token")
        await pilot.press("shift+tab")
        await until(pilot, lambda: screen.topics.has_focus)
        # Gate and what was not checked are topics of the list, with what would make it
        # checkable.
        await pilot.press("G")
        await until(pilot, lambda: "to check it: " in text(screen.told))
        await pilot.press("k")
        await until(pilot, lambda: "may the two be compared" in text(screen.told))
        assert screen.found is not None
        assert screen.found.gate.reasons[0].code in text(screen.told)


async def test_the_options_of_the_engine_of_each_side_stand_there() -> None:
    session = open_session(SAMPLE)
    view = explain(session, make_pair(session, "trainer/prefill", "vllm/decode"))
    topic = next(topic for topic in view.topics if topic.name == "attention")
    knobs = BY_CODE["attention"].knobs
    for label, engine in (("trainer/prefill", "transformers"), ("vllm/decode", "vllm")):
        for knob in knobs[engine]:
            line = next(
                x
                for x in topic.lines
                if x.first == f"{label}: " and knob.setting in x.text
            )
            assert ("[more than one change]" in line.text) == knob.combined
    assert view.found.noise
    assert view.topics[0].name == "noise"


async def test_the_table_opens_at_the_cause_and_is_searched(hot: Session) -> None:
    app = make_app(hot.folder)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        await pilot.press("A")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, CauseTable)
                and " 8 temperature in the" in screen_text(app)
            ),
        )
        table: Any = app.screen
        await until(
            pilot, lambda: lines(table.reading)[1].startswith("  8 temperature")
        )
        whole = table.text_to_save()
        assert all(f"{cause.number:2d} {cause.title}" in whole for cause in CAUSES)
        assert " ".join(CAUSES[-1].signature.split()) in " ".join(whole.split())
        await pilot.press("slash")
        await until_screen(pilot, LinePrompt)
        await pilot.press(*"kv_cache_dtype", "enter")
        await until(pilot, lambda: "kv_cache_dtype" in text(table.reading))
        await pilot.press("escape")
        await until_screen(pilot, WhyScreen)


async def test_copying_gives_the_cause_and_saving_all_of_them(
    hot: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = make_app(hot.folder)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("c")
        words = copied(sent)
        assert words.startswith("trainer/prefill → rollout/prefill · MAE ")
        assert "1. temperature" in words
        assert "2. " not in words
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        assert app.screen.text == "why.txt"
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, WhyScreen) and "written: " in screen_text(app)
            ),
        )
    report = explain_session(hot, [("trainer/prefill", "rollout/prefill")])
    written = (tmp_path / "here" / "why.txt").read_text(encoding="utf-8")
    assert written == paint_text(why_document(report.pairs), Canvas(width=TEXT_WIDTH))


async def test_another_pair_is_explained_and_the_explorer_follows() -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        await pilot.press("p")
        await until_screen(pilot, Picker)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.screen is screen and screen.found is not None)
        assert screen.view is not None
        assert screen.found is not None
        assert (
            screen.found.labels
            == screen.view.labels
            != ("trainer/prefill", "vllm/decode")
        )
        shown = explorer(app).view
        assert shown is not None
        assert shown.labels == screen.view.labels


async def test_it_says_that_it_is_being_worked_out_and_is_not_hurt_by_leaving(
    hot: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def slow(*arguments: Any) -> Any:
        assert gate.wait(20)
        return explain(*arguments)

    monkeypatch.setattr("logdrift.tui.screens.why.explain", slow)
    app = make_app(hot.folder)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("w")
        await until_shown(pilot, "the causes are being worked out")
        await pilot.press("c", "enter", "tab", "enter")
        await pilot.press("escape")
        await until_screen(pilot, ExplorerScreen)
        gate.set()
        await pilot.press("w")
        await until(
            pilot,
            lambda: isinstance(app.screen, WhyScreen) and app.screen.found is not None,
        )


ROWS = [[-1.0, -2.0, -0.5, -1.5], [-0.75, -1.25, -2.5, -0.5]]


async def test_without_a_pair_or_with_a_damaged_part_one_line_says_why(
    tmp_path: Path,
) -> None:
    lone = write_session(tmp_path / "lone", [2, 2], [capture("trainer/prefill", ROWS)])
    app = make_app(lone.folder)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "no pair")
        await pilot.press("w")
        await until(pilot, lambda: screen_text(app).count("is the only side") == 2)
        assert isinstance(app.screen, ExplorerScreen)
    off = [[v - 0.01 for v in row] for row in ROWS]
    captures = [capture("trainer/prefill", ROWS), capture("vllm/prefill", off)]
    captures.append(capture("reference/prefill", ROWS, dtype="float32"))
    three = write_session(tmp_path / "three", [2, 2], captures)
    part = three.manifest.capture("reference/prefill").parts[0].file
    (three.folder / part).write_bytes(b"\0" * 40)
    app = make_app(three.folder, pair=("trainer/prefill", "vllm/prefill"))
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("w")
        await until_shown(pilot, "not explained: ")
        assert part.split("/")[0] in screen_text(app)
        assert isinstance(app.screen, WhyScreen)
        await pilot.press("c", "tab", "enter", "A")
        await until_screen(pilot, CauseTable)


async def test_text_of_a_token_is_made_visible(tmp_path: Path) -> None:
    hostile = {i: f"\x1b]0;w{i}\x07".encode() for i in range(4)}
    rows = [[-9.0 if i == 2 else v for i, v in enumerate(row)] for row in ROWS]
    session = write_session(
        tmp_path / "s",
        [2, 2],
        [capture("trainer/prefill", ROWS), capture("vllm/prefill", rows)],
        pieces=hostile,
    )
    pair = make_pair(session, "trainer/prefill", "vllm/prefill")
    (line,) = why_view.token_lines(session, pair, [2])
    assert line.position == 2
    assert "<0x1B>]0;w2" in line.text
    assert "\x1b" not in line.text
    assert "Δ +8.5000" in line.text
    assert "A -0.5000" in line.text
    assert "B -9.0000" in line.text
