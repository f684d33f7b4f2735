"""However a file lays its JSON out over lines, the same answers come out of it, each with
the line on which it stands; what is no answer costs none of the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logdrift.core.errors import InputError
from logdrift.core.session.importers import import_session
from logdrift.core.session.importers.answers import LISTS_OF_ANSWERS
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.documents import documents
from logdrift.core.session.reader import open_session
from tests import made_recordings as made

OBJECTS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.sampled_from([0, None, "{", "]", "a, b", '"']),
        lambda inner: st.lists(inner, max_size=2),
        max_leaves=3,
    ),
    min_size=1,
    max_size=2,
)
SPACES = st.sampled_from(["", " ", "\n", "\n \n", "\r\n"])
IN_FRONT: dict[str, list[str]] = {
    "list": [],
    "key": ["{", '"responses"', ":"],
    "second-key": ["{", '"object"', ":", '"list"', ",", '"data"', ":"],
    "empty-list": ["{", '"results"', ":", "[", "]", ",", '"data"', ":"],
    "empty-object": ["{", '"usage"', ":", "{", "}", ",", '"data"', ":"],
    "whole": ["{", '"usage"', ":", '{"a": 1}', ",", '"data"', ":"],
}


def read(path: Path, skip: bool = False) -> list[tuple[int | None, Any]]:
    found = documents(path, BadLines(skip), LISTS_OF_ANSWERS)
    return [(place.line, data) for place, data in found]


@pytest.mark.parametrize("form", IN_FRONT)
@given(values=st.lists(OBJECTS, min_size=1, max_size=3), data=st.data())
@settings(max_examples=60, deadline=None)
def test_newlines_between_the_parts_of_a_file_change_nothing(
    form: str,
    values: Sequence[Any],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    parts = [*IN_FRONT[form], "["]
    for value in values:
        parts += [json.dumps(value), ","]
    parts[-1] = "]"
    if IN_FRONT[form]:
        parts.append("}")
    text = data.draw(SPACES)
    lines = []
    for part in parts:
        if part in map(json.dumps, values):
            lines.append(1 + text.count("\n"))
        text += part + data.draw(SPACES)
    path = tmp_path_factory.mktemp("form") / "a.json"
    path.write_text(text, newline="")
    if form == "whole":
        [(_, found)] = read(path)
        assert found["data"] == values
        return
    found = read(path)
    assert [one for _, one in found] == values
    # On the first line an element's number alone tells.
    assert [line or 1 for line, _ in found] == lines


@given(
    values=st.lists(OBJECTS, min_size=2, max_size=5),
    torn=st.sets(st.integers(0, 3), min_size=1, max_size=3),
    cut=st.integers(1, 40),
    newline=st.sampled_from(["\n", "\n\n", "\r\n"]),
    before=st.sampled_from(["", "data: "]),
)
@settings(max_examples=200, deadline=None)
def test_lines_that_were_not_written_to_their_end_cost_no_other(
    values: Sequence[Any],
    torn: set[int],
    cut: int,
    newline: str,
    before: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    texts = [json.dumps(value) for value in values]
    cut_off = {at % len(values) for at in torn}
    if len(cut_off) == len(values):
        cut_off.pop()
    for at in cut_off:
        texts[at] = texts[at][: 2 + cut % (len(texts[at]) - 2)]
    path = tmp_path_factory.mktemp("torn") / "a.jsonl"
    path.write_text(newline.join(before + text for text in texts) + "\n", newline="")
    with pytest.raises(InputError):
        read(path)
    found = [one for _, one in read(path, skip=True)]
    assert found == [one for at, one in enumerate(values) if at not in cut_off]


SCALARS = ("null", "5", "-1.5e3", "true", '"a, {b"', '"\\""', "[]", "[null]")


@given(
    kinds=st.lists(st.sampled_from((*SCALARS, "{}", "{}")), min_size=1, max_size=7),
    comma=st.sampled_from([",", ", ", "\n,\n", ",\n"]),
    is_in_line=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_what_is_no_object_in_a_list_costs_no_other_element(
    kinds: Sequence[str],
    comma: str,
    is_in_line: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    texts = list(kinds)
    wanted = []
    for index, kind in enumerate(kinds):
        if kind == "{}":
            wanted.append({"a": index})
            texts[index] = json.dumps(wanted[-1])
    text = "[" + comma.join(texts) + "]"
    if is_in_line:
        text = json.dumps(json.loads(text))
        text = f"{text}\n{text}\n"
        wanted *= 2
    path = tmp_path_factory.mktemp("scalars") / "a.json"
    path.write_text(text)
    assert [one for _, one in read(path, skip=True)] == wanted


def test_the_line_of_a_fault_is_that_of_the_file(tmp_path: Path) -> None:
    good = json.dumps({"a": 1})
    text = f'\n{{"object": "list",\n"data": [\n{good},\n{{"a":\n  1,\n "b" 2}}\n]}}'
    path = tmp_path / "a.json"
    path.write_text(text)
    expected = r"a\.json line 5 \[1\]: is not JSON: .* in line 7 at character 6"
    with pytest.raises(InputError, match=expected) as caught:
        read(path)
    assert caught.value.line == 5


# ---- answers among what is none

CHATS = [made.chat(made.draw(seed)) for seed in range(3)]
ODD: dict[str, Any] = {
    "null": None,
    "number": 5,
    "text": "a",
    "list": [None],
    "empty": [],
    "other": {"a": 1},
    "failed": {"error": {"message": "too long"}},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("form", ["array", "lines", "key", "keys-a-line"])
def test_answers_beside_what_is_none_are_kept(
    odd: str, at: int, form: str, tmp_path: Path
) -> None:
    items = [*CHATS[:at], ODD[odd], *CHATS[at:]]
    path = tmp_path / "a.json"
    if form == "array":
        path.write_text(json.dumps(items))
    elif form == "lines":
        made.lines(path, items)
    elif form == "key":
        path.write_text(json.dumps({"results": items}))
    else:
        made.lines(path, [{"results": items}, {"results": CHATS[:1]}])
    notes = import_session("openai", [str(path)], tmp_path / "out", skip_bad=True)
    extra = form == "keys-a-line"
    assert len(open_session(tmp_path / "out").sequences) == len(CHATS) + extra
    if odd == "failed":
        assert any("1 request of a.json failed" in note for note in notes)
    elif odd != "empty":
        assert any("left out 1 bad line" in note for note in notes)


ERRORS: dict[str, dict[str, Any]] = {
    "in-front": {"error": "gone", "data": CHATS},
    "behind": {"data": CHATS, "error": {"message": "gone"}},
    "an-object-in-front": {"error": {"message": "gone"}, "data": CHATS},
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("indent", [None, 1])
def test_an_error_beside_answers_is_said_and_costs_none(
    name: str, indent: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ERRORS[name], indent=indent))
    notes = import_session("openai", [str(path)], tmp_path / "out")
    assert len(open_session(tmp_path / "out").sequences) == len(CHATS)
    assert any("1 request of a.json failed" in note for note in notes)


@pytest.mark.parametrize("error", ["gone", {"message": "gone"}])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_error_with_an_empty_list_is_a_request_that_failed(
    error: Any, is_first: bool, tmp_path: Path
) -> None:
    data = {"error": error, "data": []}
    if not is_first:
        data = {"data": [], "error": error}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    with pytest.raises(
        InputError, match=r"no answer in it: 1 request of a\.json failed"
    ):
        import_session("openai", [str(path)], tmp_path / "out")
