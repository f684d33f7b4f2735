"""Records of an importer as a session folder, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.engines import PATHS
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.plan import ROLES, check_backend_name, label_of
from logdrift.core.session.importers.records import (
    Array,
    Reading,
    Record,
    Scores,
    Source,
)
from logdrift.core.session.importers.text import pieces_of
from logdrift.core.session.importers.told import joined, told_by_flags
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    Part,
    SequencesInfo,
    capture_part,
    sequence_part,
)
from logdrift.core.session.lock import process_start
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    write_manifest,
    write_part,
)
from logdrift.core.told import facts_of
from logdrift.core.version import __version__

_PART_TOKENS = 1 << 17
_PART_SEQUENCES = 4096
UNKNOWN = "unknown"
_SCRATCH = re.compile(
    r"\..*\.importing-(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<started>\d{1,20})-[0-9a-f]{8}",
    re.DOTALL,
)
"""Name of a scratch folder: it says who makes it, so that one that a killed import has
left is known.
"""


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A scratch folder beside ``out`` that becomes it in the end, and is gone where
    something fails.

    What killed imports have left beside ``out`` goes first. Raises InputError where
    ``out`` exists, LogdriftError where the disk refuses.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: give another --out")
    _remove_abandoned(out.parent)
    scratch = out.with_name(
        f".{out.name[:80]}.importing-{_here()}-{os.getpid()}-{_started()}-{uuid.uuid4().hex[:8]}"
    )
    try:
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(out)  # an empty folder of that name is replaced
    except OSError as error:
        raise LogdriftError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _here() -> str:
    """This host in eight hex digits: a process of another one is not seen."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _started() -> int:
    return process_start(os.getpid()) or 0


def _remove_abandoned(folder: Path) -> None:
    """Scratch folders of imports of this host whose process is gone."""
    for path in folder.glob(".*.importing-*"):
        found = _SCRATCH.fullmatch(path.name)
        if (
            found is not None
            and found["host"] == _here()
            and process_start(int(found["pid"])) != int(found["started"])
        ):
            shutil.rmtree(path, ignore_errors=True)


def write_records(
    out: Path,
    records: Sequence[Record],
    reading: Reading,
    title: str,
    model: Path | None,
    facts: Sequence[str] = (),
) -> None:
    """Write a session of ``records``; ``model`` gives the text of ids that they do not
    tell, ``facts`` what users know (`told.told_by_flags`).

    What nobody told stays unknown, and so the gate says caution: a file's numbers were
    not observed. Raises InputError for captures that not every sequence has, for a name
    that is none, and for a bad ``model`` or fact.
    """
    names = _common_captures(records)
    sources = {name: reading.sources.get(name, Source()) for name in names}
    bare = [_info(name, sources[name]) for name in names]
    _check_labels([info.label for info in bare])
    flags = told_by_flags(facts, bare)
    infos = {
        name: _with_facts(info, sources[name], flags[info.label])
        for name, info in zip(names, bare, strict=True)
    }
    widths = {
        name: max(r.captures[name].top_ids.shape[1] for r in records) for name in names
    }
    with new_folder(out) as folder:
        merge_pieces(folder, _pieces(records, model))
        sequence_parts: list[Part] = []
        capture_parts: dict[str, list[Part]] = {name: [] for name in names}
        for first, chunk in _chunks(records):
            index, tokens = len(sequence_parts), sum(len(r.token_ids) for r in chunk)
            tensors = sequence_tensors(
                [r.token_ids for r in chunk],
                [r.prompt_length for r in chunk],
                [r.finish for r in chunk],
                [r.mask for r in chunk],
            )
            sequence_parts.append(
                write_part(
                    folder, sequence_part(index), tensors, first, len(chunk), tokens
                )
            )
            for name in names:
                scores = tensors_of([r.captures[name] for r in chunk], widths[name])
                file = capture_part(infos[name].label, index)
                capture_parts[name].append(
                    write_part(folder, file, scores, first, len(chunk), tokens)
                )
        captures = [
            replace(infos[name], parts=tuple(capture_parts[name])) for name in names
        ]
        manifest = _manifest(records, sequence_parts, captures, title, model)
        write_manifest(folder, replace(manifest, notes=reading.notes.sentences()))


def _check_labels(labels: Sequence[str]) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"two captures are called {label}: give one another name")


def _manifest(
    records: Sequence[Record],
    parts: Sequence[Part],
    captures: Sequence[CaptureInfo],
    title: str,
    model: Path | None,
) -> Manifest:
    named = [r.model for r in records if r.model is not None]
    return Manifest(
        id=uuid.uuid4().hex,
        title=title,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        logdrift_version=__version__,
        model=ModelInfo(
            id=str(model) if model is not None else named[0] if named else UNKNOWN
        ),
        sequences=SequencesInfo(len(records), None, tuple(parts)),
        captures=tuple(captures),
    )


def _common_captures(records: Sequence[Record]) -> list[str]:
    if not records:
        raise InputError("no sequence in it: nothing is imported")
    names = list(records[0].captures)
    for record in records:
        odd = set(names) ^ set(record.captures)
        if odd:
            raise InputError(
                f"{record.where}: capture {sorted(odd)[0]!r} is not in every sequence:"
                f" {records[0].where} has {', '.join(names)}: import them as two"
                " sessions, or give null for what is not known"
            )
    return names


def _info(name: str, source: Source) -> CaptureInfo:
    """``NAME``, ``NAME/PATH`` or ``NAME/PATH#2`` as a capture's label; without a path
    its numbers were recorded.
    """
    plain, mark, number = name.partition("#")
    backend, slash, path = plain.partition("/")
    check_backend_name(backend)
    path = path if slash else "recorded"
    if path not in PATHS:
        raise InputError(
            f"capture {name!r}: path {path!r} is unknown: use {', '.join(PATHS)}"
        )
    if mark and not (number.isdigit() and int(number) >= 2):
        raise InputError(f"capture {name!r}: a repeat is #2 or more")
    role = source.role or (backend if backend in ROLES else "rollout")
    if role not in ROLES:
        raise InputError(
            f"capture {name!r}: role {role!r} is unknown: use {', '.join(ROLES)}"
        )
    repeat = int(number) if mark else 1
    return CaptureInfo(
        label=label_of(backend, path, repeat),
        backend=backend,
        engine=source.engine or UNKNOWN,
        dtype=UNKNOWN,
        path=path,
        repeat=repeat,
        role=role,
        status="complete",
    )


def _with_facts(
    info: CaptureInfo, source: Source, flags: Mapping[str, Any]
) -> CaptureInfo:
    told = joined(source.told, flags, info.label)
    return replace(
        info,
        engine=told.get("engine", info.engine),
        dtype=told.get("dtype", info.dtype),
        facts=facts_of(info.path, told, source.observed),
    )


def _chunks(records: Sequence[Record]) -> Iterator[tuple[int, Sequence[Record]]]:
    """(first sequence, records) of each part: a part ends where it has enough tokens or
    sequences.
    """
    first = tokens = 0
    for index, record in enumerate(records):
        tokens += len(record.token_ids)
        if (
            tokens >= _PART_TOKENS
            or index - first + 1 >= _PART_SEQUENCES
            or index == len(records) - 1
        ):
            yield first, records[first : index + 1]
            first, tokens = index + 1, 0


def tensors_of(scores: Sequence[Scores], width: int) -> dict[str, Array]:
    """The tensors of a capture's part: every sequence's rows, with alternatives filled
    up to ``width``.
    """
    tensors: dict[str, Any] = {
        "logprob": np.concatenate([s.logprob for s in scores]),
        "rank": np.concatenate([s.rank for s in scores]),
        "top_ids": np.concatenate([_wide(s.top_ids, width, -1) for s in scores]),
        "top_logprobs": np.concatenate(
            [_wide(s.top_logprobs, width, np.nan) for s in scores]
        ),
    }
    if any(s.entropy is not None for s in scores):
        tensors["entropy"] = np.concatenate(
            [
                (
                    np.full(len(s.logprob), np.nan, np.float32)
                    if s.entropy is None
                    else s.entropy
                )
                for s in scores
            ]
        )
    if any(s.nan is not None and s.nan.any() for s in scores):
        tensors["nan"] = np.concatenate(
            [
                np.zeros(len(s.logprob), np.uint8) if s.nan is None else s.nan
                for s in scores
            ]
        )
    return tensors


def _wide(rows: Array, width: int, fill: float) -> Array:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=fill)


def _pieces(records: Sequence[Record], model: Path | None) -> dict[int, bytes]:
    ids: set[int] = set()
    told: dict[int, bytes] = {}
    for record in records:
        told.update(record.pieces)
        ids.update(record.token_ids.tolist())
        for scores in record.captures.values():
            ids.update(scores.top_ids[scores.top_ids >= 0].tolist())
    # The tokenizer knows the bytes; a text may have lost those that are no UTF-8 of
    # their own.
    return {**told, **(pieces_of(model, ids) if model is not None else {})}
