"""Terminals as they may be: bytes that are no UTF-8, impossible sizes, signals, and one
that is gone.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from benchmarks.screen import Terminal
from tests.test_tui_pty import RUN, running

LEFT = b"\x1b[?1049l"
"""Back on the screen that was there before, with which a terminal is as it was."""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("terminal") / "made", 600, 6, 5)


@pytest.fixture
def terminal(session: Path, tmp_path: Path) -> Iterator[Terminal]:
    """The explorer on a terminal of 80x24."""
    with running(session, session, 80, 24, tmp_path / "state") as opened:
        opened.wait_for(b"Sequence")
        opened.quiet(0.5)
        yield opened


def resize(terminal: Terminal, width: int, height: int) -> None:
    fcntl.ioctl(
        terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0)
    )


def ended(terminal: Terminal, seconds: float = 15) -> int:
    """How the program ended: its exit code, minus the signal where one killed it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        terminal.read(0.05)
        pid, status = os.waitpid(terminal.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
    raise AssertionError("it did not end")


@pytest.mark.parametrize("before", [b"", b"/", b"I", b"\x10", b";"])
def test_bytes_that_are_no_utf8_end_nothing(terminal: Terminal, before: bytes) -> None:
    os.write(terminal.fd, before)
    terminal.quiet(0.2)
    for odd in (
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\x1b[200~\xfe\xff\x80\x1b[201~",
        b"\xf0\x9f",
        b"\0",
        b"\x9b31m",
    ):
        os.write(terminal.fd, odd + b"a")
        terminal.quiet(0.1)
    assert terminal.alive()
    os.write(terminal.fd, b"\x11")
    assert ended(terminal) == 0


@pytest.mark.parametrize(
    ("width", "height"), [(80, 0), (0, 0), (0, 24), (65535, 65535), (1, 1), (12, 24)]
)
def test_a_terminal_of_an_impossible_size_is_quiet(
    terminal: Terminal, width: int, height: int
) -> None:
    resize(terminal, width, height)
    terminal.quiet(1.0)
    assert terminal.quiet(0.5) == 0
    assert terminal.memory() < 400
    os.write(terminal.fd, b"R")
    terminal.quiet(0.5)
    assert terminal.alive()
    resize(terminal, 80, 24)
    terminal.quiet(0.5)
    os.write(terminal.fd, b"\x11")
    assert ended(terminal) == 0


def test_a_terminal_without_a_size_counts_as_80x24(
    session: Path, tmp_path: Path
) -> None:
    with running(session, session, 0, 0, tmp_path / "state") as opened:
        opened.wait_for(b"Sequence")
        opened.quiet(1.0)
        assert opened.quiet(1.0) == 0
        os.write(opened.fd, b"q")
        assert ended(opened) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("before", [b"", b"/", b"R"])
def test_a_signal_leaves_the_terminal_as_it_was(
    terminal: Terminal, number: signal.Signals, before: bytes
) -> None:
    os.write(terminal.fd, before)
    terminal.quiet(0.3)
    os.kill(terminal.pid, number)
    assert ended(terminal) == 128 + number
    terminal.quiet(0.2)
    assert LEFT in terminal.output
    assert b"\x1b[?25h" in terminal.output
    attributes = termios.tcgetattr(terminal.fd)
    assert attributes[3] & termios.ECHO
    assert attributes[3] & termios.ICANON


def test_a_terminal_that_is_gone_ends_the_program(
    session: Path, tmp_path: Path
) -> None:
    hup: Callable[[], object] = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    before = hup()
    try:
        # As nohup starts it: what is ignored is inherited.
        with running(session, session, 80, 24, tmp_path / "state") as opened:
            opened.wait_for(b"Sequence")
            opened.quiet(0.5)
            pid = opened.pid
            closed, opened.fd = opened.fd, os.open(os.devnull, os.O_RDONLY)
            os.close(closed)
            end = time.monotonic() + 15
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                assert time.monotonic() < end, "it did not end"
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [b"", b"/", b"\x10", b";", b"t", b"?"])
def test_ctrl_q_quits_from_everywhere(terminal: Terminal, before: bytes) -> None:
    os.write(terminal.fd, before + b"\x11")
    assert ended(terminal) == 0
    assert LEFT in terminal.output


_SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        print("ENDED", os.waitstatus_to_exitcode(status), flush=True)
        sys.exit(0)
    os.tcsetpgrp(0, os.getpgrp())
    print("STOPPED", flush=True)
    os.read(0, 100)
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
"""
"""A shell with one job: a line that is typed while the job is stopped wakes it."""


@pytest.fixture
def job(session: Path, tmp_path: Path) -> Iterator[Terminal]:
    """The explorer as the job of a shell, on a terminal of 80x24."""
    program = ["-c", RUN.format("Path(sys.argv[1])"), str(session)]
    argv = [sys.executable, "-c", _SHELL, *program]
    opened = Terminal(argv, 80, 24, XDG_STATE_HOME=str(tmp_path / "state"))
    try:
        opened.wait_for(b"Sequence")
        opened.quiet(0.5)
        yield opened
    finally:
        os.write(opened.fd, b"\x11")
        opened.quiet(0.5)
        opened.close()


def since(terminal: Terminal, text: bytes) -> bytes:
    """What was sent after the last ``text``."""
    return terminal.output.rpartition(text)[2]


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (60, 20)])
@pytest.mark.parametrize("before", [b"", b"/", b"w", b"?", b"\x10"])
def test_ctrl_z_suspends_and_the_screen_comes_back_whole(
    job: Terminal, size: tuple[int, int], before: bytes
) -> None:
    os.write(job.fd, before)
    job.quiet(0.4)
    os.write(job.fd, b"\x1a")
    job.wait_for(b"STOPPED")
    shown = since(job, LEFT)
    assert b"\x1b[?25h" in shown
    assert b"STOPPED" in shown
    assert termios.tcgetattr(job.fd)[3] & termios.ECHO
    resize(job, *size)
    os.write(job.fd, b"\n")
    job.quiet(1.0)
    drawn = since(job, b"STOPPED")
    assert b"\x1b[?1049h" in drawn
    lines = {int(row) for row in re.findall(rb"\x1b\[(\d+);\d+H", drawn)}
    assert lines == set(range(1, size[1] + 1)), "a line was not drawn again"
    assert not termios.tcgetattr(job.fd)[3] & termios.ECHO
    os.write(job.fd, b"\x11")
    job.wait_for(b"ENDED 0")


def test_a_stop_of_which_nothing_was_heard_is_survived(
    terminal: Terminal,
) -> None:
    os.kill(terminal.pid, signal.SIGSTOP)
    before = len(terminal.output)
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.quiet(1.0)
    assert b"Sequence" in terminal.output[before:]
    os.write(terminal.fd, b"\x1b[C" * 5 + b"w")
    terminal.quiet(0.5)
    assert terminal.alive()
    os.write(terminal.fd, b"\x11")
    assert ended(terminal) == 0


def test_without_a_shell_ctrl_z_stops_nothing(terminal: Terminal) -> None:
    os.write(terminal.fd, b"\x1a")
    terminal.quiet(0.5)
    assert b"no shell" in terminal.output
    os.write(terminal.fd, b"\x11")
    assert ended(terminal) == 0


@pytest.mark.parametrize("before", [b"", b"w", b"t", b"?"])
def test_ctrl_c_says_how_to_quit_and_ends_nothing(
    terminal: Terminal, before: bytes
) -> None:
    os.write(terminal.fd, before)
    terminal.quiet(0.5)
    os.write(terminal.fd, b"\x03")
    terminal.quiet(0.5)
    assert b"Ctrl+Q quits" in terminal.output
    assert terminal.alive()
    os.write(terminal.fd, b"\x11")
    assert ended(terminal) == 0


@pytest.mark.parametrize("line", [b"/", b":", b"f", b"\x10"])
def test_ctrl_c_leaves_a_line_that_is_typed(terminal: Terminal, line: bytes) -> None:
    os.write(terminal.fd, line)
    terminal.quiet(0.5)
    os.write(terminal.fd, b"q")
    terminal.quiet(0.3)
    os.write(terminal.fd, b"\x03")
    terminal.quiet(0.5)
    assert terminal.alive()
    # Out of the line, where it would be a letter, this quits.
    os.write(terminal.fd, b"q")
    assert ended(terminal) == 0


@pytest.mark.parametrize("term", ["dumb", "unknown"])
@pytest.mark.parametrize("command", [["open", "SESSION"], ["--sessions", "FOLDER"]])
def test_a_terminal_without_a_cursor_is_refused_in_one_line(
    session: Path, tmp_path: Path, term: str, command: list[str]
) -> None:
    places = {"SESSION": str(session), "FOLDER": str(session.parent)}
    arguments = [places.get(word, word) for word in command]
    argv = [sys.executable, "-m", "logdrift.cli.main", *arguments]
    opened = Terminal(argv, 300, 24, TERM=term, XDG_STATE_HOME=str(tmp_path))
    try:
        assert ended(opened) == 2
        (line,) = opened.output.splitlines()
        assert f"TERM is '{term}'".encode() in line
        assert b"logdrift report" in line
        assert b"\x1b" not in opened.output
    finally:
        opened.close()


@pytest.mark.parametrize("opened", [b"", b"/", b"t", b"w", b"?", b"\x10"])
def test_nothing_is_sent_while_nothing_is_pressed(
    terminal: Terminal, opened: bytes
) -> None:
    os.write(terminal.fd, opened)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        terminal.read(0.2)
    assert not terminal.read(1.2)
