"""Sequences as parts of a session, and the file that lists those of one process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.recording.batch import SeenSequence
from logdrift.core.session.files import sealed
from logdrift.core.session.layout import STREAMS, CaptureInfo, Part
from logdrift.core.session.scores import Scores, part_tensors, part_versions
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.streams import RECORDER
from logdrift.core.session.weight_versions import VersionSpan
from logdrift.core.session.writer import (
    replace_file,
    sequence_tensors,
    training_tensors,
    write_part,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """A part of the stream ``level`` with its files as the manifest lists them."""

    level: int
    written: float
    sequences: Part
    captures: dict[str, Part]

    @property
    def tokens(self) -> int:
        return self.sequences.tokens

    @property
    def files(self) -> list[str]:
        return [self.sequences.file, *(part.file for part in self.captures.values())]

    def to_json(self) -> dict[str, Any]:
        captures = {label: part._asdict() for label, part in self.captures.items()}
        return {
            "level": self.level,
            "written": self.written,
            "sequences": self.sequences._asdict(),
            "captures": captures,
        }


@dataclass(slots=True)
class StreamFiles:
    """What one process has written into the session ``folder``: its parts, and
    ``streams/NAME.json`` that lists them.
    """

    folder: Path
    name: str
    infos: dict[str, CaptureInfo] = field(default_factory=dict)
    parts: list[WrittenPart] = field(default_factory=list)
    level: int = 0
    seen: int = 0
    lost: int = 0
    _next: int = 0

    @property
    def list_file(self) -> str:
        return f"{STREAMS}/{self.name}.json"

    def write(self, level: int, sequences: Sequence[SeenSequence]) -> None:
        """Write a part; it is not listed yet. Raises CannotWrite."""
        index = self._next
        self._next += 1
        tokens = sum(map(len, sequences))
        end = f"{self.name}-{index:06d}.safetensors"

        def part(file: str, tensors: dict[str, Array]) -> Part:
            return write_part(
                self.folder,
                file,
                tensors,
                first_sequence=0,
                sequences=len(sequences),
                tokens=tokens,
            )

        of_sequences = part(f"sequences/{end}", _sequence_tensors(sequences))
        ids = np.concatenate([one.token_ids for one in sequences])
        digest = ids_digest(ids)
        captures = {}
        for side, info in self.infos.items():
            scores = [_scores(one, side) for one in sequences]
            tensors = part_tensors(scores, 0)
            written = part(f"captures/{info.label}/{end}", tensors)
            captures[info.label] = _with_digest(written, digest, scores)
        entry = WrittenPart(level, time.time(), of_sequences, captures)
        self.parts.append(entry)

    def list_parts(self) -> None:
        """Replace the list, then delete the parts below the level. Raises
        CannotWrite.
        """
        kept = [part for part in self.parts if part.level >= self.level]
        dropped = [part for part in self.parts if part.level < self.level]
        self._replace_list(kept)
        self.parts = kept
        self._delete(dropped)

    def replace_parts(self, sequences: Sequence[SeenSequence]) -> None:
        """List one part of these sequences in place of all others."""
        old = self.parts
        self.parts = []
        if sequences:
            self.write(0, sequences)
        self._replace_list(self.parts)
        self._delete(old)

    def _replace_list(self, parts: Sequence[WrittenPart]) -> None:
        infos = [info.to_json() for info in self.infos.values()]
        data = {
            "level": self.level,
            "seen": self.seen,
            "lost": self.lost,
            "captures": infos,
            "parts": [part.to_json() for part in parts],
        }
        content = sealed(data, indent=None)
        replace_file(self.folder, self.list_file, content)

    def _delete(self, parts: Sequence[WrittenPart]) -> None:
        for part in parts:
            for file in part.files:
                (self.folder / file).unlink(missing_ok=True)


def free_name(folder: Path, rank: int) -> str:
    """A name for the stream of a process that none before it has taken: what a run that
    was started again adds stands beside what it had written.
    """
    try:
        taken = os.listdir(folder / STREAMS)
    except FileNotFoundError:
        taken = []
    start = f"{RECORDER}{rank:05d}-"
    runs = [name for name in taken if name.startswith(start)]
    random = os.urandom(4)  # hosts share a folder, and a pid
    return f"{start}{len(runs):03d}-{random.hex()}"


def _with_digest(part: Part, digest: str, scores: Sequence[Scores]) -> Part:
    return Part(
        file=part.file,
        first_sequence=part.first_sequence,
        sequences=part.sequences,
        tokens=part.tokens,
        digest=part.digest,
        ids_digest=digest,
        versions=part_versions(scores),
    )


def _sequence_tensors(sequences: Sequence[SeenSequence]) -> dict[str, Array]:
    tensors = sequence_tensors(
        [one.token_ids for one in sequences],
        [one.prompt_length for one in sequences],
        ["unknown"] * len(sequences),
        [one.mask for one in sequences],
    )
    steps = [one.step for one in sequences]
    rewards = [one.reward for one in sequences]
    return {**tensors, **training_tensors(steps, rewards)}


def _scores(sequence: SeenSequence, side: str) -> Scores:
    """NaN of a token that counts was computed; elsewhere there is no score."""
    logprob = sequence.logprobs[side]
    tokens = len(logprob)
    computed = np.isnan(logprob) & sequence.counted
    no_alternatives = (tokens, 0)
    return Scores(
        logprob=logprob,
        rank=np.zeros(tokens, np.int32),
        top_ids=np.empty(no_alternatives, np.int32),
        top_logprobs=np.empty(no_alternatives, np.float32),
        nan=computed.astype(np.uint8),
        versions=(VersionSpan(sequence.version, tokens),),
    )
