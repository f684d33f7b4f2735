"""The captures of one backend, part after part, written into the session."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
    sequence_part,
)
from logdrift.core.session.message_roles import ASSISTANT
from logdrift.core.session.scores import COLUMNS, FlagArray, part_tensors, part_versions
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.weight_versions import span_tokens
from logdrift.core.session.writer import sequence_tensors, write_loaded, write_part
from logdrift.core.worker.base import (
    ROUNDED_UP,
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
from logdrift.core.worker.retokenise import Retokeniser, Row
from logdrift.core.worker.running import RunningEngine
from logdrift.core.worker.tokens import TokenText


@dataclass(frozen=True)
class PartSequences:
    """The sequences of one part, given or just sampled. ``first`` is the number of the
    first one in the session; ``prompt_lengths`` says how many ids of each are its
    prompt.
    """

    index: int
    first: int
    sequences: list[IdArray]
    prompt_lengths: list[int]


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
        """Write what was loaded, by name, into the session, and return its entry for
        the manifest.
        """
        loaded = loaded_of(backend, text)
        entry = write_loaded(self.folder, self.spec.name, loaded, self.job.token)
        return asdict(entry)

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

    def _part(self, backend: Backend, capture: PendingCapture, index: int) -> None:
        if capture.path == "decode":
            self._generate(backend, capture, index)
            return
        part = self._given_part(index)
        scores = self._scores(backend, capture, part)
        self._write(capture, part, scores, None)

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

    def _generate(self, backend: Backend, capture: PendingCapture, index: int) -> None:
        """Sample the completions of a part, and write them and their scores."""
        first = self._first(index)
        first_seed = self.sampling.seed + first
        prompts = self._prompts(first)
        seeds = [first_seed + place for place in range(len(prompts))]
        progress = self._progress(capture.label)
        generations = cast(Decoder, backend).generate(prompts, seeds, progress)
        _check_completions(capture.label, prompts, generations)
        part = PartSequences(
            index=index,
            first=first,
            sequences=[generation.token_ids for generation in generations],
            prompt_lengths=[len(prompt) for prompt in prompts],
        )
        finishes = [generation.finish for generation in generations]
        tensors = sequence_tensors(
            part.sequences,
            part.prompt_lengths,
            finishes,
            roles=self._roles(part),
        )
        sequences_part = self._write_file(sequence_part(index), tensors, part)
        scores = [generation.scores for generation in generations]
        self._write(capture, part, scores, sequences_part)

    def _write(
        self,
        capture: PendingCapture,
        part: PartSequences,
        scores: Sequence[Scores],
        sequences_part: Part | None,
    ) -> None:
        """Write the scores of a part, and send its entry and the pieces of its ids.

        ``sequences_part`` is the file of its sequences, where they were sampled here.
        """
        tensors = tensors_of(capture.label, part.sequences, scores)
        file = capture_part(capture.label, part.index)
        written = self._write_file(file, tensors, part)
        ids = np.concatenate(part.sequences)
        alternatives = tensors["top_ids"].ravel()
        all_ids = np.concatenate([ids, alternatives])
        entry = replace(
            written, ids_digest=ids_digest(ids), versions=part_versions(scores)
        )
        message: dict[str, Any] = {
            "type": "part",
            "label": capture.label,
            "part": asdict(entry),
            "sequences_part": None,
            "retokenised": [],
            "pieces": self._new_pieces(all_ids),
        }
        if sequences_part is not None:
            message["sequences_part"] = asdict(sequences_part)
            message["retokenised"] = self._retokenised(part)
        self.watch.sign()
        self.channel.send(message)

    def _write_file(
        self, file: str, tensors: dict[str, Any], part: PartSequences
    ) -> Part:
        tokens = sum(len(ids) for ids in part.sequences)
        return write_part(
            self.folder,
            file,
            tensors,
            part.first,
            len(part.sequences),
            tokens,
            self.job.token,
        )

    def _new_pieces(self, ids: IdArray) -> dict[str, str]:
        """The bytes, in base64, of those ids that were not sent before."""
        assert self.engine.pieces is not None
        distinct = [int(token_id) for token_id in np.unique(ids)]
        new_pieces = self.engine.pieces.new_pieces(distinct)
        encoded = {}
        for token_id, piece in new_pieces.items():
            encoded[str(token_id)] = base64.b64encode(piece).decode()
        return encoded

    def _retokenised(self, part: PartSequences) -> list[Row]:
        """What becomes of the part's ids, where this interpreter has a tokenizer."""
        source = self.engine.pieces
        if not isinstance(source, TokenText):
            return [None] * len(part.sequences)
        retokeniser = Retokeniser(source.tokenizer)
        pairs = zip(part.sequences, part.prompt_lengths, strict=True)
        return [retokeniser.row(ids.tolist(), length) for ids, length in pairs]

    def _roles(self, part: PartSequences) -> list[FlagArray | None] | None:
        """The roles of the prompts, and the assistant's of what was sampled; None
        where none are known.
        """
        tensors = read_tensors(self.folder / PROMPTS)
        of_prompts = tensors.get("roles")
        if of_prompts is None:
            return None
        offsets = tensors["offsets"]
        roles: list[FlagArray | None] = []
        for number, ids in enumerate(part.sequences, part.first):
            own = of_prompts[offsets[number] : offsets[number + 1]]
            if not own.any():
                roles.append(None)
                continue
            whole = np.full(len(ids), ASSISTANT, np.uint8)
            whole[: len(own)] = own
            roles.append(whole)
        return roles

    def _first(self, index: int) -> int:
        """The number of the first sequence of a part."""
        return index * self.job.start.part_sequences

    def _prompts(self, first: int) -> list[IdArray]:
        """The prompts of the part that begins with sequence ``first``."""
        tensors = read_tensors(self.folder / PROMPTS)
        end_of_part = first + self.job.start.part_sequences
        stop = min(self.job.planned, end_of_part)
        rows = _rows(tensors)
        prompts = [rows[number] for number in range(first, stop)]
        self._check(prompts, first)
        return prompts

    def _given_part(self, index: int) -> PartSequences:
        file, first = self._file_of(index)
        tensors = read_tensors(self.folder / file)
        part = PartSequences(
            index=index,
            first=first,
            sequences=_rows(tensors),
            prompt_lengths=tensors["prompt_lengths"].tolist(),
        )
        self._check(part.sequences, part.first)
        return part

    def _file_of(self, index: int) -> tuple[str, int]:
        """The file of a part of the sequences and the number of its first one: as the
        session lists it, else as this worker wrote it.
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


def _check_completions(
    label: str, prompts: Sequence[IdArray], generations: Sequence[Generation]
) -> None:
    """Raise MismatchError unless there is one completion for each prompt, beginning
    with its ids.
    """
    completions = len(generations)
    if completions != len(prompts):
        raise MismatchError(
            f"{label}: {completions} completions for {len(prompts)} prompts"
        )
    for prompt, generation in zip(prompts, generations, strict=True):
        prompt_length = len(prompt)
        first_ids = generation.token_ids[:prompt_length]
        same_length = generation.prompt_length == prompt_length
        if not same_length or not np.array_equal(first_ids, prompt):
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
        scorer = cast(Scorer, backend)
        return scorer.score(sequences, progress)
    decoder = cast(ForcedDecoder, backend)
    return decoder.forced_decode(sequences, prompt_lengths, progress)


def tensors_of(
    label: str, sequences: Sequence[IdArray], scores: Sequence[Scores]
) -> dict[str, Any]:
    """The tensors of a part, joined by position. Anything that does not have one entry
    per token raises MismatchError; nothing is cut to fit.
    """
    if len(scores) != len(sequences):
        raise MismatchError(
            f"{label}: scores of {len(scores)} sequences for {len(sequences)}"
        )
    for ids, score in zip(sequences, scores, strict=True):
        _check_columns(label, score, len(ids))
    _, top_k = scores[0].top_ids.shape
    tensors = part_tensors(scores, top_k)
    is_above_0 = tensors["logprob"] > ROUNDED_UP
    if is_above_0.any():
        raise MismatchError(
            f"{label}: the engine returned a logprob above 0: these are no"
            " log-probabilities"
        )
    return tensors


def _check_columns(label: str, scores: Scores, length: int) -> None:
    """Raise MismatchError unless every column has one entry for each of ``length``
    tokens.
    """
    for name in COLUMNS:
        values = getattr(scores, name)
        if values is None or len(values) == length:
            continue
        raise MismatchError(
            f"{label}: {len(values)} entries of {name} for a sequence of {length}"
            " tokens"
        )
    if scores.versions is not None and span_tokens(scores.versions) != length:
        raise MismatchError(
            f"{label}: versions of {span_tokens(scores.versions)} tokens for a sequence"
            f" of {length}"
        )
