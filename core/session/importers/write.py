"""Records of an importer as a session folder, which appears whole or not at all.

What neither file nor user states stays unknown, so the gate says caution: the numbers
of a file were not observed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from logdrift.core.session.scores import part_tensors
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)
from logdrift.core.version import __version__

_PART_TOKENS = 1 << 17
_PART_SEQUENCES = 4096


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
    widths = {name: _width(records, name) for name in infos}
    with new_folder(out) as folder:
        merge_pieces(folder, _pieces(records, model))
        sequence_parts: list[Part] = []
        capture_parts: dict[str, list[Part]] = {name: [] for name in infos}
        for index, (first, chunk) in enumerate(_chunks(records)):
            sequence_parts.append(_write_sequences(folder, index, first, chunk))
            for name, info in infos.items():
                file = capture_part(info.label, index)
                part = _write_scores(folder, file, first, chunk, (name, widths[name]))
                capture_parts[name].append(part)
        captures = [
            replace(info, parts=tuple(capture_parts[name]))
            for name, info in infos.items()
        ]
        manifest = _manifest(records, sequence_parts, captures, title, model)
        write_manifest(folder, replace(manifest, notes=context.notes.sentences()))


def _width(records: Sequence[Record], name: str) -> int:
    """The alternatives that the capture has at most."""
    lists = [record.captures[name].top_ids for record in records]
    return max(int(ids.shape[1]) for ids in lists)


def _write_sequences(
    folder: Path, index: int, first: int, chunk: Sequence[Record]
) -> Part:
    tensors = sequence_tensors(
        [record.token_ids for record in chunk],
        [record.prompt_length for record in chunk],
        [record.finish for record in chunk],
        [record.mask for record in chunk],
    )
    file = sequence_part(index)
    return write_part(folder, file, tensors, first, len(chunk), _tokens(chunk))


def _write_scores(
    folder: Path,
    file: str,
    first: int,
    chunk: Sequence[Record],
    capture: tuple[str, int],
) -> Part:
    """``capture`` is its name and how many alternatives it has."""
    name, width = capture
    tensors = part_tensors([record.captures[name] for record in chunk], width)
    return write_part(folder, file, tensors, first, len(chunk), _tokens(chunk))


def _tokens(records: Sequence[Record]) -> int:
    return sum(len(record.token_ids) for record in records)


def _manifest(
    records: Sequence[Record],
    parts: Sequence[Part],
    captures: Sequence[CaptureInfo],
    title: str,
    model: Path | None,
) -> Manifest:
    return Manifest(
        id=uuid.uuid4().hex,
        title=title,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        logdrift_version=__version__,
        model=ModelInfo(id=_model_name(records, model)),
        sequences=SequencesInfo(len(records), None, tuple(parts)),
        captures=tuple(captures),
    )


def _model_name(records: Sequence[Record], model: Path | None) -> str:
    if model is not None:
        return str(model)
    named = [record.model for record in records if record.model is not None]
    if named:
        return named[0]
    return UNKNOWN


def _chunks(records: Sequence[Record]) -> Iterator[tuple[int, Sequence[Record]]]:
    """(first sequence, records) of each part: a part ends where it has enough tokens or
    sequences.
    """
    first = tokens = 0
    for index, record in enumerate(records):
        tokens += len(record.token_ids)
        is_full = tokens >= _PART_TOKENS or index - first + 1 >= _PART_SEQUENCES
        if is_full or index == len(records) - 1:
            yield first, records[first : index + 1]
            first = index + 1
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
            ids.update(scores.top_ids[scores.top_ids >= 0].tolist())
    if model is not None:
        pieces.update(pieces_of(model, ids))
    return pieces
