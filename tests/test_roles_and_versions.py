"""From whose message tokens are, and with which weights they were sampled: written, read
again over several parts, imported, and refused where they do not fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.errors import InputError
from logdrift.core.session.importers import import_session
from logdrift.core.session.message_roles import MESSAGE_ROLES, role_code, role_name
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.weight_versions import (
    first_spans,
    span_tokens,
    spans_of,
    version_column,
    version_names,
)
from logdrift.core.session.writer import write_part
from tests.common import Fields, refused
from tests.made_sessions import seal

VERSIONS = st.lists(st.sampled_from([None, "1", "2", "10", "step-3"]), max_size=40)


def line(**values: Any) -> Fields:
    """Six tokens, two of them the prompt, and one capture; ``values`` of the capture
    but for roles.
    """
    roles = {}
    if "roles" in values:
        roles = {"roles": values.pop("roles")}
    body = {"logprobs": [None, None, -0.5, -0.25, -1, -2], **values}
    return {
        "token_ids": [5, 6, 7, 8, 9, 10],
        "prompt_length": 2,
        "captures": {"vllm/decode": body},
        **roles,
    }


def imported(folder: Path, *lines: Fields) -> Session:
    file = folder / "dump.jsonl"
    texts = [json.dumps(one) for one in lines]
    file.write_text("\n".join(texts))
    import_session("jsonl", [str(file)], folder / "out")
    return open_session(folder / "out")


def versions_of(session: Session) -> list[str | None]:
    """The name of each token's version."""
    capture = session.capture("vllm/decode")
    assert capture.versions is not None
    names = [*capture.version_names, None]
    return [names[place] for place in capture.versions.whole()]


def roles_of(session: Session) -> list[str]:
    roles = session.sequences.roles
    assert roles is not None
    return [role_name(code) for code in roles.tolist()]


# ---- spans


@given(VERSIONS, st.integers(0, 50))
def test_spans_are_the_versions_and_can_be_cut(
    versions: list[str | None], length: int
) -> None:
    spans = spans_of(versions)
    assert span_tokens(spans) == len(versions)
    assert first_spans(spans, length) == spans_of(versions[:length])


@given(st.lists(VERSIONS, max_size=6))
def test_a_column_of_places_says_the_same_as_the_spans(
    sequences: list[list[str | None]],
) -> None:
    spans = [spans_of(versions) for versions in sequences]
    names = version_names(spans)
    column = version_column(spans, [len(one) for one in sequences], names)
    named = [*names, None]
    joined = [version for versions in sequences for version in versions]
    found = [named[place] for place in column]
    assert found == joined
    assert len(set(names)) == len(names)


def test_names_of_roles() -> None:
    for code, name in enumerate(MESSAGE_ROLES):
        assert role_code(name) == code
        assert role_name(code) == name
    assert role_name(200) == "unknown"
    assert role_name(role_code("developer")) == "system"
    assert role_name(role_code("model")) == "assistant"
    assert role_code("narrator") == role_code(None) == 0


# ---- lines of jsonl


@pytest.mark.parametrize(
    "roles",
    [
        ["system", "user", "assistant", "assistant", "tool", None],
        [["system", 1], ["user", 1], ["assistant", 2], ["tool", 1], [None, 1]],
    ],
)
def test_roles_a_token_or_in_runs(tmp_path: Path, roles: list[Any]) -> None:
    session = imported(tmp_path, line(roles=roles))
    expected = ["system", "user", "assistant", "assistant", "tool", "unknown"]
    assert roles_of(session) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"versions": [[11, 3], ["12", 1]]},
        {"versions": [11, 11, 11, "12"]},
        {"version_rle": [[-1, 2], [11, 3], [12, 1]]},
        {"version_rle": [[None, 2], [11, 2], [11, 1], [12, 1]]},
    ],
)
def test_versions_a_token_or_in_runs(tmp_path: Path, values: Fields) -> None:
    session = imported(tmp_path, line(**values))
    expected = [None, None, "11", "11", "11", "12"]
    assert versions_of(session) == expected


def test_what_one_sequence_tells_is_unknown_of_the_others(tmp_path: Path) -> None:
    told = line(roles=["user"] * 2 + ["assistant"] * 4, versions=[[3, 6]])
    session = imported(tmp_path, line(), told, line())
    assert roles_of(session)[:6] == ["unknown"] * 6
    assert roles_of(session)[6:12] == ["user"] * 2 + ["assistant"] * 4
    expected = [None] * 6 + ["3"] * 6 + [None] * 6
    assert versions_of(session) == expected


def test_nothing_is_written_where_nothing_is_told(tmp_path: Path) -> None:
    session = imported(tmp_path, line())
    assert session.sequences.roles is None
    capture = session.capture("vllm/decode")
    assert capture.versions is None
    assert capture.version_names == ()
    part = session.manifest.sequences.parts[0]
    assert "roles" not in read_tensors(session.folder / part.file)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"roles": ["user"] * 5}, "roles covers 5 tokens: the sequence has 6"),
        ({"roles": ["narrator"] * 6}, "roles holds 'narrator'"),
        ({"roles": [["user", "6"]]}, "roles[0] is ['user', '6']"),
        ({"roles": "user"}, "roles is not a list"),
        ({"versions": [[1, 7]]}, "captures.vllm/decode.versions covers 7 tokens"),
        ({"versions": [[1.5, 6]]}, "captures.vllm/decode.versions holds 1.5"),
        ({"versions": [["x" * 101, 6]]}, "captures.vllm/decode.versions holds"),
        ({"versions": [[1, 6, 2]]}, "captures.vllm/decode.versions[0] is [1, 6, 2]"),
        ({"versions": [[1, 6]], "version_rle": [[1, 6]]}, "and version_rle are the"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, values: Fields, message: str
) -> None:
    with pytest.raises(InputError) as error:
        imported(tmp_path, line(**values))
    assert message in str(error.value)
    assert "dump.jsonl line 1" in str(error.value)
    assert not (tmp_path / "out").exists()


# ---- parts of a session


def test_each_part_has_its_own_list_of_versions(tmp_path: Path) -> None:
    """An import makes a new part of 4,096 sequences."""
    many = [line(versions=[[7, 6]])] * 4096
    session = imported(tmp_path, *many, line(versions=[[8, 3], [7, 3]]))
    parts = session.manifest.capture("vllm/decode").parts
    found = [part.versions for part in parts]
    assert found == [("7",), ("8", "7")]
    capture = session.capture("vllm/decode")
    assert capture.version_names == ("7", "8")
    assert capture.versions is not None
    end = capture.tokens
    expected = [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert capture.versions.rows(end - 9, end).tolist() == expected
    assert versions_of(session) == ["7"] * 6 * 4096 + ["8"] * 3 + ["7"] * 3


def test_an_old_session_has_neither(tmp_path: Path) -> None:
    """The keys and tensors of an older version are not there at all."""
    session = imported(tmp_path, line(roles=["user"] * 6, versions=[[1, 6]]))
    folder = session.folder
    manifest = json.loads((folder / "session.json").read_text())
    (capture_part,) = manifest["captures"][0]["parts"]
    (sequences_part,) = manifest["sequences"]["parts"]
    for part, name in ((capture_part, "versions"), (sequences_part, "roles")):
        tensors = read_tensors(folder / part["file"])
        without = {key: value for key, value in tensors.items() if key != name}
        write_part(folder, part["file"], without, 0, 1, 6)
        del part["versions"]
    (folder / "session.json").write_text(json.dumps(manifest))
    old = seal(folder)
    assert old.sequences.roles is None
    assert old.capture("vllm/decode").versions is None


@pytest.mark.parametrize("place", [-2, 1, 9])
def test_a_version_that_is_not_in_the_list_is_damage(
    tmp_path: Path, place: int
) -> None:
    session = imported(tmp_path, line(versions=[[1, 6]]))
    part = session.manifest.capture("vllm/decode").parts[0]
    tensors = dict(read_tensors(session.folder / part.file))
    tensors["versions"] = np.full(6, place, np.int32)
    write_part(session.folder, part.file, tensors, 0, 1, 6)
    damaged = seal(session.folder)
    with refused("where a number from -1 to 0 is expected"):
        versions_of(damaged)


def test_roles_of_another_length_are_damage(tmp_path: Path) -> None:
    session = imported(tmp_path, line(roles=["user"] * 6))
    part = session.manifest.sequences.parts[0]
    tensors = dict(read_tensors(session.folder / part.file))
    tensors["roles"] = tensors["roles"][:5]
    write_part(session.folder, part.file, tensors, 0, 1, 6)
    with refused("roles do not fit its ids"):
        _ = seal(session.folder).sequences
