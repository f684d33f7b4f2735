"""Format ``megatron``: log-probabilities of a Megatron model that was run by itself,
``rank_N.json`` of miles' ``run_megatron``; a folder of them is one capture.

    {"rank": 0, "tp_size": 1, "cp_size": 2, "pp_size": 1, "logprob_entries":
    [[{"global_position": 0, "token_id": 52, "logprob": -2.1, "is_valid": true}, ...]]}

The entry at position p is of the token behind it, p + 1, which ``token_id`` names; that
of the last position is not valid. The first token is not in the file. Ranks of context
parallelism have different positions, those of tensor parallelism the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.answer_files import captures_of, named_files
from logdrift.core.session.importers.answer_records import UNKNOWN_ID
from logdrift.core.session.importers.columns import is_whole, scores_of
from logdrift.core.session.importers.compressed import text_files
from logdrift.core.session.importers.documents import documents
from logdrift.core.session.importers.job import ImportJob, Sentences, session_of_records
from logdrift.core.session.importers.join import RecordsOfFiles, side_by_side
from logdrift.core.session.importers.place import in_file, list_item
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
    Records,
)
from logdrift.core.session.importers.start import Start, in_order

_ENTRIES = "logprob_entries"
_Label = tuple[int, Any]
"""(id of the token behind a position, log-probability)"""
_Labels = dict[int, _Label]
"""By position of one sequence."""
_Sequences = dict[int, _Labels]
"""By number of the sequence."""
_Ranks = Sequence[Path]


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


def ranks_in(path: Path) -> _Ranks:
    """A file itself, or those of all ranks in a folder, in their order."""
    if not path.is_dir():
        return [path]
    ranks = text_files(path, "rank_*.json")
    return in_order(ranks)


def _captures(files: Sequence[str], context: ImportContext) -> RecordsOfFiles:
    for name, path in named_files(files):
        start = Start(path, context.bad.skip)
        if not path.is_dir() and not guess(start):
            answers = f"{name}={path}"
            yield from captures_of([answers], context)
            continue
        ranks = ranks_in(path)
        if not ranks:
            raise in_file(path).error("no rank_*.json in it")
        source = CaptureSource(engine="megatron", role="trainer")
        context.sources[name] = source
        records = _records(ranks, path, name, context)
        yield path, records


def _records(ranks: _Ranks, path: Path, name: str, context: ImportContext) -> Records:
    """The sequences of a run, ranks put together. Raises InputError."""
    sequences: _Sequences = {}
    for rank in ranks:
        for place, data in documents(rank):
            _add(sequences, data, place)
    if not sequences:
        raise in_file(path).error("no sequence in it")
    whole = in_file(path).part(_ENTRIES)
    for index, labels in sequences.items():
        place = list_item(whole, index)
        with context.bad.left_out():
            yield _record(labels, name, place)


def _add(sequences: _Sequences, data: JsonObject, place: Place) -> None:
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
        is_valid = entry.get("is_valid")
        if is_valid:
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
    logprob = entry.get("logprob")
    label = (int(token_id), logprob)
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
    count = len(labels)
    for position in range(count):
        if position not in labels:
            raise place.error(
                f"position {position} is missing",
                "give the folder that holds the files of all ranks",
            )
        token_id, logprob = labels[position]
        ids.append(token_id)
        logprobs.append(logprob)
    scores = scores_of(logprobs, place, "logprob")
    token_ids = np.asarray(ids, np.int32)
    return Record(
        place=place,
        token_ids=token_ids,
        prompt_length=0,
        captures={name: scores},
        bounded=False,
    )
