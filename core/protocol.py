"""What supervisor and worker say to each other: one JSON object a line, over a socket
of their own.

The socket is a private file descriptor, because engines print to stdout and stderr;
those go to the backend's log. When either side is gone the other reads end of file: the
worker then ends its whole process group.

Supervisor to worker: ``job``, whose record is `PrepareJob`, `CaptureJob` or
`QuestionJob`. Worker to supervisor: ``stage``, ``facts``, ``begun``, ``progress``,
``part``, ``captured``, ``prepared``, ``answer``, ``done``, ``failed``.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from logdrift.core.errors import ErrorData, LogdriftError, error_of
from logdrift.core.facts import Batch
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.session.part_records import Part, part_of

VERSION = 4
"""Of the records of jobs. A worker reads the files that are there when it starts: they
may be of another logdrift than the supervisor that runs.
"""


class Channel:
    """One end of the private socket. Sending is safe from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        self._sending = threading.Lock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message. Raises OSError where the other side is gone."""
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._socket.sendall(data)

    def receive(self) -> list[dict[str, Any]] | None:
        """Block for the next data and return the whole messages in it (maybe none);
        None at end of file.
        """
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def messages(self) -> Iterator[dict[str, Any]]:
        """All messages until end of file."""
        while (batch := self.receive()) is not None:
            yield from batch

    def close(self) -> None:
        self._socket.close()


# -- jobs


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as an interpreter loads it: a local folder, or a hub id with the revision
    that was asked for.
    """

    name: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class BackendStart:
    """What a backend is opened with, whatever is asked of it then.

    ``model`` is what the engine loads, ``tokenizer`` the session's model, by whose
    tokenizer ids are text. ``max_length`` is the longest sequence that can occur, in
    tokens; ``part_sequences`` the number of sequences in a part, ``sequences`` that of
    the session (0: it does not matter).
    """

    spec: BackendSpec
    model: ModelSource
    tokenizer: ModelSource
    sampling: SamplingSpec
    top_k: int
    part_sequences: int
    max_length: int
    trust_remote_code: bool = False
    sequences: int = 0


@dataclass(frozen=True, slots=True)
class PendingCapture:
    """One capture to make: parts from ``first_part`` on but for those that are there,
    whose first sequences are ``ahead``. ``alone``: one sequence at a time.
    """

    label: str
    path: str
    repeat: int
    first_part: int
    batch: Batch = "together"
    ahead: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """Tokenise prompts with the tokenizer of ``model``, and check them against it.

    A prompt is what `logdrift.core.capture.prompt_lines.Prompt.to_json` gives.
    """

    model: ModelSource
    sampling: SamplingSpec
    prompts: tuple[Mapping[str, Any], ...]
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class CaptureJob:
    """Make the parts of captures of one backend below ``folder``.

    ``token`` is that of the session's lock, under which parts are written. ``planned``
    is the number of sequences of the session, ``parts`` the number of parts to score.
    ``given`` are the parts of the sequences that are there already.
    """

    start: BackendStart
    folder: str
    token: str
    captures: tuple[PendingCapture, ...]
    planned: int
    parts: int
    given: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionJob:
    """Put one question to a backend, with nothing captured.

    ``question`` is a name in `logdrift.core.worker.questions`; arrays are
    written to the folder ``out``.
    """

    start: BackendStart
    question: str
    arguments: Mapping[str, Any]
    out: str


@dataclass(frozen=True, slots=True)
class RetokeniseJob:
    """Decode and encode again the ids of ``files``, parts of sequences, with the
    tokenizer of ``model``.
    """

    model: ModelSource
    files: tuple[str, ...]
    trust_remote_code: bool = False


Job = PrepareJob | CaptureJob | QuestionJob | RetokeniseJob


def job_message(job: Job) -> dict[str, Any]:
    """The message that tells a worker its job."""
    kind = next(kind for kind, record in _KINDS.items() if isinstance(job, record))
    values = asdict(job)
    if isinstance(job, CaptureJob):
        values["given"] = [part._asdict() for part in job.given]
    return {"type": "job", "version": VERSION, "kind": kind, "job": values}


def job_of(message: Mapping[str, Any]) -> Job:
    """The job of a message. Raises LogdriftError for one of another version."""
    if message.get("version") != VERSION:
        raise LogdriftError(
            "logdrift was changed while it was running", remedy="start it again"
        )
    values = dict(message["job"])
    record = _KINDS[message["kind"]]
    for name in values.keys() & _READERS.keys():
        values[name] = _READERS[name](values[name])
    return record(**values)


_KINDS: Mapping[str, type[Job]] = {
    "prepare": PrepareJob,
    "capture": CaptureJob,
    "question": QuestionJob,
    "retokenise": RetokeniseJob,
}


def _start(data: Mapping[str, Any]) -> BackendStart:
    spec = data["spec"]
    records = {
        "spec": BackendSpec(**{**spec, "paths": tuple(spec["paths"])}),
        "model": ModelSource(**data["model"]),
        "tokenizer": ModelSource(**data["tokenizer"]),
        "sampling": SamplingSpec(**data["sampling"]),
    }
    return BackendStart(**{**data, **records})


def _pending(data: Mapping[str, Any]) -> PendingCapture:
    return PendingCapture(**{**data, "ahead": tuple(data["ahead"])})


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "start": _start,
    "model": lambda data: ModelSource(**data),
    "sampling": lambda data: SamplingSpec(**data),
    "captures": lambda data: tuple(map(_pending, data)),
    "prompts": tuple,
    "files": tuple,
    "given": lambda data: tuple(map(part_of, data)),
}
"""How a field of a job is read from JSON, by its name; others are as they are."""


# -- what goes wrong in a worker


def failed_message(error: LogdriftError) -> dict[str, Any]:
    """The message that tells a supervisor why a job failed."""
    return {"type": "failed", **error.to_json()}


def error_in(message: Mapping[str, Any]) -> LogdriftError:
    """The error of a ``failed`` message."""
    return error_of(cast(ErrorData, message))
