"""What keeps the program alive: an exception is shown where it belongs, and ends
nothing.

Three rules, each with its one home here. What a handler of a pane or screen raises is
shown in a window (`Safe`). Work in a thread that raises answers with a message of its
screen (`background`). Whoever catches an exception for a line of its own takes the
words from `logdrift.core.errors.words_of`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Protocol

from textual.dom import DOMNode
from textual.message import Message
from textual.message_pump import MessagePump
from textual.timer import Timer
from textual.worker import Worker

from logdrift.core.errors import words_of
from logdrift.tui.services import services

_FOR_WRITERS = 30.0
"""Seconds that quitting waits for files being written. What only reads is never waited
for.
"""


def traceback_of(error: Exception) -> list[str]:
    """The traceback as lines, for a report of the fault."""
    parts = traceback.format_exception(error)
    text = "".join(parts).rstrip("\n")
    return text.split("\n")


class Safe(MessagePump):
    """A part of the screen whose handlers may raise: the application shows the error,
    and the part lives on.
    """

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            services(self).failed(error, self)

    def set_timer(self, *args: Any, **kwargs: Any) -> Timer:
        """A timer that rings once, however late it is looked at.

        Textual leaves out a tick whose time is over before it waits for it, so that on
        a busy machine a short timer never rang: the chart that was asked for was not
        drawn.
        """
        timer = super().set_timer(*args, **kwargs)
        timer._skip = False
        return timer

    def on_work_failed(self, message: WorkFailed) -> None:
        """Show why."""
        message.stop()
        services(self).show_error(message.words)


class WorkFailed(Message):
    """Work in a thread could not be done."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words


Failed = Callable[[str], Message]
Work = Callable[..., None]
Starter = Callable[..., Worker[None]]
_writers: set[threading.Thread] = set()


def background(
    *,
    group: str,
    exclusive: bool = False,
    writes: bool = False,
    failed: Failed = WorkFailed,
) -> Callable[[Work], Starter]:
    """A method that works in a thread of its own, as `textual.work` does it, but for
    two things.

    An exception becomes the message that ``failed`` makes of its words, so that it is
    shown where the result would stand. And the thread is a daemon: the program can end
    while one hangs, on a dead network folder for example. One that ``writes`` is given
    time to end.

    The method belongs to a pane or screen, or to an object whose `node` is the screen
    that gets the messages and whose end ends the work.
    """

    def decorate(method: Work) -> Starter:
        @wraps(method)
        def start(self: DOMNode | Works, *args: Any, **kwargs: Any) -> Worker[None]:
            node = self if isinstance(self, DOMNode) else self.node

            def guarded() -> None:
                try:
                    method(self, *args, **kwargs)
                except Exception as error:
                    words = words_of(error)
                    node.post_message(failed(words))

            name = method.__name__
            work = partial(_in_thread, guarded, name, writes=writes)
            return node.run_worker(work, name=name, group=group, exclusive=exclusive)

        return start

    return decorate


class Works(Protocol):
    """Has `background` methods without being a part of the screen itself."""

    @property
    def node(self) -> DOMNode: ...


async def _in_thread(call: Callable[[], None], name: str, *, writes: bool) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    context = contextvars.copy_context()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            context.run(call)
        finally:
            _writers.discard(threading.current_thread())
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish)

    thread = threading.Thread(target=run, name=name, daemon=True)
    if writes:
        _writers.add(thread)
    thread.start()
    await done


def finish_writing(seconds: float = _FOR_WRITERS) -> None:
    """Wait for the files that are being written."""
    end = time.monotonic() + seconds
    for thread in tuple(_writers):
        remaining = end - time.monotonic()
        thread.join(max(0.0, remaining))
