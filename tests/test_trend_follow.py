"""`logdrift trend --follow`: rows, answers, and what is left out, as they come in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from logdrift.cli import trend_follow
from logdrift.core.trend.reader import TrendReader
from tests.made_trends import step_session


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    folder = tmp_path / "few"
    for step in range(3):
        step_session(folder, step, 0.02)
    return folder


class Enough(Exception):
    """Ends following after some looks."""


@pytest.fixture
def looks(few: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A step is added at each look but the first; the third one ends it."""
    added: list[int] = []

    def wait(_seconds: float) -> None:
        if len(added) == 2:
            raise Enough
        step = 3 + len(added)
        step_session(few, step, 0.02)
        added.append(step)

    monkeypatch.setattr(trend_follow.time, "sleep", wait)
    return added


def test_follow_prints_each_step_that_is_added(
    few: Path, looks: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    reader = TrendReader(few)
    with pytest.raises(Enough):
        trend_follow.follow(reader, reader.look(), "text", None)
    out = capsys.readouterr().out
    assert looks == [3, 4]
    assert re.findall(r"^ +(\d)  ", re.sub(r" +0\.", "  0.", out), re.MULTILINE) == [
        *"01234"
    ]
    assert out.count("MAE ") == 1, "the head stands once"


def test_follow_as_json_is_an_object_a_line(
    few: Path, looks: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    reader = TrendReader(few)
    with pytest.raises(Enough):
        trend_follow.follow(reader, reader.look(), "json", None)
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [entry["row"]["step"] for entry in objects if entry["kind"] == "row"]
    assert rows == [0, 1, 2, 3, 4]
    assert objects[3]["kind"] == "answer"


def test_follow_writes_a_file_again(
    few: Path, looks: list[int], tmp_path: Path
) -> None:
    reader = TrendReader(few)
    page = tmp_path / "trend.md"
    with pytest.raises(Enough):
        trend_follow.follow(reader, reader.look(), "md", page)
    assert "step_4" in page.read_text()
