"""Long texts: the report with its formats and files, the logs, and searching in
both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from logdrift.core.errors import CannotWrite, LogdriftError
from logdrift.core.report.build import build_report, report_on, with_answer
from logdrift.core.report.comment import comment
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.markdown import paint_markdown
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.session_text import session_text
from logdrift.core.report.strict_json import dump
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.visible import visible
from logdrift.tui.models.flow import MAX_FRAGMENT
from logdrift.tui.report_file import default_name, problem
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.limits import LimitsScreen
from logdrift.tui.screens.log import LogScreen
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.prompt import LinePrompt
from logdrift.tui.screens.report import ReportScreen
from logdrift.tui.screens.settings import FactsScreen
from logdrift.tui.screens.texts import Picker, TextScreen
from logdrift.tui.widgets.reading import wrap
from tests.common import SAMPLE
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    LARGE,
    MEDIUM,
    SMALL,
    copied,
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


async def opened(pilot: Any) -> ReportScreen:
    await judged(pilot)
    await pilot.press("R")
    await until(
        pilot,
        lambda: (
            isinstance(pilot.app.screen, ReportScreen) and bool(pilot.app.screen.text)
        ),
    )
    screen: ReportScreen = pilot.app.screen
    return screen


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_the_report_is_that_of_the_command_in_the_width_of_the_screen(
    size: tuple[int, int],
) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        session = open_session(SAMPLE)
        report = with_answer(report_on(session, [PAIR]), session, PAIR)
        width = min(110, size[0] - 2)
        document = session_text(report, PAIR)
        assert screen.text == paint_text(document, Canvas(width=width))
        shown = lines(screen.reading)
        assert "Report · text · trainer/prefill → vllm/decode" in shown[0]
        assert "trainer/prefill → vllm/decode: COMPARABLE" in shown[1]
        await pilot.press("v")
        await until(pilot, lambda: screen.text == paint_markdown(comment(report, PAIR)))
        assert "Markdown" in lines(screen.reading)[0]
        await pilot.press("v", "a")
        await until(pilot, lambda: "all pairs" in lines(screen.reading)[0])
        assert "sglang/prefill#2" in screen.text
        await pilot.press("q")
        await until_screen(pilot, ExplorerScreen)


async def test_copying_says_what_was_sent_and_offers_a_file_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=LARGE) as pilot:
        screen = await opened(pilot)
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("c")
        assert copied(sent) == screen.text
        assert "copied" in screen_text(app)
        screen.text = "x" * 100_000
        await pilot.press("c")
        await until_shown(pilot, "not copied: 100,000 bytes")
        assert "Ctrl+S saves it to a file" in screen_text(app)
        assert len([s for s in sent if "52;c;" in s]) == 1


@pytest.mark.parametrize("ending", ["txt", "md", "html", "json"])
async def test_saving_writes_the_form_of_the_name(tmp_path: Path, ending: str) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        assert app.screen.text == "sample-smollm2-report.md"
        await pilot.press("ctrl+u", *f"out.{ending}", "enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, ReportScreen) and "written: " in screen_text(app)
            ),
        )
        written = (tmp_path / "here" / f"out.{ending}").read_text(encoding="utf-8")
        session = open_session(SAMPLE)
        report = with_answer(report_on(session, [PAIR]), session, PAIR)
        if ending == "html":
            assert written.startswith("<!DOCTYPE html>")
            assert "trainer/prefill" in written
        else:
            made = {
                "txt": paint_text(session_text(report, PAIR), Canvas(width=110)),
                "md": paint_markdown(comment(report, PAIR)),
                "json": dump(
                    build_report(session, [PAIR])
                ),  # the answer costs more than the numbers: --why
            }
            assert written == made[ending]
        if ending == "json":
            assert json.loads(written)["schema"] == 1


async def test_a_name_that_does_not_do_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "here" / "taken.md").write_text("mine")
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        await pilot.press("ctrl+u", *"taken.md", "enter")
        await until_shown(pilot, "taken.md exists")
        assert isinstance(app.screen, LinePrompt)
        await pilot.press("escape")
        await until_screen(pilot, ReportScreen)
    assert (tmp_path / "here" / "taken.md").read_text() == "mine"


def test_problems_of_names_are_said_without_a_flag_nobody_typed(tmp_path: Path) -> None:
    assert problem("", SAMPLE) == "type a file name"
    assert ".txt .md .html .json" in problem("report.pdf", SAMPLE)
    assert (
        problem("none/report.md", SAMPLE)
        == "none/report.md: folder none does not exist: make it first"
    )
    assert "lies in the session folder" in problem(str(SAMPLE / "report.md"), SAMPLE)
    assert problem("a\0b.md", SAMPLE)
    assert problem("good.md", SAMPLE) == ""
    session = open_session(SAMPLE)
    assert default_name(session, tmp_path) == "sample-smollm2-report.md"
    (tmp_path / "sample-smollm2-report.md").write_text("")
    assert default_name(session, tmp_path) == "sample-smollm2-report-2.md"


async def test_a_file_that_cannot_be_written_is_an_error_that_can_be_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> None:
        raise CannotWrite(
            "cannot write out.md: No space left on device",
            remedy="give another file with -o",
        )

    monkeypatch.setattr("logdrift.tui.report_file.write_output", fails)
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        await pilot.press("ctrl+u", *"out.md", "enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "No space left" in screen_text(app)
            ),
        )
        assert "-o" not in screen_text(app)


async def test_a_report_that_cannot_be_made_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise LogdriftError("part 3 is damaged: capture it again")

    monkeypatch.setattr("logdrift.core.report.build.report_on", fails)
    app = make_app(SAMPLE)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("R")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and "part 3 is damaged" in screen_text(app)
            ),
        )
        await pilot.press("escape", "c", "q")
        await until_screen(pilot, ExplorerScreen)


@pytest.mark.parametrize(
    ("key", "screen", "file", "head"),
    [
        ("m", MatrixScreen, "matrix.tsv", "errors.mae (completion)\treference/prefill"),
        ("d", FactsScreen, "settings.tsv", "\t\tA trainer/prefill"),
        ("T", LimitsScreen, "limits.tsv", "\twhose\ttheir name"),
        ("question_mark", TextScreen, "logdrift.txt", ""),
    ],
)
async def test_what_is_shown_can_be_saved(
    tmp_path: Path, key: str, screen: type[Any], file: str, head: str
) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        await pilot.press(key)
        await until_screen(pilot, screen)
        await until(
            pilot,
            lambda: not isinstance(app.screen, LimitsScreen) or bool(app.screen.limits),
        )
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        assert app.screen.text == file
        await pilot.press("enter")
        await until(
            pilot,
            lambda: isinstance(app.screen, screen) and "written: " in screen_text(app),
        )
        written = (tmp_path / "here" / file).read_text(encoding="utf-8")
        assert written == app.screen.text_to_save().rstrip("\n") + "\n"
        assert written.startswith(head)
        # The same name again is not offered.
        await pilot.press("ctrl+s")
        await until_screen(pilot, LinePrompt)
        assert app.screen.text == file.replace(".", "-2.")


# ---- searching


async def search(pilot: Any, wanted: str) -> None:
    before = pilot.app.screen
    await pilot.press("slash")
    await until_screen(pilot, LinePrompt)
    await pilot.press("ctrl+u", *wanted, "enter")
    await until_back(pilot, before)


async def test_searching_marks_and_steps_through_what_is_found() -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        await pilot.press("n")
        await until_shown(pilot, "nothing was searched for yet")
        await search(pilot, "MAE")
        count = sum("mae" in line.lower() for line in screen.text.splitlines())
        assert count > 2
        await until_shown(pilot, f"{count} lines with 'MAE'")
        assert f"1 of {count} found" in lines(screen.reading)[0]
        await pilot.press("n")
        await until(pilot, lambda: f"2 of {count} found" in lines(screen.reading)[0])
        await pilot.press("N", "N")
        await until(
            pilot, lambda: f"{count} of {count} found" in lines(screen.reading)[0]
        )
        found = [
            segment.text
            for y in range(screen.reading.size.height)
            for segment in screen.reading.render_line(y)
            if segment.style is not None
            and segment.style.bgcolor == app.palette.found.bgcolor
        ]
        assert found
        assert all(part.lower() == "mae" for part in found)
        # Another format is another text: the search goes on in it.
        await pilot.press("v")
        await until(
            pilot,
            lambda: (
                "Markdown" in lines(screen.reading)[0]
                and " of " in lines(screen.reading)[0]
            ),
        )
        await search(pilot, "no such text")
        await until_shown(pilot, "no line has 'no such text'")
        await pilot.press("tab")
        await until_shown(pilot, "there is only this text")


# ---- logs


@pytest.fixture
def session(tmp_path: Path) -> Session:
    captures = [
        capture("trainer/prefill", [[-1.0, -2.0, -0.5]]),
        capture("vllm/decode", [], status="failed", failure="out of memory"),
    ]
    made = write_session(tmp_path / "s", [1], captures)
    (made.folder / "logs").mkdir()
    (made.folder / "logs" / "trainer.log").write_text("loading\nready\n")
    (made.folder / "logs" / "vllm.log").write_bytes(
        b"start\n\x1b]0;title\x07 CUDA out of memory\n" + b"x" * 300 + b"\n"
    )
    return made


async def test_logs_are_chosen_searched_and_turned(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "failed")
        await pilot.press("L")
        await until_screen(pilot, Picker)
        # The one that failed is where one wants to look.
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, LogScreen)
                and "CUDA out of memory" in screen_text(app)
            ),
        )
        screen = app.screen
        assert "Log of vllm, last lines (2 of 2)" in screen_text(app)
        assert "<0x1B>]0;title<0x07>" in screen_text(app)
        await search(pilot, "cuda")
        await until_shown(pilot, "1 line with 'cuda'")
        await pilot.press("tab")
        await until_shown(pilot, "Log of trainer, last lines (1 of 2)")
        assert "ready" in text(screen.query_one("#text"))
        await pilot.press("left_square_bracket", "right_square_bracket", "shift+tab")
        await until_shown(pilot, "Log of vllm")
        await pilot.press("escape")
        await until_screen(pilot, ExplorerScreen)


async def test_one_log_is_shown_without_asking(tmp_path: Path) -> None:
    made = write_session(
        tmp_path / "s", [1], [capture("trainer/prefill", [[-1.0, -2.0, -0.5]])]
    )
    # The log of another backend: this one's is missing.
    (made.folder / "logs").mkdir(exist_ok=True)
    (made.folder / "logs" / "other.log").write_text("loading\n")
    app = make_app(made.folder)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "no pair")
        await pilot.press("L")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, LogScreen) and "No such file" in screen_text(app)
            ),
        )
        await pilot.press("tab")
        await until_shown(pilot, "there is only this log")


@given(st.text(max_size=200), st.integers(MAX_FRAGMENT, 90))
@settings(max_examples=200, deadline=None)
def test_wrapping_loses_nothing_but_the_blanks_where_it_breaks(
    line: str, width: int
) -> None:
    line = visible(line)
    rows = wrap(line, width)
    assert all(cell_len(row) <= width for row in rows)
    assert "".join(rows).replace(" ", "") == line.replace(" ", "")
