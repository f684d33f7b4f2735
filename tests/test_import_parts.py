"""Imports write part by part: a file of any length takes the memory of one part, and the
session is the one that all records at once would make.
"""

from __future__ import annotations

import json
import math
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
from tests.common import NAN, Fields, refused

Notes = tuple[str, ...]
COLUMNS = ("logprob", "rank", "top_ids", "top_logprobs", "nan")


def write_lines(path: Path, lines: list[Fields]) -> Path:
    texts = [json.dumps(line) for line in lines]
    text = "\n".join(texts)
    path.write_text(text)
    return path


def import_lines(file: Path, out: Path) -> tuple[Session, Notes]:
    notes = import_session("jsonl", [str(file)], out)
    session = open_session(out)
    return session, notes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The dump of a test."""
    return tmp_path / "dump.jsonl"


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sequence is a part."""
    monkeypatch.setattr(parts, "PART_SEQUENCES", 1)


def line(logprobs: list[float | None], prompt: int = 0, **body: Any) -> Fields:
    """A sequence with one capture."""
    ids = list(range(len(logprobs)))
    capture = {"logprobs": logprobs, **body}
    return {"token_ids": ids, "prompt_length": prompt, "captures": {"a": capture}}


def lists(count: int, width: int) -> dict[str, Any]:
    """Alternatives, ``width`` for each of ``count`` tokens."""
    ids = range(100, 100 + width)
    logprobs = [-1.0 - i for i in range(width)]
    return {
        "top_ids": [list(ids)] * count,
        "top_logprobs": [logprobs] * count,
    }


def listed(*widths: int) -> list[Fields]:
    """Lines whose tokens have so many alternatives."""
    return [line([-1.0, -2.0], **lists(2, width)) for width in widths]


def sampled_with(*versions: str) -> list[Fields]:
    """Lines of one token each."""
    return [line([-1.0], versions=[[version, 1]]) for version in versions]


ZERO_FIRST = line([0.0, -1.0])
NAN_FIRST = line([NAN, -1.0])
NAN_PROMPT = line([NAN, NAN, -1.0], prompt=2)
BROKEN = line([NAN, NAN, NAN], prompt=2)
PLAIN = line([-1.0, -2.0])
WITH_ENTROPY = line([-1.0, -2.0], entropy=[None, 0.5])
WHOLE_FILE_TELLS = {
    "first tokens are filled with zeros": [ZERO_FIRST] * 7,
    "a first token is a score after all": [ZERO_FIRST] * 6 + [line([-2.0])],
    "prompts are filled with NaN": [NAN_PROMPT] * 7,
    "the engine broke in the end": [NAN_PROMPT] * 6 + [BROKEN],
    "first tokens are filled with NaN": [NAN_FIRST] * 7,
    "first tokens are zero here and NaN there": [ZERO_FIRST, NAN_FIRST] * 4,
    "lists become longer": listed(1, 1, 2, 0, 2, 3),
    "lists become shorter": listed(3, 2, 1),
    "versions of weights": sampled_with("v0", "v0", "v1", "v1", "v2", "v2"),
    "some have entropy": [PLAIN] * 4 + [WITH_ENTROPY, PLAIN],
}


def columns(session: Session) -> dict[str, np.ndarray]:
    capture = session.capture("a/recorded")
    found = {}
    for name in COLUMNS:
        rows = getattr(capture, name)
        if rows is not None:
            found[name] = rows.whole()
    return found


@pytest.mark.parametrize("lines", WHOLE_FILE_TELLS.values(), ids=WHOLE_FILE_TELLS)
def test_many_parts_hold_what_one_part_holds(
    lines: list[Fields],
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_lines(file, lines)
    one, one_notes = import_lines(file, tmp_path / "one")
    monkeypatch.setattr(parts, "PART_SEQUENCES", 2)
    many, many_notes = import_lines(file, tmp_path / "many")
    (capture,) = many.manifest.captures
    assert len(capture.parts) == math.ceil(len(lines) / 2)
    assert many_notes == one_notes
    assert many_notes == many.manifest.notes
    ours = columns(many)
    for name, theirs in columns(one).items():
        np.testing.assert_array_equal(ours[name], theirs)
    ids = many.sequences.token_ids
    np.testing.assert_array_equal(ids, one.sequences.token_ids)


@pytest.mark.usefixtures("single")
def test_what_only_fills_up_is_known_at_the_end(file: Path, tmp_path: Path) -> None:
    filled = [ZERO_FIRST] * 3
    write_lines(file, filled)
    session, _ = import_lines(file, tmp_path / "filled")
    logprob = columns(session)["logprob"]
    firsts = logprob[::2]
    assert np.isnan(firsts).all()
    write_lines(file, [*filled, line([-0.5])])
    session, _ = import_lines(file, tmp_path / "scored")
    logprob = columns(session)["logprob"]
    assert logprob.tolist() == [0.0, -1.0] * 3 + [-0.5]


def test_the_records_of_one_part_are_in_memory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
            plain = np.arange(4, dtype=np.int32)
            ids = plain.view(Watched)
            alive.add(ids)
            scores = scores_of([-1.0] * 4, place, "value")
            yield Record(place, ids, 1, {"toy": scores})
            del plain, ids, scores
            seen.append(len(alive))

    write_lines(file, [])
    out = tmp_path / "out"
    job = ImportJob([str(file)], out)
    session_of_lines(job, read)
    session = open_session(out)
    assert len(session.sequences) == 200
    assert max(seen) <= most + 1


@pytest.mark.usefixtures("single")
def test_a_bad_last_line_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    bad = line([-1.0, 2.0])
    write_lines(file, [PLAIN] * 5 + [bad])
    out = tmp_path / "new" / "folder" / "out"
    with pytest.raises(InputError) as caught:
        import_lines(file, out)
    error = caught.value
    assert error.file == str(file)
    assert error.line == 6
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.usefixtures("single")
def test_a_capture_that_a_late_line_lacks_is_named_with_both_lines(
    file: Path, tmp_path: Path
) -> None:
    first = line([-1.0])
    other = {"token_ids": [1], "captures": {"b": [-1.0]}}
    write_lines(file, [first] * 3 + [other])
    with refused(r"line 4: capture 'a' is not in every.*line 1"):
        import_lines(file, tmp_path / "out")
