"""Good ranges: the words and what is judged by are one, and marks say what they mean."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from logdrift.core.compare.limits import JudgedLimit, Limit, LimitLevel
from logdrift.core.compare.metric import METRICS, Metric
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.scopes import Scope
from logdrift.core.compare.usual import USUAL
from logdrift.core.report.build import report_on, report_on_pair
from logdrift.core.report.diff import diff_sessions
from logdrift.core.report.diff_document import diff_document
from logdrift.core.report.forms import html_of, markdown_of
from logdrift.core.report.layout import Canvas
from logdrift.core.report.limit_words import LIMIT_MARKS, advice, conclusion
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.pair_numbers import metric_value
from logdrift.core.report.records import PairReport
from logdrift.core.report.session_text import session_text
from logdrift.core.session.reader import open_session
from tests.common import SAMPLE
from tests.made_sessions import capture, write_session

PAIR = ("trainer/prefill", "vllm/decode")
RANGED = [metric for metric in METRICS.values() if metric.within is not None]
LEVELS: tuple[LimitLevel, ...] = ("own", "normal", "fault", "exact")


def reported(scope: Scope = "completion") -> PairReport:
    session = open_session(SAMPLE)
    return report_on_pair(make_pair(session, *PAIR), scope)


@pytest.mark.parametrize("metric", RANGED, ids=lambda metric: metric.path)
def test_the_words_of_a_good_range_are_those_it_is_judged_by(metric: Metric) -> None:
    assert metric.within is not None
    assert metric.within.words in metric.good


def test_every_number_of_the_text_report_has_a_range_but_those_without_one() -> None:
    headlines = [metric for metric in METRICS.values() if metric.headline]
    without = {metric.path for metric in headlines if metric.within is None}
    # The range of the MAE is that of the dtype; no share of exact tokens is bad.
    assert without == {"errors.mae", "errors.exact_fraction"}


@pytest.mark.parametrize("metric", RANGED, ids=lambda metric: metric.path)
def test_ends_are_good_and_what_lies_beyond_is_not(metric: Metric) -> None:
    within = metric.within
    assert within is not None
    mae = 0.04
    unit = mae if within.times_mae else 1.0
    for end, step in ((within.low, -1e-6), (within.high, 1e-6)):
        if end is None:
            continue
        assert within.standing(end * unit, mae) == "good"
        beyond = within.standing(end * unit + step, mae)
        assert beyond == ("outside" if within.surely_bad is None else "unknown")
    if within.surely_bad is not None:
        assert within.standing(within.surely_bad, mae) == "outside"
    assert within.standing(None, mae) == "unknown"


@pytest.mark.parametrize("dtype", USUAL)
def test_the_mae_stands_in_the_usual_range_of_its_dtype(dtype: str) -> None:
    pair = reported()
    usual = USUAL[dtype]
    mae = METRICS["errors.mae"]
    sizes = {0.0: "good", usual.high: "good", usual.high * 1.01: "outside"}
    for size, standing in sizes.items():
        errors = replace(pair.metrics.errors, mae=size)
        metrics = replace(pair.metrics, errors=errors)
        assert metric_value(mae, metrics, usual).standing == standing
        assert metric_value(mae, metrics, None).standing == "unknown"


def test_the_answer_is_first_and_every_number_of_the_sample_is_good() -> None:
    report = report_on(open_session(SAMPLE), [PAIR])
    text = paint_text(session_text(report), Canvas(80))
    assert text.startswith("trainer/prefill → vllm/decode: COMPARABLE\n")
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("  number "))
    end = lines.index("All 18 numbers that can be judged are within their good range.")
    marked = [line for line in lines[start:end] if line[0] in "✓✗?"]
    assert len(marked) == 18
    assert all(line[0] == "✓" for line in marked)
    assert lines[end + 1].startswith("✓ within its good range")
    assert "| ✓ | MAE |" in markdown_of(report)
    assert (
        "not_comparable" not in html_of(report, open_session(SAMPLE)).split("<body")[1]
    )


def test_numbers_of_a_pair_that_is_not_comparable_are_not_marked() -> None:
    pair = reported()
    refused = replace(pair.measured.gate, verdict="not_comparable")
    measured = replace(pair.measured, gate=refused)
    report = report_on(open_session(SAMPLE), [PAIR])
    report = report.with_pair(replace(pair, measured=measured))
    text = paint_text(session_text(report), Canvas(80))
    assert "NOT COMPARABLE" in text
    assert "within its good range" not in text
    assert "good?" not in markdown_of(report)


def judged(level: LimitLevel, ok: bool | None, framework: str = "verl") -> JudgedLimit:
    limit = Limit(
        framework=framework,
        name="mae",
        metric="errors.mae",
        low=None,
        high=0.03,
        level=level,
        meaning="",
        source="",
    )
    note = "not computed for this pair" if ok is None else None
    return JudgedLimit(limit, 0.04, ok, note)


@pytest.mark.parametrize(("level", "ok"), product(LEVELS, LIMIT_MARKS))
def test_every_limit_has_a_line_to_make_something_of(
    level: LimitLevel, ok: bool | None
) -> None:
    words = advice(judged(level, ok))
    assert words
    assert "None" not in words
    assert ("a fault to verl" in words) == (level == "fault" and ok is False)


@pytest.mark.parametrize(
    ("limits", "mae", "words", "tone"),
    [
        ([judged("normal", True)], 0.04, "Normal: of 1 limit none", "good"),
        ([judged("normal", False)], 0.04, "Normal for bfloat16", "good"),
        ([judged("normal", False)], 0.07, "On the high side", "warn"),
        ([judged("fault", False)], 0.04, "is usual for bfloat16, yet", "warn"),
        ([judged("fault", False)], 0.07, "Not normal: 1 fault limit (verl) is", "bad"),
        ([judged("own", False)], 0.07, "Not normal", "bad"),
        ([judged("exact", False)], 0.04, "No limit could be judged", "warn"),
        ([judged("exact", False), judged("fault", True)], 0.04, "Normal", "good"),
    ],
)
def test_what_all_limits_say_together(
    limits: list[JudgedLimit], mae: float, words: str, tone: str
) -> None:
    usual = USUAL["bfloat16"]
    said = conclusion(limits, mae, usual, void=False)
    assert words in said.text
    assert said.tone == tone
    refused = conclusion(limits, mae, usual, void=True)
    assert "not comparable" in refused.text
    assert refused.tone == "bad"


@pytest.mark.parametrize("sequences", [1, 2])
@pytest.mark.parametrize("tokens", [1, 2])
def test_one_is_no_plural(tmp_path: Path, sequences: int, tokens: int) -> None:
    trainer = [[-1.0] * (1 + tokens) for _ in range(sequences)]
    rollout = [[-1.5] * (1 + tokens) for _ in range(sequences)]
    captures = [capture("trainer/prefill", trainer), capture("vllm/prefill", rollout)]
    prompts = [1] * sequences
    one = write_session(tmp_path / "a", prompts, captures)
    two = write_session(tmp_path / "b", prompts, captures)
    pair = ("trainer/prefill", "vllm/prefill")
    report = report_on(one, [pair])
    texts = [
        paint_text(session_text(report), Canvas(80)),
        markdown_of(report),
        paint_text(diff_document(diff_sessions(one, two, pair, pair)), Canvas(80)),
    ]
    for text in texts:
        words = " ".join(text.split())
        plurals = re.findall(
            r"(?<![\d.,])1 (?:completion )?(?:tokens|sequences)\b", words
        )
        assert not plurals, words
        assert "all 1 " not in words
