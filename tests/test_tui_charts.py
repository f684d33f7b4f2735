"""Charts: what is drawn where, what moves the cursor, and what is written to a file.
Numbers come from the session.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.make_session import make_session
from logdrift.core.charts.along import DeltaChart
from logdrift.core.charts.base import Chart
from logdrift.core.charts.buckets import (
    EntropyChart,
    PositionChart,
    ProbabilityChart,
)
from logdrift.core.charts.change import ChangeChart, change_data
from logdrift.core.charts.cumulative import CumulativeChart
from logdrift.core.charts.data import (
    ChangeData,
    ChartSource,
    NothingToDraw,
    PairData,
)
from logdrift.core.charts.heat import HeatChart
from logdrift.core.charts.histogram import HistogramChart
from logdrift.core.charts.logprobs import DensityChart, ScatterChart
from logdrift.core.charts.marks import Area, LabelledBars
from logdrift.core.charts.ranks import RankChart
from logdrift.core.charts.reduce import count_bins
from logdrift.core.charts.registry import CHARTS, FAR, index_of
from logdrift.core.compare.distribution import rank_flips
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.sessions import compare_sessions
from logdrift.core.errors import LogdriftError
from logdrift.core.numbers import percent, short
from logdrift.core.session.reader import open_session
from logdrift.tui.palette import make_palette
from logdrift.tui.report_file import problem
from logdrift.tui.widgets.charts.building import PictureKey, build, chart_key
from logdrift.tui.widgets.charts.export import (
    ENDINGS,
    default_name,
    render,
    write_chart,
)
from logdrift.tui.widgets.charts.legend import legend_rows
from logdrift.tui.widgets.charts.painting import Painter
from logdrift.tui.widgets.charts.terminal import Drawing, draw
from logdrift.tui.widgets.charts.title import seen_names
from tests.common import REPOSITORY
from tests.made_sessions import capture, write_session

pytestmark = pytest.mark.usefixtures("own_home")
PAIR = ("trainer/prefill", "vllm/prefill")
EACH = [(entry.name, reach) for entry in CHARTS for reach in entry.reaches]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 sequences, 3,000 tokens, 4 captures."""
    return make_session(
        tmp_path_factory.mktemp("charts") / "gen", 3000, 24, 20, captures=4
    )


@pytest.fixture(scope="module")
def source(folder: Path) -> ChartSource:
    session = open_session(folder)
    pair = make_pair(session, *PAIR)
    at = np.flatnonzero(pair.scored & np.isfinite(pair.delta))
    change = ChangeData("before", "after", pair.delta[at] * 4, pair.delta[at], at)
    return ChartSource(PairData(session, pair), 3, 0.1, change)


def make(source: ChartSource, name: str, reach: Any) -> Chart:
    return CHARTS[index_of(name)].load()(source, reach)


def at_cell(drawing: Drawing, column: int, row: int) -> str:
    line = drawing.rows[drawing.top + row].ljust(drawing.left + drawing.columns)
    return line[drawing.left + column]


# ---- every chart


@pytest.mark.parametrize(("name", "reach"), EACH)
def test_every_chart_fits_any_size_and_says_what_it_shows(
    source: ChartSource, name: str, reach: Any
) -> None:
    chart = make(source, name, reach)
    for width, height in ((24, 5), (58, 6), (78, 16), (198, 56)):
        drawing = draw(chart, width, height)
        assert len(drawing.rows) <= height, (width, height)
        assert max(len(row) for row in drawing.rows) <= width
        assert drawing.columns > 5
        assert drawing.lines >= 1
        assert drawing.rows[drawing.top - 1][drawing.left - 1] == "┌"
        assert drawing.legend
        assert all(phrase.strip() for phrase in drawing.legend)
        assert any(
            char not in " ╌┆│" for row in drawing.rows[drawing.top :] for char in row
        )


@pytest.mark.parametrize(("name", "reach"), EACH)
def test_every_chart_is_exported_three_ways(
    source: ChartSource, name: str, reach: Any, tmp_path: Path
) -> None:
    chart = make(source, name, reach)
    root = ET.fromstring(render(chart, ".svg"))
    assert root.tag.endswith("svg")
    assert "nothing to draw" not in render(chart, ".svg")
    rows = list(csv.reader(io.StringIO(render(chart, ".csv"))))
    assert len(rows) > 1
    found = {len(row) for row in rows}
    assert found == {len(rows[0])}
    assert not any(cell in ("nan", "NaN") for row in rows for cell in row)
    shown = render(chart, ".txt")
    assert CHARTS[index_of(name)].title in shown
    assert PAIR[0] in shown
    assert draw(chart, 110, 30).legend[0] in shown
    for ending in ENDINGS:
        said = write_chart(
            chart, str(tmp_path / f"chart{ending}"), source.data.session.folder
        )  # type: ignore[union-attr]
        assert (tmp_path / f"chart{ending}").read_text(encoding="utf-8") == render(
            chart, ending
        )
        assert f"chart{ending}" in said


@pytest.mark.parametrize(("name", "reach"), EACH)
def test_in_every_chart_the_cursor_walks_from_end_to_end(
    source: ChartSource, name: str, reach: Any
) -> None:
    drawing = draw(make(source, name, reach), 78, 16)
    place = drawing.place
    assert place is not None
    assert source.data is not None
    start = int(np.flatnonzero(source.data.counted & (source.data.position > 0))[-1])
    if reach == "one":
        start = source.part("one")[1] - 1
    first = place.step(start, -FAR, 0)
    position = start if first is None else first
    seen = [place.cell(position)]
    for _ in range(2000):
        following = place.step(position, 1, 0)
        if following is None:
            break
        position = following
        seen.append(place.cell(position))
    columns = [cell[0] for cell in seen if cell is not None]
    assert len(columns) == len(seen) > 3, (
        "every step ends on a token that has its place"
    )
    assert all(a <= b for a, b in itertools.pairwise(columns)), (
        "to the right, never back"
    )
    if name not in ("delta", "cumulative", "ranks"):
        assert len(set(columns)) == len(columns), "one column each step"
    assert place.step(position, 1, 0) is None
    assert place.step(position, FAR, 0) is None
    back = place.step(position, -1, 0)
    assert back is not None
    assert back != position


# ---- what is drawn where


@pytest.mark.parametrize(("count", "index"), [(50, 0), (50, 49), (1000, 777), (3, 1)])
def test_the_cursor_stands_where_plotext_puts_the_token(
    tmp_path: Path, count: int, index: int
) -> None:
    a = np.full(count, np.nan, np.float32)
    b = np.full(count, np.nan, np.float32)
    a[index], b[index] = -1, -2
    session = write_session(
        tmp_path / "one",
        [0],
        [capture("trainer/prefill", [a]), capture("vllm/decode", [b])],
        lengths=[count],
    )
    data = PairData(session, make_pair(session, "trainer", "vllm"))
    drawing = draw(DeltaChart(ChartSource(data, 0, 0.1), "one"), 90, 15)
    marks = "▲▼"
    dots = {
        x
        for row in drawing.rows
        for x, char in enumerate(row)
        if "⠀" < char <= "⣿" or char in marks
    }
    assert drawing.place is not None
    cell = drawing.place.cell(index)
    assert cell is not None
    assert dots == {drawing.left + cell[0]}


def test_the_cursor_line_goes_through_the_column_of_the_token(
    source: ChartSource,
) -> None:
    drawing = draw(DeltaChart(source, "one"), 78, 16)
    start = source.part("one")[0]
    shown = [
        strip.text
        for strip in Painter(drawing, 78, make_palette("256")).lines(start + 20)
    ]
    assert drawing.place is not None
    column = drawing.left + drawing.place.cell(start + 20)[0]  # type: ignore[index]
    assert shown[drawing.top - 1][column] == "▼"
    assert shown[drawing.top + drawing.lines][column] == "▲"
    middle = [shown[drawing.top + y][column] for y in range(drawing.lines)]
    assert all(char in "┊▲▼" or "⠀" < char <= "⣿" for char in middle)
    assert "┊" in middle
    elsewhere = [
        strip.text for strip in Painter(drawing, 78, make_palette("256")).lines(0)
    ]
    assert not any("┊" in line for line in elsewhere), (
        "a token of another sequence has no place here"
    )
    assert "▼" not in elsewhere[drawing.top - 1]


def test_delta_marks_threshold_and_prompt_and_counts_what_is_beyond(
    source: ChartSource,
) -> None:
    drawing = draw(DeltaChart(source, "one"), 100, 20)
    data, (start, stop) = source.data, source.part("one")
    assert data is not None
    prompt = int(data.pair.sequences.prompt_lengths[3])
    at = round(prompt * (drawing.columns - 1) / (stop - start - 1))
    assert drawing.rows[drawing.top - 1][drawing.left + at] == "p"
    delta = data.pair.delta[start:stop][data.pair.scored[start:stop]]
    assert (
        f"{int((np.abs(delta) > 0.1).sum())} of {len(delta)} tokens beyond ±0.1 nats"
        in " ".join(drawing.legend)
    )
    assert sum("╌" in row for row in drawing.rows) == 2
    far = draw(DeltaChart(ChartSource(data, 3, 50.0), "one"), 100, 20)
    assert sum("╌" in row for row in far.rows) == 2


def test_a_column_step_goes_to_the_worst_token_of_the_next_column(folder: Path) -> None:
    session = open_session(folder)
    data = PairData(session, make_pair(session, *PAIR))
    drawing = draw(DeltaChart(ChartSource(data, 0, 0.1), "one"), 40, 10)
    start, stop = data.pair.sequences.bounds(0)
    place = drawing.place
    assert place is not None
    assert stop - start > 2 * drawing.columns
    columns = np.array([place.cell(i)[0] for i in range(start, stop)])  # type: ignore[index]
    position = start
    for column in range(1, drawing.columns):
        found = place.step(position, 1, 0)
        inside = start + np.flatnonzero(columns == column)
        assert found == inside[np.argmax(np.nan_to_num(data.size[inside], nan=-1))], (
            column
        )
        position = found


def test_the_sum_of_delta_is_that_of_the_completion(source: ChartSource) -> None:
    chart = CumulativeChart(source, "one")
    data, (start, stop) = source.data, source.part("one")
    assert data is not None
    kept = data.counted[start:stop]
    total = float(data.pair.delta[start:stop][kept].astype(np.float64).sum())
    table = chart.table()
    assert table["sum"][-1] == pytest.approx(total)
    assert table["ratio"][-1] == pytest.approx(math.exp(total))
    assert (
        np.asarray(table["sum"])[: int(data.pair.sequences.prompt_lengths[3])] == 0
    ).all()
    whole = CumulativeChart(source, "all")
    offsets = data.offsets
    delta = np.where(data.counted, data.pair.delta, 0)
    wanted = [
        delta[a:b].astype(np.float64).sum()
        for a, b in itertools.pairwise(offsets.tolist())
    ]
    assert whole.totals == pytest.approx(wanted)
    far = sum(abs(value) > math.log(2) for value in wanted)
    assert f"{far} of 24 off by more than ×2" in " ".join(draw(whole, 100, 20).legend)


def test_infinite_deltas_are_left_out_and_said(tmp_path: Path) -> None:
    a = np.array([np.nan, -1, -np.inf, -2, -3], np.float32)
    b = np.array([np.nan, -1.5, -1, -2.5, -3], np.float32)
    session = write_session(
        tmp_path / "inf",
        [1],
        [capture("trainer/prefill", [a]), capture("vllm/decode", [b])],
    )
    source = ChartSource(
        PairData(session, make_pair(session, "trainer", "vllm")), 0, 0.1
    )
    for chart in (DeltaChart, CumulativeChart, ScatterChart, HistogramChart):
        legend = " ".join(draw(chart(source, "one"), 90, 20).legend)
        assert "1 infinite" in legend or "1 impossible" in legend, chart
    assert CumulativeChart(source, "one").table()["sum"][-1] == pytest.approx(1.0)


def test_a_token_that_both_sides_call_impossible_breaks_no_chart(
    tmp_path: Path,
) -> None:
    values = np.array([np.nan, -np.inf, -1, -2, -np.inf], np.float32)
    other = np.array([np.nan, -np.inf, -1.5, -2, -1], np.float32)
    session = write_session(
        tmp_path / "both",
        [1],
        [capture("trainer/prefill", [values]), capture("vllm/decode", [other])],
    )
    source = ChartSource(
        PairData(session, make_pair(session, "trainer", "vllm")), 0, 0.1
    )
    for name, reach in EACH:
        try:
            chart = make(source, name, reach)
        except NothingToDraw:
            continue
        assert draw(chart, 60, 12).rows
        assert all(render(chart, ending) for ending in ENDINGS)
    assert "2 impossible on a side" in " ".join(
        draw(ScatterChart(source, "all"), 90, 20).legend
    )


def test_every_token_of_the_scatter_lies_on_a_dot_and_on_its_side_of_the_diagonal(
    source: ChartSource,
) -> None:
    drawing = draw(ScatterChart(source, "all"), 90, 24)
    data = source.data
    assert data is not None
    assert drawing.place is not None
    for position in np.flatnonzero(data.counted)[::37].tolist():
        cell = drawing.place.cell(position)
        assert cell is not None
        assert cell[1] is not None
        assert "⠀" < at_cell(drawing, cell[0], cell[1]) <= "⣿"
        right = cell[0] / drawing.columns
        up = 1 - (cell[1] + 1) / drawing.lines
        delta = float(data.pair.delta[position])
        if abs(delta) > 2:
            assert (right > up) == (delta > 0), "A to the right, B upwards"
    assert drawing.place.cell(0) is None, "a token without a score has no place"


def test_the_density_counts_all_tokens(source: ChartSource) -> None:
    chart = DensityChart(source, "all")
    assert int(chart.table()["tokens"].sum()) == int(source.data.counted.sum())  # type: ignore[union-attr]
    drawing = draw(chart, 90, 24)
    assert drawing.shaded
    assert "from: ░ 1 ▒" in " ".join(drawing.legend)
    assert any("█" in row for row in drawing.rows)


def test_the_histogram_counts_every_delta_and_marks_the_floor(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(-3, 1, 400).astype(np.float32)
    second = (first + rng.normal(0, 0.01, 400)).astype(np.float32)
    other = (first + rng.normal(0, 0.1, 400)).astype(np.float32)
    session = write_session(
        tmp_path / "floor",
        [0],
        [
            capture("trainer/prefill", [other]),
            capture("vllm/prefill", [first]),
            capture("vllm/prefill#2", [second]),
        ],
        lengths=[400],
    )
    data = PairData(session, make_pair(session, "trainer/prefill", "vllm/prefill"))
    chart = HistogramChart(ChartSource(data, 0, 0.1), "all")
    table = chart.table()
    assert int(table["tokens_a_more"].sum()) == int((data.delta > 0).sum())
    assert int(table["tokens_b_more"].sum()) == int((data.delta < 0).sum())
    floor = float(np.abs(second - first).mean())
    drawing = draw(chart, 100, 16)
    edges = chart.edges(drawing.columns)
    wanted = int(np.searchsorted(edges, floor)) - 1
    found = drawing.rows[drawing.top - 1].index("f") - drawing.left
    assert abs(found - wanted) <= 1
    assert "f noise floor 0.0" in " ".join(drawing.legend)
    heights = [
        sum(at_cell(drawing, x, y) not in " ┆" for y in range(drawing.lines))
        for x in range(drawing.columns)
    ]
    assert drawing.place is not None
    counts = count_bins(drawing.place.bins, drawing.columns)  # type: ignore[attr-defined]
    assert [height > 0 for height in heights] == [count > 0 for count in counts]
    assert np.argmax(heights) in np.flatnonzero(counts >= counts.max() * 0.8)


def test_a_pair_without_repeats_has_no_floor_and_one_of_equals_has_floor_0(
    source: ChartSource, tmp_path: Path
) -> None:
    assert "no floor: nothing was repeated" in " ".join(
        draw(HistogramChart(source, "all"), 90, 20).legend
    )
    values = [np.array([-1, -2, -3], np.float32)]
    session = write_session(
        tmp_path / "same",
        [0],
        [
            capture("trainer/prefill", [values[0] - 1]),
            capture("trainer/prefill#2", [values[0] - 1]),
            capture("vllm/prefill", values),
            capture("vllm/prefill#2", values),
        ],
    )
    pair = make_pair(session, "trainer/prefill", "vllm/prefill")
    chart = HistogramChart(ChartSource(PairData(session, pair), 0, 0.1), "all")
    assert "noise floor 0: repeats agree" in " ".join(draw(chart, 90, 20).legend)


def test_the_heat_map_shades_by_the_mean_and_up_and_down_change_the_sequence(
    source: ChartSource,
) -> None:
    data = source.data
    assert data is not None
    drawing = draw(HeatChart(source, "all"), 78, 40)
    place = drawing.place
    assert place is not None
    position = int(data.offsets[5]) + 30
    seen = [data.pair.sequence_of(position)]
    for _ in range(30):
        following = place.step(position, 0, 1)
        if following is None:
            break
        position = following
        seen.append(data.pair.sequence_of(position))
        cell = place.cell(position)
        assert cell is not None
        assert cell[1] is not None
        assert at_cell(drawing, cell[0], cell[1]) in "·░▒▓█"
    assert seen == list(range(5, 24))
    assert place.step(position, 0, -1) is not None
    first = place.step(int(data.offsets[7]), 1, 0)
    assert first is not None and data.pair.sequence_of(first) == 7, (
        "to the side it stays in its sequence"
    )
    quiet = [row for row in draw(HeatChart(source, "all"), 78, 8).rows if "▓" in row]
    assert quiet, "many sequences share a row of a small picture"
    table = HeatChart(source, "all").table()
    size = data.size[np.isfinite(data.size)].astype(np.float64)
    mean = float(
        (table["mean_abs_delta"] * table["tokens"]).sum() / table["tokens"].sum()
    )
    assert mean == pytest.approx(size.mean())
    assert int(table["tokens"].sum()) == len(size)


@pytest.mark.parametrize("chart", [ProbabilityChart, EntropyChart, PositionChart])
def test_bars_are_as_high_as_the_error_and_go_to_its_worst_token(
    source: ChartSource, chart: Any
) -> None:
    made = chart(source, "all")
    data = source.data
    drawing = draw(made, 100, 20)
    assert data is not None
    assert drawing.place is not None
    table = made.table()
    assert int(table["tokens"].sum()) == int(data.counted.sum())
    position = drawing.place.step(0, -FAR, 0) or 0
    buckets = np.flatnonzero(table["tokens"] > 0)
    for bucket in buckets.tolist():
        assert abs(float(data.pair.delta[position])) == pytest.approx(
            float(table["max_abs"][bucket])
        )
        cell = drawing.place.cell(position)
        assert cell is not None
        assert cell[1] is None
        heights = [
            sum(
                at_cell(drawing, cell[0] - 1, y) in "▁▂▃▄▅▆▇█"
                for y in range(drawing.lines)
            ),
            float(table["mae"][bucket])
            / float(np.nanmax(table["rmse"]))
            * drawing.lines,
        ]
        assert abs(heights[0] - heights[1]) <= 1.5
        position = drawing.place.step(position, 1, 0) or position


@pytest.mark.parametrize("name", ["probability", "entropy", "position"])
@pytest.mark.parametrize("size", [(76, 16), (118, 9), (198, 16)])
def test_every_bar_has_its_number_where_it_is_wide_enough(
    source: ChartSource, name: str, size: tuple[int, int]
) -> None:
    chart = make(source, name, "all")
    drawing = draw(chart, *size)
    (mark,) = chart.picture(Area(drawing.columns, drawing.lines)).marks
    assert isinstance(mark, LabelledBars)
    count = len(mark.bars)
    for index, bar in enumerate(mark.bars):
        left = drawing.left + index * drawing.columns // count
        right = drawing.left + (index + 1) * drawing.columns // count
        if bar.value is None or len(short(bar.value)) >= right - left:
            continue
        shown = [row[left:right] for row in drawing.rows]
        assert any(short(bar.value) in part for part in shown), bar


def test_rank_flips_are_those_of_the_report(source: ChartSource) -> None:
    data = source.data
    assert data is not None
    pair = data.pair
    wanted = np.zeros(pair.tokens, bool)
    wanted[pair.scored] = rank_flips(
        pair.a, pair.b, pair.sequences.token_ids, pair.scored
    )
    assert (data.flips == wanted).all()
    assert 0 < wanted.sum() < pair.scored.sum()
    start, stop = source.part("one")
    chart = RankChart(source, "one")
    assert (chart.flips == wanted[start:stop]).all()
    drawing = draw(chart, 200, 30)
    zero = next(y for y, row in enumerate(drawing.rows) if "same" in row) - drawing.top
    a = pair.a.rank.whole()[start:stop]
    b = pair.b.rank.whole()[start:stop]
    assert drawing.place is not None
    for index in np.flatnonzero(wanted[start:stop]).tolist():
        column = drawing.place.cell(start + index)[0]  # type: ignore[index]
        column_cells = [at_cell(drawing, column, y) for y in range(drawing.lines)]
        is_nearer_in_a = a[index] < b[index]
        tip = "▲" if is_nearer_in_a else "▼"
        assert tip in column_cells, "up: A ranks it nearer to the top"
        assert (column_cells.index(tip) < zero) == is_nearer_in_a
    share = RankChart(source, "all").table()
    assert float((share["flip_share"] * share["tokens"]).sum()) == pytest.approx(
        (wanted & data.counted).sum()
    )


def test_before_and_after_says_what_became_smaller(source: ChartSource) -> None:
    drawing = draw(ChangeChart(source, "all"), 100, 20)
    words = " ".join(drawing.legend)
    moved = percent(int((source.change.old != 0).sum()), len(source.change.old))  # type: ignore[union-attr]
    assert f"smaller at {moved}, larger at 0.0%" in words
    assert "before: before, after: after" in words
    chart = ChangeChart(source, "all")
    _edges, before, after = chart.counts(60)
    shown = draw(chart, 120, 20)
    for column in range(shown.columns):
        bin_of = column * 60 // shown.columns
        cells = [at_cell(shown, column, y) for y in range(shown.lines)]
        assert ("░" in cells) <= (before[bin_of] > after[bin_of])
        assert ("▓" in cells) <= (after[bin_of] > before[bin_of])
        assert ("█" in cells) == (before[bin_of] > 0 and after[bin_of] > 0)
    table = chart.table()
    some = int((source.change.new != 0).sum())  # type: ignore[union-attr]
    assert table["tokens_before"].sum() == table["tokens_after"].sum() == some


def test_a_comparison_of_two_sessions_is_what_the_chart_takes(
    folder: Path, tmp_path: Path
) -> None:
    old = make_pair(open_session(folder), *PAIR)
    new = make_pair(open_session(folder), "reference/prefill", "trainer/prefill")
    found = change_data(
        "a\x1b[31m", "b", compare_sessions(old, new, "completion", resamples=0)
    )
    source = ChartSource(PairData(new.session, new), 0, 0.1, found)
    chart = ChangeChart(source, "all")
    kept = np.flatnonzero(new.scope_mask("completion"))
    assert (found.at == kept).all()
    assert (found.new == new.delta[kept]).all()
    assert (found.old == old.delta[kept]).all()
    legend = " ".join(draw(chart, 90, 20).legend)
    assert "\x1b" not in legend
    better = int((np.abs(found.new) < np.abs(found.old)).sum())
    assert f"smaller at {percent(better, len(kept))}" in legend


def test_a_row_of_shades_is_a_few_runs_however_many_cells(source: ChartSource) -> None:
    drawing = draw(HeatChart(source, "all"), 198, 40)
    for depth in ("none", "16", "256"):
        strips = list(Painter(drawing, 198, make_palette(depth)).lines(0))  # type: ignore[arg-type]
        assert max(len(list(strip)) for strip in strips) <= 6


def test_why_there_is_no_chart_is_said_in_a_line(
    source: ChartSource, folder: Path, tmp_path: Path
) -> None:
    assert source.data is not None
    none = ChartSource(None, 0, 0.1)
    unscored = np.full(4, np.nan, np.float32)
    same = np.array([np.nan, -1, -1, -1], np.float32)
    session = write_session(
        tmp_path / "bare",
        [1, 1],
        [
            capture("trainer/prefill", [unscored, same]),
            capture("vllm/decode", [same, same]),
        ],
    )
    bare = PairData(session, make_pair(session, "trainer", "vllm"))
    for wanted, chart, given, reach in (
        ("no pair", DeltaChart, none, "one"),
        ("no token of this sequence", DeltaChart, ChartSource(bare, 0, 0.1), "one"),
        (
            "no token of this sequence",
            CumulativeChart,
            ChartSource(bare, 0, 0.1),
            "one",
        ),
        ("exactly 0 at 3 tokens", HistogramChart, ChartSource(bare, 1, 0.1), "one"),
        (
            "neither capture has an entropy",
            EntropyChart,
            ChartSource(bare, 1, 0.1),
            "one",
        ),
        ("no earlier session", ChangeChart, ChartSource(source.data, 0, 0.1), "all"),
        (
            "not captured on both sides",
            DeltaChart,
            ChartSource(source.data, 99, 0.1),
            "one",
        ),
    ):
        with pytest.raises(NothingToDraw, match=wanted):
            chart(given, reach)
    key = PictureKey(chart_key(none, 0, "one"), (80, 20))
    built = build(none, key)
    assert built is not None
    assert built.drawing is None
    assert "no pair" in built.problem
    key = PictureKey(chart_key(source, 0, "one"), (80, 20))
    assert build(source, key, None, lambda: True) is None, (
        "cancelled between reducing and drawing"
    )


def test_as_much_of_the_legend_is_shown_as_fits() -> None:
    phrases = ("first words", "second words", "third")
    assert legend_rows(phrases, 40, 1) == ["first words · second words · third"]
    assert legend_rows(phrases, 28, 1) == ["first words · second words …"]
    assert legend_rows(phrases, 28, 2) == ["first words · second words", "third"]
    assert legend_rows(phrases, 6, 1) == ["first…"]
    assert seen_names([5, 5, 5, 5], 0, 20) == (0, 4)
    assert seen_names([5, 5, 5, 5], 3, 10) == (2, 4)
    assert seen_names([5, 5, 5, 5], 1, 4) == (1, 2)


# ---- files


def test_a_name_that_would_not_do_is_refused(
    source: ChartSource, folder: Path, own_home: Path
) -> None:
    (own_home / "old.svg").write_text("old")
    for name, wanted in (
        ("", "type a file name"),
        ("chart", "end the name"),
        ("chart.png", "end the name"),
        ("old.svg", "exists"),
        ("no/where.svg", "does not exist"),
        (str(folder / "x.svg"), "session folder"),
        (str(folder / "captures" / "x.csv"), "session folder"),
        ("a\0.svg", "name"),
    ):
        assert wanted in problem(name, folder, ENDINGS), name
        assert "-o" not in problem(name, folder, ENDINGS).split()
        with pytest.raises(LogdriftError):
            write_chart(make(source, "delta", "one"), name, folder)
    assert (own_home / "old.svg").read_text() == "old"
    assert problem("new.csv", folder, ENDINGS) == ""


def test_the_default_name_is_free_and_harmless(
    source: ChartSource, tmp_path: Path
) -> None:
    first = default_name(source, 0, "one", tmp_path)
    assert first == "gen-delta-seq3.svg"
    (tmp_path / first).touch()
    assert default_name(source, 0, "one", tmp_path) == "gen-delta-seq3-2.svg"
    heat_map = index_of("heatmap")
    assert default_name(source, heat_map, "all", tmp_path) == "gen-heatmap.svg"


def test_csv_writes_numbers_as_short_as_they_are_exact() -> None:
    from logdrift.tui.widgets.charts.export import csv_text

    numbers = np.array([0.1, np.nan], np.float32)
    places = np.array([1, 2])
    found = csv_text({"a": numbers, "b": places})
    assert found == "a,b\n0.1,1\n,2\n"


def test_the_docs_list_every_chart_by_its_number() -> None:
    page = (REPOSITORY / "docs" / "charts.md").read_text(encoding="utf-8")
    keys = "1234567890"
    for number, entry in enumerate(CHARTS):
        key = keys[number : number + 1]
        assert f"| {key} | {entry.title} |".replace("|  |", "| |") in page, entry.name
