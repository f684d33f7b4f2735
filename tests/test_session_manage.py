"""Renaming and deleting sessions: nothing outside of the folder changes, and a session
that is written is left alone.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.core.capture.background import cancel_capture, start_background
from logdrift.core.capture.supervisor import run_session
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import CapturePlan, parse_spec
from logdrift.core.session import lock
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.manage import (
    FolderSize,
    check_name,
    delete_session,
    folder_size,
    rename_session,
)
from logdrift.core.session.reader import open_session
from logdrift.core.session.writer import write_manifest
from tests.common import refused
from tests.holding import held
from tests.made_sessions import captured_here


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return make_session(tmp_path / "sessions" / "one", 300, 3, 5, captures=2)


def test_a_renamed_session_is_the_same_session(session: Path) -> None:
    before = {
        p.relative_to(session): p.read_bytes()
        for p in session.rglob("*")
        if p.is_file()
    }
    renamed = rename_session(session, " after the fix ")
    assert renamed == session.with_name("after the fix")
    assert not session.exists()
    assert {
        p.relative_to(renamed): p.read_bytes()
        for p in renamed.rglob("*")
        if p.is_file()
    } == before
    assert open_session(renamed).state == "complete"
    assert rename_session(renamed, "after the fix") == renamed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "the name is empty"),
        ("  ", "the name is empty"),
        ("a/b", "is a path"),
        ("../out", "is a path"),
        (".hidden", "begins with a dot"),
        ("..", "begins with a dot"),
        ("a\x1b[2Jb", "cannot be seen"),
        ("a\nb", "cannot be seen"),
        ("x" * 201, "too long"),
        ("two", "two exists already"),
        ("dangling", "dangling exists already"),
    ],
)
def test_names_that_would_lead_elsewhere_are_refused(
    session: Path, name: str, said: str
) -> None:
    (session.parent / "two").mkdir()
    (session.parent / "dangling").symlink_to(session.parent / "nowhere")
    with refused(said) as caught:
        rename_session(session, name)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert open_session(session).state == "complete"
    assert not (session / "lock").exists()


def test_names_in_other_scripts_are_names() -> None:
    assert check_name(" 实验 3 – naïve ") == "实验 3 – naïve"


def test_delete_leaves_what_links_lead_to(session: Path) -> None:
    outside = session.parent.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (session / "link").symlink_to(outside)
    (session / "logs").mkdir(exist_ok=True)
    (session / "logs" / "vllm.log").symlink_to(outside / "precious")
    delete_session(session)
    assert list(session.parent.iterdir()) == []
    assert (outside / "precious").read_text() == "keep"


def test_a_session_that_is_a_link_loses_the_link_alone(session: Path) -> None:
    link = session.parent / "link"
    link.symlink_to(session)
    assert folder_size(link) == FolderSize(1, 0)
    delete_session(link)
    assert not os.path.lexists(link)
    assert open_session(session).state == "complete"
    link.symlink_to(session)
    assert rename_session(link, "other").is_symlink()
    assert open_session(session).state == "complete"


def test_what_is_no_session_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").write_text("keep")
    with refused(r"no session.json in it, so it is left alone"):
        delete_session(tmp_path / "home")
    with refused("is gone"):
        delete_session(tmp_path / "none")
    assert (tmp_path / "home" / "file").read_text() == "keep"


def test_a_broken_session_can_be_deleted(session: Path) -> None:
    (session / "session.json").write_text("{")
    delete_session(session)
    assert not session.exists()


def test_a_session_being_written_is_refused(session: Path) -> None:
    link = session.parent / "link"
    link.symlink_to(session)
    with held(session):
        for act in (
            lambda: rename_session(session, "other"),
            lambda: delete_session(session),
            lambda: delete_session(link),
        ):
            with refused("is being written by process") as caught:
                act()
            assert "\n" not in str(caught.value)
        assert session.is_dir()
        assert open_session(session).state == "running"


def test_a_stale_lock_keeps_nobody_out(session: Path) -> None:
    stale = {
        "host": socket.gethostname(),
        "pid": 2**22 + 1,
        "started": 1,
        "token": "x",
        "since": 0.0,
    }
    (session / "lock").write_text(json.dumps(stale))
    renamed = rename_session(session, "other")
    assert not (renamed / "lock").exists()
    (renamed / "lock").write_text(json.dumps(stale))
    delete_session(renamed)
    assert not renamed.exists()


def test_a_session_on_another_machine_is_not_touched(session: Path) -> None:
    (session / "lock").write_text(
        json.dumps(
            {
                "host": "elsewhere",
                "pid": 1,
                "started": 1,
                "token": "x",
                "since": time.time(),
            }
        )
    )
    with refused("process 1 on elsewhere"):
        delete_session(session)
    with refused("process 1 on elsewhere: end it there"):
        cancel_capture(session)
    assert session.is_dir()


def test_size_counts_files_and_no_targets_of_links(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 1000)
    (folder / "sub" / "b").write_bytes(b"x" * 24)
    (folder / "link").symlink_to("/")
    assert folder_size(folder) == FolderSize(3, 1024)


def test_a_disk_that_refuses_is_named(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    for act in (
        lambda: rename_session(session, "other"),
        lambda: delete_session(session),
    ):
        with pytest.raises(LogdriftError, match="Read-only file system"):
            act()
    assert open_session(session).state == "complete"
    assert not (session / "lock").exists()


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancel_ends_the_holder_and_what_it_started(
    session: Path, stubborn: bool
) -> None:
    with held(session, stubborn=stubborn) as holder:
        assert lock.process_start(holder.worker) is not None
        cancel_capture(session, grace=0.3 if stubborn else 15.0)
        holder.process.wait()
        assert lock.read_lock(session) is None
        assert lock.process_start(holder.worker) is None
    with refused("no capture is running"):
        cancel_capture(session)


def test_a_background_capture_that_cannot_begin_says_why_in_one_line(
    session: Path,
) -> None:
    with refused("has no plan to go on by"):
        start_background(session)
    plan = CapturePlan(
        "generated", (parse_spec(f"transformers,python={sys.executable}"),)
    )
    write_manifest(session, read_manifest(session)._replace(plan=plan.to_json()))
    captured_here(session)
    with (
        held(session),
        pytest.raises(LogdriftError, match="is being written by process") as caught,
    ):
        start_background(session)
    assert "\n" not in str(caught.value)
    delete_session(session)
    with refused("no such folder"):
        start_background(session)
    assert not session.exists()


def test_what_was_sampled_and_is_damaged_cannot_be_made_again(session: Path) -> None:
    """Another sampling has other ids, under which nothing that was scored would stand
    any more.
    """
    manifest = read_manifest(session)
    first, second = manifest.captures
    specs = (parse_spec(f"vllm,python={sys.executable}"),)
    plan = CapturePlan("m", specs, texts=("x",)).with_paths(generate=True).to_json() | {
        "max_length": 64
    }
    decode = first._replace(label="vllm/decode", backend="vllm", path="decode")
    write_manifest(session, manifest._replace(plan=plan, captures=(decode, second)))
    captured_here(session)
    (session / decode.parts[0].file).write_bytes(b"x")
    before = (session / "session.json").read_bytes()
    with refused(
        "is missing or damaged, and sampling again would change the ids",
    ):
        run_session(session, lambda event: None)
    assert (session / "session.json").read_bytes() == before
