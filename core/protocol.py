"""What supervisor and worker say to each other: one JSON object a line, over a socket
of their own.

The socket is a private file descriptor, because engines print to stdout and stderr;
those go to the backend's log. When either side is gone the other reads end of file: the
worker then ends its whole process group.

Supervisor to worker: ``job``. Worker to supervisor: ``stage``, ``facts``, ``begun``,
``progress``, ``part``, ``captured``, ``prepared``, ``answer``, ``done``, ``failed``.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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


@dataclass(frozen=True, slots=True)
class CaptureJob:
    """One capture to make: parts from ``first_part`` on, each as one batch or
    (``alone``) one sequence at a time.
    """

    label: str
    path: str
    repeat: int
    first_part: int
    batch: str = "together"


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """Everything one worker is asked to do. ``kind`` is ``capture``, ``prepare``
    (tokenise prompts) or ``question``.

    ``model`` is what the engine loads, ``tokenizer`` the session's model, by whose
    tokenizer ids are text. ``parts`` is the number of parts to score; ``max_length``
    the longest sequence that can occur. ``question`` is a name in
    `logdrift.core.worker.questions.QUESTIONS`, with its ``arguments`` and the folder
    ``out`` for arrays. ``token`` is that of the lock under which parts are written into
    ``folder``.
    """

    kind: str
    model: str
    revision: str | None = None
    tokenizer: str = ""
    tokenizer_revision: str | None = None
    trust_remote_code: bool = False
    folder: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    captures: tuple[CaptureJob, ...] = ()
    top_k: int = 20
    part_sequences: int = 8
    planned: int = 0
    parts: int = 0
    max_length: int = 0
    prompts: tuple[Mapping[str, Any], ...] = ()
    question: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    out: str = ""
    token: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"type": "job", **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WorkerJob:
        values = {key: value for key, value in data.items() if key != "type"}
        values["captures"] = tuple(
            CaptureJob(**capture) for capture in values.get("captures", ())
        )
        values["prompts"] = tuple(values.get("prompts", ()))
        return cls(**values)
