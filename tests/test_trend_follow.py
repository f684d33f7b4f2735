"""`logdrift trend --follow`: rows, answers, and what is left out, as they come in."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from logdrift.cli import trend_follow
from logdrift.core.trend.answered import TrendReport
from logdrift.core.trend.document import NOTHING
from logdrift.core.trend.line import Trend
from logdrift.core.trend.reader import TrendReader
from tests.made_trends import few_steps, step_session


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return few_steps(tmp_path / "few")


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


# ---- what is left out, heads, and looks at which nothing is new


def followed(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    changes: Sequence[Callable[[], object]],
    form: str = "text",
    output: Path | None = None,
) -> None:
    """Follow a folder that changes so before each look but the first."""
    left = list(changes)

    def wait(_seconds: float) -> None:
        if not left:
            raise Enough
        change, *left[:] = left
        change()

    monkeypatch.setattr(trend_follow.time, "sleep", wait)
    reader = TrendReader(folder)
    with pytest.raises(Enough):
        trend_follow.follow(reader, reader.look(), form, output)


def nothing() -> None:
    """A look at which nothing is new."""


def break_session(folder: Path) -> None:
    broken = folder / "broken"
    broken.mkdir()
    (broken / "session.json").write_text("{")


def test_follow_tells_what_is_left_out_once(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def again() -> None:
        step_session(few, 1, 0.02, name="again_step_1")

    changes = [lambda: break_session(few), nothing, again, nothing]
    followed(monkeypatch, few, changes)
    out = capsys.readouterr().out
    assert out.count("1 session not measured") == 1
    assert out.count("broken: ") == 1
    assert out.count("repeat a step") == 1


def test_follow_tells_another_reason(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def alone() -> None:
        path = few / "broken" / "session.json"
        shutil.copytree(few / "step_1", few / "other")
        path.write_text('{"format": 999}')

    followed(monkeypatch, few, [lambda: break_session(few), alone], "json")
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    left_out = [entry for entry in objects if entry["kind"] == "not_measured"]
    assert [entry["session"] for entry in left_out] == ["broken", "broken"]
    assert left_out[0]["problem"] != left_out[1]["problem"]
    assert "newer" in left_out[1]["problem"]


def test_follow_as_json_tells_notes(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def again() -> None:
        step_session(few, 1, 0.02, name="again_step_1")

    followed(monkeypatch, few, [again, nothing], "json")
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    notes = [entry["note"] for entry in objects if entry["kind"] == "note"]
    assert len(notes) == 1
    assert "repeat a step" in notes[0]


@pytest.mark.parametrize("form", ["text", "md", "html", "json"])
def test_a_file_has_what_is_left_out_later(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    page = tmp_path / "trend.out"
    followed(monkeypatch, few, [lambda: break_session(few)], form, page)
    assert "broken" in page.read_text()


def test_the_head_is_that_of_the_columns(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A later step has a version and a longer number: a column more, others wider."""

    def later() -> None:
        step_session(few, 1_000_000, 0.02, facts={"weight_version": "7"})

    followed(monkeypatch, few, [later])
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if "1000000" in line)
    head = lines[place - 1]
    assert head.split()[:2] == ["step", "version"]
    row = lines[place]
    assert head.index("step") + len("step") == row.index("1000000") + len("1000000")
    assert head.index("version") + len("version") == row.index(" 7 ") + len(" 7")


def test_lines_that_take_turns_have_heads(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(step: int, model: str) -> Callable[[], object]:
        return lambda: step_session(few, step, 0.02, model=model)

    changes = [one(3, "other"), one(4, "other"), one(5, "made"), one(6, "made")]
    followed(monkeypatch, few, changes)
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if line.split()[:1] == ["step"]]
    assert len(heads) == 3


def test_where_nothing_is_new_nothing_is_analysed(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    of = TrendReport.of

    def count(trend: Trend) -> TrendReport:
        asked.append(trend)
        return of(trend)

    monkeypatch.setattr(trend_follow.TrendReport, "of", count)
    followed(monkeypatch, few, [nothing, lambda: step_session(few, 3, 0.02), nothing])
    assert len(asked) == 2


def test_an_empty_folder_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    followed(monkeypatch, tmp_path / "empty", [nothing])
    assert capsys.readouterr().out.splitlines() == [NOTHING]


def test_lines_with_and_without_steps_are_told_apart(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their answers were told again and again, as those of one line."""
    step_session(few, 0, 0.02, name="last")
    changes = [lambda: step_session(few, 3, 0.02), lambda: break_session(few)]
    followed(monkeypatch, few, changes)
    assert capsys.readouterr().out.count("Too few to tell") == 3
