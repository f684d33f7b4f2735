"""A folder of sessions over the steps of a training: rows, order, the first change with
its likely cause, and every form of it.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logdrift
from logdrift.cli.main import main
from logdrift.core.facts import Facts
from logdrift.core.report.layout import Canvas
from logdrift.core.session.reader import open_session
from logdrift.core.trend.answered import AnsweredLine, TrendReport
from logdrift.core.trend.chart import TrendChart
from logdrift.core.trend.column import trend_layout
from logdrift.core.trend.compare import StepPair, compared_steps
from logdrift.core.trend.document import rows_table, wide_table
from logdrift.core.trend.forms import rendered_trend
from logdrift.core.trend.line import TrendLine, lines_of
from logdrift.core.trend.number import NUMBERS
from logdrift.core.trend.reader import TrendReader
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.wish import TrendWish
from tests.made_sessions import capture, edit_manifest, write_session
from tests.made_trends import few_steps, step_session

STEPS = 30
CHANGE = 18


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose rollout keeps version 17: the gap grows from step 18 on."""
    folder = tmp_path_factory.mktemp("stuck")
    for step in range(STEPS):
        behind = max(0, step - CHANGE + 1)
        version = str(min(step, CHANGE - 1))
        facts = {"weight_version": version}
        step_session(folder, step, 0.02 * 1.2**behind, facts=facts)
    return folder


@pytest.fixture(scope="module")
def report(stuck: Path, tmp_path_factory: pytest.TempPathFactory) -> TrendReport:
    return TrendReport.of(TrendReader(stuck).look().trend)


def the_line(report: TrendReport) -> AnsweredLine:
    (line,) = report.lines
    return line


# ---- rows and their order


def test_a_row_has_the_numbers_of_the_report(report: TrendReport, stuck: Path) -> None:
    row = the_line(report).line.rows[7]
    session = logdrift.open_session(stuck / "step_7")
    (pair,) = logdrift.build_report(session, [(row.a, row.b)])["pairs"]
    assert row.mae == pair["errors"]["mae"]
    assert list(row.mae_interval or ()) == pair["ci95"]["mae"]
    assert row.k3 == pair["mismatch"]["k3"]
    assert row.ess == pair["mismatch"]["ess_token"]
    assert row.length == 20
    assert row.verdict == pair["gate"]["verdict"]


def test_rows_stand_in_the_order_of_the_steps(report: TrendReport) -> None:
    line = the_line(report).line
    assert [row.step for row in line.rows] == list(range(STEPS))
    assert line.source_words.endswith("as the name of the session says")


def test_without_steps_the_time_is_the_order(tmp_path: Path) -> None:
    for name, day in (("b", 1), ("a", 2), ("c", 3)):
        step_session(tmp_path, day, 0.02, name=name, created=f"2026-01-0{day}")
    line = the_line(TrendReport.of(TrendReader(tmp_path).look().trend)).line
    assert line.order == "time"
    assert [row.session for row in line.rows] == ["b", "a", "c"]


def test_versions_are_the_order_where_each_row_has_its_own() -> None:
    rows = [row_of(session=name, newest=name, oldest=name) for name in ("10", "9")]
    (line,) = lines_of(rows)
    assert line.order == "version"
    assert [row.newest for row in line.rows] == ["9", "10"]
    same = [replace(row, newest="9") for row in rows]
    assert lines_of(same)[0].order == "time"


def test_pairs_and_models_have_a_line_each_and_nothing_is_dropped(
    tmp_path: Path,
) -> None:
    for step in (1, 2):
        step_session(tmp_path, step, 0.02)
    step_session(tmp_path, 3, 0.02, model="other")
    step_session(tmp_path, 4, 0.02, name="no-number")
    scores = [[-1.0] * 8] * 3
    write_session(tmp_path / "alone", [2] * 3, [capture("trainer/prefill", scores)])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "session.json").write_text("{")
    trend = TrendReader(tmp_path).look().trend
    sizes = [(line.model, len(line.rows)) for line in trend.lines]
    assert sorted(sizes) == [("made", 1), ("made", 2), ("other", 1)]
    problems = dict(trend.problems)
    assert set(problems) == {"alone", "broken"}
    text = rendered_trend("text", TrendReport.of(trend), Canvas())
    assert "2 sessions not measured" in text
    assert "alone: has no two captures to compare yet" in text


def test_a_step_that_two_sessions_have_is_told(tmp_path: Path) -> None:
    step_session(tmp_path, 1, 0.02)
    step_session(tmp_path, 1, 0.02, name="again_step_1")
    trend = TrendReader(tmp_path).look().trend
    assert len(trend.lines[0].rows) == 2
    assert trend.lines[0].places == (1, 2)
    assert any("repeat a step" in note for note in trend.notes)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return few_steps(tmp_path / "few")


# ---- the first change and its cause


def test_weights_that_are_not_synced_are_named(report: TrendReport) -> None:
    line = the_line(report)
    change = line.change
    assert change is not None
    assert abs((change.row.step or 0) - CHANGE) <= 1
    assert not change.shift.is_jump
    assert change.cause is not None
    assert change.cause.code == "versions"
    text = line.answer.text
    assert text.startswith(f"MAE grows since step {change.row.step}: 0.0")
    assert text.endswith("likely: weights are not synced.")
    assert "stay at version 17 from step 17 on" in change.cause.sentence


def run_of(folder: Path, before: Any, after: Any, size: float = 0.06) -> AnsweredLine:
    """A training whose gap is three times as large from step 10 on."""
    for step in range(20):
        is_after = step >= 10
        facts = after(step) if is_after else before(step)
        step_session(folder, step, size if is_after else 0.02, facts=facts)
    return the_line(TrendReport.of(TrendReader(folder).look().trend))


def test_a_setting_that_changed_there_is_named(tmp_path: Path) -> None:
    line = run_of(
        tmp_path,
        lambda step: {"engine_version": "0.10", "weight_version": str(step)},
        lambda step: {"engine_version": "0.11", "weight_version": str(step)},
    )
    assert line.change is not None
    assert line.change.row.step == 10
    assert line.change.shift.is_jump
    assert "likely: engine_version changed" in line.answer.text
    (evidence,) = line.change.evidence
    assert evidence.sentence == "engine_version of B changed at step 10: 0.10 → 0.11."


def test_a_change_that_nothing_explains_says_so(tmp_path: Path) -> None:
    line = run_of(tmp_path, lambda _: {}, lambda _: {})
    assert line.change is not None
    assert line.change.row.step == 10
    assert not line.change.evidence
    assert line.answer.text.endswith("what changed there is not recorded.")


def test_a_gap_that_becomes_smaller_is_good_news(tmp_path: Path) -> None:
    line = run_of(tmp_path, lambda _: {}, lambda _: {}, size=0.006)
    assert line.answer.text.startswith("MAE drops at step 10")
    assert line.answer.tone == "good"


def row_of(**values: Any) -> TrendRow:
    names = {"a": "trainer/prefill", "b": "vllm/decode", "model": "made"}
    return TrendRow(
        **{"session": "s", "created": "2026", "state": "complete", **names, **values}
    )


def drawn_line(sizes: Any, **values: Any) -> TrendLine:
    rows = []
    for step, size in enumerate(sizes):
        interval = (0.9 * size, 1.1 * size)
        own = {name: value(step) for name, value in values.items()}
        rows.append(row_of(step=step, mae=size, mae_interval=interval, **own))
    (line,) = lines_of(rows)
    return line


def test_weights_that_fall_behind_are_named(tmp_path: Path) -> None:
    sizes = [0.02 + 0.001 * (step % 3) for step in range(15)]
    sizes += [0.06 + 0.001 * (step % 3) for step in range(15)]
    line = drawn_line(sizes, lag=lambda step: 4.0 * (step >= 15))
    answered = AnsweredLine(TrendReader(tmp_path).look().trend, line)
    assert answered.change is not None
    assert [evidence.code for evidence in answered.change.evidence] == ["lag"]
    assert "4 versions behind from step 15 on, 0 before" in str(
        answered.change.evidence[0].sentence
    )


def test_a_change_that_is_over_is_sized_by_its_own_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    sizes = 0.02 * np.exp(rng.normal(0, 0.1, 60))
    sizes[20:29] *= 6
    line = drawn_line(
        sizes.tolist(),
        lag=lambda step: 4.0 * (20 <= step < 29),
        newest=lambda step: str(20 if 20 <= step < 29 else step),
    )
    answered = AnsweredLine(TrendReader(tmp_path).look().trend, line)
    change = answered.change
    assert change is not None
    assert change.words == "MAE jumps at step 20, until step 28"
    (mae, *_) = change.sides
    assert mae.before == pytest.approx(0.02, rel=0.1)
    assert mae.after == pytest.approx(0.12, rel=0.1)
    assert re.search(r": 0\.0\d+ before, 0\.1\d+ in these steps", answered.answer.text)
    assert {evidence.code for evidence in change.evidence} == {"lag", "versions"}
    for evidence in change.evidence:
        assert "from step 20 to step 28" in evidence.sentence
    assert change.to_json()["end_step"] == 29


def test_few_steps_are_not_judged() -> None:
    line = drawn_line([0.02] * 5 + [0.9] * 5)
    assert line.shift is None


def test_steps_that_are_not_comparable_are_no_part_of_the_change() -> None:
    sizes = [0.02 + 0.001 * (step % 4) for step in range(30)]
    sizes[10:20] = [9.0] * 10

    def verdict(step: int) -> str:
        if 10 <= step < 20:
            return "not_comparable"
        return "comparable"

    assert drawn_line(sizes, verdict=verdict).shift is None
    assert drawn_line(sizes).shift is not None


@pytest.mark.parametrize("wild", [math.inf, math.nan])
def test_a_step_without_a_finite_mae_is_no_part_of_the_change(
    tmp_path: Path, wild: float
) -> None:
    sizes = [0.02 + 0.001 * (step % 4) for step in range(30)]
    for step in range(5, 30, 3):
        sizes[step] = wild
    line = drawn_line(sizes)
    assert line.shift is None
    assert len(line.counted_rows) == 30 - 9
    trend = replace(TrendReader(tmp_path).look().trend, lines=(line,))
    text = rendered_trend("text", TrendReport.of(trend), Canvas(200))
    assert "No change beyond noise over 21 steps" in text
    assert "Without a finite MAE, and no part of this: 9 rows, the first at step 5" in (
        text
    )
    for places in ((4, 5), (5, 6)):
        compared = str(compared_steps(tmp_path, StepPair(line, *places)))
        assert "One of the two has no finite MAE." in compared


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("k3", 0.0004, "0.00040"),
        ("k3", 0.01, "0.010"),
        ("k3", 12.0, "12"),
        ("k3", math.inf, "inf"),
        ("length", 20.0, "20"),
        ("length", 20.25, "20.2"),
        ("length", 8192.4, "8192"),
        ("lag", 1234.0, "1234"),
        ("mae", math.nan, "-"),
        ("mae", None, "-"),
    ],
)
def test_numbers_are_written_in_even_digits(
    name: str, value: float | None, text: str
) -> None:
    (number,) = [number for number in NUMBERS if number.name == name]
    assert number.text(value) == text


# ---- charts


def chart_of(line: TrendLine) -> TrendChart:
    return TrendChart(line, NUMBERS[0], None)


def test_steps_that_begin_with_1_are_steps() -> None:
    rows = [row_of(step=step, mae=0.02) for step in range(1, 9)]
    (line,) = lines_of(rows)
    chart = chart_of(line)
    assert chart.axes(80).x.label == "step"
    assert chart.heading == "MAE over steps"


def test_rows_whose_steps_repeat_stand_at_their_numbers() -> None:
    rows = [row_of(step=step, mae=0.02) for step in (100, 100, 300)]
    (line,) = lines_of(rows)
    chart = chart_of(line)
    assert chart.axes(80).x.label == "row"
    assert chart.heading == "MAE over rows"
    assert [text for _, text in chart.axes(80).x.ticks] == ["1", "2", "3"]


def test_large_steps_are_written_in_full() -> None:
    steps = (1_000_000, 1_234_567, 12_000_000)
    rows = [row_of(step=step, mae=0.02) for step in steps]
    (line,) = lines_of(rows)
    texts = [text for _, text in chart_of(line).axes(80).x.ticks]
    assert texts == ["1000000", "1234567", "12000000"]


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("prompt", "Tokens of the prompts count, which are not sampled"),
        ("all", "Tokens of prompts and completions count."),
        ("completion", ""),
    ],
)
def test_another_scope_is_named(few: Path, scope: Any, said: str) -> None:
    report = TrendReport.of(TrendReader(few, TrendWish(scope=scope)).look().trend)
    text = " ".join(rendered_trend("text", report, Canvas()).split())
    assert said in text
    assert ("count" in text) == bool(said)
    assert said in rendered_trend("md", report, Canvas())


# ---- the forms


def test_json_is_schema_1_and_reads_back(report: TrendReport) -> None:
    text = rendered_trend("json", report, Canvas())
    data = json.loads(text, parse_constant=pytest.fail)
    assert data["schema"] == 1
    (line,) = data["lines"]
    assert line["a"] == "trainer/prefill"
    assert line["order"] == "step"
    assert line["change"]["step"] in (CHANGE - 1, CHANGE, CHANGE + 1)
    assert line["change"]["kind"] == "growth"
    assert line["change"]["evidence"][0]["code"] == "versions"
    assert len(line["rows"]) == STEPS
    rows = [TrendRow.from_json(row) for row in line["rows"]]
    assert tuple(rows) == the_line(report).line.rows


def test_every_form_says_the_answer(report: TrendReport) -> None:
    answer = the_line(report).answer.text
    text = rendered_trend("text", report, Canvas(200))
    assert answer in text
    assert all(
        len(line) <= 80 for line in rendered_trend("text", report, Canvas()).split("\n")
    )
    assert answer in rendered_trend("md", report, Canvas())
    page = rendered_trend("html", report, Canvas())
    assert answer in page
    assert page.count("<svg") == 6, "a chart for each number but the lag"
    assert f"change at step {the_line(report).change.row.step}" in page  # type: ignore[union-attr]


def test_screen_and_documents_have_the_same_columns(report: TrendReport) -> None:
    line = the_line(report)
    layout = trend_layout(line.line, 400, has_long=False)
    shown = [known.column for known in trend_layout(line.line, 400).shown]
    names = [column.name for column in shown]
    assert names[:5] == ["step", "version", "MAE", "95%", "verdict"]
    wide = wide_table(line, [7])
    assert [column.title for column in wide.columns] == names
    texts = [str(getattr(cell, "text", cell)) for cell in wide.rows[0].cells]
    assert texts == [column.text(line.line.rows[7]) for column in shown]
    narrow = [column.title for column in rows_table(line, [7], layout).columns]
    assert narrow == [column.name for column in shown if not column.is_long]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_names_the_columns_it_lacks_the_room_for(
    report: TrendReport, width: int
) -> None:
    text = rendered_trend("text", report, Canvas(width))
    (head,) = [line for line in text.splitlines() if line.split()[:1] == ["step"]]
    (left_out,) = re.findall(r"No room here for: (.*)\.", text) or [""]
    names = set(head.split()) | set(left_out.split(", ")) - {""}
    wide = rendered_trend("text", report, Canvas(200))
    (whole,) = [line for line in wide.splitlines() if line.split()[:1] == ["step"]]
    assert names == set(whole.split())
    assert "No room" not in wide


def test_rows_without_a_step_have_the_name_of_their_session(tmp_path: Path) -> None:
    for name, day in (("b", 1), ("a", 2)):
        step_session(tmp_path, day, 0.02, name=name, created=f"2026-01-0{day}")
    report = TrendReport.of(TrendReader(tmp_path).look().trend)
    text = rendered_trend("text", report, Canvas())
    assert [line.split()[-1] for line in text.splitlines()[-2:]] == ["b", "a"]


def test_a_long_trend_folds_its_rows_in_a_comment(tmp_path: Path) -> None:
    line = drawn_line([0.02 + 0.001 * (step % 4) for step in range(500)])
    trend = replace(TrendReader(tmp_path).look().trend, lines=(line,))
    text = rendered_trend("md", TrendReport.of(trend), Canvas())
    head = text.partition("<details>")[0]
    assert len(head.splitlines()) < 30
    assert "all 500 rows" in text


def test_text_of_a_session_stays_text(tmp_path: Path) -> None:
    for step in (1, 2):
        step_session(tmp_path, step, 0.02, model="a\x1b[31m<b>")
    report = TrendReport.of(TrendReader(tmp_path).look().trend)
    assert "\x1b" not in rendered_trend("text", report, Canvas())
    assert "<b>" not in rendered_trend("html", report, Canvas())


def test_two_steps_are_compared(report: TrendReport, stuck: Path) -> None:
    line = the_line(report).line
    blocks = compared_steps(stuck, StepPair(line, 2, STEPS - 1))
    text = str(blocks)
    assert "beyond noise" in text
    assert "weight_version: 2 → 17" in text
    same = str(compared_steps(stuck, StepPair(line, 2, 3)))
    assert "No change beyond noise" in same


# ---- the command


def test_the_command_prints_and_writes(
    stuck: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trend", str(stuck)]) == 0
    assert "weights are not synced" in capsys.readouterr().out
    page = tmp_path / "trend.html"
    assert main(["trend", str(stuck), "--html", "-o", str(page)]) == 0
    assert "<svg" in page.read_text()
    assert main(["trend", str(stuck), "--json", "--pair", "vllm:trainer"]) == 0
    line = json.loads(capsys.readouterr().out)["lines"][0]
    assert (line["a"], line["b"]) == ("vllm/decode", "trainer/prefill")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["{few}/step_0/session.json"], "is a file"),
        (["{few}", "-o", "{few}/step_0/t.html"], "lies in the session folder"),
        (["{few}", "--follow", "--html"], "give one with -o"),
        (["{few}", "--screen", "--json"], "--screen shows the trend"),
        (["{few}", "--screen"], "needs a terminal"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    few: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    given = [argument.format(few=few) for argument in arguments]
    assert main(["trend", *given]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_facts_that_are_told_of_an_older_session_are_read(few: Path) -> None:
    """A manifest of an older version, without facts."""

    def forget(manifest: dict[str, Any]) -> None:
        for info in manifest["captures"]:
            info["facts"] = Facts().to_json()

    edit_manifest(open_session(few / "step_0"), forget)
    trend = TrendReader(few).look().trend
    assert len(trend.lines[0].rows) == 3
    assert os.listdir(few) != []
