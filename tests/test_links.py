"""Links in a session from elsewhere: nothing is written through one, and none that
leads out is read.

Every name that logdrift writes is planted as a link in turn; what is looked at is the
file that it leads to.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from logdrift.core.capture.background import start_background
from logdrift.core.capture.supervisor import run_session
from logdrift.core.errors import LogdriftError
from logdrift.core.investigate.experiments import run_experiments
from logdrift.core.investigate.identity import chosen_backends, identify
from logdrift.core.investigate.layers import find_layers
from logdrift.core.session import lock
from logdrift.core.session.below import (
    append,
    folder_at,
    open_below,
    refuse_links,
    replace_file,
)
from logdrift.core.session.experiments import saved
from logdrift.core.session.identity import read_identity, write_identity
from logdrift.core.session.layers import save_layers, saved_layers
from logdrift.core.session.manage import delete_session, rename_session
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import append_event, merge_pieces, write_manifest
from tests.common import REPOSITORY, Fields, Run
from tests.made_experiments import named, save_record, simple
from tests.made_sessions import captured_here, edit_manifest
from tests.test_trust import PAIR, the_pair

PRECIOUS = b"precious\n"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file, which a session must not reach."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(PRECIOUS)
    return folder


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """One's own session, with a capture left to do by an interpreter that ends at
    once.
    """

    def change(data: Fields) -> None:
        for backend in data["plan"]["backends"]:
            backend["python"] = "/bin/false"

    made = edit_manifest(simple(tmp_path / "s")[0], change)
    captured_here(made.folder)
    return made


def unfinished(session: Session) -> Session:
    return edit_manifest(
        session, lambda data: data["captures"][0].update(status="pending", parts=[])
    )


FILES = [
    "events.jsonl",
    "lock",
    "pieces.json",
    "logs/trainer.log",
    "logs/trainer.pid",
    "logs/supervisor.log",
    "logs/vllm.log",
    "why/identity/trainer.json",
    "why/layers/trainer-vllm-0-all.json",
    "why/layers/trainer-vllm-0-all.safetensors",
    "why/experiments/events.jsonl",
    "why/experiments/lock",
    "why/experiments/experiments.log",
    *(
        f".{name}.PID.{end}"
        for name in ("session.json", "lock", "pieces.json")
        for end in ("tmp", "stale")
    ),
]
"""PID stands for this process's: it may not be in the name of a test, which every
process of pytest must call the same.
"""
FOLDERS = [
    "logs",
    "why",
    "why/identity",
    "why/layers",
    "why/experiments",
    "captures",
    "sequences",
    "facts",
]
WRITERS: dict[str, Callable[[Session], object]] = {
    "resume": lambda s: run_session(unfinished(s).folder, lambda event: None),
    "in the background": lambda s: start_background(unfinished(s).folder),
    "identity": lambda s: identify(s, chosen_backends(s), lambda event: None),
    "layers": lambda s: find_layers(s, PAIR, 0),
    "experiments": lambda s: run_experiments(
        s, the_pair(s), list(named(s, the_pair(s)).values())[:1]
    ),
    "an event": lambda s: append_event(s.folder, {"type": "x"}),
    "pieces": lambda s: merge_pieces(s.folder, {99_999: b"x"}),
    "manifest": lambda s: write_manifest(s.folder, s.manifest),
    "a found identity": lambda s: write_identity(
        s.folder, {"backend": "trainer", "engine": "transformers"}
    ),
    "found layers": lambda s: save_layers(s.folder, "trainer-vllm-0-all", {}, {}),
    "a lock": lambda s: (lock.acquire(s.folder, "t"), lock.release(s.folder)),
    "another name": lambda s: rename_session(s.folder, "renamed"),
    "its end": lambda s: delete_session(s.folder),
}


def plant(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir():
        link.rename(link.with_name(f"{link.name}-before"))
    link.unlink(missing_ok=True)
    link.symlink_to(target)


@pytest.mark.parametrize("way", WRITERS)
@pytest.mark.parametrize("name", FILES)
def test_nothing_is_written_through_a_link_to_a_file(
    session: Session, outside: Path, name: str, way: str
) -> None:
    for target in (outside / "file", outside / "new"):
        if session.folder.exists():
            plant(session.folder / name.replace("PID", str(os.getpid())), target)
            with contextlib.suppress(LogdriftError):
                WRITERS[way](session)
        assert (outside / "file").read_bytes() == PRECIOUS
        assert os.listdir(outside) == ["file"]


@pytest.mark.parametrize("way", WRITERS)
@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_is_written_into_a_folder_behind_a_link(
    session: Session, outside: Path, name: str, way: str
) -> None:
    (outside / ".part-00000.safetensors.1.tmp").write_bytes(PRECIOUS)
    (outside / "x.pid").write_bytes(PRECIOUS)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    plant(session.folder / name, outside)
    with contextlib.suppress(LogdriftError):
        WRITERS[way](session)
    found = {path.name: path.read_bytes() for path in outside.iterdir()}
    assert found == before


@pytest.mark.parametrize(
    "name",
    [
        "session.json",
        "pieces.json",
        "events.jsonl",
        "lock",
        "logs",
        "why",
        "sequences",
        "captures",
        "facts",
    ],
)
def test_a_link_that_leads_out_is_refused_by_name(
    session: Session, outside: Path, run_logdrift: Run, name: str
) -> None:
    path = session.folder / name
    target = outside / path.name
    if path.exists():
        path.rename(target)
    elif "." in name or name == "lock":
        target.write_bytes(b"")
    else:
        target.mkdir()
    path.symlink_to(target)
    for command in (
        ["report", session.folder],
        ["why", session.folder],
        ["check", session.folder, "--max", "mae=1"],
    ):
        done = run_logdrift(*command)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (
            2,
            "",
            1,
        ), done.stderr
        assert f"{path}: is a link" in done.stderr


def test_links_that_stay_inside_and_the_session_behind_a_link_are_read(
    session: Session, tmp_path: Path
) -> None:
    (session.folder / "captures").rename(session.folder / "elsewhere")
    (session.folder / "captures").symlink_to("elsewhere")
    other = tmp_path / "other-name"
    other.symlink_to(session.folder)
    opened = open_session(other)
    assert (
        len(opened.capture(opened.captures[0].label).logprob.whole())
        == opened.sequences.tokens
    )
    append_event(other, {"type": "x"})
    assert json.loads((session.folder / "events.jsonl").read_text())["type"] == "x"


@pytest.mark.parametrize(
    "relative", ["../out", "/etc/out", "a/../../out", "link/out", "a/link/out"]
)
def test_no_name_leads_out_of_a_folder(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    (root / "a" / "link").symlink_to(tmp_path)
    for write in (
        lambda: replace_file(root, relative, b"x"),
        lambda: append(root, relative),
        lambda: open_below(root, relative, os.O_RDWR | os.O_CREAT),
        lambda: refuse_links(root, relative),
    ):
        with pytest.raises(LogdriftError):
            write()
    assert not (tmp_path / "out").exists()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    (tmp_path / "name").symlink_to(outside / "file")
    replace_file(tmp_path, "name", b"new")
    assert not (tmp_path / "name").is_symlink()
    assert (tmp_path / "name").read_bytes() == b"new"
    assert (outside / "file").read_bytes() == PRECIOUS


def test_a_folder_that_is_swapped_for_a_link_after_it_was_opened_is_still_the_one(
    tmp_path: Path, outside: Path
) -> None:
    (tmp_path / "root").mkdir()
    with folder_at(tmp_path / "root") as at:
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").symlink_to(outside)
        replace_file(at, "name", b"x")
    assert (tmp_path / "away" / "name").read_bytes() == b"x"
    assert os.listdir(outside) == ["file"]


@pytest.mark.parametrize("place", ["file", "folder"])
def test_findings_behind_a_link_that_leads_out_are_not_read(
    session: Session, tmp_path: Path, place: str
) -> None:
    """Another session's findings, whole and readable, are not taken for this one's."""
    other, pair = simple(tmp_path / "other")
    write_identity(other.folder, {"backend": "trainer", "engine": "transformers"})
    save_layers(other.folder, "trainer-vllm-0-all", {"x": 1}, {})
    experiment = next(iter(named(other, pair).values()))
    save_record(
        other,
        "x",
        {"schema": 1, "experiment": experiment.to_json(), "pair": list(PAIR)},
    )
    for name in (
        "why/identity/trainer.json",
        "why/layers/trainer-vllm-0-all.json",
        "why/experiments/x/experiment.json",
    ):
        at = name if place == "file" else str(Path(name).parent)
        plant(session.folder / at, other.folder / at)
    assert saved_layers(session.folder) == []
    assert saved(session.folder) == []
    with pytest.raises(LogdriftError, match="is a link"):
        read_identity(session.folder, "trainer")
    if place == "folder":
        with pytest.raises(LogdriftError, match="is a link"):
            open_session(session.folder)


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    """The page promises a test for each line; `test_x` without a file is one of the
    file named before it.
    """
    page = (REPOSITORY / "docs" / "security.md").read_text()
    named_tests = re.findall(r"`(?:(test_\w+\.py)(?:::)?)?(test_\w+)?`", page)
    file = ""
    count = 0
    for given, test in named_tests:
        file = given or file
        if given or test:
            assert f"def {test}" in (REPOSITORY / "tests" / file).read_text(), (
                file,
                test,
            )
            count += 1
    assert count > 20
