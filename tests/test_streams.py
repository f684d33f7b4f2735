"""Standard streams in real processes: nothing is lost in silence, and nothing ends for
a stream that is not there.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.session.reader import Session
from tests.made_sessions import capture, write_session

LOGDRIFT = Path(sys.executable).parent / "logdrift"
ROWS = [[float("nan"), *(-0.5 - 0.01 * i for i in range(40))]] * 12


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    off = [[value - 0.01 for value in row] for row in ROWS]
    pieces = {i: f" wörd→{i}".encode() for i in range(41)}
    captures = [
        capture("trainer/prefill", ROWS),
        capture("vllm/decode", off),
        capture("vllm/prefill", off),
    ]
    return write_session(
        tmp_path_factory.mktemp("streams") / "made", [4] * 12, captures, pieces=pieces
    )


COMMANDS = {
    "report": ["report", "SESSION"],
    "json": ["report", "SESSION", "--json"],
    "md": ["report", "SESSION", "--md"],
    "html": ["report", "SESSION", "--html"],
    "why": ["why", "SESSION"],
    "why json": ["why", "SESSION", "--json"],
    "check": ["check", "SESSION", "--max", "mae=1", "--json"],
    "diff": ["diff", "SESSION", "SESSION", "--new-pair", "trainer:vllm/prefill"],
    "keys": ["keys"],
    "help": ["--help"],
    "causes": ["why", "--causes"],
}


def arguments(name: str, session: Session) -> list[str]:
    return [
        str(LOGDRIFT),
        *(word.replace("SESSION", str(session.folder)) for word in COMMANDS[name]),
    ]


def started(
    argv: list[str], unbuffered: bool = False, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **options.pop("env", {})}
    environment.pop("PYTHONUNBUFFERED", None)
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = "1"
    given = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
    return subprocess.run(argv, env=environment, timeout=120, **given)


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_exit_code_1_and_one_line(
    session: Session, name: str, unbuffered: bool
) -> None:
    with open("/dev/full", "wb") as full:
        done = started(arguments(name, session), unbuffered, stdout=full)
    assert done.returncode == 1
    assert (
        done.stderr
        == b"logdrift: cannot write to standard output: No space left on device\n"
    )


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("name", ["json", "html", "md"])
def test_a_limit_within_the_output_is_exit_code_1(
    session: Session, name: str, unbuffered: bool, tmp_path: Path
) -> None:
    """The kernel takes the first block and refuses the rest: a short write, and then an
    error.
    """
    argv = arguments(name, session)
    whole = started(argv, stdout=subprocess.PIPE).stdout
    limit = len(whole) // 2 + 1

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with open(tmp_path / "out", "wb") as file:
        done = started(argv, unbuffered, stdout=file, preexec_fn=small)
    assert done.returncode == 1
    assert done.stderr == b"logdrift: cannot write to standard output: File too large\n"
    assert len((tmp_path / "out").read_bytes()) == limit < len(whole)

    (tmp_path / "old").write_text("old")
    done = started(
        [*argv, "-o", str(tmp_path / "old")],
        unbuffered,
        stdout=subprocess.PIPE,
        preexec_fn=small,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"File too large" in done.stderr
    assert (tmp_path / "old").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old", "out"]


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_slow_reader_and_a_pipe_that_does_not_block_get_everything(
    session: Session, unbuffered: bool
) -> None:
    argv = arguments("html", session)
    whole = started(argv, stdout=subprocess.PIPE).stdout
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got: list[bytes] = []

    def read() -> None:
        while block := os.read(reading, 1000):
            got.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    done = started(argv, unbuffered, stdout=writing)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"".join(got) == whole


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("name", ["json", "html", "why", "keys"])
def test_a_reader_that_is_gone_is_quiet(
    session: Session, name: str, unbuffered: bool
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = started(arguments(name, session), unbuffered, stdout=writing)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("name", ["json", "check", "keys"])
def test_closed_descriptors(
    session: Session, name: str, closed: list[int], tmp_path: Path
) -> None:
    words = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    done = started(
        ["sh", "-c", f'"$@" {words}', "sh", *arguments(name, session)],
        stdout=subprocess.PIPE,
    )
    if 1 in closed:
        assert done.returncode == 1
        assert done.stdout == b""
        expected = (
            b""
            if 2 in closed
            else b"logdrift: cannot write to standard output: Bad file descriptor\n"
        )
        assert done.stderr == expected
    else:
        assert done.returncode == 0
        assert done.stderr == b""
        assert done.stdout


def test_what_cannot_be_said_beside_changes_no_exit_code(
    session: Session, tmp_path: Path
) -> None:
    with open("/dev/full", "wb") as full:
        assert (
            started(
                [str(LOGDRIFT), "report", str(tmp_path / "none")], stderr=full
            ).returncode
            == 2
        )
        broken = ["check", str(session.folder), "--max", "mae=1e-9", "--json"]
        done = started([str(LOGDRIFT), *broken], stderr=full, stdout=subprocess.PIPE)
        assert done.returncode == 1
        assert json.loads(done.stdout)


def test_documents_are_utf8_whatever_the_stream_is_and_text_is_what_it_takes(
    session: Session,
) -> None:
    for encoding in ("latin-1", "ascii", "utf-16", "cp437"):
        for name in ("md", "html"):
            done = started(
                arguments(name, session),
                stdout=subprocess.PIPE,
                env={"PYTHONIOENCODING": encoding},
            )
            assert done.returncode == 0
            assert done.stderr == b""
            assert "wörd" in done.stdout.decode("utf-8")
        for name in ("report", "why", "diff", "json", "check"):
            done = started(
                arguments(name, session),
                stdout=subprocess.PIPE,
                env={"PYTHONIOENCODING": encoding},
            )
            assert done.returncode == 0
            assert done.stderr == b""
            assert done.stdout.decode(encoding)


ODD_NAMES = {
    "long name": "x" * 256,
    "long path": "x/" * 2100,
    "unknown user": "~nobody-of-that-name/x",
    "long name of lines": "a\nb" * 90,
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
@pytest.mark.parametrize(
    "words",
    [
        ["report", "NAME"],
        ["report", "SESSION", "-o", "NAME"],
        ["why", "NAME"],
        ["diff", "SESSION", "NAME"],
        ["import", "jsonl", "NAME", "--out", "x"],
        ["import", "session", "SESSION", "--out", "NAME"],
        ["capture", "--plan", "NAME", "--out", "x"],
        ["capture", "--text", "a", "--model", "smollm2", "--out", "NAME"],
        ["--sessions", "NAME", "report", "x"],
    ],
)
def test_names_that_no_file_can_have_are_one_line(
    session: Session, name: str, words: list[str], tmp_path: Path
) -> None:
    argv = [
        word.replace("SESSION", str(session.folder)).replace("NAME", name)
        for word in words
    ]
    done = started([str(LOGDRIFT), *argv], stdout=subprocess.PIPE, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"unexpected" not in done.stderr
