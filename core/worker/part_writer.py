"""Parts of captures as they are written: scores and sequences as tensors, checked, and
the message that tells the supervisor of each.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.protocol import CaptureJob, Channel
from logdrift.core.session.layout import PROMPTS, Part, capture_part, sequence_part
from logdrift.core.session.message_roles import ASSISTANT
from logdrift.core.session.scores import COLUMNS, FlagArray, part_tensors, part_versions
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.weight_versions import span_tokens
from logdrift.core.session.writer import sequence_tensors, write_part
from logdrift.core.worker.base import (
    ROUNDED_UP,
    Generation,
    IdArray,
    MismatchError,
    Scores,
)
from logdrift.core.worker.open_parts import PartSequences
from logdrift.core.worker.retokenise import Retokeniser, Row
from logdrift.core.worker.running import RunningEngine
from logdrift.core.worker.tokens import TokenText


class PartWriter:
    """Writes the parts of one backend's captures below the session's folder."""

    def __init__(
        self, job: CaptureJob, channel: Channel, engine: RunningEngine
    ) -> None:
        self.job = job
        self.channel = channel
        self.engine = engine
        self.folder = Path(job.folder)

    def sampled(
        self, label: str, prompts: PartSequences, generations: Sequence[Generation]
    ) -> None:
        """Write the completions of a part of prompts, and their scores. Raises
        MismatchError where they do not go on from these prompts.
        """
        check_completions(label, prompts.sequences, generations)
        part = replace(
            prompts, sequences=[generation.token_ids for generation in generations]
        )
        finishes = [generation.finish for generation in generations]
        tensors = sequence_tensors(
            part.sequences,
            part.prompt_lengths,
            finishes,
            roles=self._roles(part),
        )
        written = self._write_file(sequence_part(part.index), tensors, part)
        scores = [generation.scores for generation in generations]
        self.scored(label, part, scores, written)

    def scored(
        self,
        label: str,
        part: PartSequences,
        scores: Sequence[Scores],
        sequences_part: Part | None = None,
    ) -> None:
        """Write the scores of a part, and send its entry and the pieces of its ids.

        ``sequences_part`` is the file of its sequences, where they were sampled here.
        """
        tensors = tensors_of(label, part.sequences, scores)
        file = capture_part(label, part.index)
        written = self._write_file(file, tensors, part)
        ids = np.concatenate(part.sequences)
        alternatives = tensors["top_ids"].ravel()
        all_ids = np.concatenate([ids, alternatives])
        entry = written._replace(
            ids_digest=ids_digest(ids), versions=part_versions(scores)
        )
        message: dict[str, Any] = {
            "type": "part",
            "label": label,
            "part": entry._asdict(),
            "sequences_part": None,
            "retokenised": [],
            "pieces": self._new_pieces(all_ids),
        }
        if sequences_part is not None:
            message["sequences_part"] = sequences_part._asdict()
            message["retokenised"] = self._retokenised(part)
        self.channel.send(message)

    @cached_property
    def _prompts(self) -> dict[str, Any]:
        return read_tensors(self.folder / PROMPTS)

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
        of_prompts = self._prompts.get("roles")
        if of_prompts is None:
            return None
        offsets = self._prompts["offsets"]
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


def check_completions(
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
