"""Where a reader was is kept outside the session, and nothing about it can do harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logdrift.tui.models.state import (
    Mark,
    ViewState,
    load_state,
    merge_marks,
    save_state,
    state_folder,
)

STATE = ViewState(
    ("trainer/prefill", "vllm/decode"),
    1234,
    "worst",
    0.05,
    "ratio",
    (("ratio", 0.3), ("rank", 2.0)),
    "#30010",
    (Mark(7, "odd"), Mark(1200)),
)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "logdrift"


def test_what_is_saved_comes_back() -> None:
    assert save_state("a session", STATE)
    assert load_state("a session") == (STATE, None)
    assert load_state("another") == (ViewState(), None)


def test_a_file_of_an_older_version_is_read(state_home: Path) -> None:
    save_state("s", STATE)
    old = {"pair": ["a", "b"], "position": 5, "sort": "mean", "threshold": 0.2}
    next(state_home.iterdir()).write_text(json.dumps(old))
    assert load_state("s") == (ViewState(("a", "b"), 5, "mean", 0.2), None)


def test_what_a_newer_version_knows_is_left_out_and_marks_are_put_in_order(
    state_home: Path,
) -> None:
    save_state("s", STATE)
    newer = {
        "pair": None,
        "position": 5,
        "sort": "mean",
        "threshold": 0.2,
        "mode": "of tomorrow",
        "more": 1,
        "thresholds": [["of tomorrow", 1.0], ["ratio", 0.5]],
        "marks": [
            {"position": 9, "note": "b" * 1000, "colour": 1},
            {"position": -3, "note": "a"},
        ],
    }
    next(state_home.iterdir()).write_text(json.dumps(newer))
    state, notice = load_state("s")
    assert notice is None
    assert state.mode == "delta"
    expected = (("ratio", 0.5),)
    assert state.thresholds == expected
    assert [(mark.position, len(mark.note)) for mark in state.marks] == [
        (0, 1),
        (9, 200),
    ]


def test_a_hostile_id_stays_in_the_folder(state_home: Path) -> None:
    for name in ("../../etc/passwd", "a/b", "\0", "\ud800", ""):
        assert save_state(name, STATE)
        assert load_state(name)[0] == STATE
    assert len(list(state_home.iterdir())) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"pair": null, "position": 1, "sort": "number", "threshold": NaN}',
        b'{"pair": ["a"], "position": 0, "sort": "number", "threshold": 1}',
        b'{"pair": null, "position": "x", "sort": "number", "threshold": 1}',
        b'{"pair": null, "position": 0, "sort": "colour", "threshold": 1}',
        b'{"pair": null, "position": 0, "sort": "mean", "threshold": -1}',
        b'{"pair": null, "position": 0, "sort": "mean", "threshold": 1, "marks": [3]}',
        (
            b'{"pair": null, "position": 0, "sort": "mean", "threshold": 1,'
            b' "thresholds": [["ratio", -1]]}'
        ),
        (
            b'{"pair": null, "position": 0, "sort": "mean", "threshold": 1,'
            b' "thresholds": 7}'
        ),
    ],
)
def test_a_damaged_file_is_ignored_with_a_notice(
    state_home: Path, content: bytes
) -> None:
    save_state("s", STATE)
    next(state_home.iterdir()).write_bytes(content)
    state, notice = load_state("s")
    assert state == ViewState()
    assert notice is not None
    assert "damaged" in notice
    assert "\n" not in notice


def test_a_home_that_cannot_be_written_is_no_error(state_home: Path) -> None:
    state_home.parent.parent.joinpath("state").write_text(
        "a file where a folder should be"
    )
    assert not save_state("s", STATE)
    state, notice = load_state("s")
    assert state == ViewState()
    assert notice is None or "\n" not in notice


def test_no_temporary_file_is_left(state_home: Path) -> None:
    save_state("s", STATE)
    save_state("s", ViewState(position=0))
    (file,) = state_home.iterdir()
    assert json.loads(file.read_text())["position"] == 0


def test_a_relative_state_home_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The base directory specification says that a relative path must be ignored.
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "logdrift"


def test_marks_of_two_readers_are_merged() -> None:
    a, b, c, d = (Mark(i, f"note {i}") for i in range(4))
    expected = (a, b, c)
    assert merge_marks([a, c], [a], [a, b]) == expected, "each has added one"
    assert merge_marks([], [a], [a, b]) == (b,), "one was taken away here"
    assert merge_marks([a, c], [a, c], [c]) == (c,), "and here by the other"
    assert merge_marks([Mark(0, "new")], [a], [a, d]) == (Mark(0, "new"), d)
    assert merge_marks([a], [a], [Mark(0, "theirs")]) == (Mark(0, "theirs"),)
