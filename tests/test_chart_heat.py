"""The heat map: completions begin in one column, rows are those of the list, and a part
can be looked at more closely.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.charts.data import ChartSource, PairData
from logdrift.core.charts.heat import HeatChart
from logdrift.core.charts.marks import Area
from logdrift.core.charts.window import Extent, Window
from logdrift.core.compare.pair import make_pair
from logdrift.core.report.svg_chart import chart_svg
from logdrift.core.session.reader import open_session
from logdrift.tui.widgets.charts.terminal import Drawing, draw
from tests.made_sessions import capture, write_session

pytestmark = pytest.mark.usefixtures("own_home")
PROMPTS = (3, 400, 12, 1, 30)
COMPLETION = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PairData:
    """Five sequences, one with a prompt of 400 tokens; the first token of each
    completion differs by 1 nat, all others by 0.01.
    """
    rng = np.random.default_rng(5)
    lengths = [prompt + COMPLETION for prompt in PROMPTS]
    a = [-rng.uniform(2, 3, n).astype(np.float32) for n in lengths]
    b = [values + np.float32(0.01) for values in a]
    for prompt, values in zip(PROMPTS, b, strict=True):
        values[prompt] += np.float32(1)
    session = write_session(
        tmp_path_factory.mktemp("heat") / "s",
        list(PROMPTS),
        [capture("trainer/prefill", a), capture("vllm/prefill", b)],
        lengths=lengths,
    )
    return PairData(session, make_pair(session, "trainer", "vllm"))


def shades(drawing: Drawing) -> list[str]:
    stop = drawing.left + drawing.columns
    rows = drawing.rows[drawing.top : drawing.top + drawing.lines]
    return [row.ljust(stop)[drawing.left : stop] for row in rows]


@pytest.mark.parametrize("size", [(60, 12), (110, 30), (200, 60)])
def test_all_completions_begin_in_one_column(
    data: PairData, size: tuple[int, int]
) -> None:
    chart = HeatChart(ChartSource(data, 0, 0.1), "all")
    drawing = draw(chart, *size)
    assert drawing.place is not None
    starts = data.offsets[:-1] + np.array(PROMPTS)
    columns = {drawing.place.cell(int(start)).column for start in starts}  # type: ignore[union-attr]
    assert len(columns) == 1
    (column,) = columns
    assert column <= drawing.columns / 4, "a prompt of 400 tokens does not push it away"
    for row in shades(drawing):
        assert row[column] == "█", "the largest gap of each row"
        assert len(row.replace("█", " ").strip())
        assert "█" in row.strip(" ·░▒▓")
        assert row.strip(" ·░▒▓").strip("█") == "", "one run of cells"
    frame = drawing.rows[drawing.top - 1]
    assert abs(frame.index("p") - drawing.left - column) <= drawing.columns // 28
    first = drawing.place.cell(int(data.offsets[1]))
    assert first is not None and first.column < column, "further left: at the left edge"


def test_rows_are_those_of_the_list_and_what_is_filtered_has_none(
    data: PairData,
) -> None:
    order = np.array([4, 0, 2, 99])
    chart = HeatChart(ChartSource(data, 0, 0.1, order=order), "all")
    drawing = draw(chart, 80, 40)
    place = drawing.place
    assert place is not None
    rows = []
    for sequence in (4, 0, 2):
        position = int(data.offsets[sequence] + PROMPTS[sequence])
        cell = place.cell(position)
        assert cell is not None
        assert cell.row is not None
        rows.append(cell.row)
    assert rows == sorted(rows)
    assert len(set(rows)) == 3
    assert place.cell(int(data.offsets[1] + PROMPTS[1])) is None
    down = place.step(int(data.offsets[4] + PROMPTS[4]), 0, 1)
    assert down is not None
    assert data.pair.sequence_of(down) == 0
    assert "in the order of the list" in " ".join(drawing.legend)
    expected = {4, 0, 2}
    assert set(chart.table()["first_sequence"].tolist()) == expected


@pytest.mark.parametrize("cells", [Area(20, 4), Area(50, 10), Area(300, 60)])
def test_closer_and_wider_hold_the_cursor_and_come_back(
    tmp_path: Path, cells: Area
) -> None:
    folder = make_session(tmp_path / "gen", 6000, 40, 20, captures=2)
    session = open_session(folder)
    labels = [info.label for info in session.captures]
    data = PairData(session, make_pair(session, *labels[:2]))
    whole = HeatChart(ChartSource(data, 0, 0.1), "all")
    position = int(np.flatnonzero(data.counted)[777])
    chart = whole
    sizes = []
    while (window := chart.closer(position, cells)) is not None:
        chart = chart.within(window)
        x, y = chart.place_on_map(position)
        assert window.across.holds(x)
        assert window.down.holds(y)
        sizes.append((window.across.size, window.down.size))
        part = draw(chart, cells.columns + 8, cells.lines + 4)
        assert part.place is not None
        assert part.place.cell(position) is not None
        assert "positions" in " ".join(part.legend)
    assert len(set(sizes)) == len(sizes)
    seen = chart.seen
    assert seen.across.size <= cells.columns
    assert seen.down.size <= cells.lines
    for _ in range(20):
        wider = chart.wider(position)
        chart = chart.within(wider)
        if wider is None:
            break
    assert chart.seen == whole.whole


def test_the_part_follows_the_cursor_to_every_token(data: PairData) -> None:
    whole = HeatChart(ChartSource(data, 0, 0.1), "all")
    chart: Any = whole.within(Window(Extent(0, 6), Extent(1, 3)))
    for position in range(0, data.pair.tokens, 5):
        chart = chart.within(chart.following(position))
        x, y = chart.place_on_map(position)
        assert chart.window.across.holds(x)
        assert chart.window.down.holds(y)
        assert chart.window.across.size == 6
        assert chart.window.down.size == 2
    right = chart.beside(data.offsets[1] - 2, 1, 0)
    assert right == data.offsets[1] - 1
    assert chart.beside(int(right), 1, 0) is None
    below = chart.beside(int(data.offsets[0] + PROMPTS[0]), 0, 1)
    assert below == data.offsets[1] + PROMPTS[1], "the same place of the next sequence"
    assert chart.beside(int(data.offsets[4]), 0, 1) is None


def test_a_file_of_the_map_has_its_end_of_the_prompt_and_no_diagonal(
    data: PairData,
) -> None:
    svg = chart_svg(HeatChart(ChartSource(data, 0, 0.1), "all"))
    assert "end of the prompt" in svg
    assert 'class="cx-mark" d="M54' not in svg
