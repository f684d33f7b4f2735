"""A metric of one's own is one function and one row, and it arrives everywhere.

The recipe is that of CONTRIBUTING.md; the row is put into the real table, which every
surface reads.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from logdrift.cli.main import main
from logdrift.core.compare.matrix import matrix_cell
from logdrift.core.compare.metric import METRICS, Metric, metric, resolve
from logdrift.core.compare.metrics import ScopeTokens
from logdrift.core.compare.pair import make_pair
from logdrift.core.report.grade import grade
from logdrift.core.session.reader import open_session
from logdrift.tui.screens.matrix import MatrixScreen
from logdrift.tui.screens.texts import Picker
from tests.common import SAMPLE
from tests.metrics_docs import undocumented
from tests.tui_screen import MEDIUM, judged, make_app, screen_text, until, until_screen

PAIR = "trainer/prefill", "vllm/decode"


def likelier_in_a(tokens: ScopeTokens) -> float | None:
    """The share of tokens that A finds likelier than B, 0 to 1."""
    if not len(tokens.delta):
        return None
    return float(np.count_nonzero(tokens.delta > 0) / len(tokens.delta))


TOY = Metric(
    path="errors.toy",
    title="likelier in A",
    unit="0 to 1",
    meaning="share of tokens that A finds likelier",
    good="about one half",
    perfect=0,
    of_tokens=likelier_in_a,
    heading="Error of the log-probabilities",
    headline=True,
)


@pytest.fixture(autouse=True)
def value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_home: None) -> float:
    """The value that the sample's main pair has, with the row in the table."""
    monkeypatch.setitem(METRICS, TOY.path, TOY)
    pair = make_pair(open_session(SAMPLE), *PAIR)
    tokens = pair.delta[pair.scope_mask("completion")]
    return float((tokens > 0).mean())


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints, whatever it answers."""
    main([*arguments])
    return capsys.readouterr().out


def test_it_is_named_and_read(value: float) -> None:
    assert resolve("toy") == "errors.toy"
    metrics = make_pair(open_session(SAMPLE), *PAIR).metrics()
    assert metric("errors.toy").read(metrics) == value
    assert metrics.to_json()["errors"]["toy"] == value


def test_it_is_in_the_json(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(
        printed(capsys, "report", str(SAMPLE), "--pair", ":".join(PAIR), "--json")
    )
    assert report["pairs"][0]["errors"]["toy"] == value


@pytest.mark.parametrize("form", [(), ("--md",), ("--html",)])
def test_it_is_in_the_report(
    form: tuple[str, ...], value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "report", str(SAMPLE), "--pair", ":".join(PAIR), *form)
    at = text.index(TOY.title)
    row = text[at : at + 400]
    assert f"{value:.4f}" in row
    assert TOY.good in row


def test_it_is_in_the_matrix(value: float) -> None:
    session = open_session(SAMPLE)
    cell = matrix_cell(session, *PAIR, "errors.toy", "completion")
    assert cell.value == value
    assert grade(cell, "errors.toy", session.captures, value).words


async def test_it_can_be_chosen_on_the_matrix_screen(value: float) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=MEDIUM) as pilot:
        await judged(pilot)
        await pilot.press("m")
        await until_screen(pilot, MatrixScreen)
        await pilot.press("O")
        await until_screen(pilot, Picker)
        await pilot.press("end")
        await until(pilot, lambda: TOY.path in screen_text(app))
        assert TOY.meaning in screen_text(app)


def test_it_can_be_limited(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    session = str(SAMPLE)
    assert main(["check", session, "--max", f"toy={value + 0.01}"]) == 0
    assert "errors.toy" in capsys.readouterr().out
    assert main(["check", session, "--max", f"toy={value - 0.01}"]) == 1
    assert "FAILED errors.toy" in capsys.readouterr().out


def test_a_limit_of_the_config_file_is_judged_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[[thresholds]]\nname = "ours"\nmetric = "toy"\nmax = 0.01\n')
    monkeypatch.setenv("LOGDRIFT_CONFIG", str(config))
    text = printed(capsys, "report", str(SAMPLE), "--pair", ":".join(PAIR))
    assert any("exceeded" in line and "ours" in line for line in text.splitlines())


def test_the_documentation_is_asked_for_its_row() -> None:
    assert undocumented() == ["errors.toy"]
