"""A planted session in the real format, through the real writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.facts import Facts
from logdrift.core.planted.inside.scoring import COLUMNS
from logdrift.core.planted.sizes import PROMPT
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
    capture_part,
    sequence_part,
)
from logdrift.core.session.scores import Scores
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)


@dataclass(frozen=True)
class WrittenSide:
    """One capture of a planted session: the scores of every sequence, its facts, and
    the ids i32[T] that were really scored.
    """

    name: str
    scores: Sequence[Scores]
    facts: Mapping[str, Any]
    sent: Sequence[np.ndarray]


def write_session(
    folder: Path,
    model: Path,
    ids: Sequence[np.ndarray],
    sides: Sequence[WrittenSide],
    title: str,
) -> None:
    """Sequences, captures and manifest of one planted session; ``ids`` i32[T] each."""
    folder.mkdir(parents=True, exist_ok=True)
    all_ids = np.concatenate(ids)
    tokens = len(all_ids)
    count = len(ids)
    tensors = sequence_tensors(list(ids), [PROMPT] * count, ["length"] * count)
    part = write_part(folder, sequence_part(0), tensors, 0, count, tokens)
    merge_pieces(folder, {int(i): f"<{i}>".encode() for i in np.unique(all_ids)})
    captures = []
    for side in sides:
        written = _write_capture(folder, side, count, tokens)
        captures.append(_capture(side, written))
    manifest = Manifest(
        title,
        ModelInfo(model.name),
        title,
        sequences=SequencesInfo(count, None, (part,)),
        captures=tuple(captures),
    )
    write_manifest(folder, manifest)


def _write_capture(folder: Path, side: WrittenSide, count: int, tokens: int) -> Part:
    """Write the capture's one part, with a digest of what was sent."""
    tensors = {
        column: np.concatenate([getattr(scores, column) for scores in side.scores])
        for column in COLUMNS
    }
    path = capture_part(f"{side.name}/prefill", 0)
    part = write_part(folder, path, tensors, 0, count, tokens)
    return part._replace(ids_digest=ids_digest(np.concatenate(side.sent)))


def _capture(side: WrittenSide, part: Part) -> CaptureInfo:
    return CaptureInfo(
        label=f"{side.name}/prefill",
        backend=side.name,
        engine="transformers",
        dtype=str(side.facts["dtype"]),
        path="prefill",
        repeat=1,
        role=side.name,
        status="complete",
        facts=Facts(**side.facts),
        parts=(part,),
    )
