"""Session format 1: what the writer promises, and what the reader refuses."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.make_session import make_session
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.session import lock
from logdrift.core.session.layout import (
    FORMAT,
    Manifest,
    ModelInfo,
    read_manifest,
)
from logdrift.core.session.reader import open_session
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.tensors import Column, read_tensors
from logdrift.core.session.writer import merge_pieces, replace_file, write_manifest
from tests.common import refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_session(tmp_path / "s", tokens=2000, sequences=300, top_k=4, captures=3)


def test_arrays_equal_those_of_the_safetensors_library(folder: Path) -> None:
    session = open_session(folder)
    assert len(session.manifest.sequences.parts) == 2
    for info in session.captures:
        capture = session.capture(info.label)
        for name in ("logprob", "rank", "top_ids", "top_logprobs"):
            expected = np.concatenate(
                [load_file(folder / part.file)[name] for part in info.parts]
            )
            np.testing.assert_array_equal(getattr(capture, name).whole(), expected)
    assert session.sequences.tokens == 2000
    assert session.state == "complete"


def test_rows_of_a_column_cross_parts() -> None:
    parts = [np.arange(n * 2).reshape(n, 2) + 100 * n for n in (3, 1, 5)]
    column = Column(parts)
    whole = np.concatenate(parts)
    for start in range(10):
        for stop in range(start, 10):
            np.testing.assert_array_equal(column.rows(start, stop), whole[start:stop])


def test_what_was_read_cannot_be_changed(folder: Path) -> None:
    tensors = read_tensors(folder / read_manifest(folder).captures[0].parts[0].file)
    assert not any(tensor.flags.writeable for tensor in tensors.values())
    columns = open_session(folder).capture("reference/prefill")
    assert not columns.logprob.whole().flags.writeable
    assert not columns.top_ids.rows(3, 9).flags.writeable


def test_a_session_being_written_opens_and_refreshes(folder: Path) -> None:
    whole = read_manifest(folder)
    first = whole._replace(
        sequences=whole.sequences._replace(parts=whole.sequences.parts[:1]),
        captures=(
            whole.captures[0]._replace(
                parts=whole.captures[0].parts[:1], status="running"
            ),
            *(c._replace(parts=(), status="pending") for c in whole.captures[1:]),
        ),
    )
    write_manifest(folder, first)
    session = open_session(folder)
    assert len(session.sequences) == 256
    assert session.state == "partial"
    assert session.capture(whole.captures[1].label).tokens == 0
    assert session.refresh() is session
    write_manifest(folder, whole)
    assert len(session.refresh().sequences) == 300


def test_a_capture_whose_supervisor_was_killed_is_not_running(folder: Path) -> None:
    whole = read_manifest(folder)
    running = tuple(c._replace(status="running") for c in whole.captures)
    write_manifest(folder, whole._replace(captures=running))
    found = {c.status for c in open_session(folder).captures}
    assert found == {"pending"}
    lock.acquire(folder, "t")
    assert {c.status for c in open_session(folder).captures} == {"running"}
    assert open_session(folder).state == "running"


def _damage(folder: Path, change: dict[str, object]) -> None:
    data = json.loads((folder / "session.json").read_text())
    (folder / "session.json").write_text(json.dumps({**data, **change}))


def test_newer_and_foreign_formats_are_refused_by_name(folder: Path) -> None:
    _damage(folder, {"format": FORMAT + 1})
    with refused(f"format {FORMAT + 1} is newer than this logdrift knows"):
        open_session(folder)
    _damage(folder, {"format": None})
    with refused("not a logdrift session"):
        open_session(folder)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "captures/../../x", "a\\..\\b"]
)
def test_file_names_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    data = json.loads((folder / "session.json").read_text())
    data["captures"][0]["parts"][0]["file"] = name
    (folder / "session.json").write_text(json.dumps(data))
    with refused("outside the session folder"):
        open_session(folder)


def test_links_that_leave_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    file = folder / read_manifest(folder).captures[0].parts[0].file
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    session = open_session(folder)
    with refused("leads out of the session folder"):
        session.capture(session.captures[0].label)


def test_missing_keys_have_defaults_and_unknown_ones_are_left_alone(
    folder: Path,
) -> None:
    data = json.loads((folder / "session.json").read_text())
    for key in ("title", "created", "plan"):
        data.pop(key)
    data["captures"][0].pop("failure")
    data["captures"][0].pop("batch")
    for part in data["captures"][0]["parts"]:
        part.pop("ids_digest")
    data["later"] = {"x": 1}
    (folder / "session.json").write_text(json.dumps(data))
    manifest = open_session(folder).manifest
    assert manifest.title == ""
    assert manifest.captures[0].batch == "together"
    found = {part.ids_digest for part in manifest.captures[0].parts}
    assert found == {None}


def test_batch_and_ids_digest_are_kept(folder: Path) -> None:
    whole = read_manifest(folder)
    part = whole.captures[0].parts[0]._replace(ids_digest=ids_digest(np.arange(3)))
    alone = whole.captures[0]._replace(batch="alone", parts=(part,))
    write_manifest(folder, whole._replace(captures=(alone,)))
    assert read_manifest(folder).captures == (alone,)


def test_a_digest_of_ids_is_of_little_endian_int32() -> None:
    ids = [0, 1, 49151, 2**31 - 1]
    expected = "sha256:" + hashlib.sha256(struct.pack("<4i", *ids)).hexdigest()
    assert ids_digest(np.asarray(ids, np.int32)) == expected
    assert ids_digest(np.asarray(ids, ">i8")) == expected
    assert ids_digest(np.repeat(np.asarray(ids, np.int32), 2)[::2]) == expected
    assert (
        ids_digest(np.empty(0, np.int32)) == "sha256:" + hashlib.sha256(b"").hexdigest()
    )


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_cut_part_is_refused_not_read(folder: Path, size: int) -> None:
    file = folder / read_manifest(folder).captures[0].parts[0].file
    os.truncate(file, size if size >= 0 else file.stat().st_size - 1)
    session = open_session(folder)
    with refused("not a whole safetensors file"):
        session.capture(session.captures[0].label)


def test_random_damage_of_a_header_never_crashes(folder: Path) -> None:
    file = folder / read_manifest(folder).captures[0].parts[0].file
    data = bytearray(file.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, 400, 3):
            damaged[at] = rng.integers(0, 256)
        file.write_bytes(damaged)
        try:
            read_tensors(file)
        except InputError:
            continue


def test_a_part_of_another_length_is_refused(folder: Path) -> None:
    manifest = read_manifest(folder)
    first, second = manifest.captures[0].parts
    swapped = (first._replace(file=second.file), second._replace(file=first.file))
    write_manifest(
        folder,
        manifest._replace(captures=(manifest.captures[0]._replace(parts=swapped),)),
    )
    session = open_session(folder)
    with refused("rows for"):
        session.capture(session.captures[0].label)


def test_no_session_there(tmp_path: Path) -> None:
    with refused("no such folder"):
        open_session(tmp_path / "none")
    with refused(r"no session\.json in it"):
        open_session(tmp_path)
    (tmp_path / "file").write_text("x")
    with refused("this is a file"):
        open_session(tmp_path / "file")


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path) -> None:
    """A real limit in a real process: the kernel refuses to let any file grow past 64
    KiB.
    """
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from logdrift.core.session.writer import replace_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "path = Path(sys.argv[1])\n"
        "replace_file(path.parent, path.name, b'old')\n"
        "try:\n"
        "    replace_file(path.parent, path.name, bytes(100_000))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "print(path.read_bytes(), [p.name for p in path.parent.iterdir()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(
        f"CannotWrite cannot write {tmp_path / 'f'}: File too large"
    )
    assert second == "b'old' ['f']"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 65536


def test_pieces_merge(tmp_path: Path) -> None:
    merge_pieces(tmp_path, {1: b"a", 2: b"\xff\x00"})
    merge_pieces(tmp_path, {2: b"other", 3: "é".encode()})
    write_manifest(tmp_path, Manifest("id", ModelInfo("m")))
    pieces = open_session(tmp_path).pieces
    assert dict(pieces) == {1: b"a", 2: b"\xff\x00", 3: "é".encode()}
    assert pieces.text(2) == "<0xFF><0x00>"
    assert pieces.text(9) == "<id 9>"


def test_lock_is_exclusive_and_a_stale_one_is_recognised(tmp_path: Path) -> None:
    lock.acquire(tmp_path, "t1")
    with refused(f"being written by process {os.getpid()}"):
        lock.acquire(tmp_path, "t2")
    lock.release(tmp_path)
    assert lock.read_lock(tmp_path) is None

    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead = {
        "host": os.uname().nodename,
        "pid": child.pid,
        "started": 1,
        "token": "old",
        "since": 0.0,
    }
    (tmp_path / "lock").write_text(json.dumps(dead))
    assert lock.read_lock(tmp_path) is None
    stale = lock.acquire(tmp_path, "t3")
    assert stale is not None
    assert stale.token == "old"


def test_of_two_that_find_a_stale_lock_one_gets_it(tmp_path: Path) -> None:
    """The second one read the stale lock before the first one had replaced it."""
    dead = lock.LockHolder(os.uname().nodename, 2**22 + 1, 1, "old", 0.0)
    lock.acquire(tmp_path, "first")
    with refused("was just taken"):
        lock._bury(tmp_path, dead)
    holder = lock.read_lock(tmp_path)
    assert holder is not None
    assert holder.token == "first"
    found = [p.name for p in tmp_path.iterdir()]
    assert found == ["lock"]


def test_a_lock_of_another_host_counts_as_held(tmp_path: Path) -> None:
    other = {"host": "another-host", "pid": 1, "started": 1, "token": "x", "since": 0.0}
    (tmp_path / "lock").write_text(json.dumps(other))
    with refused(r"process 1 on another-host.*if it is gone, delete"):
        lock.acquire(tmp_path, "t")


def test_a_reused_pid_is_not_the_holder(tmp_path: Path) -> None:
    mine = {
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "started": 12345,
        "token": "x",
        "since": 0.0,
    }
    (tmp_path / "lock").write_text(json.dumps(mine))
    assert lock.read_lock(tmp_path) is None


def test_replace_file_leaves_no_temporary(tmp_path: Path) -> None:
    replace_file(tmp_path, "a/b", b"1")
    replace_file(tmp_path, "a/b", b"2")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "a").iterdir()] == [
        ("b", b"2")
    ]


def test_full_disk_error_is_not_bad_input() -> None:
    assert LogdriftError.exit_code == 1
    assert InputError.exit_code == 2
