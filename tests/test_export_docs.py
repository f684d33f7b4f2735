"""The examples of docs/export.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from logdrift.cli.main import main
from logdrift.core.compare.pair import make_pair
from logdrift.core.export.csv_rows import COLUMNS
from logdrift.core.export.rows import SCORES
from logdrift.core.session.reader import open_session
from tests.common import REPOSITORY, SAMPLE, Fields

DOCUMENT = (REPOSITORY / "docs" / "export.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample as tokens.parquet."""
    out: Path = tmp_path_factory.mktemp("rows")
    assert main(["export", str(SAMPLE), "-o", str(out / "tokens.parquet")]) == 0
    return out


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb"])
def test_an_example_gives_the_number_of_the_report(
    library: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = [text for text in PROGRAMS if text.startswith(f"import {library}")]
    monkeypatch.chdir(folder)
    names: Fields = {}
    exec(program, names)
    session = open_session(SAMPLE)
    pair = make_pair(session, "trainer", "vllm")
    expected = pair.metrics("completion").errors.mae
    # A library may add float32 in an order of its own.
    assert names["mae"] == pytest.approx(expected, rel=1e-5)
    assert f"{expected:.4f}" in DOCUMENT


def test_every_column_is_described() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (?:int32|int64|string|float32|bool|dict|list)", DOCUMENT, re.M
    )
    assert tuple(rows) == COLUMNS
    for word in SCORES:
        assert f"`{word}`" in DOCUMENT
