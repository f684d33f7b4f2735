"""Files of any length take little memory, whatever form they have: a list, a list under
a key, a stream of chunks. What stands around the parts is looked at too.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logdrift.core.errors import InputError
from logdrift.core.session.importers import import_session, text_lines
from logdrift.core.session.importers import streams as streams_module
from logdrift.core.session.importers.elements import ListReader
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.place import on_line
from logdrift.core.session.importers.streams import Streams
from logdrift.core.session.reader import open_session
from tests import made_recordings as made

PLACE = on_line("a.txt", 1)
TEXTS = st.text(alphabet='ab"\\{}[],:\n\u20ac', max_size=8)
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(-9, 9), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


def read_list(text: str) -> tuple[list[Any], bytes]:
    reader = ListReader(io.BytesIO(text.encode()), PLACE)
    found = [json.loads(element.text) for element in reader]
    return found, reader.behind


@given(
    values=st.lists(VALUES, max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    is_ascii=st.booleans(),
    block=st.sampled_from([1, 2, 7, 1000]),
)
@settings(max_examples=100, deadline=None)
def test_a_list_is_read_element_by_element_wherever_blocks_end(
    values: list[Any], indent: int | None, is_ascii: bool, block: int
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=is_ascii)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "_BLOCK", block)
        found, behind = read_list(f"  {text} behind")
    assert found == values
    assert behind == b" behind"


def test_an_element_tells_the_line_on_which_it_begins() -> None:
    reader = ListReader(
        io.BytesIO(b'[\n {"a":\n 1}\n,\n\n {"b": 2}, {"c": 3}\n]'), PLACE
    )
    assert [element.line for element in reader] == [2, 6, 6]


CHAT = json.dumps(made.chat(made.draw(1)))
BROKEN = {
    "torn": (f"[{CHAT}, {CHAT[:90]}", "the file ends within the list"),
    "not-closed": (f"[{CHAT}", "the file ends within the list"),
    "comma-at-the-end": (f"[{CHAT}, ]", "a comma stands in front of the end"),
    "no-comma": (f"[{CHAT} {CHAT}]", "no comma stands in front of an element"),
    "text-behind": (f"[{CHAT}] {CHAT}", "what stands around its list is not whole"),
    "no-comma-behind-a-number": (f"[{CHAT}, 5 {CHAT}]", r"a\.json \[1\]: is not JSON"),
    "key-behind": (
        f'{{"data": [{CHAT}], "usage": }}',
        "what stands around its list is not whole",
    ),
    "number": (f"[{CHAT}, 5]", r"a\.json \[1\]: is int, not an object"),
    "bad-element": (f'[{CHAT}, {{"a" 1}}]', r"a\.json \[1\]: is not JSON"),
    "bad-line": (f'[\n{CHAT},\n{{"a" 1}}\n]', r"a\.json line 3 \[1\]: is not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_list_is_refused_and_its_good_elements_can_be_kept(
    tmp_path: Path, name: str
) -> None:
    text, reason = BROKEN[name]
    path = tmp_path / "a.json"
    path.write_text(text)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=reason):
        import_session("openai", [str(path)], out)
    assert not out.exists()
    notes = import_session("openai", [str(path)], out, skip_bad=True)
    assert len(open_session(out).sequences) == 1
    assert any("left out 1 bad line" in note for note in notes)


@pytest.mark.parametrize(
    "start", ["", "\ufeff", "\n \n"], ids=["plain", "mark", "space"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("indent", [None, 1])
def test_marks_and_line_ends_change_nothing(
    tmp_path: Path, start: str, newline: str, indent: int | None
) -> None:
    answers = [made.chat(made.draw(seed)) for seed in range(3)]
    text = json.dumps(answers, indent=indent).replace("\n", newline)
    path = tmp_path / "a.json"
    path.write_bytes((start + text + newline).encode())
    import_session("openai", [str(path)], tmp_path / "out")
    assert len(open_session(tmp_path / "out").sequences) == 3


def test_a_first_line_that_is_torn_is_one_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{CHAT[:200]}\n{CHAT}\n{CHAT}\n")
    with pytest.raises(InputError, match=r"a\.jsonl line 1: is not JSON"):
        import_session("openai", [str(path)], tmp_path / "out")
    import_session("openai", [str(path)], tmp_path / "out", skip_bad=True)
    assert len(open_session(tmp_path / "out").sequences) == 2


# ---- streams


def chunks_of(number: int, index: int = 0) -> list[dict[str, Any]]:
    return made.chat_chunks(made.draw(number), index=index, answer_id=f"chat-{number}")


WINDOW = 64
LONGEST_GAP = 512


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    monkeypatch.setattr(streams_module, "_WINDOW", WINDOW)
    monkeypatch.setattr(streams_module, "_LONGEST_GAP", LONGEST_GAP)
    return Streams("a.txt", Notes())


def given_away(streams: Streams, numbers: Iterable[int]) -> int:
    """How many answers are given away while those of these numbers are added."""
    given = 0
    for number in numbers:
        for chunk in chunks_of(number):
            streams.add(PLACE, chunk)
            given += len(list(streams.ready()))
    return given


def test_an_answer_is_given_away_when_it_has_ended_some_time_ago(
    streams: Streams,
) -> None:
    a_few = WINDOW // len(chunks_of(0)) * 2 + 2
    held = 0
    for number in range(100):
        held += 1 - given_away(streams, [number])
        assert held <= a_few
    assert len(list(streams.whole())) == held


def test_what_a_server_sends_behind_an_answer_that_was_given_away_begins_none(
    streams: Streams,
) -> None:
    given = given_away(streams, range(30))
    assert given
    usage = {**chunks_of(0)[0], "choices": [], "usage": {"prompt_tokens": 5}}
    streams.add(PLACE, usage)
    assert given + len(list(streams.whole())) == 30


def test_ids_of_answers_that_were_given_away_are_forgotten(streams: Streams) -> None:
    given_away(streams, range(300))
    a_few = LONGEST_GAP // len(chunks_of(0)) + WINDOW
    assert 0 < len(streams._ended) < a_few


def test_objects_that_come_many_at_once_are_given_away_too(streams: Streams) -> None:
    given = 0
    for number in range(100):
        for chunk in chunks_of(number):
            streams.add(PLACE, chunk)
        # 9 objects at once: no multiple of the window may be among the counts.
        given += len(list(streams.ready()))
    assert given > 80


def test_a_chunk_far_behind_the_others_of_its_answer_is_refused(
    streams: Streams,
) -> None:
    first, second, *rest = chunks_of(0)
    streams.add(PLACE, first)
    given_away(streams, range(1, 200))
    with pytest.raises(InputError, match="goes on too late"):
        streams.add(PLACE, second)
    # Where that was left out, the rest is not said again and begins no answer.
    before = len(list(streams.whole()))
    for chunk in rest:
        streams.add(PLACE, chunk)
    assert before and not list(streams.whole())


# ---- memory


class Weighed(dict[str, Any]):
    """An answer of which one can tell that it is gone."""


def test_an_answer_that_was_given_away_is_not_kept() -> None:
    streams = Streams("a.txt", Notes())
    answer = Weighed(made.chat(made.draw(1)))
    gone = weakref.ref(answer)
    streams.add(PLACE, answer)
    del answer
    assert len(list(streams.ready())) == 1
    assert gone() is None


# What a process of its own has had in memory at most: VmHWM begins with its program,
# getrusage with what started it.
_IMPORT = """
import sys
from pathlib import Path
from logdrift.core.session.importers import guess_format, import_session, openai
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("VmHWM")][0]
before = peak()
format_name = guess_format(Path(sys.argv[1]))
import_session(format_name, [sys.argv[1]], Path(sys.argv[2]))
print(peak() - before)
"""
TOKENS = 400
ANSWERS = 64


DRAWN = made.draw(1, 4, TOKENS, k=20)


def as_list(path: Path, before: str, behind: str) -> None:
    answers = [json.dumps(made.chat(DRAWN))] * ANSWERS
    path.write_text(before + ",".join(answers) + behind)


def as_events(path: Path) -> None:
    chunks = made.chat_chunks(DRAWN, answer_id="chat-NUMBER")
    answer = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    with open(path, "w") as file:
        for number in range(ANSWERS):
            file.write(answer.replace("NUMBER", str(number)))


LONG: dict[str, Callable[[Path], None]] = {
    "list": lambda path: as_list(path, "[", "]"),
    "list-and-a-blank-line": lambda path: as_list(path, "[", "]\n \n"),
    "list-on-the-second-line": lambda path: as_list(path, "[\n", "]"),
    "under-a-key": lambda path: as_list(path, '{"object": "list", "data": [', "]}"),
    "events": as_events,
}


@pytest.mark.parametrize("form", LONG)
def test_memory_does_not_grow_with_a_file(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    LONG[form](path)
    command = [sys.executable, "-c", _IMPORT, str(path), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = int(run.stdout) << 10
    assert len(open_session(tmp_path / "out").sequences) == ANSWERS
    # Its objects would take some seven times its bytes. What is held is arrays of the
    # tokens (21 MB), a few answers, or 4,096 chunks.
    assert grown < 1.5 * path.stat().st_size
