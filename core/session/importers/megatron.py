"""Format ``megatron``: log-probabilities of a Megatron model that was run by itself,
``rank_N.json`` of miles' ``run_megatron``; a folder of them is one capture.

    {"rank": 0, "tp_size": 1, "cp_size": 2, "pp_size": 1, "logprob_entries":
    [[{"global_position": 0, "token_id": 52, "logprob": -2.1, "is_valid": true}, ...]]}

The entry at position p is of the token behind it, p + 1, which ``token_id`` names; that
of the last position is not valid. The first token is not in the file. Ranks of context
parallelism have different positions, those of tensor parallelism the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.answer_files import captures_of, named_files
from logdrift.core.session.importers.answer_records import UNKNOWN_ID
from logdrift.core.session.importers.columns import is_whole, scores_of
from logdrift.core.session.importers.documents import documents
from logdrift.core.session.importers.job import ImportJob, Sentences, session_of_records
from logdrift.core.session.importers.join import RecordsOf, side_by_side
from logdrift.core.session.importers.place import in_file, list_item
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
    Records,
)
from logdrift.core.session.importers.start import Start

_ENTRIES = "logprob_entries"
_Labels = dict[int, tuple[int, Any]]
"""By position of one sequence: (id of the token behind it, log-probability)."""


def guess(start: Start) -> bool:
    """A file of one rank, or a folder of them."""
    if start.path.is_dir():
        return bool(ranks_in(start.path))
    return start.has(_ENTRIES)


def run(job: ImportJob) -> Sentences:
    """Make the session of all runs and files of answers, joined by ids."""
    context = job.context()
    captures = _captures(job.files, context)
    records = side_by_side(captures, context, job.out)
    return session_of_records(job, records, context)


def ranks_in(path: Path) -> list[Path]:
    """A file itself, or those of all ranks in a folder, in their order."""
    if not path.is_dir():
        return [path]
    ranks = path.glob("rank_*.json")
    return sorted(ranks, key=_by_number)


def _by_number(path: Path) -> tuple[int, str]:
    """Sorts rank_9 before rank_10."""
    return len(path.name), path.name


def _captures(files: Sequence[str], context: ImportContext) -> Iterator[RecordsOf]:
    for name, path in named_files(files):
        if not path.is_dir() and not guess(Start(path)):
            yield from captures_of([f"{name}={path}"], context)
            continue
        ranks = ranks_in(path)
        if not ranks:
            raise in_file(path).error("no rank_*.json in it")
        context.sources[name] = CaptureSource(engine="megatron", role="trainer")
        yield path, _records(ranks, path, name, context)


def _records(
    ranks: Sequence[Path], path: Path, name: str, context: ImportContext
) -> Records:
    """The sequences of a run, ranks put together. Raises InputError."""
    sequences: dict[int, _Labels] = {}
    for rank in ranks:
        for place, data in documents(rank):
            _add(sequences, data, place)
    if not sequences:
        raise in_file(path).error("no sequence in it")
    for index, labels in sequences.items():
        place = list_item(in_file(path).part(_ENTRIES), index)
        with context.bad.left_out():
            yield _record(labels, name, place)


def _add(sequences: dict[int, _Labels], data: JsonObject, place: Place) -> None:
    """Add what a rank has. Raises InputError."""
    batch = data.get(_ENTRIES)
    if not isinstance(batch, list):
        raise place.error(f"{_ENTRIES} is missing", "give rank_N.json of run_megatron")
    whole = place.part(_ENTRIES)
    has_all_positions = data.get("cp_size", 1) == 1
    for index, entries in enumerate(batch):
        there = list_item(whole, index)
        if not isinstance(entries, list):
            raise there.error("is not a list")
        labels = sequences.setdefault(index, {})
        ends = _add_labels(labels, entries, there)
        if has_all_positions and not ends:
            raise there.error(
                "its last position has a label too: this release of run_megatron scored"
                " each token at its own place, and not the one behind it",
                "run it again with a newer miles",
            )


def _add_labels(labels: _Labels, entries: JsonList, place: Place) -> bool:
    """Add the labels of one sequence, and tell whether a position without a label is
    behind all of them.
    """
    last_without = -1
    for entry in entries:
        position = _position(entry, place)
        if entry.get("is_valid"):
            _label(labels, entry, position, place)
        else:
            last_without = max(last_without, position)
    last_with = max(labels, default=-1)
    return last_without > last_with


def _position(entry: Any, place: Place) -> int:
    position: Any = None
    if isinstance(entry, Mapping):
        position = entry.get("global_position")
    if not is_whole(position):
        raise place.error(
            f"an entry is {entry!r}", "give global_position, token_id and logprob"
        )
    return int(position)


def _label(labels: _Labels, entry: JsonObject, position: int, place: Place) -> None:
    token_id: Any = entry.get("token_id")
    if not is_whole(token_id):
        raise place.error(f"token_id at position {position} is {token_id!r}")
    label = int(token_id), entry.get("logprob")
    known_id, _ = labels.setdefault(position, label)
    if known_id != token_id:
        raise place.error(
            f"token_id at position {position} is {token_id}, and {known_id} in the"
            " file of another rank",
            "give the ranks of one run",
        )


def _record(labels: _Labels, name: str, place: Place) -> Record:
    """One sequence, its first id unknown. Raises InputError where positions are
    missing.
    """
    ids = [UNKNOWN_ID]
    logprobs: list[Any] = [None]
    for position in range(len(labels)):
        if position not in labels:
            raise place.error(
                f"position {position} is missing",
                "give the folder that holds the files of all ranks",
            )
        token_id, logprob = labels[position]
        ids.append(token_id)
        logprobs.append(logprob)
    scores = scores_of(logprobs, place, "logprob")
    return Record(
        place=place,
        token_ids=np.asarray(ids, np.int32),
        prompt_length=0,
        captures={name: scores},
        bounded=False,
    )
