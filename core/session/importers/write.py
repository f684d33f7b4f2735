"""Records of an importer as a session folder, which appears whole or not at all.

What neither file nor user states stays unknown, so the gate says caution: the numbers
of a file were not observed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from logdrift.core.session.importers.captures import UNKNOWN, captures_of
from logdrift.core.session.importers.records import ImportContext, Record
from logdrift.core.session.importers.scratch import new_folder
from logdrift.core.session.importers.tokenizer import pieces_of
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
    capture_part,
    sequence_part,
)
from logdrift.core.session.scores import Array, part_tensors, part_versions
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)
from logdrift.core.version import __version__

_PART_TOKENS = 1 << 17
_PART_SEQUENCES = 4096


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The records of part ``index``, which begin at the sequence ``first``."""

    index: int
    first: int
    records: Sequence[Record]
    tokens: int

    def write(self, folder: Path, file: str, tensors: Mapping[str, Array]) -> Part:
        """Write the part's tensors to ``file``, and return its manifest entry."""
        sequences = len(self.records)
        return write_part(folder, file, tensors, self.first, sequences, self.tokens)


def write_records(
    out: Path,
    records: Sequence[Record],
    context: ImportContext,
    title: str,
    model: Path | None,
    facts: Sequence[str] = (),
) -> None:
    """Write a session of ``records``; ``model`` gives the text of ids that they lack,
    ``facts`` what users know (`flags.told_by_flags`).

    Raises InputError for captures that not every sequence has, for a name that does not
    do, and for a bad ``model`` or fact.
    """
    infos = captures_of(records, context.sources, facts)
    with new_folder(out) as folder:
        merge_pieces(folder, _pieces(records, model))
        chunks = list(_chunks(records))
        sequence_parts = [_write_sequences(folder, chunk) for chunk in chunks]
        captures = []
        for name, info in infos.items():
            width = _width(records, name)
            parts = []
            for chunk in chunks:
                file = capture_part(info.label, chunk.index)
                part = _write_scores(folder, file, chunk, name, width)
                parts.append(part)
            capture = replace(info, parts=tuple(parts))
            captures.append(capture)
        manifest = _manifest(records, sequence_parts, captures, title, model)
        notes = context.notes.sentences()
        manifest = replace(manifest, notes=notes)
        write_manifest(folder, manifest)


def _width(records: Sequence[Record], name: str) -> int:
    """The alternatives that the capture has at most."""
    widths = []
    for record in records:
        top_ids = record.captures[name].top_ids
        widths.append(top_ids.shape[1])
    return int(max(widths))


def _write_sequences(folder: Path, chunk: _Chunk) -> Part:
    records = chunk.records
    tensors = sequence_tensors(
        [record.token_ids for record in records],
        [record.prompt_length for record in records],
        [record.finish for record in records],
        [record.mask for record in records],
        [record.roles for record in records],
    )
    file = sequence_part(chunk.index)
    return chunk.write(folder, file, tensors)


def _write_scores(
    folder: Path, file: str, chunk: _Chunk, name: str, width: int
) -> Part:
    """Write the scores of the capture ``name``, ``width`` alternatives each."""
    scores = [record.captures[name] for record in chunk.records]
    tensors = part_tensors(scores, width)
    part = chunk.write(folder, file, tensors)
    return replace(part, versions=part_versions(scores))


def _manifest(
    records: Sequence[Record],
    parts: Sequence[Part],
    captures: Sequence[CaptureInfo],
    title: str,
    model: Path | None,
) -> Manifest:
    now = datetime.now(timezone.utc)
    model_name = _model_name(records, model)
    sequences = SequencesInfo(
        planned=len(records),
        generated_by=None,
        parts=tuple(parts),
    )
    return Manifest(
        id=uuid.uuid4().hex,
        title=title,
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        logdrift_version=__version__,
        model=ModelInfo(id=model_name),
        sequences=sequences,
        captures=tuple(captures),
    )


def _model_name(records: Sequence[Record], model: Path | None) -> str:
    if model is not None:
        return str(model)
    for record in records:
        if record.model is not None:
            return record.model
    return UNKNOWN


def _chunks(records: Sequence[Record]) -> Iterator[_Chunk]:
    """The records of each part: a part ends where it has enough tokens or sequences."""
    first = 0
    tokens = 0
    index = 0
    last = len(records) - 1
    for position, record in enumerate(records):
        tokens += len(record.token_ids)
        sequences = position - first + 1
        is_full = tokens >= _PART_TOKENS or sequences >= _PART_SEQUENCES
        if is_full or position == last:
            stop = position + 1
            of_part = records[first:stop]
            yield _Chunk(index, first, of_part, tokens)
            index += 1
            first = stop
            tokens = 0


def _pieces(records: Sequence[Record], model: Path | None) -> Mapping[int, bytes]:
    """The text of every id. The tokenizer knows the bytes; a text in a file may have
    lost those that are no UTF-8 of their own.
    """
    ids: set[int] = set()
    pieces: dict[int, bytes] = {}
    for record in records:
        pieces.update(record.pieces)
        ids.update(record.token_ids.tolist())
        for scores in record.captures.values():
            top_ids = scores.top_ids
            listed = top_ids[top_ids >= 0]
            ids.update(listed.tolist())
    if model is not None:
        pieces.update(pieces_of(model, ids))
    return pieces
