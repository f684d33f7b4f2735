"""Rollouts that frameworks write as text: verl's ``rollout_data_dir/STEP.jsonl``, TRL's
``completions_STEP.parquet``, AReaL's ``rollout/VERSION/TASK.jsonl``, and the outputs of
OpenRLHF's batch inference.

They hold neither ids nor log-probabilities, so they are prompts with their completions.
Special tokens were left out when the text was made, and equal text need not have equal
ids: the ids are made anew, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.parquet_rows import ParquetFile

_MADE_ANEW = (
    "these texts are a dump of {tool}: it has no token ids, and special tokens are not"
    " in the text, so the ids are made anew and need not be those that were sampled"
)
_VERSIONS = ("head_version", "tail_version")
"""AReaL's versions of the weights of the first and of the last token."""
_UNREAD = "{keys} of the dump of {tool} {are} not read"


@dataclass(frozen=True, slots=True)
class TextDump:
    """How the lines of a tool are known: they have the keys of its ``prompt`` and its
    ``completion``, and at least one of ``signs``, where it has signs.
    """

    tool: str
    prompt: str
    completion: str
    signs: tuple[str, ...] = ()

    def knows(self, line: JsonObject) -> bool:
        """Whether a line is one of this tool."""
        if self.prompt not in line or self.completion not in line:
            return False
        if not self.signs:
            return True
        has_signs = [sign in line for sign in self.signs]
        return any(has_signs)


DUMPS = (
    TextDump("verl", "input", "output", ("gts", "score", "step", "request_id")),
    TextDump("OpenRLHF", "input", "output"),
    TextDump(
        "AReaL",
        "prompt",
        "completion",
        ("task_id", "seqlen", "head_version", "segments"),
    ),
    TextDump("TRL", "prompt", "completion", ("advantage", "advantages", "step")),
)


@dataclass(frozen=True, slots=True)
class DumpedText:
    """What a line of a tool is as a line of prompts, and its keys that are not read."""

    tool: str
    line: JsonObject
    unread: tuple[str, ...]


def dumped_text(line: Any, place: Place) -> DumpedText | None:
    """The line of a tool as a line of prompts; None for a line of another kind.

    Raises InputError for one whose completion is empty.
    """
    if not isinstance(line, Mapping):
        return None
    for dump in DUMPS:
        if dump.knows(line):
            return _read(line, dump, place)
    return None


def _read(line: JsonObject, dump: TextDump, place: Place) -> DumpedText:
    prompt = line[dump.prompt]
    completion = line[dump.completion]
    if not completion:
        reason = f"{dump.completion} is empty: nothing was sampled"
        raise place.error(reason, "leave the line out")
    kind = "prompt"
    if isinstance(prompt, list):
        kind = "messages"
    own = {kind: prompt, "completion": completion}
    read = [dump.prompt, dump.completion]
    if _has_one_version(line):
        own["weight_version"] = line["head_version"]
        read += _VERSIONS
    unread = [key for key in line if key not in read]
    return DumpedText(dump.tool, own, tuple(unread))


def _has_one_version(line: JsonObject) -> bool:
    """AReaL: all of the completion was sampled with one version of the weights."""
    versions = [line.get(key) for key in _VERSIONS]
    has_both = line.keys() >= set(_VERSIONS)
    first, last = versions
    return has_both and bool(first == last)


def parquet_lines(path: Path) -> Iterator[tuple[Place, JsonObject]]:
    """The place and the values of each row of a parquet file. Raises InputError."""
    parquet = ParquetFile(path)
    yield from parquet.rows(parquet.columns)


def notes_on(dumps: Iterable[DumpedText]) -> tuple[str, ...]:
    """What is to be known of lines of tools: a sentence each; nothing where there is
    none.
    """
    unread: dict[str, list[str]] = {}
    for dump in dumps:
        keys = unread.setdefault(dump.tool, [])
        keys += dump.unread
    sentences = []
    for tool, keys in unread.items():
        made_anew = _MADE_ANEW.format(tool=tool)
        sentences.append(made_anew)
        if keys:
            sentence = _sentence_on(keys, tool)
            sentences.append(sentence)
    return tuple(sentences)


def _sentence_on(unread: Sequence[str], tool: str) -> str:
    """Which keys of a dump are not read, each named once."""
    different = dict.fromkeys(unread)
    are = "is"
    if len(different) > 1:
        are = "are"
    names = ", ".join(different)
    return _UNREAD.format(keys=names, tool=tool, are=are)
