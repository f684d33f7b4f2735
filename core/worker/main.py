"""The worker: one backend in its own process and interpreter, asked by the supervisor,
writing parts to disk.

Uses the standard library, NumPy, safetensors and the engine, nothing else of logdrift's
environment.
"""

from __future__ import annotations

import os
import socket
import threading
import traceback
from pathlib import Path
from typing import Any

from logdrift.core.errors import LogdriftError
from logdrift.core.processes import die_with_parent
from logdrift.core.protocol import (
    Channel,
    Job,
    PrepareJob,
    QuestionJob,
    RetokeniseJob,
    failed_message,
    job_of,
)
from logdrift.core.worker import questions
from logdrift.core.worker.captures import Captures
from logdrift.core.worker.ending import end_everything
from logdrift.core.worker.one_line import one_line
from logdrift.core.worker.prepare import prepare
from logdrift.core.worker.retokenise import rows_of_files
from logdrift.core.worker.running import RunningEngine


def main(descriptor: int) -> int:
    """Run one job. The supervisor reads the outcome from the channel; the exit code
    only backs it up.
    """
    die_with_parent()
    channel = Channel(socket.socket(fileno=descriptor))
    os.set_inheritable(descriptor, False)
    message = next(channel.messages(), None)
    if message is None:
        return 1
    threading.Thread(target=_end_with_supervisor, args=(channel,), daemon=True).start()
    try:
        _do(job_of(message), channel)
        channel.send({"type": "done"})
    except LogdriftError as error:
        channel.send(failed_message(error))
        return error.exit_code
    except MemoryError:
        channel.send(failed_message(LogdriftError("out of memory")))
        return 1
    except Exception as error:
        traceback.print_exc()
        words = f"{type(error).__name__}: {one_line(error)}"
        channel.send(failed_message(LogdriftError(words)))
        return 1
    return 0


def _do(job: Job, channel: Channel) -> None:
    if isinstance(job, PrepareJob):
        channel.send({"type": "prepared", **prepare(job)})
    elif isinstance(job, RetokeniseJob):
        for rows in rows_of_files(job):
            channel.send({"type": "retokenised", "rows": rows})
    elif isinstance(job, QuestionJob):
        channel.send({"type": "answer", "answer": _answer(job, channel)})
    else:
        Captures(job, channel).run()


def _answer(job: QuestionJob, channel: Channel) -> dict[str, Any]:
    """Open the backend and put the job's question to it, with nothing captured."""
    engine = RunningEngine(job.start, channel)
    with engine.opened(asked=True) as backend:
        engine.stage(f"asking for {job.question}")
        name = job.start.spec.engine
        out = Path(job.out)
        found = questions.answer(name, job.question, backend, job.arguments, out)
        engine.stage("closing")
        return found


def _end_with_supervisor(channel: Channel) -> None:
    """The supervisor sends nothing after the job: end of file means that it is gone,
    and so must we be, with all we started.
    """
    while channel.receive() is not None:
        pass
    end_everything()
