"""What prompt lines tell of the completions that they give: how these were sampled, and
the log-probabilities of then.

The numbers become a capture of the session beside those that engines score, read and
checked as an import's are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.capture.prompt import Prompt
from logdrift.core.plan import label_of
from logdrift.core.session.importers.captures import UNKNOWN
from logdrift.core.session.importers.columns import scores_of, spread
from logdrift.core.session.importers.first_tokens import drop_fillers
from logdrift.core.session.importers.jsonl import NO_FIRST, SHOWN_VERSIONS
from logdrift.core.session.importers.nan_fillers import drop_nan_fillers
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import Record
from logdrift.core.session.layout import (
    CaptureInfo,
    Part,
    Sampled,
    capture_part,
    ids_digest,
)
from logdrift.core.session.scores import Scores, part_tensors
from logdrift.core.session.writer import write_part
from logdrift.core.told import facts_of

BACKEND = "rollout"
"""Name of the backend that sampled the completions: nothing else of it is here."""
LABEL = label_of(BACKEND, "recorded")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The capture that prompt lines hold: its ``records``, one a prompt, and ``notes``
    of what was left out.
    """

    info: CaptureInfo
    records: tuple[Record, ...]
    notes: tuple[str, ...]


def ways_of(prompts: Sequence[Prompt]) -> tuple[Sampled, ...]:
    """How the completions were sampled, as the lines tell: an entry for each way, the
    most frequent first.

    What a line says of its log-probabilities is of the capture alone. Empty where no
    line tells anything.
    """
    counts: dict[tuple[tuple[str, Any], ...], int] = {}
    for prompt in prompts:
        way = tuple(
            sorted(
                (key, value)
                for key, value in prompt.told.items()
                if key != "logprobs_mode"
            )
        )
        counts[way] = counts.get(way, 0) + 1
    if set(counts) <= {()}:
        return ()
    ordered = sorted(counts.items(), key=lambda way: -way[1])
    return tuple(Sampled(sequences=number, facts=dict(way)) for way, number in ordered)


def recorded_of(prompts: Sequence[Prompt]) -> Recorded | None:
    """The capture of the lines' log-probabilities; None where they have none.

    Raises InputError naming the line: for a number that is none, a list of another
    length, and a line without one.
    """
    lines = [prompt for prompt in prompts if prompt.logprobs is not None]
    if not lines:
        return None
    for prompt in prompts:
        if prompt.logprobs is None:
            raise prompt.place.error(
                f"it has no logprobs, {lines[0].place.words} has",
                "give them in every line, null for what is not known",
            )
    notes = Notes()
    records = [_record(prompt, notes) for prompt in prompts]
    drop_fillers(records, notes)
    drop_nan_fillers(records, notes)
    told, unclear = _common_facts(prompts)
    info = CaptureInfo(
        label=LABEL,
        backend=BACKEND,
        engine=told.get("engine", UNKNOWN),
        dtype=told.get("dtype", UNKNOWN),
        path="recorded",
        role="rollout",
        status="complete",
        facts=facts_of("recorded", told, {}),
    )
    return Recorded(info, tuple(records), (*notes.sentences(), *unclear))


def _record(prompt: Prompt, notes: Notes) -> Record:
    assert (
        prompt.token_ids is not None
        and prompt.prompt_length is not None
        and prompt.logprobs is not None
    )
    ids = np.asarray(prompt.token_ids, np.int32)
    length = prompt.prompt_length
    place = prompt.place
    first = length == 0
    values = spread(list(prompt.logprobs), len(ids), length, place, "logprobs")
    if not first and values[0] not in (None, 0):
        notes.count(NO_FIRST % LABEL)
    scores = scores_of(values, place, "logprobs", first=first)
    return Record(place, ids, length, {LABEL: scores})


def _common_facts(prompts: Sequence[Prompt]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What all lines tell alike, and a sentence for each fact that they tell otherwise:
    it stays unknown.
    """
    facts: dict[str, Any] = {}
    sentences = []
    for key in dict.fromkeys(key for prompt in prompts for key in prompt.told):
        counts: dict[Any, int] = {}
        for prompt in prompts:
            value = prompt.told.get(key)
            counts[value] = counts.get(value, 0) + 1
        if len(counts) == 1:
            facts[key] = next(iter(counts))
        elif key == "weight_version" and None not in counts:
            facts[key] = ",".join(list(counts)[:SHOWN_VERSIONS])
        else:
            sentences.append(
                f"{key} of {LABEL} is {_listed(counts)}, so it stays unknown for the"
                " capture as a whole"
            )
    return facts, tuple(sentences)


_SHOWN = 4
"""Values that a sentence names."""


def _listed(counts: dict[Any, int]) -> str:
    """``0.6 in 3 lines and 1 in 1 line``."""
    ordered = sorted(counts.items(), key=lambda way: -way[1])
    named = [
        f"{_worded(value)} in {number:,} {'line' if number == 1 else 'lines'}"
        for value, number in ordered[:_SHOWN]
    ]
    if len(ordered) > _SHOWN:
        named.append(f"{len(ordered) - _SHOWN:,} other values")
    return f"{', '.join(named[:-1])} and {named[-1]}"


def _worded(value: Any) -> str:
    if value is None:
        return "not told"
    if isinstance(value, int | float):
        return f"{value:g}"
    return str(value)


def write_recorded(folder: Path, recorded: Recorded, per_part: int) -> CaptureInfo:
    """Write the parts of the capture, ``per_part`` sequences each, and return it with
    them listed.

    Errors are those of `logdrift.core.session.writer.write_part`.
    """
    parts = [
        _write(folder, index, first, chunk)
        for index, (first, chunk) in enumerate(_chunks(recorded, per_part))
    ]
    return replace(recorded.info, parts=tuple(parts))


def _chunks(
    recorded: Recorded, per_part: int
) -> Iterator[tuple[int, Sequence[Record]]]:
    for first in range(0, len(recorded.records), per_part):
        yield first, recorded.records[first : first + per_part]


def _write(folder: Path, index: int, first: int, chunk: Sequence[Record]) -> Part:
    ids = np.concatenate([record.token_ids for record in chunk])
    scores: list[Scores] = [record.captures[LABEL] for record in chunk]
    part = write_part(
        folder,
        capture_part(LABEL, index),
        part_tensors(scores, width=0),
        first_sequence=first,
        sequences=len(chunk),
        tokens=len(ids),
    )
    return replace(part, ids_digest=ids_digest(ids))
