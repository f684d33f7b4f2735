"""Terminals as they may be: bytes that are no UTF-8, impossible sizes, signals, and one
that is gone.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from benchmarks.screen import Terminal
from tests.test_tui_pty import running

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
    assert LEFT in terminal.output and b"\x1b[?25h" in terminal.output
    attributes = termios.tcgetattr(terminal.fd)
    assert attributes[3] & termios.ECHO and attributes[3] & termios.ICANON


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
