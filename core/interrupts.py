"""Signals that end a command: they raise KeyboardInterrupt, and stay heard where code
in between loses it.

Python raises KeyboardInterrupt wherever the program happens to stand. A C extension
that is just importing another module replaces it by an ImportError of its own, and a
finalizer drops it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from logdrift.core.errors import LogdriftError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_SECONDS = 0.01
"""Until a signal that a finalizer dropped is sent again: longer than it takes to leave
the finalizer. Where that is too short, the next one drops it too, and it comes again.
"""
_heard: list[int] = []
"""The signals that have raised KeyboardInterrupt in this process, in order."""
_watches: list[object] = []
"""The hook of the block that watches finalizers, if there is one."""


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The handler of a signal: note it, and raise KeyboardInterrupt."""
    _heard.append(number)
    raise KeyboardInterrupt


@contextlib.contextmanager
def cancellable(
    numbers: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGHUP),
) -> Iterator[None]:
    """Let ``numbers`` raise KeyboardInterrupt in the block, as Ctrl-C does, and let it
    leave the block whatever became of it on the way.

    Only the main thread may set handlers: in any other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = len(_heard)
    with _handled(numbers), _finalizers_watched():
        try:
            yield
        except Exception as error:
            if len(_heard) > earlier and _hides_interrupt(error):
                raise KeyboardInterrupt from error
            raise


@contextlib.contextmanager
def _handled(numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    old_handlers = {}
    for number in numbers:
        # An ignored signal stays ignored: under nohup, closing the terminal must not
        # end the program.
        if signal.getsignal(number) is not signal.SIG_IGN:
            old_handlers[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def left_to_python() -> Iterator[None]:
    """Let SIGINT do in the block what Python does with it: asyncio takes it over only
    from there, and then ends its tasks in order.
    """
    if signal.getsignal(signal.SIGINT) is not interrupt:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)


def left_to_system(number: signal.Signals) -> None:
    """Let a signal end this process at once from here on, without a word: all is
    written, and the interpreter that ends would print a traceback.
    """
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


def _hides_interrupt(error: Exception) -> bool:
    """Whether an error that came after a signal is what was made of it: by C code, or
    on the way out of what was interrupted. What a command says of its own end stays,
    but for the words for a module that cannot be imported.
    """
    causes: tuple[type[BaseException], ...] = (ImportError,)
    if not isinstance(error, LogdriftError):
        causes = (ImportError, SystemError, KeyboardInterrupt)
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, causes):
            return True
        below = below.__cause__ or below.__context__
    return False


@contextlib.contextmanager
def _finalizers_watched() -> Iterator[None]:
    """Send a signal again that raised KeyboardInterrupt in a finalizer, where Python
    goes on as if nothing had come. The outermost block watches for all inside it: a
    signal may come again when an inner one has been left.
    """
    if _watches:
        yield
        return
    former = sys.unraisablehook
    reminders: list[threading.Timer] = []

    def hook(dropped: UnraisableHookArgs) -> None:
        if not _heard or not isinstance(dropped.exc_value, KeyboardInterrupt):
            former(dropped)
            return
        timer = threading.Timer(_AGAIN_SECONDS, os.kill, [os.getpid(), _heard[-1]])
        timer.daemon = True
        timer.start()
        reminders.append(timer)

    sys.unraisablehook = hook
    _watches.append(hook)
    try:
        yield
    finally:
        sys.unraisablehook = former
        _watches.clear()
        for timer in reminders:
            timer.cancel()  # the work was done before the signal came again
