"""What makes imports fast changes nothing: arrays say what a look at each entry says, and
orjson what the standard library says.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logdrift.core.errors import InputError
from logdrift.core.session.files import parse_json
from logdrift.core.session.importers import (
    columns,
    json_library,
    jsonl,
    named_ids,
)
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.documents import read_lines
from logdrift.core.session.importers.jsonl import read
from logdrift.core.session.importers.records import ImportContext
from logdrift.core.session.scores import COLUMNS

LOGPROBS = st.one_of(
    st.floats(-20, 0),
    st.integers(-12000, 0),
    st.sampled_from([0.0, -0.0, -1.0, -2.0, -9999.0, 0.0005, -1e300, -(10**30)]),
)
ODD = st.sampled_from([None, float("nan"), "NaN", "-inf", "x", True, 0.5, [], {}])
IDS = st.integers(0, 9)
ODD_IDS = st.sampled_from([None, -1, 2**31, 2**70, 1.0, True, "5"])


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> Any:
    """Lists hold odd entries, or none: both ways are taken."""
    return st.one_of(usual, usual, usual, usual, st.one_of(usual, odd))


@st.composite
def drawn_lines(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 4))
    has_odd = draw(st.booleans())
    logprobs = mostly(LOGPROBS, ODD) if has_odd else LOGPROBS
    ids = mostly(IDS, ODD_IDS) if has_odd else IDS
    top_ids, top_logprobs = [], []
    for _ in range(count):
        length = draw(st.integers(0, 4))
        several = draw(st.booleans())
        if several:
            top_ids.append(draw(st.lists(ids, min_size=length, max_size=length)))
        else:
            top_ids.append(draw(st.permutations(range(10)))[:length])
        numbers = draw(st.lists(logprobs, min_size=length, max_size=length))
        top_logprobs.append(numbers)
        if draw(st.integers(0, 9)) == 0:
            top_ids[-1] = None
            top_logprobs[-1] = None
    one_each = st.lists(logprobs, min_size=count, max_size=count)
    body: dict[str, Any] = {
        "logprobs": draw(one_each),
        "top_ids": top_ids,
        "top_logprobs": top_logprobs,
    }
    if draw(st.booleans()):
        numbers = draw(one_each)
        body["entropy"] = [min(-x, 50.0) if type(x) is float else x for x in numbers]
    return {
        "token_ids": draw(st.lists(IDS, min_size=count, max_size=count)),
        "prompt_length": draw(st.integers(0, count)),
        "captures": {"a": body},
    }


def outcome(path: Path) -> list[Any]:
    """All that a line gives, or its error."""
    context = ImportContext()
    try:
        (record,) = read(path, context)
    except InputError as error:
        return [str(error)]
    scores = record.captures["a"]
    found: list[Any] = [record.token_ids, context.sentences()]
    for name in COLUMNS:
        found.append(getattr(scores, name))
    return found


@given(line=drawn_lines())
@settings(max_examples=400, deadline=None)
def test_arrays_say_what_a_look_at_each_entry_says(
    line: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "line.jsonl"
    path.write_text(json.dumps(line) + "\n")
    quick = outcome(path)
    with pytest.MonkeyPatch.context() as patch:
        for module in (columns, jsonl):
            patch.setattr(module, "quick_ids", lambda _: None)
        patch.setattr(columns, "quick_numbers", lambda _: None)
        slow = outcome(path)
    assert len(quick) == len(slow)
    for ours, theirs in zip(quick, slow, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape


NAMES = st.one_of(
    st.integers(-1, 2**31),
    st.integers(0, 2**31).map("token_id:{}".format),
    st.sampled_from([None, "token_id:", "token_id:1,token_id:2", "token_id:1.5", " a"]),
    st.text(alphabet="token_id:,1 ", max_size=12),
)
_ODD_IDS = st.text(alphabet="0123 \t\r\n-+.,_\u0663", min_size=1, max_size=4)
ODD_NAMES = _ODD_IDS.map("token_id:{}".format)
"""Some of these are numbers to JSON, and some to Python's ``int``."""


@given(
    names=st.one_of(
        st.lists(NAMES),
        st.lists(st.integers(0, 9).map("token_id:{}".format)),
        st.lists(ODD_NAMES, min_size=1, max_size=2),
    )
)
@settings(max_examples=500, deadline=None)
def test_ids_that_are_read_at_once_are_those_of_each_name(names: list[Any]) -> None:
    each = [named_ids.id_named(name) for name in names]
    ids = named_ids.ids_named(names)
    if ids is not None:
        assert ids.tolist() == each
    elif None not in each:
        # Texts and ids side by side, and ids with zeros in front, are read one by one.
        are_texts = {isinstance(name, str) for name in names}
        assert len(are_texts) == 2 or any(":0" in str(name) for name in names)


LINES = [
    b'{"token": "token_id:41", "b": [{"c": "\\":"}, {"d" : 1}]}',
    b'{"a": [1, 2.5, -3e-2], "b": {"c": [{"d": null}]}}',
    b'{"a": "x:y", "b": ["c:", ":"]}',
    b'\xef\xbb\xbf{"a": 1}',
    b'{"a": NaN, "b": -Infinity}',
    b'{"a": "\\ud800"}',
    b'{"a": 1, "b" : 2}',
    b"[1, 2]",
    b"[]",
]
REFUSED = [
    b'{"a": "\\":", "b" : 1, "b" : 2}',
    b'{"a": 1, "a": 2}',
    b'{"a": {"b": 1, "b" : 1}}',
    b'{"a": [[{"b": 1, "b": 2}]]}',
    b'{"a": [0, {"b": 1, "b": 2}]}',
    b'{"a": 1, "a": "::"}',
    b'{"a": 1',
    b'{"a": "\xff"}',
    b'{"a": 01}',
    b"[" * 5000,
]


@pytest.fixture(params=[json, orjson], ids=["json", "orjson"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    module: ModuleType = request.param
    monkeypatch.setattr(json_library, "library", lambda: module)
    return module


@pytest.mark.parametrize("text", LINES)
@pytest.mark.usefixtures("library")
def test_both_libraries_read_the_same(text: bytes) -> None:
    np.testing.assert_equal(json_library.parse_line(text), parse_json(text))


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.usefixtures("library")
def test_both_libraries_refuse_the_same(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".") as fault:
        parse_json(text + b"\n")
    wanted = str(fault.value)
    if isinstance(fault.value, json.JSONDecodeError):
        wanted = f"{fault.value.msg} at character {fault.value.pos + 1}"
    path = tmp_path / "dump.jsonl"
    path.write_bytes(b'{"a": 1}\n' + text + b"\n")
    lines = read_lines(path, BadLines())
    next(lines)
    with pytest.raises(InputError) as caught:
        next(lines)
    assert caught.value.reason == f"is not JSON: {wanted}"
    assert caught.value.line == 2
