"""Settings as a pair reads them: its own columns first, grouped, each with whether it
matters. Every fact that the gate may object to is looked up by the gate's own words.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from logdrift.core.compare.gate import judge
from logdrift.core.compare.pair import make_pair
from logdrift.core.facts import Facts
from logdrift.core.report.settings import CaptureSetting, CaptureSettings, settings_of
from logdrift.tui.models.settings import (
    GROUPS,
    PairSetting,
    PairSettings,
    SettingsHeading,
    copied,
    pair_settings,
)
from tests.common import Fields
from tests.made_sessions import capture, write_session

ROWS = [[-1.0, -2.0, -0.5, -1.5], [-0.75, -1.25, -2.5, -0.5]]
PAIR = ("trainer/prefill", "vllm/prefill")


def made(tmp_path: Path, a: Fields, b: Fields) -> PairSettings:
    captures = [
        capture("reference/prefill", ROWS, facts={"dtype": "float32"}),
        capture("trainer/prefill", ROWS, facts=a),
        capture("vllm/prefill", ROWS, facts=b),
    ]
    session = write_session(tmp_path / "s", [1, 1], captures)
    gate = judge(session, make_pair(session, *PAIR))
    return pair_settings(settings_of(session), PAIR, gate)


def row_of(settings: PairSettings, name: str) -> PairSetting:
    (row,) = [row for row in settings.rows if row.name == name]
    return row


@pytest.mark.parametrize(
    ("name", "a", "b", "matters"),
    [
        ("dtype", "bfloat16", "float16", "caution"),
        ("weights_digest", "sha256:1", "sha256:2", "not comparable"),
        ("vocab_size", 100, 200, "not comparable"),
        ("decode_logprobs", "raw", "raw", ""),
        ("temperature", 1.0, 1.0, ""),
        ("attention_backend", "sdpa", "FLASH", "caution"),
        ("quantization", "none", "fp8", "caution"),
        ("rank_counts", "strict", "inclusive", "no"),
    ],
)
def test_whether_a_difference_matters_is_what_the_gate_says(
    tmp_path: Path, name: str, a: object, b: object, matters: str
) -> None:
    settings = made(tmp_path, {name: a}, {name: b})
    row = row_of(settings, name)
    assert row.matters in (matters, "note" if matters == "caution" else matters)
    assert row.mark == ("=" if a == b else "≠") or row.kind == "elsewhere"
    if row.reason is not None:
        assert row.advice == row.reason.text
    assert row.advice


def test_the_pairs_own_columns_are_first_and_named(tmp_path: Path) -> None:
    settings = made(tmp_path, {}, {"attention_backend": "FLASH"})
    assert settings.own == 2
    assert settings.heads() == [
        "A trainer/prefill",
        "B vllm/prefill",
        "reference/prefill",
    ]
    row = row_of(settings, "attention_backend")
    assert row.values[:2] == ("sdpa", "FLASH")


def test_what_only_others_differ_in_is_no_difference_of_the_pair(
    tmp_path: Path,
) -> None:
    row = row_of(made(tmp_path, {}, {}), "dtype")
    assert row.kind == "elsewhere"
    assert row.matters == "elsewhere"
    assert row.mark == "~"


@pytest.mark.parametrize("name", Facts().to_json())
def test_every_fact_has_a_group_and_a_line_to_make_something_of(name: str) -> None:
    values: tuple[str | None, ...] = ("1", "2")
    facts = CaptureSetting(name, values, "differs")
    settings = CaptureSettings((("a/prefill",), ("b/prefill",)), (facts,))
    (row,) = pair_settings(settings, ("a/prefill", "b/prefill"), None).rows
    assert row.group in GROUPS
    assert row.advice
    assert row.matters == "no"


def test_rows_are_grouped_and_differences_of_the_pair_come_first(
    tmp_path: Path,
) -> None:
    environment = {"environment": {"VLLM_FLAG": "1"}}
    settings = made(tmp_path, {}, {"attention_backend": "FLASH", **environment})
    lines = settings.lines({"environment"})
    headings = [line for line in lines if isinstance(line, SettingsHeading)]
    assert [line.group for line in headings] == list(GROUPS)[1:]
    found = [line.folded for line in headings]
    expected = [False, False, False, True]
    assert found == expected
    listed = [line.name for line in lines if isinstance(line, PairSetting)]
    assert not [name for name in listed if name.startswith("environment.")]
    order = ["differs", "unknown", "elsewhere", "same"]
    for group in GROUPS:
        kinds = [row.kind for row in settings.rows if row.group == group]
        assert kinds == sorted(kinds, key=order.index)
    whole = settings.lines(())
    assert len(whole) == len(settings.rows) + len(headings)
    table = [line.split("\t") for line in copied(settings).split("\n")]
    assert len(table) == 1 + len(settings.rows)
    assert {len(row) for row in table} == {6}


@pytest.mark.parametrize("value", ["sha256:1", "sha256:2"])
def test_what_the_gate_objects_to_is_listed_before_everything_else(
    tmp_path: Path, value: str
) -> None:
    settings = made(tmp_path, {"weights_digest": "sha256:1"}, {"weights_digest": value})
    first, second = settings.lines(())[:2]
    assert isinstance(first, SettingsHeading)
    assert isinstance(second, PairSetting)
    differs = value != "sha256:1"
    assert (first.group == "matters") == differs
    assert (second.name == "weights_digest") == differs


def test_one_column_where_both_sides_ran_alike(tmp_path: Path) -> None:
    captures = [capture("vllm/prefill", ROWS), capture("vllm/prefill#2", ROWS)]
    session = write_session(tmp_path / "s", [1, 1], captures)
    settings = pair_settings(
        settings_of(session), ("vllm/prefill", "vllm/prefill#2"), None
    )
    assert settings.own == 1
    assert settings.heads() == ["A, B vllm/prefill +1"]
    nothing = pair_settings(settings_of(session), None, None)
    assert nothing.own == 0
    assert nothing.heads() == ["vllm/prefill +1"]
