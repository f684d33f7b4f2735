"""The matrix: every number as the report has it, computed row by row, stopped when it
is left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from logdrift.core.compare.gate import judge
from logdrift.core.compare.matrix import (
    MatrixCell,
    matrix_cell,
    matrix_labels,
    metric_value,
)
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import default_scope, make_pair
from logdrift.core.report.build import report_pair
from logdrift.core.report.grade import grade, largest_distance
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.app import LogdriftApp
from logdrift.tui.models.matrix import (
    COLUMN,
    HEATS,
    NOISE,
    ROW,
    SIZES,
    VOID,
    spread_of,
)
from logdrift.tui.models.short_names import short_names
from logdrift.tui.palette import make_palette
from logdrift.tui.screens import matrix
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.texts import Picker
from logdrift.tui.screens.why import WhyScreen
from logdrift.tui.widgets.heat import heat_styles
from logdrift.tui.widgets.matrix_grid import MatrixGrid
from tests.common import SAMPLE, Fields, refused
from tests.made_metrics import value_in_json
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    MEDIUM,
    SMALL,
    copied_table,
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
FIRST_ROW = [-1.0, -2.0, -0.5, -1.5, -0.25, -3.0]
SECOND_ROW = [-0.75, -1.25, -2.5, -0.5, -1.0, -0.125]
ROWS = [FIRST_ROW, SECOND_ROW]


def shifted(size: float) -> list[list[float]]:
    """The same scores, every other one ``size`` lower."""
    return [[v - size * (i % 2) for i, v in enumerate(row)] for row in ROWS]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A trainer, a rollout with a repeat that is a little off, one far off, and one of
    other weights.
    """
    captures = [
        capture("trainer/prefill", ROWS),
        capture("vllm/prefill", shifted(0.02)),
        capture("vllm/prefill#2", shifted(0.04)),
        capture("sglang/prefill", shifted(1.0)),
        capture(
            "other/prefill",
            shifted(0.03),
            facts={"weights_digest": "sha256:" + "e" * 64},
        ),
    ]
    return write_session(tmp_path / "s", [2, 2], captures)


@pytest.mark.parametrize("path", METRICS)
def test_a_single_number_is_that_of_the_report(path: str) -> None:
    session = open_session(SAMPLE)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    assert metric_value(pair, path, "completion") == value_in_json(
        _report(session), path
    )


_REPORTS: dict[Path, Fields] = {}


def _report(session: Session) -> Fields:
    if session.folder not in _REPORTS:
        pair = make_pair(session, "trainer/prefill", "vllm/decode")
        _REPORTS[session.folder] = report_pair(pair, "completion")
    return _REPORTS[session.folder]


def test_a_cell_has_verdict_reason_and_floor(session: Session) -> None:
    scope = default_scope(session.sequences)
    cell = matrix_cell(session, "trainer/prefill", "vllm/prefill", "errors.mae", scope)
    assert cell.value == pytest.approx(0.01)
    assert cell.floor == pytest.approx(0.01)
    assert (
        cell.verdict
        == judge(session, make_pair(session, "trainer/prefill", "vllm/prefill")).verdict
    )
    void = matrix_cell(session, "trainer/prefill", "other/prefill", "errors.mae", scope)
    assert void.verdict == "not_comparable"
    assert not void.comparable
    assert "weights" in void.reason
    assert (
        matrix_cell(
            session, "trainer/prefill", "vllm/prefill", "errors.p99", scope
        ).floor
        is None
    )
    with refused("unknown"):
        matrix_cell(session, "trainer/prefill", "vllm/prefill", "errors.mea", scope)


def test_a_capture_that_cannot_be_read_is_a_cell_that_says_so(session: Session) -> None:
    part = session.manifest.capture("sglang/prefill").parts[0]
    (session.folder / part.file).write_bytes(b"\0" * 40)
    cell = matrix_cell(
        open_session(session.folder),
        "trainer/prefill",
        "sglang/prefill",
        "errors.mae",
        "completion",
    )
    assert cell.problem is not None
    assert part.file in cell.problem
    assert cell.value is None


def test_only_captures_with_a_finished_sequence_stand_in_it(tmp_path: Path) -> None:
    captures = [
        capture("trainer/prefill", ROWS),
        capture("vllm/decode", [], status="failed", failure="no memory"),
    ]
    assert matrix_labels(write_session(tmp_path / "s", [2, 2], captures)) == (
        "trainer/prefill",
    )


def test_grades_follow_the_floor_the_usual_range_and_the_largest(
    session: Session,
) -> None:
    infos = session.captures

    def of(
        value: float | None,
        path: str = "errors.mae",
        floor: float | None = None,
        largest: float = 1.0,
    ) -> Any:
        cell = MatrixCell(
            "trainer/prefill", "vllm/prefill", value, "comparable", floor=floor
        )
        return grade(cell, path, infos, largest)

    # bfloat16: 0.005 to 0.06 is usual, from 0.2 on it is a fault.
    assert [of(v).level for v in (0.0, 0.01, 0.06, 0.07, 0.15, 0.25, 0.5)] == [
        0,
        0,
        0,
        1,
        2,
        3,
        4,
    ]
    assert "above the usual range of bfloat16" in of(0.07).words
    assert "far above" in of(0.3).words
    assert of(0.07, floor=0.08).noise
    assert of(0.07, floor=0.08).level == 0
    assert "2 times the noise floor" in of(0.07, floor=0.035).words
    # A number without a usual range: against the floor, else against the largest here.
    assert [
        of(v, "errors.rmse", 0.1).level for v in (0.1, 0.15, 0.3, 0.5, 1.0, 2.0)
    ] == [0, 0, 1, 2, 3, 4]
    assert [of(v, "mismatch.k3").level for v in (0.1, 0.2, 0.3, 0.6, 1.0)] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert of(1.0, "errors.pearson").words == "perfect agreement"
    assert of(0.0, "errors.pearson").level == 4
    assert of(None).words == "not known for this pair"
    assert of(9.0, "tokens").level == 0


def test_the_largest_leaves_out_what_cannot_be_compared() -> None:
    cells = [
        MatrixCell("a", "b", 0.5, "caution"),
        MatrixCell("a", "c", 9.0, "not_comparable"),
        MatrixCell("b", "c", None, "comparable"),
    ]
    assert largest_distance(cells, "errors.mae") == 0.5
    assert largest_distance(cells, "tokens") == 0.0


# ---- the screen


def labels_of(app: LogdriftApp) -> tuple[str, str] | None:
    view = explorer(app).view
    return view.labels if view is not None else None


async def opened(pilot: Any) -> MatrixScreen:
    await judged(pilot)
    await pilot.press("m")
    await until_screen(pilot, MatrixScreen)
    screen: MatrixScreen = pilot.app.screen
    await until(pilot, lambda: None not in screen.table.rows)
    return screen


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_every_pair_stands_in_it_with_a_mark_of_its_size(
    session: Session, size: tuple[int, int]
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        labels = screen.table.labels
        # The cursor stands on the pair of the explorer.
        assert (labels[screen.grid.row], labels[screen.grid.column]) == labels_of(app)
        shown = lines(screen.grid)
        assert "Matrix · MAE, nats" in shown[0]
        assert "completion tokens" in shown[0]
        row = shown[3 + labels.index("trainer/prefill")]
        assert f"{NOISE}   0.0100" in row
        assert all(len(line) <= size[0] for line in shown)
        await pilot.press(*["right"] * 5)
        await until(pilot, lambda: screen.grid.column == len(labels) - 1)
        # Where not all columns fit, those around the cursor are seen.
        row += lines(screen.grid)[3]
        assert f"{VOID}  0.0150" in row
        assert f"{SIZES[4]}   0.5000" in row
        assert "0.0150, means nothing" in screen_text(app)
        assert "NOT COMPARABLE" in screen_text(app)


async def test_numbers_scopes_and_leaving(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "Matrix · RMSE" in text(screen.grid))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "Matrix · MAE" in text(screen.grid))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(pilot, lambda: "Matrix · mean Δ" in text(screen.grid))
        await pilot.press("O")
        await until_screen(pilot, Picker)
        assert METRICS["errors.mean"].meaning in screen_text(app)
        paths = list(METRICS)
        down = paths.index("errors.pearson") - paths.index("errors.mean")
        await pilot.press(*["down"] * down, "enter")
        await until(
            pilot,
            lambda: (
                screen.table.metric == "errors.pearson"
                and None not in screen.table.rows
            ),
        )
        for scope in ("prompt", "all", "completion"):
            await pilot.press("a")
            await until(
                pilot,
                lambda scope=scope: (
                    screen.table.scope == scope and None not in screen.table.rows
                ),
            )
        # The verdicts were asked for once: the next number takes them over.
        assert len(screen.table.gates) == len(screen.table.labels) * (
            len(screen.table.labels) - 1
        )
        await pilot.press("up", "left", "left", "left", "down", "j", "k", "h", "l")
        await pilot.press("q")
        await until_screen(pilot, ExplorerScreen)


async def test_enter_opens_the_pair_in_the_explorer(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        labels = screen.table.labels
        screen.grid.go(labels.index("vllm/prefill"), labels.index("vllm/prefill"))
        await pilot.press("enter")
        await until_shown(pilot, "against itself is no pair")
        screen.grid.go(labels.index("vllm/prefill"), labels.index("sglang/prefill"))
        await pilot.press("enter")
        await until_screen(pilot, ExplorerScreen)
        await until(pilot, lambda: labels_of(app) == ("vllm/prefill", "sglang/prefill"))


async def test_the_pair_is_marked_and_why_is_of_the_pair_under_the_cursor(
    session: Session,
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot)
        labels = screen.table.labels
        pair = labels_of(app)
        assert pair is not None
        shown = lines(screen.grid)
        a, b = map(labels.index, pair)
        assert shown[3 + a].startswith(f"{ROW}{pair[0]}")
        assert [line[0] for line in shown[3 : 3 + len(labels)]].count(ROW) == 1
        assert shown[2].count(COLUMN) == 1
        assert f"{COLUMN}prefill" in shown[2]
        # The column of B is there, whatever the width: the cursor stands on it.
        assert b in screen.grid.columns()
        screen.grid.go(a, a)
        await pilot.press("w")
        await until_shown(pilot, "against itself is no pair")
        other = ("vllm/prefill", "sglang/prefill")
        screen.grid.go(*map(labels.index, other))
        await pilot.press("w")
        await until_screen(pilot, WhyScreen)
        assert app.screen.view.labels == other
        await pilot.press("q")
        await until_back(pilot, screen)


def made_labels(backends: int, paths: int, length: int) -> list[str]:
    """Labels whose names are alike at their beginning."""
    return [
        f"{'engine-' * length}{backend}/{path}#{repeat}"
        for backend in range(backends)
        for path in ("forced_decode", "prefill")[:paths]
        for repeat in (2, 3)
    ]


@pytest.mark.parametrize("width", [8, 10, 12])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_short_names_fit_and_are_told_apart(width: int, length: int) -> None:
    labels = made_labels(4, 2, length)
    names = short_names(labels, width)
    assert len(set(names)) == len(labels)
    assert all(cell_len(text) <= width for name in names for text in name)
    numbered = [name for name in names if name.backend[0].isdecimal()]
    if length == 4:
        # Numbers stand there only where nothing else tells two apart.
        assert len(numbered) == len(labels)


def test_names_that_fit_are_whole() -> None:
    labels = ["reference/prefill", "trainer/prefill#2", "vllm/decode"]
    assert short_names(labels, 10) == [
        ("reference", "prefill"),
        ("trainer", "prefill#2"),
        ("vllm", "decode"),
    ]
    expected = [("vllm", "forced#2")]
    assert short_names(["vllm/forced_decode#2"], 10) == expected


def test_heat_grows_with_the_number_and_is_flat_where_they_hardly_differ() -> None:
    def heats(values: list[float], path: str = "errors.mae") -> list[int]:
        cells = [MatrixCell("a", "b", value, "comparable") for value in values]
        spread = spread_of(cells, path)
        perfect = METRICS[path].perfect
        assert spread is not None
        assert perfect is not None
        return [spread.heat(abs(value - perfect)) for value in values]

    rising = heats([0.01 * step for step in range(1, 20)])
    assert rising == sorted(rising)
    assert set(rising) == set(range(HEATS))
    assert len(set(heats([0.0400, 0.0405, 0.0410]))) == 1
    falling = heats([0.99, 0.95, 0.5], "errors.pearson")
    assert falling == sorted(falling)
    assert falling[0] < falling[-1]
    void = MatrixCell("a", "b", 9.0, "not_comparable")
    assert (
        spread_of([void, MatrixCell("a", "b", 0.0, "comparable")], "errors.mae") is None
    )


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("depth", ["none", "16", "256"])
def test_heat_is_seen_without_colours_too(depth: Any, dark: bool) -> None:
    styles = heat_styles(make_palette(depth, dark))
    assert len(styles) == HEATS
    assert styles[0] != styles[-1]


async def test_a_click_selects_and_a_second_one_opens(session: Session) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await opened(pilot)
        x = screen.grid.label_width + 2 * 11 + 4
        await pilot.click(MatrixGrid, offset=(x, 3 + 1))
        await until(pilot, lambda: (screen.grid.row, screen.grid.column) == (1, 2))
        await pilot.click(MatrixGrid, offset=(x, 3 + 1))
        await until_screen(pilot, ExplorerScreen)
        assert labels_of(app) == ("vllm/prefill", "vllm/prefill#2")


async def test_copying_gives_a_table_with_the_void_marked(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("c")
        rows = copied_table(sent)
        assert rows[0] == [
            "errors.mae (completion)",
            *(info.label for info in session.captures),
        ]
        assert rows[1][0] == "trainer/prefill"
        assert rows[1][1] == ""
        assert float(rows[1][2]) == pytest.approx(0.01)
        assert rows[1][5].startswith(VOID)


async def test_leaving_stops_the_work(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session.folder)
    asked: list[tuple[str, str]] = []
    gone = threading.Event()

    def slow(session: Session, a: str, b: str, *rest: Any) -> MatrixCell:
        asked.append((a, b))
        assert gone.wait(20)
        return MatrixCell(a, b, 1.0, "comparable")

    monkeypatch.setattr(matrix, "matrix_cell", slow)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("m")
        await until(pilot, lambda: bool(asked))
        assert "0 of 5 rows" in screen_text(app)
        assert "…" in screen_text(app)
        (job,) = (worker for worker in app.workers if worker.group == "matrix")
        await pilot.press("q")
        await until_screen(pilot, ExplorerScreen)
        assert job.is_cancelled
        gone.set()
        await until(
            pilot, lambda: not [t for t in threading.enumerate() if _inside(t, "_fill")]
        )
    assert len(asked) == 1


def _inside(thread: threading.Thread, name: str) -> bool:
    import sys

    frame = sys._current_frames().get(thread.ident or 0)
    return any(code == name for code in _names(frame))


def _names(frame: Any) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back
