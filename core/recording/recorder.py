"""What a trainer calls: `record`, and the `TrainingRecorder` that it gives."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.recording.arrays import Array, copied, copied_rows
from logdrift.core.recording.batch import SeenBatch
from logdrift.core.recording.folder import SessionFolder
from logdrift.core.recording.numbers import OURS, metrics_of
from logdrift.core.recording.parts import StreamFiles, free_name
from logdrift.core.recording.stream import Limits, RecordingThread, default_folder
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.importers.captures import captures_of

_VERSIONS = "versions"
_WORST = (
    "the sequences with the largest gaps of a training: their means are not those of"
    " the training, which the session above has"
)


def record(
    folder: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = "",
    rank: int | None = None,
    max_tokens: int = 200_000,
    worst_tokens: int = 50_000,
    part_tokens: int = 32_768,
    part_seconds: float = 30.0,
    facts: Sequence[str] = (),
    seed: int | None = None,
) -> TrainingRecorder:
    """Record a training run into the session ``folder``, from one process of it.

    At most ``max_tokens`` tokens of each process are kept, a uniform sample once there
    are more, and ``worst_tokens`` of the worst sequences in ``folder/worst``.
    ``rank`` is this process among those that record (default: $RANK, or 0). ``model``
    is its name or folder; a folder gives the text of ids. ``facts`` are as of
    ``logdrift import --fact``. A part is written once it has ``part_tokens`` tokens or
    is ``part_seconds`` old: a process that is killed loses at most that.

    Raises InputError where something else is in ``folder``.
    """
    path = Path(folder)
    name = os.fspath(model)
    session = SessionFolder(path, name, "recorded in training")
    session.check()
    worst = default_folder(path)
    worst_session = SessionFolder(worst, name, "worst of a training", (_WORST,))
    number = rank
    if number is None:
        number = _rank()
    stream = free_name(path, number)
    entropy = seed
    if entropy is None:
        entropy = int.from_bytes(os.urandom(8), "little")
    thread = RecordingThread(
        session=session,
        worst_session=worst_session,
        stream=StreamFiles(path, stream),
        worst_stream=StreamFiles(worst, stream),
        limits=Limits(
            sample=max_tokens,
            worst=worst_tokens,
            part_tokens=part_tokens,
            part_seconds=part_seconds,
        ),
        rng=np.random.default_rng([entropy, number]),
    )
    return TrainingRecorder(thread, facts)


def _rank() -> int:
    """This process's number as torchrun, Accelerate and others set it; 0 where none
    did.
    """
    text = os.environ.get("RANK", "")
    if text.isdecimal():
        return int(text)
    return 0


class TrainingRecorder:
    """Takes what a step saw. Each call copies its arrays and returns; a thread writes.

    A full disk or a folder that is gone stops the recording with a warning, never the
    training; `problem` is then the error. A with statement closes it, and so does the
    end of the program.
    """

    def __init__(self, thread: RecordingThread, facts: Sequence[str]) -> None:
        self._thread = thread
        self._facts = facts
        self._closed = False
        atexit.register(self.close)

    def __enter__(self) -> TrainingRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def problem(self) -> LogdriftError | None:
        """Why recording stopped; None while it goes on."""
        return self._thread.problem

    def add(
        self,
        prompt_ids: Any,
        completion_ids: Any,
        logprobs: Mapping[str, Any],
        *,
        prompt_mask: Any = None,
        completion_mask: Any = None,
        mask: Any = None,
        step: int | None = None,
        versions: Any = None,
        rewards: Any = None,
    ) -> None:
        """Add a batch of B rows: tensors, arrays or lists.

        ``prompt_ids`` [B, P] and ``completion_ids`` [B, R] with the tokens that are no
        padding by ``prompt_mask`` and ``completion_mask`` (default: all). ``logprobs``
        are [B, R] of each side by its name, nats, entry i of completion token i; the
        first two are compared, as trainer and rollout. ``mask`` [B, R] has 0 where a
        token does not count (default: all that are there). ``versions`` are the weights
        that sampled, one for all or a list; ``rewards`` [B].

        Raises InputError where shapes do not fit or the sides are others than before.
        """
        batch = SeenBatch(
            prompts=copied_rows(prompt_ids, np.int32, "prompt_ids"),
            prompt_masks=_rows(prompt_mask, "prompt_mask"),
            completions=copied_rows(completion_ids, np.int32, "completion_ids"),
            completion_masks=_rows(completion_mask, "completion_mask"),
            counts=_rows(mask, "mask"),
            logprobs=_logprobs(logprobs),
            step=NO_STEP if step is None else int(step),
            rewards=_rewards(rewards),
            versions=(),
        )
        batch = _with_versions(batch, versions)
        batch.check()
        self._know(batch.logprobs)
        self._thread.put(batch)

    def metrics(self, framework: str = OURS) -> dict[str, float]:
        """The numbers of the latest step of this process, as a plain dict for W&B,
        TensorBoard or trackio.

        ``framework`` spells them as verl, NeMo-RL, TRL, prime-rl, SkyRL, slime,
        OpenRLHF or torchtitan does. It waits for the thread: a few milliseconds.
        """
        self._thread.wait(write=False)
        return metrics_of(self._thread.step_sequences, framework)

    def flush(self) -> None:
        """Wait until everything is on the disk."""
        self._thread.wait(write=True)

    def close(self) -> None:
        """Write what is left; what is added later is left out."""
        if self._closed:
            return
        self._closed = True
        self._thread.close()
        atexit.unregister(self.close)

    def _know(self, logprobs: Mapping[str, Any]) -> None:
        """The sides become captures with the first batch. Raises InputError."""
        if self._closed:
            raise InputError("the recorder is closed")
        stream = self._thread.stream
        if not stream.infos:
            stream.infos = captures_of(logprobs, {}, self._facts)
        if list(stream.infos) != list(logprobs):
            before = ", ".join(stream.infos)
            raise InputError(
                f"logprobs are of {', '.join(logprobs)}, before of {before}",
                remedy="give the same sides in each call",
            )


def _rows(value: Any, name: str) -> Sequence[Array] | None:
    if value is None:
        return None
    return copied_rows(value, np.uint8, name)


def _logprobs(logprobs: Mapping[str, Any]) -> dict[str, Sequence[Array]]:
    if not logprobs:
        raise InputError(
            "logprobs is empty", remedy='give {"trainer": ..., "rollout": ...}'
        )
    rows = {}
    for side, values in logprobs.items():
        rows[side] = copied_rows(values, np.float32, f"logprobs[{side!r}]")
    return rows


def _rewards(rewards: Any) -> Array | None:
    if rewards is None:
        return None
    return copied(rewards, np.float32, "rewards").reshape(-1)


def _with_versions(batch: SeenBatch, versions: Any) -> SeenBatch:
    """One version for each row. Raises InputError where there are others."""
    count = len(batch)
    if isinstance(versions, list | tuple):
        names = [None if one is None else str(one) for one in versions]
    else:
        names = [None if versions is None else str(versions)] * count
    for name, values in ((_VERSIONS, names), ("rewards", batch.rewards)):
        if values is not None and len(values) != count:
            raise InputError(f"{name} has {len(values)} entries for {count} rows")
    return replace(batch, versions=names)
