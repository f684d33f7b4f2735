"""The thread of a recorder: it takes batches, keeps a sample and the worst of them, and
writes parts. The training step waits for none of it.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from logdrift.core.errors import CannotWrite, LogdriftError, words_of
from logdrift.core.recording.batch import SeenBatch, SeenSequence
from logdrift.core.recording.folder import SessionFolder
from logdrift.core.recording.parts import StreamFiles
from logdrift.core.recording.sampling import WorstSequences, coin_levels, level_for
from logdrift.core.session.contents import NO_STEP

MOST_BACKLOG = 2_000_000
"""Tokens that may wait for the disk, some 50 MB: beyond, batches are left out."""
_LOOK = 1.0
"""Seconds after which one looks whether the thread is still there."""
Waiting = threading.Event
"""Set once everything before it in the queue is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one process keeps, in tokens; a part is written once it has
    ``part_tokens``, or after ``part_seconds``.
    """

    sample: int
    worst: int
    part_tokens: int
    part_seconds: float


@dataclass(frozen=True, slots=True)
class _Task:
    """A batch to keep, or an event to set when all before it is written."""

    batch: SeenBatch | None
    waiting: Waiting | None = None
    write: bool = False


@dataclass
class RecordingThread:
    """Takes batches from a queue until it is closed. ``problem`` is why it stopped."""

    session: SessionFolder
    worst_session: SessionFolder
    stream: StreamFiles
    worst_stream: StreamFiles
    limits: Limits
    rng: np.random.Generator
    problem: LogdriftError | None = None
    backlog: int = 0
    step_sequences: list[SeenSequence] = field(default_factory=list)
    _tasks: queue.SimpleQueue[_Task | None] = field(default_factory=queue.SimpleQueue)
    _waiting: dict[int, list[SeenSequence]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _since: float = 0.0

    def __post_init__(self) -> None:
        self.worst = WorstSequences(self.limits.worst)
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._run, name="logdrift record", daemon=True
        )
        self._thread.start()

    # ---- what the training step calls

    def put(self, batch: SeenBatch) -> None:
        """Take a batch; it is left out, and counted, where the disk cannot follow."""
        with self._lock:
            if self.problem is not None:
                return
            if self.backlog > MOST_BACKLOG:
                self.stream.lost += len(batch)
                return
            self.backlog += batch.tokens
        self._tasks.put(_Task(batch))

    def wait(self, write: bool) -> None:
        """Wait until everything is sorted; ``write``: and on the disk."""
        done = Waiting()
        self._tasks.put(_Task(None, done, write))
        while not done.wait(_LOOK):
            if not self._thread.is_alive():
                break  # a fork has no threads

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._tasks.put(None)
        self._thread.join()

    # ---- the thread

    def _run(self) -> None:
        while True:
            task = self._next()
            if self.problem is None:
                self._guarded(task)
            if task is None:
                return
            if task.waiting is not None:
                task.waiting.set()

    def _guarded(self, task: _Task | None) -> None:
        """Do a task; what fails ends the recording and not the training."""
        try:
            self._do(task)
        except LogdriftError as error:
            self._fail(error)
        except OSError as error:
            reason = error.strerror or str(error)
            self._fail(CannotWrite(f"{self.session.folder}: {reason}"))
        except Exception as error:
            # A fault of logdrift: it may stop its own work, never the training.
            self._fail(LogdriftError(words_of(error)))

    def _do(self, task: _Task | None) -> None:
        """``None`` is the end."""
        if task is None:
            self._write()
            return
        if task.batch is not None:
            self._keep(task.batch)
        if task.write or self._is_due():
            self._write()

    def _next(self) -> _Task | None:
        """The next task; an empty one when a part has waited long enough."""
        try:
            return self._tasks.get(timeout=self.limits.part_seconds)
        except queue.Empty:
            return _Task(None)

    def _fail(self, error: LogdriftError) -> None:
        with self._lock:
            self.problem = error
        self._waiting.clear()
        warnings.warn(f"logdrift stopped recording: {error}", stacklevel=2)

    def _keep(self, batch: SeenBatch) -> None:
        with self._lock:
            self.backlog -= batch.tokens
        sequences = list(batch.sequences())
        if not any(self._waiting.values()):
            self._since = time.monotonic()
        self._remember(sequences)
        levels = coin_levels(self.rng, len(sequences))
        self.stream.seen += len(sequences)
        for level, sequence in zip(levels, sequences, strict=True):
            self.worst.offer(sequence)
            if level >= self.stream.level:
                self._waiting[level].append(sequence)

    def _remember(self, sequences: list[SeenSequence]) -> None:
        """For the numbers of the step, and of this one alone."""
        steps = {one.step for one in (*self.step_sequences[-1:], *sequences)}
        is_same_step = len(steps) == 1 and NO_STEP not in steps
        if is_same_step:
            self.step_sequences = [*self.step_sequences, *sequences]
        else:
            self.step_sequences = sequences

    def _is_due(self) -> bool:
        waiting = sum(_tokens(some) for some in self._waiting.values())
        if not waiting:
            return False
        is_old = time.monotonic() - self._since >= self.limits.part_seconds
        return is_old or waiting >= self.limits.part_tokens

    def _write(self) -> None:
        """Write what waits as a part for each level, and list it."""
        stream = self.stream
        if not any(self._waiting.values()):
            return
        self.session.make(stream.infos.values())
        self._raise_level()
        for level, sequences in sorted(self._waiting.items()):
            if level >= stream.level and sequences:
                stream.write(level, sequences)
        self._waiting.clear()
        if stream.level and self.worst.changed:
            self._write_worst()
        stream.list_parts()

    def _raise_level(self) -> None:
        """The sample of all processes is that of the highest level: this one follows
        the others, and rises where it has too much itself.
        """
        tokens: Counter[int] = Counter()
        for part in self.stream.parts:
            tokens[part.level] += part.tokens
        for level, sequences in self._waiting.items():
            tokens[level] += _tokens(sequences)
        highest = max(self.stream.level, self.session.highest_level())
        self.stream.level = level_for(tokens, self.limits.sample, highest)

    def _write_worst(self) -> None:
        self.worst_stream.infos = self.stream.infos
        self.worst_session.make(self.stream.infos.values())
        self.worst_stream.seen = self.stream.seen
        self.worst_stream.replace_parts(self.worst.sequences())
        self.worst.changed = False


def _tokens(sequences: list[SeenSequence]) -> int:
    return sum(map(len, sequences))


def default_folder(folder: Path) -> Path:
    """Where the worst sequences are, as a session of their own."""
    return folder / "worst"
