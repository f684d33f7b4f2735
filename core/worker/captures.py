"""The captures of one backend, written into the session as their parts are finished."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from logdrift.core.errors import LogdriftError
from logdrift.core.protocol import (
    CaptureJob,
    Channel,
    PendingCapture,
)
from logdrift.core.session.layout import PROMPTS, sequence_part
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.writer import write_loaded
from logdrift.core.worker.base import (
    Answer,
    Backend,
    Decoder,
    ForcedDecoder,
    FullBatches,
    Generation,
    IdArray,
    Progress,
    Scorer,
    Scores,
    check_ids,
    tokens_of,
)
from logdrift.core.worker.behind import Behind
from logdrift.core.worker.loaded import loaded_of
from logdrift.core.worker.open_parts import OpenParts, PartSequences
from logdrift.core.worker.part_writer import PartWriter
from logdrift.core.worker.running import RunningEngine, fills_batches
from logdrift.core.worker.tokens import TokenText


class Captures:
    """The captures of one backend: in full batches, or part after part."""

    def __init__(self, job: CaptureJob, channel: Channel) -> None:
        self.job = job
        self.channel = channel
        self.folder = Path(job.folder)
        self.engine = RunningEngine(job.start, channel)
        self.writer = PartWriter(job, channel, self.engine)
        self.watch = self.engine.watch
        self.spec = job.start.spec
        self.sampling = job.start.sampling

    def run(self) -> None:
        with self.engine.opened(asked=False, keep_loaded=self._keep_loaded) as backend:
            for capture in self.job.captures:
                self.channel.send({"type": "begun", "label": capture.label})
                self._capture(backend, capture)
                self.channel.send({"type": "captured", "label": capture.label})
            self.engine.stage("closing")

    def _capture(self, backend: Backend, capture: PendingCapture) -> None:
        """Make the parts of a capture that are missing."""
        in_company = capture.batch == "together"
        if in_company and fills_batches(backend, self.spec, capture.path):
            self._fill_batches(cast(FullBatches, backend), capture)
            return
        for part in self._missing(capture):
            self._part(backend, capture, part)

    def _keep_loaded(self, backend: Backend, text: TokenText | None) -> dict[str, str]:
        """Write what was loaded, by name, into the session, and return its entry for
        the manifest.
        """
        loaded = loaded_of(backend, text)
        entry = write_loaded(self.folder, self.spec.name, loaded, self.job.token)
        return entry._asdict()

    def _progress(self, label: str) -> Progress:
        def progress(sequences: int, tokens: int) -> None:
            message = {
                "type": "progress",
                "label": label,
                "sequences": sequences,
                "tokens": tokens,
            }
            self.watch.sign()
            self.channel.send(message)

        return progress

    # -- full batches

    def _fill_batches(self, engine: FullBatches, capture: PendingCapture) -> None:
        """Let the engine take sequences from as many parts as it has room for. Each
        part is written once all of it is answered, while the engine goes on.
        """
        progress = self._progress(capture.label)
        parts = OpenParts(self._missing(capture), self.sampling.seed)
        with Behind() as writing:
            for asked, answer in engine.stream(capture.path, parts.take):
                progress(1, tokens_of(answer))
                finished = parts.answered(asked, answer)
                if finished is not None:
                    writing.do(self._write(capture, *finished))
        parts.check_empty()

    def _write(
        self, capture: PendingCapture, part: PartSequences, answers: list[Answer]
    ) -> Callable[[], None]:
        """What writes a finished part."""
        if capture.path == "decode":
            generations = cast(list[Generation], answers)
            return partial(self.writer.sampled, capture.label, part, generations)
        scores = cast(list[Scores], answers)
        return partial(self.writer.scored, capture.label, part, scores)

    # -- part after part

    def _part(
        self, backend: Backend, capture: PendingCapture, part: PartSequences
    ) -> None:
        """Sample or score a part by itself, and write it."""
        answers: Sequence[Answer]
        if capture.path == "decode":
            answers = self._generations(backend, capture, part)
        else:
            answers = self._scores(backend, capture, part)
        self._write(capture, part, list(answers))()

    def _generations(
        self, backend: Backend, capture: PendingCapture, part: PartSequences
    ) -> list[Generation]:
        first_seed = self.sampling.seed + part.first
        seeds = [first_seed + place for place in range(len(part.sequences))]
        progress = self._progress(capture.label)
        return cast(Decoder, backend).generate(part.sequences, seeds, progress)

    def _scores(
        self, backend: Backend, capture: PendingCapture, part: PartSequences
    ) -> list[Scores]:
        """Each batch asked for when the one before is answered, so that no engine can
        join them. The parts of an import are longer than a batch.
        """
        progress = self._progress(capture.label)
        size = self._batch_size(capture)
        scores = []
        for place in range(0, len(part.sequences), size):
            batch = slice(place, place + size)
            ids = part.sequences[batch]
            prompt_lengths = part.prompt_lengths[batch]
            try:
                scores += _scored(backend, capture.path, ids, prompt_lengths, progress)
            except LogdriftError as error:
                if 1 < size >= len(part.sequences):
                    raise
                where = _batch_words(capture, part, place, size)
                raise error.within(where) from None
        return scores

    def _batch_size(self, capture: PendingCapture) -> int:
        """Sequences that the engine is given at once."""
        if capture.batch == "alone":
            return 1
        return self.job.start.part_sequences

    # -- what is asked

    def _missing(self, capture: PendingCapture) -> Iterator[PartSequences]:
        """The parts that a capture lacks, each read when it is asked for: prompts where
        they are sampled from, else whole sequences.
        """
        for index in range(capture.first_part, self.job.parts):
            file, first = self._file_of(index)
            if first in capture.ahead:
                continue
            if capture.path == "decode":
                yield self._prompts(index)
            else:
                yield self._given_part(index, file, first)

    def _prompts(self, index: int) -> PartSequences:
        """The prompts of a part."""
        first = self._first(index)
        stop = min(self.job.planned, self._first(index + 1))
        prompts = self._all_prompts[first:stop]
        self._check(prompts, first)
        return PartSequences(
            index=index,
            first=first,
            sequences=prompts,
            prompt_lengths=[len(prompt) for prompt in prompts],
        )

    @cached_property
    def _all_prompts(self) -> list[IdArray]:
        return _rows(read_tensors(self.folder / PROMPTS))

    def _given_part(self, index: int, file: str, first: int) -> PartSequences:
        tensors = read_tensors(self.folder / file)
        part = PartSequences(
            index=index,
            first=first,
            sequences=_rows(tensors),
            prompt_lengths=tensors["prompt_lengths"].tolist(),
        )
        self._check(part.sequences, part.first)
        return part

    def _first(self, index: int) -> int:
        """The number of the first sequence of a part."""
        return index * self.job.start.part_sequences

    def _file_of(self, index: int) -> tuple[str, int]:
        """The file of a part of the sequences and the number of its first one: as the
        session lists it, else as this worker writes it.
        """
        given = self.job.given
        if index < len(given):
            part = given[index]
            return part.file, part.first_sequence
        return sequence_part(index), self._first(index)

    def _check(self, sequences: Sequence[IdArray], first: int) -> None:
        """Ids outside the vocabulary kill some engines, so no engine sees them."""
        vocab_size = self.engine.vocab_size
        if vocab_size is None:
            return
        for number, ids in enumerate(sequences, first):
            check_ids(ids, vocab_size, f"sequence {number}")


def _batch_words(
    capture: PendingCapture, part: PartSequences, place: int, size: int
) -> str:
    """Where an error belongs, in words: the batch from ``place`` of the part on."""
    number = part.first + place
    if size == 1:
        return f"{capture.label}, sequence {number}"
    return f"{capture.label}, batch of sequence {number} and those behind it"


def _rows(tensors: Mapping[str, Any]) -> list[IdArray]:
    """The rows of ids that a file holds end to end: row i begins at its offset i."""
    offsets = tensors["offsets"]
    ids = tensors["token_ids"]
    return [ids[start:stop] for start, stop in itertools.pairwise(offsets)]


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
        scorer = cast(Scorer, backend)
        return scorer.score(sequences, progress)
    decoder = cast(ForcedDecoder, backend)
    return decoder.forced_decode(sequences, prompt_lengths, progress)
