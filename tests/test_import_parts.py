"""Imports write part by part: a file of any length takes the memory of one part, and the
session is the one that all records at once would make.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import InputError
from logdrift.core.session.importers import import_session, parts
from logdrift.core.session.importers.columns import scores_of
from logdrift.core.session.importers.job import ImportJob, session_of_lines
from logdrift.core.session.importers.place import on_line
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.reader import Session, open_session

Line = dict[str, Any]
COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "nan")
NAN = float("nan")


def write_lines(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(logprobs: list[float | None], prompt: int = 0, **body: Any) -> Line:
    """A sequence with one capture."""
    ids = list(range(len(logprobs)))
    capture = {"logprobs": logprobs, **body}
    return {"token_ids": ids, "prompt_length": prompt, "captures": {"a": capture}}


def lists(count: int, width: int) -> dict[str, Any]:
    """Alternatives, ``width`` for each of ``count`` tokens."""
    ids = [list(range(100, 100 + width))] * count
    logprobs = [[-1.0 - i for i in range(width)]] * count
    return {"top_ids": ids, "top_logprobs": logprobs}


WHOLE_FILE_TELLS = {
    "first tokens are filled with zeros": [line([0.0, -1.0])] * 7,
    "a first token is a score after all": [line([0.0, -1.0])] * 6 + [line([-2.0])],
    "prompts are filled with NaN": [line([NAN, NAN, -1.0], prompt=2)] * 7,
    "the engine broke in the end": [line([NAN, NAN, -1.0], prompt=2)] * 6
    + [line([NAN, NAN, NAN], prompt=2)],
    "first tokens are filled with NaN": [line([NAN, -1.0])] * 7,
    "first tokens are zero here and NaN there": [
        line([0.0, -1.0]),
        line([NAN, -1.0]),
    ]
    * 4,
    "lists become longer": [
        line([-1.0, -2.0], **lists(2, width)) for width in (1, 1, 2, 0, 2, 3)
    ],
    "lists become shorter": [
        line([-1.0, -2.0], **lists(2, width)) for width in (3, 2, 1)
    ],
    "versions of weights": [
        line([-1.0], versions=[[f"v{index // 2}", 1]]) for index in range(6)
    ],
    "some have entropy": [
        line([-1.0, -2.0], **({"entropy": [None, 0.5]} if index == 4 else {}))
        for index in range(6)
    ],
}


def columns(session: Session) -> dict[str, np.ndarray]:
    capture = session.capture("a/recorded")
    whole = {name: getattr(capture, name) for name in COLUMNS}
    return {name: rows.whole() for name, rows in whole.items() if rows is not None}


@pytest.mark.parametrize("lines", WHOLE_FILE_TELLS.values(), ids=WHOLE_FILE_TELLS)
def test_many_parts_hold_what_one_part_holds(
    lines: list[Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_lines(tmp_path / "dump.jsonl", lines)
    one_notes = import_session("jsonl", [str(file)], tmp_path / "one")
    monkeypatch.setattr(parts, "PART_SEQUENCES", 2)
    many_notes = import_session("jsonl", [str(file)], tmp_path / "many")
    one = open_session(tmp_path / "one")
    many = open_session(tmp_path / "many")
    assert len(many.manifest.captures[0].parts) == -(-len(lines) // 2)
    assert many_notes == one_notes == many.manifest.notes
    ours = columns(many)
    for name, theirs in columns(one).items():
        np.testing.assert_array_equal(ours[name], theirs)
    assert many.sequences.token_ids.tolist() == one.sequences.token_ids.tolist()


def test_what_only_fills_up_is_known_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_SEQUENCES", 1)
    filled = [line([0.0, -1.0])] * 3
    file = write_lines(tmp_path / "dump.jsonl", filled)
    import_session("jsonl", [str(file)], tmp_path / "filled")
    logprob = columns(open_session(tmp_path / "filled"))["logprob"]
    assert np.isnan(logprob[::2]).all()
    write_lines(file, [*filled, line([-0.5])])
    import_session("jsonl", [str(file)], tmp_path / "scored")
    logprob = columns(open_session(tmp_path / "scored"))["logprob"]
    assert logprob.tolist() == [0.0, -1.0] * 3 + [-0.5]


def test_the_records_of_one_part_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 8
    monkeypatch.setattr(parts, "PART_SEQUENCES", most)
    alive: weakref.WeakSet[np.ndarray] = weakref.WeakSet()
    seen = []

    class Watched(np.ndarray[Any, Any]):
        """An array that can be looked for."""

        def __hash__(self) -> int:
            return id(self)

    def read(path: Path, context: ImportContext) -> Iterator[Record]:
        for number in range(1, 201):
            place = on_line(path, number)
            ids = np.arange(4, dtype=np.int32).view(Watched)
            alive.add(ids)
            scores = scores_of([-1.0] * 4, place, "value")
            yield Record(place, ids, 1, {"toy": scores})
            del ids, scores
            seen.append(len(alive))

    file = write_lines(tmp_path / "dump.jsonl", [])
    session_of_lines(ImportJob([str(file)], tmp_path / "out"), read)
    assert len(open_session(tmp_path / "out").sequences) == 200
    assert max(seen) <= most + 1


def test_a_bad_last_line_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_SEQUENCES", 1)
    lines = [line([-1.0, -2.0])] * 5 + [line([-1.0, 2.0])]
    file = write_lines(tmp_path / "dump.jsonl", lines)
    out = tmp_path / "new" / "folder" / "out"
    with pytest.raises(InputError) as caught:
        import_session("jsonl", [str(file)], out)
    assert (caught.value.file, caught.value.line) == (str(file), 6)
    assert os.listdir(tmp_path) == ["dump.jsonl"]


def test_a_capture_that_a_late_line_lacks_is_named_with_both_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_SEQUENCES", 1)
    lines = [line([-1.0])] * 3 + [{"token_ids": [1], "captures": {"b": [-1.0]}}]
    file = write_lines(tmp_path / "dump.jsonl", lines)
    with pytest.raises(
        InputError, match=r"line 4: capture 'a' is not in every.*line 1"
    ):
        import_session("jsonl", [str(file)], tmp_path / "out")
