"""The captures of one backend, part after part, written into the session."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from logdrift.core.errors import LogdriftError
from logdrift.core.protocol import (
    CaptureJob,
    Channel,
    PendingCapture,
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
from logdrift.core.worker.base import (
    Backend,
    Decoder,
    ForcedDecoder,
    Generation,
    IdArray,
    MismatchError,
    Progress,
    Scorer,
    Scores,
    check_ids,
)
from logdrift.core.worker.loaded import loaded_of
from logdrift.core.worker.running import RunningEngine
from logdrift.core.worker.tokens import TokenText


class Captures:
    """The captures of one backend, part after part."""

    def __init__(self, job: CaptureJob, channel: Channel) -> None:
        self.job = job
        self.channel = channel
        self.folder = Path(job.folder)
        self.engine = RunningEngine(job.start, channel)
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
        progress = self._progress(capture.label)
        scores = []
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
        _check_completions(capture.label, prompts, generations)
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
        tensors = tensors_of(capture.label, sequences, scores)
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
        offsets = tensors["offsets"]
        ids = tensors["token_ids"]
        sequences = [ids[offsets[i] : offsets[i + 1]] for i in range(len(offsets) - 1)]
        self._check(sequences, index * self.job.start.part_sequences)
        return sequences, [int(n) for n in tensors["prompt_lengths"]]

    def _check(self, sequences: Sequence[IdArray], first: int) -> None:
        """Ids outside the vocabulary kill some engines, so no engine sees them."""
        for offset, ids in enumerate(sequences):
            if self.engine.vocab_size is not None:
                check_ids(ids, self.engine.vocab_size, f"sequence {first + offset}")


def _check_completions(
    label: str, prompts: Sequence[IdArray], generations: Sequence[Generation]
) -> None:
    """Raises MismatchError unless there is one for each prompt, which it begins
    with.
    """
    if len(generations) != len(prompts):
        raise MismatchError(
            f"{label}: {len(generations)} completions for {len(prompts)} prompts"
        )
    for prompt, made in zip(prompts, generations, strict=True):
        begins_with_it = np.array_equal(made.token_ids[: len(prompt)], prompt)
        if made.prompt_length != len(prompt) or not begins_with_it:
            raise MismatchError(f"{label}: the engine changed the ids of a prompt")


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


def tensors_of(
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
