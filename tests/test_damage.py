"""A few of the damaged files of `endurance`, which has thousands."""

from __future__ import annotations

import json
import math
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from endurance import watched
from endurance.import_damage import ImportDamage, check_counts
from endurance.runs import Tally
from endurance.session_damage import SessionDamage
from endurance.session_questions import QUESTIONS
from endurance.settings_damage import SettingsDamage
from endurance.shown import OTHER_COUNTS, Unsaid, check_kept, compared, shown_by
from endurance.watched import Answer, Place, answers
from tests.made_sessions import capture, write_session

SUBJECTS = {
    "sessions": (lambda folder: SessionDamage(folder, ("made", "recorded")), 30),
    "imports": (ImportDamage, 60),
    "settings": (SettingsDamage, 25),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_damaged_files_are_one_line_and_no_wrong_number(
    tmp_path: Path, name: str
) -> None:
    make, runs = SUBJECTS[name]
    subject = make(tmp_path / name)
    tally = Tally()
    for number in range(runs):
        subject.run(number, random.Random(f"7 {number}"), tally)
    assert tally.losses == []
    assert sum(counts.total() for counts in tally.outcomes.values()) == runs


# ---- the harness sees what it looks for


def fails() -> int:
    raise TypeError("a wrong type")


def waits() -> int:
    time.sleep(60)
    return 0


def works() -> int:
    while True:
        pass


def warns() -> int:
    np.float32(3e38) * np.float32(10)
    return 0


def eats() -> int:
    return len(b"\1" * (400 << 20)) * 0


def says_much() -> int:
    print("logdrift: one\nlogdrift: two", file=sys.stderr)
    return 2


def starts() -> int:
    return subprocess.call(["true"])


def connects() -> int:
    with socket.socket() as made:
        return made.connect_ex(("127.0.0.1", 9)) * 0


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (fails, "TypeError"),
        (waits, "hangs"),
        (works, "hangs"),
        (warns, "Warning"),
        (eats, "MiB"),
        (says_much, "exit code 2"),
        (starts, "subprocess.Popen"),
        (connects, "socket.connect"),
    ],
)
def test_what_must_not_be_is_seen(
    question: Callable[[], int],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched, "WAIT", 1.0)
    monkeypatch.setattr(watched, "SECONDS", 0.5)
    found = answers({"asked": question}, Place((), tmp_path), 0)
    wrong = [answer.wrong for answer in found.values() if answer.wrong]
    assert any(said in what for what in wrong), wrong


@pytest.mark.parametrize("way", ["write", "rename", "read a secret"])
def test_what_is_done_outside_is_seen(way: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    secret = tmp_path / "secret"
    for folder in (inside, secret):
        folder.mkdir()
        (folder / "file").write_text("x")
    place = Place((inside,), secret)

    def leaves() -> int:
        if way == "write":
            (tmp_path / "new").write_text("x")
        elif way == "rename":
            (tmp_path / "inside").rename(tmp_path / "elsewhere")
        else:
            (secret / "file").read_text()
        return 0

    def stays() -> int:
        (inside / "new").write_text("x")
        return 0

    found = answers({"stays": stays, "leaves": leaves}, place, 0)
    assert found["leaves"].wrong is not None
    assert found["stays"].wrong is None


def reported(tokens: int, *reasons: str) -> Answer:
    """A report of one pair, or of none where it has no tokens."""
    pair = {
        **{"a": "trainer", "b": "vllm", "scope": "completion"},
        **{"tokens": tokens, "sequences": 1, "coverage": None, "worst": []},
        **{"errors": {"mae": 0.5}, "probability": {}, "mismatch": {}},
        "gate": {"reasons": [{"text": text} for text in reasons]},
    }
    pairs = [pair] if tokens else []
    report = {"state": "complete", "captures": [], "pairs": pairs}
    return Answer(0, json.dumps(report), "", None)


@pytest.mark.parametrize("tokens", [0, 11])
def test_pairs_and_tokens_that_are_gone_without_a_word_are_seen(tokens: int) -> None:
    before = shown_by(reported(12))
    with pytest.raises(Unsaid):
        compared(shown_by(reported(tokens)), before)


def test_tokens_may_be_gone_where_the_report_says_so() -> None:
    before = shown_by(reported(12))
    now = shown_by(reported(11, "a part is damaged"))
    assert compared(now, before) == OTHER_COUNTS


def explained(*damaged: str) -> Answer:
    lacks = [{"cause": file} for file in damaged]
    return Answer(0, json.dumps({"pairs": [{"not_checked": lacks}]}), "", None)


def test_another_answer_after_a_file_was_torn_is_seen() -> None:
    file = "why/layers/x.json"
    before = explained()
    check_kept(before, before, file)
    check_kept(explained(file), before, file)
    check_kept(Answer(2, "", "logdrift: it is damaged", None), before, file)
    for other in (explained("why/layers/y.json"), Answer(0, "{}", "", None)):
        with pytest.raises(Unsaid):
            check_kept(other, before, file)


def imported(tokens: int, said: str) -> dict[str, Answer]:
    capture = {"label": "vllm", "sequences": 2, "tokens": tokens}
    capture |= {"status": "complete", "failure": None}
    report = {"state": "complete", "captures": [capture], "pairs": []}
    return {
        "import": Answer(0, "", said, None),
        "report": Answer(0, json.dumps(report), "", None),
    }


def test_tokens_that_an_import_drops_without_a_note_are_seen() -> None:
    before = imported(12, "note: 3 lines")
    check_counts(imported(12, ""), before)
    check_counts(imported(11, "note: 3 lines\nnote: line 2 is bad"), before)
    with pytest.raises(Unsaid):
        check_counts(imported(11, "note: 2 lines"), before)


def test_an_answer_without_a_report_is_seen() -> None:
    with pytest.raises(Unsaid, match="exit code 1"):
        shown_by(Answer(1, "", "", None))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_what_the_harness_found_in_numbers(tmp_path: Path, value: float) -> None:
    """A score that one side lacks is told of, and an infinite difference is compared
    with itself.
    """
    rows = [[math.nan, *([-1.0 - 0.01 * i] * 9)] for i in range(8)]
    odd = [list(row) for row in rows]
    odd[3][5] = value
    session = tmp_path / "sessions" / "odd"
    write_session(
        session,
        [2] * 8,
        [capture("trainer/prefill", rows), capture("vllm/prefill", odd)],
    )
    (tmp_path / "out").mkdir()
    for name, ask in QUESTIONS.items():
        place = Place((tmp_path / "out",), tmp_path / "secret")
        found = answers({name: lambda ask=ask: ask(session)}, place, 0)
        assert [answer.wrong for answer in found.values() if answer.wrong] == [], name
