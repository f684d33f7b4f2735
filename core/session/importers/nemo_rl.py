"""Format ``nemo-rl``: what NeMo-RL's GRPO logs of each step,
``LOG_DIR/train_data_step{N}.jsonl``, one sample a line.

    {"token_ids": [[11, 12, 13, 0]], "input_lengths": [3], "token_loss_mask":
    [[0, 1, 1, 0]], "sample_loss_mask": [1.0], "generation_logprobs": [[0, -0.2, -1.1,
    0]], "prev_logprobs": [[0, -0.21, -1.15, 0]], "rewards": [1.0], ...}

Each value is a list over the samples of a microbatch of one, and ids are padded on the
right up to the longest of the batch. Entry i scores token i. Where ``token_loss_mask``
is 0 the engine has no score and NeMo-RL fills in 0.0; the trainer has scored the prompt
as well. ``prev_logprobs`` are the trainer's before the step's update.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import ids_of, is_whole, scores_of
from logdrift.core.session.importers.documents import records_of_lines
from logdrift.core.session.importers.job import ImportJob, Sentences, session_of_lines
from logdrift.core.session.importers.masked import without_placeholders
from logdrift.core.session.importers.place import list_item
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
    Records,
)
from logdrift.core.session.importers.start import Start
from logdrift.core.session.importers.training import reward_of, step_of
from logdrift.core.session.scores import FlagArray, Scores
from logdrift.core.session.weight_versions import VersionSpan

TRAINER = "trainer/prefill"
ENGINE = "inference/recorded"
CAPTURES = {TRAINER: "prev_logprobs", ENGINE: "generation_logprobs"}
"""Captures, and the key of their numbers."""
_STEP = re.compile(r"step_?(\d+)")
_READ = (
    "token_ids",
    "input_lengths",
    "token_loss_mask",
    "sample_loss_mask",
    *CAPTURES.values(),
)
_REWARDS = "rewards"
_QUIET = ("content", "idx")
"""Keys that say nothing beside what is read: the text of the ids, and a number."""
_KNOWN = (*_READ, *_QUIET, _REWARDS)
_UNREAD = "{n} {sequence has|sequences have} %s: not kept"
_UNTRAINED = (
    "{n} {sequence has|sequences have} sample_loss_mask 0: shown, and counted in no"
    " number"
)
_SWITCH_ON = (
    'have NeMo-RL log them: log_data["token_ids"] = train_data["input_ids"].tolist()'
    " before log_batched_dict_as_jsonl in nemo_rl/algorithms; with NeMo-Gym, set"
    " env.should_log_nemo_gym_responses to false"
)


def guess(start: Start) -> bool:
    """Lines with the log-probabilities of generation and of the trainer."""
    return start.has("generation_logprobs") and start.has("input_lengths")


def run(job: ImportJob) -> Sentences:
    """Make the session of all steps."""
    return session_of_lines(job, read)


def read(path: Path, context: ImportContext) -> Records:
    """The samples of one step. Raises InputError naming the line."""
    trainer = CaptureSource(engine="nemo-rl", role="trainer")
    context.sources.setdefault(TRAINER, trainer)
    engine = CaptureSource(role="rollout")
    context.sources.setdefault(ENGINE, engine)
    in_name = _STEP.search(path.name)
    step = None
    if in_name is not None:
        step = int(in_name[1])
    records = partial(_records, step)
    return records_of_lines(path, context, records)


def _records(
    step: int | None,
    place: Place,
    data: JsonObject,
    context: ImportContext,
) -> Records:
    """The samples of a line that was logged at ``step``."""
    if "token_ids" not in data:
        raise place.error("token_ids is missing: this run logs no ids", _SWITCH_ON)
    samples = data["token_ids"]
    if not isinstance(samples, list) or not samples:
        raise place.error("token_ids is not a list of samples")
    count = len(samples)
    for key in _READ:
        values = data.get(key)
        _check_samples(values, count, place, key)
    for index in range(count):
        there = place
        if count > 1:
            there = list_item(place, index)
        of_sample = {key: data[key][index] for key in _READ}
        of_sample["reward"] = _reward(data, index)
        of_sample["step"] = step
        sample = _Logged(there, of_sample)
        yield sample.record(context)
    for key in data:
        if key not in _KNOWN:
            sentence = _UNREAD % key
            context.notes.count(sentence, count)


def _reward(data: JsonObject, index: int) -> Any:
    """That of one sample; None where there is none."""
    rewards = data.get(_REWARDS)
    if isinstance(rewards, list) and index < len(rewards):
        return rewards[index]
    return None


def _check_samples(values: Any, count: int, place: Place, key: str) -> None:
    if not isinstance(values, list):
        raise place.error(f"{key} is missing", "give lines as NeMo-RL logs them")
    if len(values) != count:
        raise place.error(f"{key} is of {len(values)} samples, token_ids of {count}")


@dataclass(frozen=True, slots=True)
class _Logged:
    """One sample of a line, each key's value without the list around it."""

    place: Place
    data: JsonObject

    def record(self, context: ImportContext) -> Record:
        """Raises InputError."""
        padded = self._list("token_ids")
        length = self.data["input_lengths"]
        entries = len(padded)
        if not is_whole(length, entries) or length == 0:
            raise self.place.error(
                f"input_lengths is {length!r}, token_ids has {entries} entries"
            )
        without_padding = padded[:length]
        ids = ids_of(without_padding, self.place)
        padded_flags = self._trained(entries)
        trained = padded_flags[:length]
        prompt = length
        if trained.any():
            prompt = int(np.argmax(trained))
        captures = {}
        for name, key in CAPTURES.items():
            scores = self._scores(name, key, trained, context)
            captures[name] = scores
        step = step_of(self.data, self.place)
        if step != NO_STEP:
            # The step names the trainer's weights as well.
            span = VersionSpan(str(step), length)
            trainer = captures[TRAINER]
            captures[TRAINER] = replace(trainer, versions=(span,))
        mask = self._mask(trained, prompt, context)
        reward = reward_of(self.data, self.place)
        return Record(
            place=self.place,
            token_ids=ids,
            prompt_length=prompt,
            captures=captures,
            mask=mask,
            step=step,
            reward=reward,
        )

    def _list(self, key: str, entries: int | None = None) -> JsonList:
        """The list of a key, with as many entries as the padded ids."""
        values = self.data[key]
        if not isinstance(values, list):
            raise self.place.error(f"{key} is not a list in a list")
        if entries is not None and len(values) != entries:
            raise self.place.error(
                f"{key} has {len(values)} entries, token_ids {entries}"
            )
        return values

    def _trained(self, entries: int) -> FlagArray:
        """u8 of the padded ids: 1 where a token is trained on."""
        flags = self._list("token_loss_mask", entries)
        are_flags = [flag in (0, 1) for flag in flags]
        if not all(are_flags):
            raise self.place.error("token_loss_mask holds something else than 0 and 1")
        return np.asarray(flags, np.uint8)

    def _mask(
        self, trained: FlagArray, prompt: int, context: ImportContext
    ) -> FlagArray:
        """u8[n]: prompt and tokens that are trained on count; what an environment gave
        within the completion does not, and nothing of a sample that was taken out of
        the loss.
        """
        mask = trained.copy()
        mask[:prompt] = 1
        weight = self.data["sample_loss_mask"]
        if weight not in (0, 1):
            raise self.place.error(f"sample_loss_mask is {weight!r}", "give 0 or 1")
        if weight == 0:
            context.notes.count(_UNTRAINED)
            mask[:] = 0
        return mask

    def _scores(
        self, name: str, key: str, trained: FlagArray, context: ImportContext
    ) -> Scores:
        tokens = len(trained)
        entries = len(self._list("token_ids"))
        padded = self._list(key, entries)
        values = padded[:tokens]
        flags = trained.tolist()
        scored = without_placeholders(values, flags, name, context.notes)
        is_first_scored = bool(trained[0])
        return scores_of(scored, self.place, key, first=is_first_scored)
