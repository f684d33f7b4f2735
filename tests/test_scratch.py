"""Folders and files that a killed process may leave are known to be nobody's, and go."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from logdrift.core.errors import CannotWrite
from logdrift.core.session import lock
from logdrift.core.session.below import remove_temporary
from logdrift.core.session.scratch import brief_folder, new_folder
from tests.common import refused

LEAVES = """
import os, sys, tempfile
from pathlib import Path
from logdrift.core.session.scratch import brief_folder, new_folder
tempfile.tempdir = sys.argv[1]
with brief_folder() as brief, new_folder(Path(sys.argv[1], "out")) as new:
    (brief / "x").write_text("x")
    (new / "x").write_text("x")
    os._exit(9)
"""


@pytest.fixture
def abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder with what a killed process has left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    subprocess.run([sys.executable, "-c", LEAVES, str(tmp_path)], check=False)
    assert len(os.listdir(tmp_path)) == 2
    return tmp_path


def test_what_a_killed_process_left_goes_with_the_next_one(abandoned: Path) -> None:
    with brief_folder() as brief, new_folder(abandoned / "out") as new:
        assert set(abandoned.iterdir()) == {brief, new}
    assert os.listdir(abandoned) == ["out"]


def test_those_of_a_process_that_runs_stay(tmp_path: Path) -> None:
    with new_folder(tmp_path / "one") as one, new_folder(tmp_path / "two") as two:
        assert set(tmp_path.iterdir()) == {one, two}


def test_an_empty_folder_is_filled_where_it_is(tmp_path: Path) -> None:
    """It may be another disk, or the only place where its user may write."""
    out = tmp_path / "out"
    out.mkdir()
    place = out.stat().st_ino
    with new_folder(out) as scratch:
        assert scratch.parent == out
        (scratch / "session.json").write_text("{}")
        (scratch / "sequences").mkdir()
    assert out.stat().st_ino == place
    assert sorted(os.listdir(out)) == ["sequences", "session.json"]


def _fill_a_disk(out: Path) -> None:
    with new_folder(out) as scratch:
        (scratch / "x").write_text("x")
        raise OSError(errno.ENOSPC, "No space")


@pytest.mark.parametrize("is_there", [False, True])
def test_nothing_stays_where_it_fails(tmp_path: Path, is_there: bool) -> None:
    out = tmp_path / "above" / "out"
    if is_there:
        out.mkdir(parents=True)
    with pytest.raises(CannotWrite, match="No space"):
        _fill_a_disk(out)
    assert [path.name for path in tmp_path.rglob("*")] == ["above", "out"] * is_there


def test_what_is_half_written_goes_once_nobody_writes_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    old = tmp_path / "deep" / ".part.0123.tmp"
    new = tmp_path / "deep" / ".part.4567.tmp"
    for path in (old, new, tmp_path / ".hidden"):
        path.write_text("x")
    yesterday = time.time() - 86_400
    os.utime(old, (yesterday, yesterday))
    remove_temporary(tmp_path, ".", below=True, seconds=3600)
    assert not old.exists()
    assert new.exists()
    remove_temporary(tmp_path, ".", below=False)
    assert new.exists(), "it is not in the folder itself"
    remove_temporary(tmp_path, "deep", below=False)
    assert not new.exists()
    assert (tmp_path / ".hidden").exists()


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_lock_needs_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    lock.acquire(tmp_path, "mine")
    holder = lock.read_lock(tmp_path)
    assert holder is not None
    assert lock.proved(holder, tmp_path)
    with refused("is being written by process"):
        lock.acquire(tmp_path, "another")
    lock.release(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a" * 240, "中" * 75, "é" * 120, "🙂" * 60])
def test_every_name_that_a_disk_takes_can_be_a_session(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name).rmdir()
    with new_folder(tmp_path / name) as new:
        (new / "x").write_text("x")
    assert os.listdir(tmp_path / name) == ["x"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_lock_is_put_back_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_links(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_links)
    dead = lock.LockHolder(os.uname().nodename, 2**22 + 1, 1, "old", 0.0)
    lock.acquire(tmp_path, "first")
    with refused("was just taken"):
        lock._bury(tmp_path, dead)
    holder = lock.read_lock(tmp_path)
    assert holder is not None
    assert holder.token == "first"


def test_another_process_may_be_faster_to_make_a_folder(tmp_path: Path) -> None:
    """Two imports into one folder, both begun before it was there."""
    out = tmp_path / "out"
    with refused("exists already"), new_folder(out):
        out.mkdir()
        (out / "session.json").write_text("of the other")
    assert list(tmp_path.rglob("*")) == [out, out / "session.json"]
    assert (out / "session.json").read_text() == "of the other"
