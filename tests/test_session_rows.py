"""The records of the list: state, progress and time left as a running capture writes
them, and what is read again.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from unittest import mock

import pytest

from benchmarks.make_session import make_session
from logdrift.core.numbers import duration
from logdrift.core.session import lock
from logdrift.core.session.experiments import FOLDER as EXPERIMENTS
from logdrift.core.session.lock import process_start
from logdrift.tui.models import session_watch
from logdrift.tui.models import sessions as session_rows
from logdrift.tui.models.session_columns import sorted_rows
from logdrift.tui.models.session_watch import FolderWatch
from logdrift.tui.models.sessions import session_row
from logdrift.tui.palette import Palette, make_palette
from logdrift.tui.widgets.session_list import SessionList
from tests.made_sessions import capture, edit_manifest, write_session

ROWS = [[float("nan"), -1.0, -2.0]] * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two captures of 8 planned sequences; the first has 4 of them."""
    session = write_session(
        tmp_path / "s", [1] * 4, [capture("a/prefill", ROWS), capture("b/prefill", [])]
    )

    def change(data: dict[str, object]) -> None:
        data["sequences"]["planned"] = 8  # type: ignore[index]
        data["title"] = "before\x1b[2J the fix"
        for info in data["captures"]:  # type: ignore[attr-defined]
            info["status"] = "running"

    return edit_manifest(session, change).folder


def hold(folder: Path, since: float) -> None:
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": process_start(os.getpid()),
        "token": "x",
    }
    (folder / "lock").write_text(json.dumps({**mine, "since": since}))


def say(folder: Path, *events: object) -> None:
    with open(folder / "events.jsonl", "a") as file:
        file.writelines(
            (e if isinstance(e, str) else json.dumps(e)) + "\n" for e in events
        )


def test_progress_and_time_left_of_a_running_capture(folder: Path) -> None:
    hold(folder, time.time() - 40)
    row = session_row(folder, numbers=False)
    assert row.state == "running"
    assert row.progress == 0.25
    assert row.left == pytest.approx(120, rel=0.05)  # 4 of 16 in 40 s
    say(
        folder,
        {
            "type": "progress",
            "label": "b/prefill",
            "sequences": 4,
            "planned": 8,
            "rate": 12.4,
            "left": 1,
        },
        '{"ty',
    )
    row = session_row(folder, numbers=False)
    assert row.progress == 0.5
    assert row.left == pytest.approx(40, rel=0.05)
    assert row.doing == "b/prefill 4/8 sequences, 12 tok/s"


def test_what_was_there_before_a_resume_does_not_count_as_pace(folder: Path) -> None:
    for part in folder.rglob("part-*"):
        os.utime(part, (1, 1))
    hold(folder, time.time() - 40)
    assert session_row(folder, numbers=False).left is None
    say(folder, {"type": "stage", "backend": "b\x1b[31m", "stage": "loading the model"})
    row = session_row(folder, numbers=False)
    assert "loading the model" in row.doing
    assert "\x1b" not in row.doing + row.title
    say(
        folder, {"type": "progress", "label": "b/prefill", "sequences": 3, "planned": 8}
    )
    assert session_row(folder, numbers=False).left == pytest.approx(
        9 / 3 * 40, rel=0.05
    )


@pytest.mark.parametrize(
    "line",
    ["", "null", "[]", '{"type": 7}', '{"type": "progress", "label": "gone"}', "\0\0"],
)
def test_odd_events_are_no_reason_to_fall_over(folder: Path, line: str) -> None:
    hold(folder, time.time() - 40)
    say(folder, line)
    assert session_row(folder, numbers=False).state == "running"


def test_failed_and_partial_say_why(folder: Path) -> None:
    assert session_row(folder, numbers=False).doing == "0 of 2 captures complete"

    def fail(data: dict[str, object]) -> None:
        data["captures"][1].update(
            status="failed", failure="no room\x07 left\nTraceback"
        )  # type: ignore[index]

    edit_manifest(session_rows.open_session(folder), fail)
    row = session_row(folder, numbers=False)
    assert row.state == "failed"
    assert row.doing.startswith("b/prefill failed: no room")
    assert "\x07" not in row.doing


@pytest.mark.parametrize(
    "change",
    [
        {"title": 5},
        {"created": None},
        {"created": 7},
        {"captures": [{"label": 3}]},
        {"captures": 5},
        {"sequences": {"planned": "x"}},
        {"model": {"id": 9}},
        {"model": []},
        {"plan": 3},
    ],
    ids=str,
)
def test_a_manifest_with_the_wrong_types_is_a_row_like_any_other(
    folder: Path, change: dict[str, object]
) -> None:
    path = folder / "session.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for numbers in (False, True):
        row = session_row(folder, numbers=numbers)
        assert row.name == "s"
        assert row.problem is None or "\n" not in row.problem


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0:00"),
        (42, "0:42"),
        (3599, "59:59"),
        (3600, "1h00m"),
        (12_000, "3h20m"),
        (190_000, "52h"),
    ],
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said
    assert len(said) <= 5


def test_the_watch_reads_only_what_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, bool]] = []
    real = session_rows.session_row

    def spy(path: Path, *, numbers: bool) -> session_rows.SessionRow:
        read.append((path.name, numbers))
        return real(path, numbers=numbers)

    monkeypatch.setattr(session_watch, "session_row", spy)
    watch = FolderWatch(folder.parent)

    def look() -> list[tuple[str, bool]]:
        read.clear()
        for depth in ("rows", "numbers"):
            watch.look(depth=depth, stop=lambda: False)  # type: ignore[arg-type]
        return list(read)

    assert look() == [("s", False), ("s", True)]
    assert look() == []
    hold(folder, time.time())
    assert look()[0] == ("s", False)
    rows = watch.look(depth="rows", stop=lambda: False).rows
    assert rows[0].state == "running"
    # Killed: the lock is still there, but nobody holds it.
    (folder / "lock").write_text(
        json.dumps(
            {
                "host": socket.gethostname(),
                "pid": 2**22 + 1,
                "started": 1,
                "token": "",
                "since": 0,
            }
        )
    )
    assert lock.read_lock(folder) is None
    look()
    rows = watch.look(depth="rows", stop=lambda: False).rows
    assert rows[0].state == "partial"
    watch.forget()
    assert look() == [("s", False), ("s", True)]


def test_numbers_of_a_running_capture_are_not_worked_out_all_the_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large session costs seconds, and a part is finished every few of them."""
    clock = [100.0]
    monkeypatch.setattr(session_watch.time, "monotonic", lambda: clock[0])
    judged: list[float] = []
    real = session_rows.session_row

    def slow(path: Path, *, numbers: bool) -> session_rows.SessionRow:
        if numbers:
            judged.append(clock[0])
            clock[0] += 2.0
        return real(path, numbers=numbers)

    monkeypatch.setattr(session_watch, "session_row", slow)
    hold(folder, time.time())
    watch = FolderWatch(folder.parent)
    for second in range(100):
        clock[0] = max(clock[0], 100.0 + second)
        os.utime(folder / "session.json", (second + 1, second + 1))
        watch.look(depth="numbers", stop=lambda: False)
    assert len(judged) <= 4


def test_answers_come_bit_by_bit_the_wanted_one_first_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        make_session(tmp_path / name, 300, 3, 5, captures=2)
    answered: list[str] = []
    real = session_watch.answered_row

    def spy(row: session_rows.SessionRow) -> session_rows.SessionRow:
        answered.append(row.name)
        return real(row)

    monkeypatch.setattr(session_watch, "answered_row", spy)
    watch = FolderWatch(tmp_path)
    watch.look(depth="numbers", stop=lambda: False)
    for known in range(1, 4):
        look = watch.look(
            depth="answers", stop=lambda: False, seconds=0.0, first=tmp_path / "b"
        )
        assert sum(row.answer is not None for row in look.rows) == known
        assert look.done == (known == 3)
    assert answered == ["b", "c", "a"], "then in the order of the list"
    watch.look(depth="answers", stop=lambda: False)
    assert len(answered) == 3, "what did not change is not worked out again"
    experiment = tmp_path / "c" / EXPERIMENTS / "one"
    experiment.mkdir(parents=True)
    look = watch.look(depth="answers", stop=lambda: False)
    assert answered[3:] == ["c"], "an experiment may have found another cause"
    row = look.rows[0]
    assert row.answer is not None
    assert row.size == row.answer.mae
    assert row.answer.size
    assert row.answer.cause
    assert row.answer.sentence.endswith(".")


@pytest.mark.parametrize("harm", ["missing", "cut", "empty"])
@pytest.mark.parametrize("label", ["trainer/prefill", "vllm/decode", "vllm/prefill"])
def test_a_part_that_is_missing_or_cut_is_said_whichever_capture_it_is_of(
    tmp_path: Path, harm: str, label: str
) -> None:
    folder = make_session(tmp_path / "s", 300, 3, 5, captures=4)
    part = folder / "captures" / label / "part-00000.safetensors"
    content = part.read_bytes()
    if harm == "missing":
        part.unlink()
    else:
        part.write_bytes(content[: 100 if harm == "cut" else 0])
    look = FolderWatch(tmp_path).look(depth="answers", stop=lambda: False)
    (row,) = look.rows
    assert row.state == "complete"
    assert f"captures/{label}/" in row.damage
    list_ = SessionList(tmp_path, id="x")
    assert _state_of(list_, row, make_palette("256")) == "damaged"


def _state_of(view: SessionList, row: session_rows.SessionRow, palette: Palette) -> str:
    """The words of the state, which are in the colour of what is wrong."""
    with mock.patch.object(SessionList, "palette", palette):
        words, style = view._state(row, 9)
    assert style == palette.bad
    return words


def test_sessions_of_one_minute_are_sorted_by_their_second(tmp_path: Path) -> None:
    rows = []
    for second, name in enumerate(("step_9", "step_39", "step_10")):
        folder = tmp_path / name
        session = write_session(folder, [1] * 4, [capture("a/prefill", ROWS)])
        time_of_day = f"10:00:0{second}"
        edit_manifest(
            session,
            lambda data, at=time_of_day: data.update(created=f"2026-11-30T{at}Z"),
        )
        rows.append(session_row(folder, numbers=False))
    assert {row.minute for row in rows} == {"2026-11-30 10:00"}
    newest_first = sorted_rows(rows, "date", down=True)
    assert newest_first == tuple(reversed(rows))
