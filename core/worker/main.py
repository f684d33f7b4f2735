"""The worker: one backend in its own process and interpreter, asked by the supervisor,
writing parts to disk.

Uses the standard library, NumPy, safetensors and the engine, nothing else of logdrift's
environment.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.credentials import masked
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.processes import descendants, die_with_parent
from logdrift.core.protocol import CaptureJob, Channel, WorkerJob
from logdrift.core.session.layout import (
    PROMPTS,
    Part,
    capture_part,
    ids_digest,
    sequence_part,
)
from logdrift.core.session.scores import COLUMNS, part_tensors
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.writer import sequence_tensors, write_loaded, write_part
from logdrift.core.worker import questions
from logdrift.core.worker.base import (
    Backend,
    IdArray,
    MismatchError,
    Scores,
    Settings,
    check_ids,
)
from logdrift.core.worker.engine_watch import EngineWatch
from logdrift.core.worker.identity import identity
from logdrift.core.worker.loaded import loaded_of
from logdrift.core.worker.prepare import prepare
from logdrift.core.worker.tokens import TokenText, one_line


def main(descriptor: int) -> int:
    """Run one job. The supervisor reads the outcome from the channel; the exit code
    only backs it up.
    """
    die_with_parent()
    channel = Channel(socket.socket(fileno=descriptor))
    os.set_inheritable(descriptor, False)
    job: WorkerJob | None = None
    for message in channel.messages():
        job = WorkerJob.from_json(message)
        break
    if job is None:
        return 1
    threading.Thread(target=_end_with_supervisor, args=(channel,), daemon=True).start()
    try:
        if job.kind == "prepare":
            channel.send({"type": "prepared", **prepare(job)})
        elif job.kind == "question":
            channel.send({"type": "answer", "answer": _Captures(job, channel).answer()})
        else:
            _Captures(job, channel).run()
        channel.send({"type": "done"})
    except LogdriftError as error:
        channel.send(
            {
                "type": "failed",
                "error": str(error),
                "input": isinstance(error, InputError),
            }
        )
        return error.exit_code
    except MemoryError:
        channel.send({"type": "failed", "error": "out of memory", "input": False})
        return 1
    except Exception as error:
        traceback.print_exc()
        channel.send(
            {
                "type": "failed",
                "error": f"{type(error).__name__}: {one_line(error)}",
                "input": False,
            }
        )
        return 1
    return 0


def _end_with_supervisor(channel: Channel) -> None:
    """The supervisor sends nothing after the job: end of file means that it is gone,
    and so must we be, with all we started.
    """
    while channel.receive() is not None:
        pass
    end_everything()


def end_everything() -> None:
    """Kill every process below this one, its process group, and itself."""
    for pid in descendants(os.getpid()):
        _kill(pid)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


class _Captures:
    """The captures of one backend, part after part."""

    def __init__(self, job: WorkerJob, channel: Channel) -> None:
        self.job = job
        self.channel = channel
        self.folder = Path(job.folder)
        self.token = job.token or None
        self.spec = BackendSpec(**{**job.spec, "paths": tuple(job.spec["paths"])})
        self.sampling = SamplingSpec(**job.sampling)
        self.pieces: TokenText | None = None
        self.vocab_size: int | None = None
        self.watch = EngineWatch(self._lost)

    def run(self) -> None:
        backend = self._open()
        try:
            for capture in self.job.captures:
                self.channel.send({"type": "begun", "label": capture.label})
                for part in range(capture.first_part, self.job.parts):
                    self._part(backend, capture, part)
                self.channel.send({"type": "captured", "label": capture.label})
            self._stage("closing")
        finally:
            self.watch.stop()
            backend.close()

    def answer(self) -> dict[str, Any]:
        """Open the backend and put the job's question to it, with nothing captured."""
        backend = self._open()
        try:
            self._stage(f"asking for {self.job.question}")
            found = questions.answer(
                self.spec.engine,
                self.job.question,
                backend,
                self.job.arguments,
                Path(self.job.out),
            )
            self._stage("closing")
            return found
        finally:
            self.watch.stop()
            backend.close()

    def _stage(self, text: str) -> None:
        self.watch.sign()
        self.channel.send({"type": "stage", "backend": self.spec.name, "stage": text})

    def _open(self) -> Backend:
        engine = ENGINES[self.spec.engine]
        self._stage(f"starting {engine.name}")
        try:
            module = importlib.import_module(engine.module)
        except ImportError as error:
            raise LogdriftError(
                f"{engine.name} cannot be imported by {sys.executable}:"
                f" {one_line(error)}: try logdrift env check {engine.name}"
            ) from None
        backend: Backend = getattr(module, engine.attribute)(
            Settings(
                model=self.job.model,
                revision=self.job.revision,
                spec=self.spec,
                sampling=self.sampling,
                # all of the plan's, so that a resumed capture starts the same engine
                paths=self.spec.paths,
                top_k=self.job.top_k,
                max_length=self.job.max_length,
                max_prompts=self.job.part_sequences,
                tokenizer=self.job.tokenizer,
                trust_remote_code=self.job.trust_remote_code,
                asked=self.job.kind == "question",
            )
        )
        self._stage("loading the model")
        facts = backend.open()
        self.vocab_size = facts.vocab_size
        self.watch.engine_is_up()
        self.pieces = TokenText(
            self.job.tokenizer, self.job.tokenizer_revision, self.job.trust_remote_code
        )
        text = self._own_tokenizer()
        message = {
            "type": "facts",
            "backend": self.spec.name,
            "facts": self._identified(facts, text).to_json(),
        }
        if self.job.kind == "capture":
            message["loaded"] = self._keep_loaded(backend, text)
        self.channel.send(message)
        return backend

    def _own_tokenizer(self) -> TokenText | None:
        """The tokenizer beside the weights that were loaded. A checkpoint may come
        without one.
        """
        job = self.job
        if job.model == job.tokenizer and job.revision == job.tokenizer_revision:
            return self.pieces
        try:
            return TokenText(job.model, job.revision, job.trust_remote_code)
        except InputError:
            return None

    def _identified(self, facts: Facts, text: TokenText | None) -> Facts:
        """The engine's facts, and which files it was started with."""
        found = identity(self.job.model, self.job.revision, self.spec.options, text)
        facts = replace(
            facts,
            **{
                name: value
                for name, value in found.items()
                if getattr(facts, name) is None
            },
        )
        return replace(
            facts,
            environment=masked(facts.environment),
            extra=masked(facts.extra),
            config_overrides=masked(facts.config_overrides),
        )

    def _keep_loaded(self, backend: Backend, text: TokenText | None) -> dict[str, str]:
        """Write what was loaded, by name, into the session; its entry in the
        manifest.
        """
        return asdict(
            write_loaded(
                self.folder, self.spec.name, loaded_of(backend, text), self.token
            )
        )

    def _lost(self, processes: int) -> None:
        error = f"{self.spec.engine}: {processes} of its processes died"
        self.channel.send({"type": "failed", "error": error, "input": False})
        end_everything()

    def _progress(self, label: str) -> Any:
        def progress(sequences: int, tokens: int) -> None:
            self.watch.sign()
            self.channel.send(
                {
                    "type": "progress",
                    "label": label,
                    "sequences": sequences,
                    "tokens": tokens,
                }
            )

        return progress

    def _part(self, backend: Backend, capture: CaptureJob, index: int) -> None:
        first = index * self.job.part_sequences
        if capture.path == "decode":
            self._generate(backend, capture, index, first)
            return
        sequences, prompt_lengths = self._sequences(index)
        progress = self._progress(capture.label)
        if capture.batch == "alone":
            scores = self._one_by_one(
                backend, capture, sequences, prompt_lengths, first
            )
        elif capture.path == "prefill":
            scores = backend.score(sequences, progress)
        else:
            scores = backend.forced_decode(sequences, prompt_lengths, progress)
        self._write(capture, index, first, sequences, scores, None)

    def _one_by_one(
        self,
        backend: Backend,
        capture: CaptureJob,
        sequences: list[IdArray],
        prompt_lengths: list[int],
        first: int,
    ) -> list[Scores]:
        """Each sequence asked for when the one before is answered, so that no engine
        can batch them.
        """
        progress, scores = self._progress(capture.label), []
        for index, (ids, length) in enumerate(
            zip(sequences, prompt_lengths, strict=True)
        ):
            try:
                if capture.path == "prefill":
                    scores += backend.score([ids], progress)
                else:
                    scores += backend.forced_decode([ids], [length], progress)
            except LogdriftError as error:
                raise type(error)(
                    f"{capture.label}, sequence {first + index}: {error}"
                ) from error
        return scores

    def _generate(
        self, backend: Backend, capture: CaptureJob, index: int, first: int
    ) -> None:
        prompts = self._prompts(
            first, min(self.job.planned, first + self.job.part_sequences)
        )
        seeds = [self.sampling.seed + first + i for i in range(len(prompts))]
        generations = backend.generate(prompts, seeds, self._progress(capture.label))
        if len(generations) != len(prompts):
            raise MismatchError(
                f"{capture.label}: {len(generations)} completions for {len(prompts)}"
                " prompts"
            )
        for prompt, made in zip(prompts, generations, strict=True):
            if made.prompt_length != len(prompt) or not np.array_equal(
                made.token_ids[: len(prompt)], prompt
            ):
                raise MismatchError(
                    f"{capture.label}: the engine changed the ids of a prompt"
                )
        ids = [made.token_ids for made in generations]
        part = write_part(
            self.folder,
            sequence_part(index),
            sequence_tensors(
                ids, [len(p) for p in prompts], [made.finish for made in generations]
            ),
            first,
            len(ids),
            sum(map(len, ids)),
            self.token,
        )
        self._write(
            capture, index, first, ids, [made.scores for made in generations], part
        )

    def _write(
        self,
        capture: CaptureJob,
        index: int,
        first: int,
        sequences: Sequence[IdArray],
        scores: Sequence[Scores],
        sequences_part: Part | None,
    ) -> None:
        tensors = _part_tensors(capture.label, sequences, scores)
        tokens = sum(map(len, sequences))
        file = capture_part(capture.label, index)
        part = write_part(
            self.folder, file, tensors, first, len(sequences), tokens, self.token
        )
        part = replace(part, ids_digest=ids_digest(np.concatenate(sequences)))
        assert self.pieces is not None
        ids = np.unique(np.concatenate([*sequences, tensors["top_ids"].ravel()]))
        pieces = self.pieces.new_pieces(int(i) for i in ids)
        self.watch.sign()
        self.channel.send(
            {
                "type": "part",
                "label": capture.label,
                "part": asdict(part),
                "sequences_part": asdict(sequences_part) if sequences_part else None,
                "pieces": {
                    str(i): base64.b64encode(piece).decode()
                    for i, piece in pieces.items()
                },
            }
        )

    def _prompts(self, first: int, last: int) -> list[IdArray]:
        tensors = read_tensors(self.folder / PROMPTS)
        offsets = tensors["offsets"]
        prompts = [
            tensors["token_ids"][offsets[i] : offsets[i + 1]]
            for i in range(first, last)
        ]
        self._check(prompts, first)
        return prompts

    def _sequences(self, index: int) -> tuple[list[IdArray], list[int]]:
        tensors = read_tensors(self.folder / sequence_part(index))
        offsets, ids = tensors["offsets"], tensors["token_ids"]
        sequences = [ids[offsets[i] : offsets[i + 1]] for i in range(len(offsets) - 1)]
        self._check(sequences, index * self.job.part_sequences)
        return sequences, [int(n) for n in tensors["prompt_lengths"]]

    def _check(self, sequences: Sequence[IdArray], first: int) -> None:
        """Ids outside the vocabulary kill some engines, so no engine sees them."""
        for offset, ids in enumerate(sequences):
            if self.vocab_size is not None:
                check_ids(ids, self.vocab_size, f"sequence {first + offset}")


def _part_tensors(
    label: str, sequences: Sequence[IdArray], scores: Sequence[Scores]
) -> dict[str, Any]:
    """Join by position; anything that does not have one entry per token is an error,
    never cut to fit.
    """
    if len(scores) != len(sequences):
        raise MismatchError(
            f"{label}: scores of {len(scores)} sequences for {len(sequences)}"
        )
    for ids, score in zip(sequences, scores, strict=True):
        for name in COLUMNS:
            values = getattr(score, name)
            if values is not None and len(values) != len(ids):
                raise MismatchError(
                    f"{label}: {len(values)} entries of {name} for a sequence of"
                    f" {len(ids)} tokens"
                )
    tensors = part_tensors(scores, scores[0].top_ids.shape[1])
    if (tensors["logprob"] > 1e-3).any():
        # Rounding can lift a logprob a hair above 0, no more: 1e-3 is far beyond that
        # and far below any real fault.
        raise MismatchError(
            f"{label}: the engine returned a logprob above 0: these are no"
            " log-probabilities"
        )
    return tensors
