"""What a trend measures anew, what it keeps, and what it does in slices."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.session.reader import open_session
from logdrift.core.session.selected import with_sequences
from logdrift.core.session.tensors import Column
from logdrift.core.trend import measured as measuring
from logdrift.core.trend import reader as trend_reader
from logdrift.core.trend.found import steps_of
from logdrift.core.trend.kept import step_key
from logdrift.core.trend.reader import TrendReader
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.wish import TrendWish
from tests.made_sessions import edit_manifest
from tests.made_trends import few_steps, recorded_steps, step_session


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return few_steps(tmp_path / "few")


def test_a_recorded_session_has_a_row_for_each_step(tmp_path: Path) -> None:
    folder = recorded_steps(tmp_path / "run", 5)
    line = TrendReader(folder).look().trend.lines[0]
    assert [row.step for row in line.rows] == [0, 1, 2, 3, 4]
    assert [row.newest for row in line.rows] == ["0", "0", "1", "2", "3"]
    assert [row.sequences for row in line.rows] == [4] * 5
    assert [row.length for row in line.rows] == [8, 9, 10, 11, 12]
    sizes = [row.mae or 0.0 for row in line.rows]
    assert sizes == sorted(sizes)
    steps = open_session(folder).sequences.steps
    assert steps is not None
    assert steps[line.rows[2].first_sequence] == 2


def test_some_sequences_give_the_numbers_that_they_have_in_the_whole(
    tmp_path: Path,
) -> None:
    session = open_session(recorded_steps(tmp_path / "run", 4))
    labels = ("trainer/recorded", "rollout/recorded")
    whole = make_pair(session, *labels)
    steps = session.sequences.steps
    assert steps is not None
    chosen = np.flatnonzero(steps == 2)
    part = make_pair(with_sequences(session, labels, chosen), *labels)
    tokens = np.repeat(steps, np.diff(session.sequences.offsets)) == 2
    np.testing.assert_array_equal(part.delta, whole.delta[tokens])
    np.testing.assert_array_equal(part.scored, whole.scored[tokens])
    assert part.versions is not None
    assert part.versions.names == ("1",)


def test_only_the_new_steps_of_a_recording_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded_steps(tmp_path / "run", 3)
    reader = TrendReader(folder)
    reader.look()
    measured = counted_calls(monkeypatch)
    recorded_steps(folder, 4)
    rows = reader.look().trend.lines[0].rows
    assert [row.step for row in rows] == [0, 1, 2, 3]
    assert all(row.measured for row in rows)
    assert len(measured) == 4, "each step has sequences of both starts"
    measured.clear()
    reader.look()
    assert not measured


def test_a_recording_that_grows_measures_its_new_steps_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded_steps(tmp_path / "run", 3)
    TrendReader(folder).look()
    measured = counted_calls(monkeypatch)
    recorded_steps(folder, 5, first=3)
    rows = TrendReader(folder).look().trend.lines[0].rows
    assert [row.step for row in rows] == [0, 1, 2, 3, 4]
    assert [step.step.number for step in measured] == [3, 4]


def test_a_new_step_of_a_sampled_recording_is_measured_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its note, which counts the sequences, changes with every part."""
    folder = recorded_steps(tmp_path / "run", 12, max_tokens=300, seed=1)
    TrendReader(folder).look()
    (note,) = open_session(folder).manifest.notes
    assert "a uniform sample" in note
    measured = counted_calls(monkeypatch)
    recorded_steps(folder, 15, first=12, seed=1)
    TrendReader(folder).look()
    assert open_session(folder).manifest.notes != (note,)
    steps = [step.step.number for step in measured]
    assert steps
    assert min(steps) >= 12


UNUSED = (
    "logdrift.core.compare.gate",
    "logdrift.core.compare.measured",
    "logdrift.core.diagnose",
    "logdrift.core.report.build",
    "logdrift.core.report.document",
)
"""What measures sessions, and what is made of them: an eighth of a second."""


@pytest.mark.parametrize("is_kept", [True, False])
def test_rows_are_first_shown_without_what_measures(few: Path, is_kept: bool) -> None:
    if is_kept:
        TrendReader(few).look()
    program = (
        "import sys; from pathlib import Path;"
        "import logdrift.tui.screens.trend;"
        "from logdrift.core.trend.answered import TrendReport;"
        "from logdrift.core.trend.reader import TrendReader;"
        "look = TrendReader(Path(sys.argv[1])).look(seconds=60);"
        "assert TrendReport.of(look.trend).lines;"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-c", program, str(few)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not set(UNUSED) & set(modules.stdout.split())


# ---- what is kept


def counted_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls = []
    measure = measuring.measured_row

    def count(step: Any, wanted: TrendWish) -> TrendRow:
        calls.append(step)
        return measure(step, wanted)

    monkeypatch.setattr(measuring, "measured_row", count)
    return calls


def test_what_was_measured_is_not_measured_again(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = TrendReader(few).look().trend.lines[0].rows
    measured = counted_calls(monkeypatch)
    assert TrendReader(few).look().trend.lines[0].rows == before
    assert not measured
    assert not list(few.rglob("*trend*")), "nothing is written into the folder"
    TrendReader(few, TrendWish(scope="all")).look()
    assert len(measured) == 3, "another scope has other numbers"


def test_another_scope_leaves_what_was_kept(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = [TrendWish(), TrendWish(scope="all"), TrendWish("vllm:trainer")]
    for wanted in wishes:
        TrendReader(few, wanted).look()
    measured = counted_calls(monkeypatch)
    for wanted in wishes:
        TrendReader(few, wanted).look()
    assert not measured


def test_a_recording_that_is_followed_keeps_its_rows_once(tmp_path: Path) -> None:
    folder = recorded_steps(tmp_path / "run", 2)
    reader = TrendReader(folder)
    for steps in (3, 4, 5):
        recorded_steps(folder, steps)
        reader.look()
    (kept,) = (tmp_path / "state" / "logdrift" / "trend").iterdir()
    data = json.loads(kept.read_text())
    entries = [row for rows in data["rows"].values() for row in rows]
    assert len(entries) == 5 + 5, "those of the session, and of each step"


def test_what_is_saved_of_a_session_is_part_of_the_key_of_its_steps(
    tmp_path: Path,
) -> None:
    folder = recorded_steps(tmp_path / "run", 2)
    keys = set()
    for file in (None, "experiments/a.json", "identity/trainer.json"):
        if file is not None:
            path = folder / "why" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        keys.add(first_key(folder))
    assert len(keys) == 3


def first_key(folder: Path) -> str:
    (step, _) = steps_of(open_session(folder), TrendWish())
    return step_key(step, TrendWish())


def test_what_the_manifest_says_is_part_of_the_key_of_a_step(tmp_path: Path) -> None:
    folder = recorded_steps(tmp_path / "run", 2)
    before = first_key(folder)

    def edit(manifest: dict[str, Any]) -> None:
        manifest["title"] = "another"

    edit_manifest(open_session(folder), edit)
    assert first_key(folder) != before


@pytest.mark.parametrize("name", ["logprob", "rank", "versions", "version_names"])
def test_what_a_capture_holds_is_part_of_the_key_of_a_step(
    tmp_path: Path, name: str
) -> None:
    folder = recorded_steps(tmp_path / "run", 3)
    session = open_session(folder)
    (step, *_) = steps_of(session, TrendWish())
    before = step_key(step, TrendWish())
    label = "rollout/recorded"
    capture = session.capture(label)
    changed = getattr(capture, name)
    if name == "version_names":
        changed = tuple(f"{version}b" for version in changed)
    else:
        changed = Column([np.full_like(changed.whole(), 1)])
    session._captures[label] = capture._replace(**{name: changed})
    assert step_key(step, TrendWish()) != before


@pytest.mark.parametrize("name", ["token_ids", "mask", "finish", "prompt_lengths"])
def test_what_the_sequences_hold_is_part_of_the_key_of_a_step(
    tmp_path: Path, name: str
) -> None:
    session = open_session(recorded_steps(tmp_path / "run", 2))
    (step, _) = steps_of(session, TrendWish())
    before = step_key(step, TrendWish())
    changed = 1 - getattr(session.sequences, name)
    sequences = replace(session.sequences, **{name: changed})
    session.__dict__["sequences"] = sequences
    assert step_key(step, TrendWish()) != before


def damage_part(folder: Path) -> None:
    path = next((folder / "captures" / "vllm").rglob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_part_that_was_changed_since_is_seen(few: Path) -> None:
    TrendReader(few).look()
    damage_part(few / "step_1")
    trend = TrendReader(few).look().trend
    assert [row.step for row in trend.lines[0].rows] == [0, 2]
    ((name, problem),) = trend.problems
    assert name == "step_1"
    assert "is damaged" in problem


@pytest.mark.parametrize("text", ["", "[]", '{"rows": {"a": 1}}', '{"rows": 3}', "\0"])
def test_kept_rows_of_another_form_are_no_harm(
    few: Path, tmp_path: Path, text: str
) -> None:
    rows = TrendReader(few).look().trend.lines[0].rows
    (kept,) = (tmp_path / "state" / "logdrift" / "trend").iterdir()
    kept.write_text(text)
    assert TrendReader(few).look().trend.lines[0].rows == rows


def test_a_kept_row_of_another_form_is_measured(few: Path, tmp_path: Path) -> None:
    rows = TrendReader(few).look().trend.lines[0].rows
    (kept,) = (tmp_path / "state" / "logdrift" / "trend").iterdir()
    data = json.loads(kept.read_text())
    for entries in data["rows"].values():
        entries[0]["mae"] = "a lot"
    kept.write_text(json.dumps(data))
    assert TrendReader(few).look().trend.lines[0].rows == rows


def test_a_folder_that_grows_is_followed(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = TrendReader(few)
    reader.look()
    measured = counted_calls(monkeypatch)
    step_session(few, 3, 0.02)
    shutil.rmtree(few / "step_0")
    rows = reader.look().trend.lines[0].rows
    assert [row.step for row in rows] == [1, 2, 3]
    assert len(measured) == 1


def test_rows_come_in_before_all_are_measured(few: Path) -> None:
    reader = TrendReader(few)
    reader.look(seconds=0)
    look = reader.look(seconds=0)
    assert look.total == 3
    assert look.left == 2
    assert not look.done


def test_at_first_rows_are_seen_before_any_is_measured(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = counted_calls(monkeypatch)
    reader = TrendReader(few)
    look = reader.look(seconds=60)
    assert look.trend.rows == look.left == 3
    assert not measured
    assert reader.look(seconds=60).done


def test_slices_of_no_time_come_to_an_end(few: Path, tmp_path: Path) -> None:
    """Finding what is known already uses up any time."""
    for folder in (few, recorded_steps(tmp_path / "run", 4)):
        reader = TrendReader(folder)
        looks = [reader.look(seconds=0) for _ in range(5)]
        left = [look.left for look in looks]
        assert left == sorted(left, reverse=True)
        assert looks[-1].done
        assert looks[-1].trend.rows == looks[-1].total


def test_a_change_is_found_where_there_is_time_for_one_session(few: Path) -> None:
    reader = TrendReader(few)
    reader.look()
    shutil.rmtree(few / "step_2")
    step_session(few, 2, 0.08)
    step_session(few, 3, 0.02)
    for _ in range(5):
        look = reader.look(seconds=0)
    assert [row.step for row in look.trend.lines[0].rows] == [0, 1, 2, 3]
    assert (look.trend.lines[0].rows[2].mae or 0) > 0.04


def test_a_slice_takes_what_the_one_before_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded_steps(tmp_path / "run", 4)
    hashed = []

    def key(step: Any, wanted: TrendWish) -> str:
        hashed.append(step.step.number)
        return step_key(step, wanted)

    monkeypatch.setattr(trend_reader, "step_key", key)
    reader = TrendReader(folder)
    while not reader.look(seconds=0).done:
        pass
    assert hashed == [0, 1, 2, 3]


def test_old_numbers_stand_until_there_are_new_ones(tmp_path: Path) -> None:
    folder = recorded_steps(tmp_path / "run", 3)
    reader = TrendReader(folder)
    reader.look()
    recorded_steps(folder, 4)
    rows = reader.look(seconds=0).trend.lines[0].rows
    assert [row.measured for row in rows] == [True, False, False, False]
    assert [row.mae is not None for row in rows] == [True, True, True, False]
