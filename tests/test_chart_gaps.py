"""Charts that show the gap: points and stems by sign, lines that can be told apart, and
colours that stand out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.color import Color

from logdrift.core.charts.along import DeltaChart
from logdrift.core.charts.data import ChartSource, PairData
from logdrift.core.charts.gaps import GapChart, LogprobGapChart, MeanGapChart
from logdrift.core.charts.guides import Guide, seen_guides, threshold_guide
from logdrift.core.charts.marks import ChartAxis, Level
from logdrift.core.charts.reduce import sign_levels
from logdrift.core.charts.registry import CHARTS, index_of
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.token_values import Stretch
from logdrift.core.report.svg_chart import chart_svg
from logdrift.tui.models.modes import mode_of
from logdrift.tui.palette import STEPS, make_palette
from logdrift.tui.widgets.charts.painting import Painter, ink_of
from logdrift.tui.widgets.charts.terminal import Drawing, draw
from tests.made_sessions import capture, write_session

pytestmark = pytest.mark.usefixtures("own_home")
TOKENS = 300


def source_of(
    folder: Path, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], threshold: float
) -> ChartSource:
    session = write_session(
        folder,
        [1],
        [capture("trainer/prefill", [a]), capture("vllm/decode", [b])],
        lengths=[len(a)],
    )
    data = PairData(session, make_pair(session, "trainer", "vllm"))
    return ChartSource(data, 0, threshold)


@pytest.fixture
def source(tmp_path: Path) -> ChartSource:
    """300 tokens of 10 nats, Δ of a tenth of a nat, the first without a score."""
    rng = np.random.default_rng(12)
    b = -rng.gamma(1.0, 3.0, TOKENS).astype(np.float32) - np.float32(0.01)
    a = b + rng.normal(0.02, 0.1, TOKENS).astype(np.float32)
    a[0] = b[0] = np.nan
    return source_of(tmp_path / "gap", np.minimum(a, 0), b, 0.1)


def cell(drawing: Drawing, column: int, row: int) -> str:
    line = drawing.rows[drawing.top + row].ljust(drawing.left + drawing.columns)
    return line[drawing.left + column]


# ---- colour


@pytest.mark.parametrize("threshold", [0.01, 0.1, 1.0])
def test_a_chart_has_the_steps_of_the_text(
    source: ChartSource, threshold: float
) -> None:
    data = source.data
    assert data is not None
    whole = Stretch(data.pair, 0, data.pair.tokens, None)
    in_text = mode_of("delta").levels(whole, threshold)
    assert (sign_levels(data.delta, threshold) == in_text).all()


@pytest.mark.parametrize("depth", ["none", "16", "256"])
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("contrast", [True, False])
def test_every_ink_stands_out_from_its_page(
    depth: Any, dark: bool, contrast: bool
) -> None:
    palette = make_palette(depth, dark, contrast)
    page = palette.back.bgcolor or Color.parse("#000000" if dark else "#ffffff")
    for level in range(-STEPS, 2 * STEPS + 1):
        ink = ink_of(palette, level).color
        if ink is None:
            continue
        one, other = (luminance(colour) for colour in (ink, page))
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5, level


def luminance(colour: Color) -> float:
    shares = np.array(colour.get_truecolor()) / 255
    linear = np.where(
        shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4
    )
    return float(linear @ (0.2126, 0.7152, 0.0722))


# ---- Δ by position


def test_single_tokens_are_stems_and_nothing_is_drawn_between_them(
    tmp_path: Path,
) -> None:
    a = np.full(60, -1.0, np.float32)
    b = a.copy()
    b[[10, 30]] -= 0.5
    b[20] += 0.3
    b[40] -= 0.05
    drawing = draw(DeltaChart(source_of(tmp_path / "s", a, b, 0.1), "one"), 200, 15)
    assert drawing.place is not None
    columns = {drawing.place.cell(i).column: i for i in range(60)}  # type: ignore[union-attr]
    zero = drawing.lines // 2
    for column in range(drawing.columns):
        rows = [cell(drawing, column, row) for row in range(drawing.lines)]
        drawn = [row for row, char in enumerate(rows) if char not in " ╌─┊┆"]
        index = columns.get(column)
        if index is None:
            assert not drawn, "no value is suggested between two tokens"
        elif index in (10, 30):
            assert rows[drawn[0]] == "▲"
            assert drawn == list(range(zero + 1))
            assert drawing.tones[drawn[0], column] == 3
        elif index == 20:
            assert rows[drawn[-1]] == "▼"
            assert drawing.tones[drawn[-1], column] == -2
        else:
            assert drawn == [zero]
            assert not drawing.tones.get((zero, column))


@pytest.mark.parametrize("lines", range(1, 24))
def test_lines_across_never_share_a_row_and_what_is_missing_is_said(lines: int) -> None:
    axis = ChartAxis("Δ", -0.5, 0.5, centred=True)
    guides = [
        threshold_guide(0.1),
        Guide("b", "95%", (Level(0.3, "", "b"), Level(-0.2, "", "b"))),
        Guide("m", "mean", (Level(0.02, "", "m"),)),
        Guide("x", "outside", (Level(0.9, "", "x"),)),
    ]
    seen = seen_guides(guides, axis, lines)
    rows = [axis.row(level.y, lines) for level in seen.levels]
    assert len(set(rows)) == len(rows)
    assert seen.levels[0].y == 0
    letters = {level.letter for level in seen.levels if level.letter}
    for guide, phrase in zip(guides, seen.phrases, strict=True):
        assert guide.words in phrase
        assert ("too few rows" in phrase) == (guide.letter not in letters)
    assert "x" not in letters
    assert lines < 15 or "t" in letters


@pytest.mark.parametrize("height", range(5, 40))
def test_zero_has_a_row_in_the_middle_at_any_height(
    source: ChartSource, height: int
) -> None:
    for chart in (DeltaChart(source, "one"), MeanGapChart(source, "all")):
        drawing = draw(chart, 100, height)
        assert len(drawing.rows) <= height
        assert drawing.lines % 2 == 1
        zero = drawing.rows[drawing.top + drawing.lines // 2]
        if drawing.lines == 1:
            continue  # its three ticks share the one row
        assert zero.lstrip().startswith("0┤")


# ---- the gap over log p, and over the mean of both


@pytest.mark.parametrize(
    ("chart", "weight"), [(LogprobGapChart, 0.0), (MeanGapChart, 0.5)]
)
def test_every_token_lies_at_its_log_p_and_its_gap(
    source: ChartSource, chart: type[GapChart], weight: float
) -> None:
    made = chart(source, "all")
    pair = made.data.pair
    across = weight * pair.logprob_a + (1 - weight) * pair.logprob_b
    for width, height in ((50, 9), (110, 30), (200, 51)):
        drawing = draw(made, width, height)
        axes = made.axes(width)
        assert drawing.place is not None
        for position in np.flatnonzero(made.data.counted)[::7].tolist():
            place = drawing.place.cell(position)
            assert place is not None
            assert place.row is not None
            share = axes.x.share(float(across[position]))
            assert abs(place.column - share * (drawing.columns - 1)) <= 0.5001
            top = axes.y.ticks[-1][0]
            up = min(top, max(-top, float(pair.delta[position])))
            row = axes.y.share(up) * (drawing.lines - 1)
            assert abs((drawing.lines - 1 - place.row) - row) <= 0.5001
            assert "⠀" < cell(drawing, place.column, place.row) <= "⣿"
        assert drawing.place.cell(0) is None, "no score, no place"


@pytest.mark.parametrize("far", [3.0, -40.0])
def test_one_token_far_out_does_not_push_all_others_into_the_line_at_0(
    tmp_path: Path, far: float
) -> None:
    rng = np.random.default_rng(7)
    b = -rng.uniform(0.1, 8, 2000).astype(np.float32)
    a = (b + rng.normal(0, 0.05, 2000)).astype(np.float32)
    a[77] = b[77] - 50
    b[77] = a[77] - far
    for chart in (LogprobGapChart, MeanGapChart):
        made = chart(source_of(tmp_path / chart.__name__, a, b, 0.1), "all")
        drawing = draw(made, 110, 30)
        rows = [
            y
            for y in range(drawing.lines)
            for x in range(drawing.columns)
            if "⠀" < cell(drawing, x, y) <= "⣿"
        ]
        assert len(set(rows)) > drawing.lines / 2
        edge = 0 if far > 0 else drawing.lines - 1
        place = drawing.place.cell(77)  # type: ignore[union-attr]
        assert place is not None
        assert place.row is not None
        assert abs(place.row - edge) <= 1
        assert place.row in rows
        words = f"1 token further out, at the edge, up to {'+' * (far > 0)}{far:g}"
        assert words in " ".join(drawing.legend)


def test_a_dot_has_the_colour_of_its_side_and_none_within_the_threshold(
    source: ChartSource,
) -> None:
    drawing = draw(LogprobGapChart(source, "all"), 110, 31)
    zero = drawing.lines // 2
    assert {1, -1} <= set(drawing.tones.values())
    for (row, _), tone in drawing.tones.items():
        assert (row < zero) == (tone > 0)
    painter = Painter(drawing, 110, make_palette("256"))
    colours = {
        segment.style.color.get_truecolor().hex
        for strip in painter.lines(0)
        for segment in strip
        if segment.style is not None and segment.style.color is not None
    }
    steps = make_palette("256").steps
    for side in steps:
        own = {step.bgcolor.get_truecolor().hex for step in side if step.bgcolor}
        assert own & colours


def test_the_band_holds_95_of_100_tokens_and_the_mean_is_that_of_the_gap(
    source: ChartSource,
) -> None:
    chart = MeanGapChart(source, "all")
    delta = chart.data.delta[chart.data.counted].astype(np.float64)
    low, high = chart.band
    inside = np.count_nonzero((delta >= low) & (delta <= high)) / len(delta)
    assert 0.94 <= inside <= 0.96
    assert low < chart.mean < high
    assert chart.mean == pytest.approx(delta.mean())
    legend = " ".join(draw(chart, 110, 40).legend)
    assert f"95% of the tokens from {low:.2g} to +{high:.2g} nats" in legend
    assert "threshold ±0.1 nats" in legend
    assert "mean +0.0" in legend


@pytest.mark.parametrize("name", ["gap", "mean_gap", "delta", "scatter"])
def test_a_file_has_points_in_the_colours_of_both_sides(
    source: ChartSource, name: str
) -> None:
    reach: Any = "one" if name == "delta" else "all"
    chart = CHARTS[index_of(name)].load()(source, reach)
    svg = chart_svg(chart)
    for side in ("cx-a", "cx-b", "cx-within"):
        assert re.search(rf'class="cx-point {side}"[^>]* d="M', svg), side
    assert "cx-line" not in svg, "no line from token to token"
    assert ("threshold" in svg) == (name != "scatter")
    assert ">95%<" in svg if name == "mean_gap" else ">95%<" not in svg


def test_a_file_shows_the_threshold_although_one_token_is_far_out(
    tmp_path: Path,
) -> None:
    b = -np.linspace(0.5, 8, 60).astype(np.float32)
    a = (b + np.linspace(-1.5, 1.5, 60)).astype(np.float32)
    source = source_of(tmp_path / "wide", a, b, 0.1)
    for name, reach in (("gap", "all"), ("delta", "one")):
        chart = CHARTS[index_of(name)].load()(source, reach)  # type: ignore[arg-type]
        assert ">threshold<" in chart_svg(chart), name
