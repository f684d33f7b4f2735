"""The worker: one backend in its own process and interpreter, asked by the supervisor,
writing parts to disk.

Uses the standard library, NumPy, safetensors and the engine, nothing else of logdrift's
environment.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from logdrift.core.credentials import masked
from logdrift.core.engines import ENGINES
from logdrift.core.engines.about import resolve
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.processes import descendants, die_with_parent
from logdrift.core.protocol import (
    BackendStart,
    CaptureJob,
    Channel,
    Job,
    PendingCapture,
    PrepareJob,
    QuestionJob,
    failed_message,
    job_of,
)
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
    BackendSettings,
    Decoder,
    ForcedDecoder,
    IdArray,
    MismatchError,
    Progress,
    Scorer,
    Scores,
    check_ids,
)
from logdrift.core.worker.engine_watch import EngineWatch
from logdrift.core.worker.identity import identity
from logdrift.core.worker.loaded import loaded_of
from logdrift.core.worker.one_line import one_line
from logdrift.core.worker.prepare import prepare
from logdrift.core.worker.tokens import TokenText


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
    elif isinstance(job, QuestionJob):
        channel.send({"type": "answer", "answer": _answer(job, channel)})
    else:
        _Captures(job, channel).run()


def _answer(job: QuestionJob, channel: Channel) -> dict[str, Any]:
    """Open the backend and put the job's question to it, with nothing captured."""
    engine = _RunningEngine(job.start, channel)
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


def end_everything() -> None:
    """Kill every process below this one, its process group, and itself."""
    for pid in descendants(os.getpid()):
        _kill(pid)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


KeepLoaded = Callable[[Backend, TokenText | None], dict[str, str]]
"""Writes down what was loaded; gives its entry in the manifest."""


class _RunningEngine:
    """One backend in this process: opened, watched, and closed."""

    def __init__(self, start: BackendStart, channel: Channel) -> None:
        self.start = start
        self.spec = start.spec
        self.channel = channel
        self.pieces: TokenText | None = None
        self.vocab_size: int | None = None
        self.watch = EngineWatch(self._lost)

    @contextlib.contextmanager
    def opened(
        self, *, asked: bool, keep_loaded: KeepLoaded | None = None
    ) -> Iterator[Backend]:
        """The backend with its model loaded; its facts are sent."""
        backend = self._backend(asked)
        self.stage("loading the model")
        facts = backend.open()
        try:
            self._tell_facts(backend, facts, keep_loaded)
            yield backend
        finally:
            self.watch.stop()
            backend.close()

    def stage(self, text: str) -> None:
        self.watch.sign()
        self.channel.send({"type": "stage", "backend": self.spec.name, "stage": text})

    def _backend(self, asked: bool) -> Backend:
        engine = ENGINES[self.spec.engine]
        self.stage(f"starting {engine.name}")
        try:
            backend_class = resolve(engine.backend)
        except ImportError as error:
            raise LogdriftError(
                f"{engine.name} cannot be imported by {sys.executable}:"
                f" {one_line(error)}",
                remedy=f"try logdrift env check {engine.name}",
            ) from None
        start = self.start
        backend: Backend = backend_class(
            BackendSettings(
                model=start.model.name,
                revision=start.model.revision,
                spec=self.spec,
                sampling=start.sampling,
                # all of the plan's, so that a resumed capture starts the same engine
                paths=self.spec.paths,
                top_k=start.top_k,
                max_length=start.max_length,
                max_prompts=start.part_sequences,
                tokenizer=start.tokenizer.name,
                trust_remote_code=start.trust_remote_code,
                asked=asked,
            )
        )
        return backend

    def _tell_facts(
        self, backend: Backend, facts: Facts, keep_loaded: KeepLoaded | None
    ) -> None:
        self.vocab_size = facts.vocab_size
        self.watch.engine_is_up()
        tokenizer = self.start.tokenizer
        self.pieces = TokenText(
            tokenizer.name, tokenizer.revision, self.start.trust_remote_code
        )
        text = self._own_tokenizer()
        message: dict[str, Any] = {
            "type": "facts",
            "backend": self.spec.name,
            "facts": self._identified(facts, text).to_json(),
        }
        if keep_loaded is not None:
            message["loaded"] = keep_loaded(backend, text)
        self.channel.send(message)

    def _own_tokenizer(self) -> TokenText | None:
        """The tokenizer beside the weights that were loaded. A checkpoint may come
        without one.
        """
        model = self.start.model
        if model == self.start.tokenizer:
            return self.pieces
        try:
            return TokenText(model.name, model.revision, self.start.trust_remote_code)
        except InputError:
            return None

    def _identified(self, facts: Facts, text: TokenText | None) -> Facts:
        """The engine's facts, and which files it was started with."""
        model = self.start.model
        found = identity(
            model=model.name,
            revision=model.revision,
            options=self.spec.options,
            text=text,
            loading=ENGINES[self.spec.engine].loading,
        )
        unknown = {
            name: value for name, value in found.items() if getattr(facts, name) is None
        }
        facts = replace(facts, **unknown)
        return replace(
            facts,
            environment=masked(facts.environment),
            extra=masked(facts.extra),
            config_overrides=masked(facts.config_overrides),
        )

    def _lost(self, processes: int) -> None:
        words = f"{self.spec.engine}: {processes} of its processes died"
        self.channel.send(failed_message(LogdriftError(words)))
        end_everything()


class _Captures:
    """The captures of one backend, part after part."""

    def __init__(self, job: CaptureJob, channel: Channel) -> None:
        self.job = job
        self.channel = channel
        self.folder = Path(job.folder)
        self.engine = _RunningEngine(job.start, channel)
        self.watch = self.engine.watch
        self.spec = job.start.spec
        self.sampling = job.start.sampling

    def run(self) -> None:
        with self.engine.opened(asked=False, keep_loaded=self._keep_loaded) as backend:
            for capture in self.job.captures:
                self.channel.send({"type": "begun", "label": capture.label})
                for part in range(capture.first_part, self.job.parts):
                    self._part(backend, capture, part)
                self.channel.send({"type": "captured", "label": capture.label})
            self.engine.stage("closing")

    def _keep_loaded(self, backend: Backend, text: TokenText | None) -> dict[str, str]:
        """Write what was loaded, by name, into the session; its entry in the
        manifest.
        """
        loaded = loaded_of(backend, text)
        return asdict(write_loaded(self.folder, self.spec.name, loaded, self.job.token))

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

    def _part(self, backend: Backend, capture: PendingCapture, index: int) -> None:
        first = index * self.job.start.part_sequences
        if capture.path == "decode":
            self._generate(backend, capture, index, first)
            return
        sequences, prompt_lengths = self._sequences(index)
        if capture.batch == "alone":
            scores = self._one_by_one(
                backend, capture, sequences, prompt_lengths, first
            )
        else:
            progress = self._progress(capture.label)
            scores = _scored(backend, capture.path, sequences, prompt_lengths, progress)
        self._write(capture, index, first, sequences, scores, None)

    def _one_by_one(
        self,
        backend: Backend,
        capture: PendingCapture,
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
                scores += _scored(backend, capture.path, [ids], [length], progress)
            except LogdriftError as error:
                where = f"{capture.label}, sequence {first + index}"
                raise error.within(where) from None
        return scores

    def _generate(
        self, backend: Backend, capture: PendingCapture, index: int, first: int
    ) -> None:
        prompts = self._prompts(
            first, min(self.job.planned, first + self.job.start.part_sequences)
        )
        seeds = [self.sampling.seed + first + i for i in range(len(prompts))]
        sampler = cast(Decoder, backend)
        generations = sampler.generate(prompts, seeds, self._progress(capture.label))
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
            self.job.token,
        )
        self._write(
            capture, index, first, ids, [made.scores for made in generations], part
        )

    def _write(
        self,
        capture: PendingCapture,
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
            self.folder, file, tensors, first, len(sequences), tokens, self.job.token
        )
        part = replace(part, ids_digest=ids_digest(np.concatenate(sequences)))
        assert self.engine.pieces is not None
        ids = np.unique(np.concatenate([*sequences, tensors["top_ids"].ravel()]))
        pieces = self.engine.pieces.new_pieces(int(i) for i in ids)
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
        self._check(sequences, index * self.job.start.part_sequences)
        return sequences, [int(n) for n in tensors["prompt_lengths"]]

    def _check(self, sequences: Sequence[IdArray], first: int) -> None:
        """Ids outside the vocabulary kill some engines, so no engine sees them."""
        for offset, ids in enumerate(sequences):
            if self.engine.vocab_size is not None:
                check_ids(ids, self.engine.vocab_size, f"sequence {first + offset}")


def _scored(
    backend: Backend,
    path: str,
    sequences: Sequence[IdArray],
    prompt_lengths: Sequence[int],
    progress: Progress,
) -> list[Scores]:
    """Scores of given ids along a path, which the plan has checked that the engine
    has.
    """
    if path == "prefill":
        return cast(Scorer, backend).score(sequences, progress)
    decoder = cast(ForcedDecoder, backend)
    return decoder.forced_decode(sequences, prompt_lengths, progress)


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
