"""prime-rl's trace stream, which since its pull request 3444 (August 2026) takes the
place of token exports.

    traces/stream/00000.jsonl.zst                       sealed: episodes, one a line
    traces/stream/00001.jsonl                           the live chunk, plain
    traces/annotations/PRODUCER/00000.jsonl             what was learnt later

An episode has traces, a trace a tree of messages (``nodes``): the ids of all messages
from the root to a leaf are a sequence, called a branch. A node has a log-probability
for each true entry of its ``mask``, and none elsewhere. An annotation has lists over
all tokens of a branch, null where nothing is known; the newest wins. A line that is
torn ends the stream: its writer died in the middle of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import ids_of, is_whole, scores_of
from logdrift.core.session.importers.compressed import as_stored, unpacked_name
from logdrift.core.session.importers.documents import (
    Documents,
    NotJson,
    read_lines,
)
from logdrift.core.session.importers.place import list_item
from logdrift.core.session.importers.prime_rl_annotations import Annotations
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
    Records,
)
from logdrift.core.session.importers.rounding import Rounding
from logdrift.core.session.importers.training import reward_of
from logdrift.core.session.message_roles import role_code
from logdrift.core.session.scores import FlagArray, Scores

_Stream = Sequence[Path]
"""Chunks in their order."""
_Nodes = Sequence[JsonObject]
"""The messages of a trace."""

TRAINER = "trainer/prefill"
ENGINE = "inference/recorded"
_FOLDERS = ("", "traces", "monitors/file/traces", "file/traces")
"""Where the folder of traces may be below one that is given."""
_CUT = (
    "max_turns",
    "max_input_tokens",
    "max_output_tokens",
    "max_total_tokens",
    "compaction_failed",
)
"""Reasons to stop by which verifiers calls a trace truncated."""
_TORN = "%s ends within a line, which is left out: its writer was interrupted"
_NO_IDS = "{n} {branch has|branches have} no token ids: left out"
_SHARED = (
    "{n} {trace has|traces have} several branches: what they share is in each of their"
    " sequences"
)
_NO_TRAINER = (
    "{n} {sequence has|sequences have} no annotation of the trainer: not scored by it"
)


class Traces(NamedTuple):
    """The files of a run: chunks of episodes, and of annotations by producer."""

    stream: _Stream
    annotations: Sequence[_Stream]


def traces_at(path: Path) -> Traces | None:
    """The files of traces that a folder (of a run, of its traces, or their ``stream``)
    or a chunk stands for; None where it is none of these.
    """
    if not path.is_dir():
        traces = path.parent
        if traces.name == "stream":
            traces = traces.parent
        return Traces([path], _annotations(traces))
    chunks = _chunks(path)
    if path.name == "stream" and chunks:
        annotations = _annotations(path.parent)
        return Traces(chunks, annotations)
    for name in _FOLDERS:
        folder = path / name
        stream = _chunks(folder / "stream")
        if stream:
            return Traces(stream, _annotations(folder))
    return None


def _chunks(stem: Path) -> _Stream:
    """The chunks of a stream in their order, plain ones before their sealed copies: a
    folder, or one file of that name as early releases wrote.
    """
    alone = as_stored(stem.with_name(f"{stem.name}.jsonl"))
    if alone is not None:
        return [alone]
    chunks: dict[int, Path] = {}
    paths = stem.glob("*.jsonl*")
    for path in sorted(paths):
        written, _, ending = unpacked_name(path.name).partition(".")
        if ending == "jsonl" and written.isdecimal():
            number = int(written)
            chunks.setdefault(number, path)
    numbers = sorted(chunks)
    return [chunks[number] for number in numbers]


def _annotations(traces: Path) -> Sequence[_Stream]:
    folder = traces / "annotations"
    producers = set()
    for path in folder.glob("*"):
        name = unpacked_name(path.name)
        if path.is_dir() or name.endswith(".jsonl"):
            producer = name.removesuffix(".jsonl")
            producers.add(producer)
    streams = []
    for producer in sorted(producers):
        stream = _chunks(folder / producer)
        if stream:
            streams.append(stream)
    return streams


def records_of(traces: Traces, context: ImportContext, out: Path) -> Records:
    """The branches of all episodes; annotations wait on disk beside ``out``. Raises
    InputError naming the line.
    """
    engine = CaptureSource(engine="vllm", role="rollout")
    context.sources[ENGINE] = engine
    annotations = Annotations(out)
    reader = _TraceReader(context, annotations)
    for stream in traces.annotations:
        for place, data in _lines(stream, context):
            with context.one_line():
                annotations.add(place, data)
    if annotations:
        trainer = CaptureSource(engine="prime-rl", role="trainer")
        context.sources[TRAINER] = trainer
    for place, data in _lines(traces.stream, context):
        records: list[Record] = []
        with context.one_line():
            records += reader.records(place, data)
        yield from records
    reader.engine.tell(ENGINE, context.notes)
    reader.trainer.tell(TRAINER, context.notes)


def _lines(chunks: _Stream, context: ImportContext) -> Documents:
    """The lines of a stream. A torn one at its end is noted; elsewhere it is damage."""
    for chunk in chunks:
        is_last = chunk == chunks[-1]
        try:
            yield from read_lines(chunk, context.bad, torn_end=is_last)
        except NotJson as error:
            if not error.at_end:
                raise
            context.notes.count(_TORN % chunk.name)


@dataclass(frozen=True, slots=True)
class _TraceReader:
    """Makes records of episodes; the numbers of both sides are looked at for
    rounding.
    """

    context: ImportContext
    annotations: Annotations
    engine: Rounding = field(default_factory=Rounding)
    trainer: Rounding = field(default_factory=Rounding)

    def records(self, place: Place, episode: JsonObject) -> Records:
        """The branches of one episode. Raises InputError."""
        traces = episode.get("traces")
        if not isinstance(traces, list):
            raise place.error("traces is missing", "give prime-rl's traces/stream")
        all_traces = place.part("traces")
        for index, trace in enumerate(traces):
            there = list_item(all_traces, index)
            if not isinstance(trace, dict):
                raise there.error("is not an object")
            yield from self._branches(there, trace)

    def _branches(self, place: Place, trace: JsonObject) -> Records:
        nodes = _nodes(trace, place)
        branches = _branch_paths(nodes)
        if len(branches) > 1:
            self.context.notes.count(_SHARED)
        for index, branch in enumerate(branches):
            there = place
            if len(branches) > 1:
                there = list_item(place.part("branch"), index)
            of_branch = [nodes[node] for node in branch]
            joined = _joined(of_branch, there)
            if joined.ids:
                yield self._record(there, trace, joined, index)
            else:
                self.context.notes.count(_NO_IDS)

    def _record(
        self, place: Place, trace: JsonObject, joined: _Branch, index: int
    ) -> Record:
        ids = ids_of(joined.ids, place)
        trained = np.asarray(joined.mask, np.uint8)
        prompt = len(ids)
        if trained.any():
            prompt = int(np.argmax(trained))
        mask = trained.copy()
        mask[:prompt] = 1
        self.engine.see(joined.logprobs)
        is_first_scored = bool(trained[0])
        engine = scores_of(joined.logprobs, place, "logprobs", first=is_first_scored)
        captures = {ENGINE: engine}
        if self.annotations:
            tokens = len(ids)
            trainer = self._trainer(place, trace, index, tokens)
            captures[TRAINER] = trainer
        return Record(
            place=place,
            token_ids=ids,
            prompt_length=prompt,
            captures=captures,
            mask=mask,
            roles=joined.roles,
            finish=_finish(trace),
            reward=_reward(trace, place),
        )

    def _trainer(
        self, place: Place, trace: JsonObject, index: int, tokens: int
    ) -> Scores:
        trace_id = trace.get("id")
        annotation = self.annotations.of(trace_id, index)
        if annotation is None:
            self.context.notes.count(_NO_TRAINER)
            unscored = [None] * tokens
            return scores_of(unscored, place, "trainer_logprobs")
        if len(annotation.logprobs) > tokens:
            raise place.error(
                f"trainer_logprobs of its annotation has {len(annotation.logprobs)}"
                f" entries, the branch {tokens} tokens"
            )
        self.trainer.see(annotation.logprobs)
        return annotation.scores(tokens, place)


class _Branch(NamedTuple):
    """The nodes of a branch one after the other: ids, whether each was sampled and is
    trained on, its log-probability or None, and whose message it is.
    """

    ids: list[Any]
    mask: list[bool]
    logprobs: list[Any]
    roles: FlagArray


def _nodes(trace: JsonObject, place: Place) -> _Nodes:
    nodes = trace.get("nodes")
    if not isinstance(nodes, list):
        raise place.error("nodes is missing")
    all_nodes = place.part("nodes")
    for index, node in enumerate(nodes):
        there = list_item(all_nodes, index)
        if not isinstance(node, dict):
            raise there.error("is not an object")
        parent: Any = node.get("parent")
        if parent is None:
            continue
        is_earlier = is_whole(parent) and parent < index
        if not is_earlier:
            raise there.error(
                f"parent is {parent!r}", "give the number of an earlier node, or null"
            )
    return nodes


def _branch_paths(nodes: _Nodes) -> list[list[int]]:
    """The nodes from the root to each leaf, in the order of the leaves."""
    parents = {node.get("parent") for node in nodes}
    branches = []
    for leaf in range(len(nodes)):
        if leaf in parents:
            continue
        path = []
        node: int | None = leaf
        while node is not None:
            path.append(node)
            node = nodes[node].get("parent")
        path.reverse()
        branches.append(path)
    return branches


def _joined(nodes: _Nodes, place: Place) -> _Branch:
    """Raises InputError."""
    ids: list[Any] = []
    mask: list[bool] = []
    logprobs: list[Any] = []
    roles: list[int] = []
    for node in nodes:
        of_node = _list(node, "token_ids", place)
        tokens = len(of_node)
        flags = _mask(node, tokens, place)
        ids += of_node
        mask += flags
        logprobs += _logprobs(node, flags, place)
        role = _role(node)
        roles += [role] * tokens
    role_codes = np.asarray(roles, np.uint8)
    return _Branch(ids, mask, logprobs, role_codes)


def _list(node: JsonObject, key: str, place: Place) -> JsonList:
    """A list of a node; empty where it is left out."""
    values = node.get(key)
    if values is None:
        return []
    if not isinstance(values, list):
        raise place.error(f"{key} of a node is not a list")
    return values


def _mask(node: JsonObject, tokens: int, place: Place) -> list[bool]:
    mask = _list(node, "mask", place)
    if not mask:
        return [False] * tokens
    if len(mask) != tokens:
        raise place.error(
            f"mask of a node has {len(mask)} entries, its token_ids {tokens}"
        )
    kinds = set(map(type, mask))
    if kinds - {bool}:
        raise place.error("mask of a node holds something else than true and false")
    return list(mask)


def _logprobs(node: JsonObject, flags: Sequence[bool], place: Place) -> JsonList:
    """One entry a token: None where nothing was sampled, or nothing is known."""
    given = _list(node, "logprobs", place)
    sampled = sum(flags)
    if not given:
        return [None] * len(flags)
    if len(given) != sampled:
        raise place.error(
            f"logprobs of a node has {len(given)} entries, its mask {sampled} that are"
            " true"
        )
    values = iter(given)
    spread: list[Any] = []
    for is_sampled in flags:
        value = None
        if is_sampled:
            value = next(values)
        spread.append(value)
    return spread


def _role(node: JsonObject) -> int:
    message = node.get("message")
    role: Any = None
    if isinstance(message, dict):
        role = message.get("role")
    if not isinstance(role, str):
        return role_code(None)
    return role_code(role)


def _reward(trace: JsonObject, place: Place) -> float:
    """The scores of a trace by their weights, summed; NaN where it has none."""
    rewards = trace.get("rewards")
    if not isinstance(rewards, dict) or not rewards:
        return math.nan
    total = 0.0
    for name, reward in rewards.items():
        there = place.part(f"rewards.{name}")
        if not isinstance(reward, dict):
            raise there.error("is not an object")
        score = _real(reward, "score", there)
        weight = 1.0
        if "weight" in reward:
            weight = _real(reward, "weight", there)
        total += score * weight
    return reward_of({"reward": total}, place)


def _real(reward: JsonObject, key: str, place: Place) -> float:
    """A number of a reward; NaN for null."""
    value = {"reward": reward.get(key)}
    return reward_of(value, place.part(key))


def _finish(trace: JsonObject) -> str:
    """How the last answer ended."""
    if trace.get("stop_condition") in _CUT:
        return "length"
    calls = trace.get("calls")
    if not isinstance(calls, list) or not calls:
        return "unknown"
    last = calls[-1]
    reason: Any = None
    if isinstance(last, dict):
        reason = last.get("finish_reason")
    if reason in ("stop", "length"):
        return str(reason)
    return "unknown"
