"""Parts that several processes write into one session, each without waiting for the
others: one file a process says what it has written, and they are joined when the
session is opened.

``streams/NAME.json`` is replaced at once, so that a process can be killed at any
moment, and nobody holds a lock. It has ``level``, ``seen`` and ``parts``, each with its
own level: a process keeps parts from its level on, which are a uniform sample of what
it saw, 1 in 2^level. Joined are the parts from the highest level of all processes on:
the same chance for every sequence, whichever process saw it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.errors import InputError
from logdrift.core.session.below import refuse_links
from logdrift.core.session.files import MANIFEST_BYTES, JsonObject, read_json
from logdrift.core.session.schema import (
    anything,
    checked,
    fields,
    items,
    number,
    table,
    text,
    whole,
)

_FOLDER = "streams"
"""As `logdrift.core.session.layout` names it, which imports this module."""
RECORDER = "rank-"
"""How the names of streams begin, and those of their parts."""
_UNLISTED = (
    "what {name} recorded is not counted: {name}.json, the list of its parts, is not"
    " in streams"
)
MOST_LEVEL = 64
"""A sample of 1 in 2^64 has nothing in it."""

_part = fields(
    {
        "level": whole(0, MOST_LEVEL),
        "written": number,
        "sequences": table(anything),
        "captures": table(table(anything)),
    },
    required=frozenset({"level", "written", "sequences", "captures"}),
)


_labelled = fields({"label": text}, required=frozenset({"label"}))


def _capture(value: Any) -> Any:
    """What a manifest says of a capture, which checks it; the label is needed here."""
    _labelled(value)
    return table(anything)(value)


_stream = fields(
    {
        "level": whole(0, MOST_LEVEL),
        "seen": whole(),
        "lost": whole(),
        "captures": items(_capture),
        "parts": items(_part),
    },
    required=frozenset({"level", "seen", "captures", "parts"}),
)


@dataclass(frozen=True, slots=True)
class _Joined:
    """The streams of a session, by their names."""

    streams: Mapping[str, JsonObject]

    @property
    def level(self) -> int:
        levels: list[int] = [stream["level"] for stream in self.streams.values()]
        return max(levels)

    def parts(self) -> list[JsonObject]:
        """The parts of the sample in the order in which they were written."""
        placed = []
        for name, stream in self.streams.items():
            for index, part in enumerate(stream["parts"]):
                if part["level"] >= self.level:
                    placed.append((part["written"], name, index, part))
        placed.sort(key=lambda entry: entry[:3])
        return [part for *_, part in placed]

    def captures(self) -> dict[str, JsonObject]:
        """The captures that every process with parts has, by label."""
        filled = [stream for stream in self.streams.values() if stream["parts"]]
        captures: dict[str, JsonObject] = {}
        for stream in filled[:1]:
            for info in stream["captures"]:
                captures[str(info.get("label"))] = info
        for stream in filled:
            labels = {info.get("label") for info in stream["captures"]}
            for label in set(captures) - labels:
                del captures[label]
        return captures

    def notes(self, kept: int) -> list[str]:
        """What a reader of the numbers has to know."""
        seen = sum(stream["seen"] for stream in self.streams.values())
        lost = sum(stream.get("lost", 0) for stream in self.streams.values())
        notes = []
        if self.level:
            notes.append(
                f"{kept:,} of {seen:,} recorded sequences, a uniform sample: each was"
                f" kept with a chance of 1 in {2**self.level:,}, whatever its numbers,"
                " so means are those of all; the worst sequences are the session in"
                " the folder worst"
            )
        if lost:
            notes.append(
                f"{lost:,} sequences were left out because the disk was slower than"
                " the training"
            )
        return notes


def joined(folder: Path, manifest: JsonObject) -> JsonObject:
    """The manifest of a session as JSON, with the parts of its streams.

    Itself where it is damaged: whoever reads it says so. Raises InputError for a stream
    of another form.
    """
    streams = _Joined(_streams(folder))
    if not _can_be_joined(manifest):
        return manifest
    notes = [*(manifest.get("notes") or []), *_unlisted(folder, streams.streams)]
    if not streams.streams:
        return {**manifest, "notes": notes}
    parts = streams.parts()
    sequences = [part["sequences"] for part in parts]
    captures = []
    for label, info in streams.captures().items():
        own = [part["captures"].get(label) for part in parts]
        captures.append({**info, "parts": _in_order(own)})
    in_order = _in_order(sequences)
    kept = sum(_count(part) for part in in_order)
    return {
        **manifest,
        "notes": [*notes, *streams.notes(kept)],
        "sequences": {
            **(manifest.get("sequences") or {}),
            "planned": kept,
            "parts": in_order,
        },
        "captures": captures,
    }


def _unlisted(folder: Path, streams: Mapping[str, JsonObject]) -> list[str]:
    """A note for each process whose parts are there, and not the list of them."""
    names = set()
    with contextlib.suppress(OSError):
        for file in os.listdir(folder / "sequences"):
            name = file.removesuffix(".safetensors").rpartition("-")[0]
            if name.startswith(RECORDER) and f"{name}.json" not in streams:
                names.add(name)
    return [_UNLISTED.format(name=name) for name in sorted(names)]


def _can_be_joined(manifest: JsonObject) -> bool:
    """Whether what is added to has its type."""
    notes = manifest.get("notes")
    sequences = manifest.get("sequences")
    return isinstance(notes, list | None) and isinstance(sequences, Mapping | None)


def _streams(folder: Path) -> dict[str, JsonObject]:
    top = folder / _FOLDER
    refuse_links(folder, _FOLDER)
    try:
        names = sorted(os.listdir(top))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    streams = {}
    for name in names:
        if not name.endswith(".json") or name.startswith("."):
            continue
        path = top / name
        refuse_links(folder, f"{_FOLDER}/{name}")
        data = read_json(path, MANIFEST_BYTES)
        streams[name] = checked(_stream, data, str(path))
    return streams


def _in_order(parts: Sequence[Any]) -> list[JsonObject]:
    """The parts, each beginning where the one before ends."""
    first = 0
    placed: list[JsonObject] = []
    for part in parts:
        if part is None:
            raise InputError("a stream of the session lists a part without a capture")
        placed.append({**part, "first_sequence": first})
        first += _count(part)
    return placed


def _count(part: JsonObject) -> int:
    """The sequences of a part; what is no number is refused with the manifest."""
    count = part.get("sequences")
    if isinstance(count, int):
        return count
    return 0
