"""Format ``prime-rl``: the token exports of prime-rl's trainer,
``token_exports/step_N/rank_R.jsonl``, schema 1.

Entry i of ``inference_logprobs`` and ``trainer_logprobs`` scores token i, as here.
prime-rl has filled in a number where ``loss_mask`` is false (0.0 for the engine) and at
the first token, so those are no scores; a null stands for any number that is not
finite, so what it was is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import Place
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.columns import entropy_of, ids_of, scores_of
from logdrift.core.session.importers.documents import read_lines
from logdrift.core.session.importers.job import ImportJob, session_of_lines
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
)
from logdrift.core.session.importers.start import Start
from logdrift.core.session.scores import Scores

SCHEMA = 1
TRAINER = "trainer/prefill"
ENGINE = "inference/recorded"


def guess(start: Start) -> bool:
    """Lines with the version of a schema."""
    return start.has("schema_version")


def run(job: ImportJob) -> tuple[str, ...]:
    """Make the session of all exports."""
    return session_of_lines(job, read)


def read(path: Path, context: ImportContext) -> Iterator[Record]:
    """The sequences of one export. Raises InputError naming the line, and for a newer
    schema.
    """
    trainer = CaptureSource(engine="prime-rl", role="trainer")
    context.sources.setdefault(TRAINER, trainer)
    context.sources.setdefault(ENGINE, CaptureSource(engine="vllm", role="rollout"))
    for place, data in read_lines(path):
        yield _record(place, data)


def _record(place: Place, data: JsonObject) -> Record:
    schema = data.get("schema_version")
    if schema != SCHEMA:
        raise place.error(
            f"schema_version is {schema!r}: this logdrift reads {SCHEMA} of prime-rl's"
            " exports"
        )
    ids = ids_of(data.get("token_ids"), place)
    trained = _flags(data.get("loss_mask"), len(ids), place)
    prompt = int(np.argmax(trained)) if trained.any() else len(ids)
    # Tool output within the completion is not trained on: it is shown, and counts in
    # no number.
    in_prompt = np.arange(len(ids)) < prompt
    mask = np.where(in_prompt, 1, trained).astype(np.uint8)
    captures = {
        TRAINER: _trainer(data, len(ids), place),
        ENGINE: _engine(data, trained, place),
    }
    return Record(place, ids, prompt, captures, mask=mask)


def _trainer(data: JsonObject, tokens: int, place: Place) -> Scores:
    entropy = None
    if "entropy" in data:
        entropies = _column(data, "entropy", tokens, place)
        entropy = entropy_of(entropies, place, "entropy")
    values = _column(data, "trainer_logprobs", tokens, place)
    return scores_of(values, place, "trainer_logprobs", entropy)


def _engine(data: JsonObject, trained: npt.NDArray[np.bool_], place: Place) -> Scores:
    values = _column(data, "inference_logprobs", len(trained), place)
    real = [
        value if flag else None for value, flag in zip(values, trained, strict=True)
    ]
    return scores_of(real, place, "inference_logprobs")


def _column(data: JsonObject, key: str, tokens: int, place: Place) -> list[Any]:
    values = data.get(key)
    if not isinstance(values, list) or len(values) != tokens:
        raise place.error(
            f"{key} is not a list of {tokens} entries, one for each of token_ids"
        )
    return values


def _flags(values: Any, tokens: int, place: Place) -> npt.NDArray[np.bool_]:
    is_column = isinstance(values, list) and len(values) == tokens
    if not is_column or not all(isinstance(value, bool) for value in values):
        raise place.error(f"loss_mask is not a list of {tokens} times true or false")
    return np.asarray(values, np.bool_)
