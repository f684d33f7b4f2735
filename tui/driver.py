"""Reading from a terminal that may send other bytes than UTF-8, have any size, or
go.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import threading
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import TYPE_CHECKING

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size

if TYPE_CHECKING:
    from textual.app import App

USUAL = Size(80, 24)
"""The size assumed for a terminal that reports no columns or no rows."""
LARGEST = Size(1000, 500)
"""Beyond it nothing is drawn: no screen has as many cells, and a terminal that claims
65535x65535 would cost gigabytes.
"""
_GONE = 128 + signal.SIGHUP
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_POLL = 0.1
_LAST_SECONDS = 40.0
"""After the terminal has gone: longer than files being written are waited for."""
_CHUNK = 4096


def usable(size: Size) -> Size:
    """The size to draw for, whatever the terminal says: between 1x1 and `LARGEST`."""
    width = min(size.width, LARGEST.width)
    height = min(size.height, LARGEST.height)
    return Size(width or USUAL.width, height or USUAL.height)


class TerminalDriver(LinuxDriver):
    """As Textual's, but a byte that is not UTF-8 is one odd character, a terminal that
    is gone ends the program, and a suspended program comes back whole.
    """

    @property
    def has_shell(self) -> bool:
        """Whether a shell is there to come back from: without one nothing would ever
        wake a suspended program.
        """
        return os.getsid(0) != os.getpgrp()

    def start_application_mode(self) -> None:
        reader = self._key_thread
        if reader is None or not reader.is_alive():
            super().start_application_mode()  # type: ignore[no-untyped-call]

    def _sigtstp_application(self, *_: object) -> None:
        """Give the terminal back, and stop with all that was started in one line with
        this program: the shell waits for every one of them.
        """
        self.suspend_application_mode()
        self._must_signal_resume = True
        os.killpg(os.getpgrp(), signal.SIGSTOP)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, also after a stop of which nothing was heard."""
        if not self._is_in_front():
            return
        if not self._must_signal_resume:
            self.suspend_application_mode()
            self._must_signal_resume = True
        self.resume_application_mode()

    def _is_in_front(self) -> bool:
        """Whether the terminal is this program's, and not the shell's."""
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:
            return False

    def write(self, data: str) -> None:
        # Once the terminal is gone its thread has ended, and a full queue without a
        # reader would block for ever.
        writer = self._writer_thread
        if writer is not None and writer.is_alive():
            writer.write(data)

    def close(self) -> None:
        writer = self._writer_thread
        if writer is not None and writer.is_alive():
            writer.stop()

    def run_input_thread(self) -> None:
        """Read what is typed until the program ends, or the terminal has gone."""
        decode = getincrementaldecoder("utf-8")("surrogateescape").decode
        parser = XTermParser(self._debug)
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(_POLL):
                    data = self._read()
                    if not data:
                        self._gone()
                        return
                    for event in parser.feed(decode(data)):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
        with suppress(EOFError, ParseError):
            for _ in parser.feed(""):
                pass

    def _read(self) -> bytes:
        """What was typed; nothing at all means that the terminal has gone."""
        try:
            return os.read(self.fileno, _CHUNK)
        except OSError:
            return b""

    def _gone(self) -> None:
        app = self._app
        loop = app._loop
        if loop is not None:
            loop.call_soon_threadsafe(app.exit, _GONE, _GONE)
        # No user is left to end a program that hangs before its exit.
        last = threading.Timer(_LAST_SECONDS, os._exit, (_GONE,))
        last.daemon = True
        last.start()


def end_by_signals(app: App[int]) -> None:
    """Let SIGTERM, SIGHUP and SIGQUIT leave ``app`` in order, with the terminal as it
    was. The second one ends at once.
    """
    loop = asyncio.get_running_loop()

    def leave(number: int) -> None:
        for ending in _ENDING:
            loop.remove_signal_handler(ending)
        app.exit(128 + number, 128 + number)

    for number in _ENDING:
        loop.add_signal_handler(number, leave, number)
