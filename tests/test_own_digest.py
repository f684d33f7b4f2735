"""JSON files of a session that have a digest of their own: a flipped bit is never shown
as another number, verdict or text.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from endurance.whole_sessions import made_session
from logdrift.core.errors import InputError
from logdrift.core.session.experiments import saved
from logdrift.core.session.files import (
    DIGEST,
    NO_ID,
    OtherDigest,
    parse_json,
    sealed,
    with_digest,
)
from logdrift.core.session.identity import read_identity
from logdrift.core.session.layers import saved_layers
from logdrift.core.session.layout import PIECES
from logdrift.core.session.reader import open_session
from logdrift.core.session.writer import merge_pieces
from tests.common import Fields, Run, refused

CONTENT: Fields = {"mae": 0.25, "tokens": [3, 40], "label": "é/x", "none": None}
PIECES_CONTENT = {"0": "IGE=", "17": "4piD"}
FILES = (
    "session.json",
    PIECES,
    "why/experiments/*/experiment.json",
    "why/experiments/*/session.json",
    "why/identity/vllm.json",
    "why/layers/x-0-all.json",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_session(tmp_path_factory.mktemp("own") / "made")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "made"))


def file_of(folder: Path, pattern: str) -> Path:
    (file,) = folder.glob(pattern)
    return file


def flipped(content: bytes, bit: int) -> bytes:
    data = bytearray(content)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def read(content: bytes) -> Fields | None:
    """What it holds but for its digest; None where it is refused."""
    try:
        data = parse_json(content)
    except ValueError:
        return None
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (sealed(CONTENT), CONTENT),
        (sealed(CONTENT, indent=None), CONTENT),
        (with_digest(json.dumps(PIECES_CONTENT).encode(), NO_ID), PIECES_CONTENT),
    ],
)
def test_every_flipped_bit_is_refused_or_changes_nothing(
    content: bytes, known: Fields
) -> None:
    assert read(content) is not None
    for bit in range(8 * len(content)):
        data = read(flipped(content, bit))
        if data is not None:
            assert {name: data.get(name) for name in known} == known, bit


@pytest.mark.parametrize("pattern", FILES)
def test_what_logdrift_writes_has_its_digest(whole: Path, pattern: str) -> None:
    content = file_of(whole, pattern).read_bytes()
    data = json.loads(content)
    assert str(data.get(DIGEST) or data.get(NO_ID)).startswith("sha256:")
    with pytest.raises(OtherDigest):
        parse_json(content.replace(b"e", b"f", 1).replace(b"Y", b"Z", 1))


def change(folder: Path, pattern: str) -> None:
    """Flip the first bit that leaves a JSON file which says something else."""
    file = file_of(folder, pattern)
    whole = file.read_bytes()
    known = json.loads(whole)
    for bit in range(8 * len(whole)):
        content = flipped(whole, bit)
        with contextlib.suppress(ValueError):
            if list(json.loads(content).values()) != list(known.values()):
                file.write_bytes(content)
                return
    raise AssertionError(file)


REFUSED: dict[str, Callable[[Path], object]] = {
    "session.json": open_session,
    PIECES: lambda folder: open_session(folder).pieces,
    "why/identity/vllm.json": lambda folder: read_identity(folder, "vllm"),
    "why/experiments/*/session.json": lambda folder: saved(folder)[0].session,
}


@pytest.mark.parametrize("pattern", list(REFUSED))
def test_a_changed_file_is_refused(copy: Path, pattern: str) -> None:
    change(copy, pattern)
    with pytest.raises(InputError, match="its digest is not that of its content"):
        REFUSED[pattern](copy)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("why/experiments/*/experiment.json", saved),
        ("why/layers/x-0-all.json", saved_layers),
    ],
)
def test_a_changed_finding_is_left_out_and_named(
    copy: Path,
    pattern: str,
    found: Callable[[Path], list[object]],
    run_logdrift: Run,
) -> None:
    before = found(copy)
    change(copy, pattern)
    assert len(found(copy)) == len(before) - 1
    name = file_of(copy, pattern).relative_to(copy).as_posix()
    said = json.loads(run_logdrift("why", copy, "--json").stdout)
    lacks = [lack for pair in said["pairs"] for lack in pair["not_checked"]]
    (why,) = [lack["why"] for lack in lacks if lack["cause"] == name]
    assert "its digest is not that of its content" in why
    assert "delete the damaged file" in run_logdrift("why", copy).stdout


def test_text_is_not_added_to_damaged_text(copy: Path) -> None:
    change(copy, PIECES)
    with refused("its digest is not that of its content"):
        merge_pieces(copy, {77: b"x"})


def test_text_that_an_older_version_has_added_is_read(copy: Path) -> None:
    file = copy / PIECES
    pieces = json.loads(file.read_bytes())
    file.write_text(json.dumps({**pieces, "77": "eA=="}, separators=(",", ":")))
    assert open_session(copy).pieces[77] == b"x"
    merge_pieces(copy, {78: b"y"})
    assert open_session(copy).pieces[77] == b"x"
    assert list(json.loads(file.read_bytes())).count(NO_ID) == 1


@pytest.mark.parametrize("pattern", FILES)
def test_what_another_program_wrote_again_is_read(copy: Path, pattern: str) -> None:
    """Its layout is another one; and whoever edits a file deletes the entry."""
    file = file_of(copy, pattern)
    data = json.loads(file.read_bytes())
    file.write_text(json.dumps(data, indent=4))
    for read_again in REFUSED.values():
        read_again(copy)
    data.pop(DIGEST, None)
    data.pop(NO_ID, None)
    file.write_text(json.dumps(data, indent=1))
    for read_again in REFUSED.values():
        read_again(copy)


@pytest.mark.parametrize("length", [0, 1, 1000, (1 << 18) - 30, 1 << 18, 300_000])
def test_digests_are_those_of_hashlib(length: int) -> None:
    """Short files are hashed by Python's own code."""
    body = b'{"text": "' + b"x" * length + b'"'
    written = with_digest(body + b"}")
    expected = f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert json.loads(written)[DIGEST] == expected
