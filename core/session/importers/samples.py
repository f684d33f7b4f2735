"""A sample of slime's or miles', as plain data, as a record.

``tokens`` are prompt and response; ``loss_mask`` and all numbers are of the response
alone. What is not trained on (the output of a tool) has loss_mask 0, and 0.0 for the
engine's log-probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import (
    entropy_of,
    ids_of,
    scores_of,
)
from logdrift.core.session.importers.masked import without_placeholders
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
    ScoresByCapture,
)
from logdrift.core.session.importers.spans import versions_of
from logdrift.core.session.scores import Scores
from logdrift.core.session.weight_versions import VersionSpans

TRAINER = "trainer/prefill"
ROLLOUT = "rollout/recorded"
CAPTURES = {"log_probs": TRAINER, "rollout_log_probs": ROLLOUT}
"""Captures by the field of a sample that has their numbers, the trainer's first."""
SOURCES = {
    TRAINER: CaptureSource(role="trainer"),
    ROLLOUT: CaptureSource(role="rollout"),
}
_STATUS = {"completed": "stop", "truncated": "length"}
_EMPTY = "{n} {sample has|samples have} no response and {is|are} left out"
_UNSCORED = "{n} {sequence|sequences} of %s {has|have} no log-probabilities"
_UNPLACED = (
    "{n} {sequence|sequences} of %s {was|were} sampled with several versions of the"
    " weights in more or fewer calls than the mask has turns: which token has which"
    " version stays unknown"
)


def record_of(
    sample: JsonObject, fields: Sequence[str], place: Place, context: ImportContext
) -> Record | None:
    """The record of a sample; None for one without a response. ``fields`` of `CAPTURES`
    are those that some sample of the file has. Raises InputError.
    """
    response = _length(sample, place)
    if response == 0:
        context.notes.count(_EMPTY)
        return None
    given_ids = sample.get("tokens")
    ids = ids_of(given_ids, place, "tokens")
    tokens = len(ids)
    prompt = tokens - response
    if prompt < 0:
        raise place.error(f"response_length is {response} of {tokens} tokens")
    mask = _mask(sample, response, place)
    reader = _Sample(
        data=sample,
        tokens=tokens,
        response=response,
        mask=mask,
        place=place,
        context=context,
    )
    whole_mask = [1] * prompt + mask
    status = str(sample.get("status"))
    return Record(
        place=place,
        token_ids=ids,
        prompt_length=prompt,
        captures=reader.captures(fields),
        mask=np.asarray(whole_mask, np.uint8),
        finish=_STATUS.get(status, "unknown"),
    )


def _either(sample: JsonObject, *names: str) -> Any:
    """A field under one of two names: rollouts have the first, train dumps the
    second.
    """
    for name in names:
        value = sample.get(name)
        if value is not None:
            return value
    return None


def _length(sample: JsonObject, place: Place) -> int:
    length = _either(sample, "response_length", "response_lengths")
    is_number = isinstance(length, int) and not isinstance(length, bool)
    if not is_number or length < 0:
        raise place.error(
            f"response_length is {length!r}", "give the number of tokens, 0 or more"
        )
    return int(length)


def _mask(sample: JsonObject, response: int, place: Place) -> list[int]:
    """1 for a token that is trained on, 0 for one that is not."""
    mask = _either(sample, "loss_mask", "loss_masks")
    if mask is None:
        return [1] * response
    _check_list(mask, response, place, "loss_mask")
    if not all(value in (0, 1) for value in mask):
        raise place.error("loss_mask holds something else than 0 and 1")
    return [int(value) for value in mask]


def _check_list(values: Any, response: int, place: Place, key: str) -> None:
    if not isinstance(values, list):
        raise place.error(f"{key} is not a list")
    if len(values) != response:
        raise place.error(
            f"{key} has {len(values)} entries: the response has {response} tokens"
        )


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample whose ``tokens`` tokens end in ``response`` ones with this mask."""

    data: JsonObject
    tokens: int
    response: int
    mask: Sequence[int]
    place: Place
    context: ImportContext

    @property
    def before(self) -> list[None]:
        """The prompt, which has no numbers."""
        prompt = self.tokens - self.response
        return [None] * prompt

    def captures(self, fields: Sequence[str]) -> ScoresByCapture:
        """The scores of ``fields`` by capture. Raises InputError."""
        captures = {}
        for field, name in CAPTURES.items():
            if field in fields:
                source = SOURCES[name]
                self.context.sources.setdefault(name, source)
                scores = self.scores(field, name)
                captures[name] = scores
        return captures

    def scores(self, key: str, name: str) -> Scores:
        """The numbers of the field ``key`` as the capture ``name``. Raises
        InputError.
        """
        notes = self.context.notes
        values = self.data.get(key)
        if values is None:
            notes.count(_UNSCORED % name)
            values = [None] * self.response
        _check_list(values, self.response, self.place, key)
        scored = without_placeholders(values, self.mask, name, notes)
        first_is_score = not self.before
        column = [*self.before, *scored]
        scores = scores_of(column, self.place, key, first=first_is_score)
        if name == TRAINER:
            return self._with_entropy(scores)
        versions = self._versions(name)
        return replace(scores, versions=versions)

    def _with_entropy(self, scores: Scores) -> Scores:
        key = "entropy"
        values = self.data.get(key)
        if values is None:
            return scores
        _check_list(values, self.response, self.place, key)
        column = [*self.before, *values]
        first_is_score = not self.before
        entropy = entropy_of(column, self.place, key, first_is_score)
        return replace(scores, entropy=entropy)

    def _versions(self, name: str) -> VersionSpans | None:
        """With which weights the response was sampled; None where it is not known."""
        calls = _either(self.data, "weight_versions", "legacy_weight_versions")
        if not calls:
            return None
        key = "weight_versions"
        if not isinstance(calls, list):
            raise self.place.error(f"{key} is not a list")
        are_spans = [isinstance(call, Mapping | list) for call in calls]
        if any(are_spans):
            versions = self._placed(calls)
        else:
            versions = self._by_call(calls, name)
        if not versions:
            return None
        prompt = len(self.before)
        return versions_of(versions, self.tokens, prompt, self.place, key)

    def _by_call(self, calls: JsonList, name: str) -> JsonList:
        """slime names one version a call of the engine: all the same, or one for each
        run of tokens that are trained on; else nothing.
        """
        different = set(map(str, calls))
        if len(different) == 1:
            return [calls[0]] * self.response
        turns = [counts for counts, _ in groupby(self.mask)]
        if sum(turns) != len(calls):
            self.context.notes.count(_UNPLACED % name)
            return []
        left = iter(calls)
        versions: list[Any] = []
        for counts, tokens in groupby(self.mask):
            version = None
            if counts:
                version = next(left)
            versions += [version for _ in tokens]
        return versions

    def _placed(self, calls: JsonList) -> JsonList:
        """miles names spans of tokens, counted from the sequence's first one."""
        versions: list[Any] = [None] * self.tokens
        for call in calls:
            spans = call
            if isinstance(call, Mapping):
                spans = call.get("spans")
            for span in spans or ():
                start, stop, version = self._span(span)
                length = stop - start
                versions[start:stop] = [version] * length
        return versions

    def _span(self, span: Any) -> tuple[int, int, Any]:
        try:
            start = span["abs_start"]
            stop = span["abs_end"]
            version = span["version"]
            fits = 0 <= start <= stop <= self.tokens
        except (KeyError, TypeError):
            fits = False
        if not fits:
            raise self.place.error(
                f"weight_versions holds {span!r}",
                "give version, abs_start and abs_end within the sequence",
            )
        return start, stop, version
