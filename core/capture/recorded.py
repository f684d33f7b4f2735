"""What prompt lines tell of the completions that they give: how these were sampled, and
the log-probabilities of then.

The numbers become a capture of the session beside those that engines score, read and
checked as an import's are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.capture.prompt import Prompt
from logdrift.core.plan import label_of
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.captures import UNKNOWN
from logdrift.core.session.importers.columns import scores_of, spread
from logdrift.core.session.importers.fillers import drop_fillers
from logdrift.core.session.importers.jsonl import NO_FIRST
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.importers.records import Record
from logdrift.core.session.importers.sources import SHOWN_VERSIONS
from logdrift.core.session.layout import (
    CaptureInfo,
    Part,
    Sampled,
    capture_part,
)
from logdrift.core.session.scores import part_tensors, part_versions
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.weight_versions import VersionSpan, VersionSpans
from logdrift.core.session.writer import write_part
from logdrift.core.told import facts_of

BACKEND = "rollout"
"""Name of the backend that sampled the completions: nothing else of it is here."""
LABEL = label_of(BACKEND, "recorded")

_Way = tuple[tuple[str, Any], ...]
"""Facts of how a completion was sampled, each with its name."""


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
    counts = Counter(map(_way_of, prompts))
    different = set(counts)
    if different <= {()}:
        return ()
    ways = []
    for way, number in counts.most_common():
        facts = dict(way)
        sampled = Sampled(sequences=number, facts=facts)
        ways.append(sampled)
    return tuple(ways)


def _way_of(prompt: Prompt) -> _Way:
    """How one completion was sampled: the facts of its line, in order."""
    facts = dict(prompt.told)
    facts.pop("logprobs_mode", None)
    in_order = sorted(facts.items())
    return tuple(in_order)


def recorded_of(prompts: Sequence[Prompt]) -> Recorded | None:
    """The capture of the lines' log-probabilities; None where they have none.

    Raises InputError naming the line: for a number that is none, a list of another
    length, and a line without one.
    """
    example = _with_logprobs(prompts)
    if example is None:
        return None
    for prompt in prompts:
        if prompt.logprobs is None:
            raise prompt.place.error(
                f"it has no logprobs, {example.place.words} has",
                "give them in every line, null for what is not known",
            )
    notes = Notes()
    records = [_record(prompt, notes) for prompt in prompts]
    drop_fillers(records, notes)
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
    sentences = (*notes.sentences(), *unclear)
    return Recorded(info, tuple(records), sentences)


def _with_logprobs(prompts: Sequence[Prompt]) -> Prompt | None:
    """The first that has log-probabilities; None where none has."""
    for prompt in prompts:
        if prompt.logprobs is not None:
            return prompt
    return None


def _record(prompt: Prompt, notes: Notes) -> Record:
    assert (
        prompt.token_ids is not None
        and prompt.prompt_length is not None
        and prompt.logprobs is not None
    )
    ids = np.asarray(prompt.token_ids, np.int32)
    tokens = len(ids)
    logprobs = list(prompt.logprobs)
    length = prompt.prompt_length
    place = prompt.place
    no_prompt = length == 0
    values = spread(logprobs, tokens, length, place, "logprobs")
    first = values[0]
    first_is_unknown = first in (None, 0)
    if not no_prompt and not first_is_unknown:
        sentence = NO_FIRST % LABEL
        notes.count(sentence)
    scores = scores_of(values, place, "logprobs", first=no_prompt)
    versions = _versions(prompt, tokens)
    scores = replace(scores, versions=versions)
    captures = {LABEL: scores}
    return Record(place, ids, length, captures)


def _versions(prompt: Prompt, tokens: int) -> VersionSpans | None:
    """With which weights the completion was sampled, where the line tells."""
    version = prompt.told.get("weight_version")
    if version is None or prompt.prompt_length is None:
        return None
    length = prompt.prompt_length
    given = VersionSpan(None, length)
    sampled = VersionSpan(version, tokens - length)
    return given, sampled


def _common_facts(prompts: Sequence[Prompt]) -> tuple[JsonObject, Sequence[str]]:
    """The facts that all lines state alike, and a sentence for each that differs.

    What differs stays unknown.
    """
    facts: dict[str, Any] = {}
    sentences = []
    for key in _told_keys(prompts):
        told = [prompt.told.get(key) for prompt in prompts]
        counts: Counter[Any] = Counter(told)
        values = list(counts)
        if len(values) == 1:
            facts[key] = values[0]
        elif key == "weight_version" and None not in values:
            versions = values[:SHOWN_VERSIONS]
            facts[key] = ",".join(versions)
        else:
            values_named = _listed(counts)
            sentences.append(
                f"{key} of {LABEL} is {values_named}, so it stays unknown for the"
                " capture as a whole"
            )
    return facts, sentences


def _told_keys(prompts: Sequence[Prompt]) -> list[str]:
    """The keys of all lines' facts, in the order in which they first occur."""
    keys: dict[str, None] = {}
    for prompt in prompts:
        keys |= dict.fromkeys(prompt.told)
    return list(keys)


_SHOWN = 4
"""Values that a sentence names."""


def _listed(counts: Counter[Any]) -> str:
    """``0.6 in 3 lines and 1 in 1 line``."""
    named = []
    for value, number in counts.most_common(_SHOWN):
        lines = "lines"
        if number == 1:
            lines = "line"
        words = _worded(value)
        named.append(f"{words} in {number:,} {lines}")
    others = len(counts) - _SHOWN
    if others > 0:
        named.append(f"{others:,} other values")
    first = ", ".join(named[:-1])
    last = named[-1]
    return f"{first} and {last}"


def _worded(value: Any) -> str:
    if value is None:
        return "not stated"
    if isinstance(value, int | float):
        return f"{value:g}"
    return str(value)


def write_recorded(folder: Path, recorded: Recorded, per_part: int) -> CaptureInfo:
    """Write the parts of the capture, ``per_part`` sequences each, and return it with
    them listed.

    Errors are those of `logdrift.core.session.writer.write_part`.
    """
    parts: list[Part] = []
    for first, chunk in _chunks(recorded, per_part):
        index = len(parts)
        part = _write(folder, index, first, chunk)
        parts.append(part)
    return recorded.info._replace(parts=tuple(parts))


def _chunks(
    recorded: Recorded, per_part: int
) -> Iterator[tuple[int, Sequence[Record]]]:
    records = recorded.records
    count = len(records)
    for first in range(0, count, per_part):
        end = first + per_part
        yield first, records[first:end]


def _write(folder: Path, index: int, first: int, chunk: Sequence[Record]) -> Part:
    of_records = [record.token_ids for record in chunk]
    ids = np.concatenate(of_records)
    scores = [record.captures[LABEL] for record in chunk]
    file = capture_part(LABEL, index)
    tensors = part_tensors(scores, width=0)
    part = write_part(
        folder,
        file,
        tensors,
        first_sequence=first,
        sequences=len(chunk),
        tokens=len(ids),
    )
    return part._replace(
        ids_digest=ids_digest(ids),
        versions=part_versions(scores),
    )
