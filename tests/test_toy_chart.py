"""The recipe of a new chart: one class and one line in the registry, and it is on the
screen, in the help, in the files, and in the HTML report.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.core.charts import registry
from logdrift.core.charts.base import Chart
from logdrift.core.charts.data import ChartSource, PairData
from logdrift.core.compare.pair import make_pair
from logdrift.core.report.build import report_on
from logdrift.core.report.forms import html_of
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.widgets.charts.export import render
from tests.toy_chart import LINE

pytestmark = pytest.mark.usefixtures("own_home")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 sequences, 3,000 tokens, 4 captures."""
    return make_session(
        tmp_path_factory.mktemp("toy") / "gen", 3000, 24, 20, captures=4
    )


@pytest.fixture
def session(folder: Path) -> Session:
    return open_session(folder)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line, as the last of the list."""
    monkeypatch.setattr(registry, "CHARTS", (*registry.CHARTS, LINE))


@pytest.fixture
def chart(session: Session, registered: None) -> Chart:
    """Of all sequences, made as the screen makes it."""
    pair = make_pair(session, "trainer/prefill", "vllm/prefill")
    source = ChartSource(PairData(session, pair), 0, 0.1)
    entry = registry.CHARTS[registry.index_of("sorted")]
    return entry.load()(source, "all")


def test_it_is_a_file_of_each_kind(chart: Chart) -> None:
    root = ET.fromstring(render(chart, ".svg"))
    assert "Sorted gaps, all 24 sequences" in "".join(root.itertext())
    rows = list(csv.reader(io.StringIO(render(chart, ".csv"))))
    values = [float(row[0]) for row in rows[1:]]
    assert rows[0] == ["size"]
    assert values == sorted(values)
    words = render(chart, ".txt")
    assert words.startswith("sorted gaps · all 24 sequences")
    assert "sorted |Δ|" in words


@pytest.mark.usefixtures("registered")
def test_it_reaches_the_html_report_with_its_help(session: Session) -> None:
    page = html_of(report_on(session), session)
    assert "Sorted gaps, all 24 sequences" in page
    assert LINE.help in page


def test_it_is_on_the_screen_with_a_key_and_in_help_and_list(folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.toy_chart_screen", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)
    assert "1 sorted gaps" in shown["pane"]
    assert any("⠀" < char <= "⣿" for char in shown["pane"]), "its curve is drawn"
    assert shown["key"] == "1"
    assert shown["command"] == "Chart 1: sorted gaps"
    assert "Chart 1: sorted gaps" in shown["help"]
    assert "sorted gaps" in shown["list"]
