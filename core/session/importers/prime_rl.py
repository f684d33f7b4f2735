"""Format ``prime-rl``: the trace stream of prime-rl (`prime_rl_traces`), and before it
the token exports of its trainer, ``token_exports/step_N/rank_R.jsonl``, schema 1.

Entry i of ``inference_logprobs`` and ``trainer_logprobs`` scores token i, as here.
prime-rl has filled in a number where ``loss_mask`` is false (0.0 for the engine) and at
the first token, so those are no scores; a null stands for any number that is not
finite, so what it was is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.errors import InputError, Place
from logdrift.core.session.files import JsonList, JsonObject
from logdrift.core.session.importers.columns import entropy_of, ids_of, scores_of
from logdrift.core.session.importers.documents import records_of_lines
from logdrift.core.session.importers.job import (
    ImportJob,
    Sentences,
    session_of_lines,
    session_of_records,
)
from logdrift.core.session.importers.prime_rl_traces import (
    ENGINE,
    TRAINER,
    records_of,
    traces_at,
)
from logdrift.core.session.importers.records import (
    CaptureSource,
    ImportContext,
    Record,
    Records,
)
from logdrift.core.session.importers.start import Start
from logdrift.core.session.importers.training import step_of
from logdrift.core.session.scores import Scores

Flags = npt.NDArray[np.bool_]
SCHEMA = 1


def guess(start: Start) -> bool:
    """A trace stream, or lines with the version of a schema."""
    return _has_traces(start) or start.has("schema_version")


def run(job: ImportJob) -> Sentences:
    """Make the session of all exports, or of all runs' traces."""
    starts = [Start(Path(file), job.skip_bad) for file in job.files]
    have_traces = [_has_traces(start) for start in starts]
    if not any(have_traces):
        return session_of_lines(job, read)
    if not all(have_traces):
        raise InputError(
            "some files are traces, some token exports",
            remedy="import each as a session of its own",
        )
    context = job.context()
    records = _traces(job, context)
    return session_of_records(job, records, context)


def _has_traces(start: Start) -> bool:
    if start.path.is_dir():
        return traces_at(start.path) is not None
    return start.has("traces")


def _traces(job: ImportJob, context: ImportContext) -> Records:
    for file in job.files:
        path = Path(file)
        traces = traces_at(path)
        if traces is not None:
            yield from records_of(traces, context, job.out)


def read(path: Path, context: ImportContext) -> Records:
    """The sequences of one export. Raises InputError naming the line, and for a newer
    schema.
    """
    trainer = CaptureSource(engine="prime-rl", role="trainer")
    engine = CaptureSource(engine="vllm", role="rollout")
    context.sources.setdefault(TRAINER, trainer)
    context.sources.setdefault(ENGINE, engine)
    return records_of_lines(path, context, _records)


def _records(place: Place, data: JsonObject, context: ImportContext) -> Records:
    schema = data.get("schema_version")
    if schema != SCHEMA:
        raise place.error(
            f"schema_version is {schema!r}: this logdrift reads {SCHEMA} of prime-rl's"
            " exports"
        )
    given_ids = data.get("token_ids")
    ids = ids_of(given_ids, place)
    tokens = len(ids)
    loss_mask = data.get("loss_mask")
    trained = _flags(loss_mask, tokens, place)
    prompt = tokens
    if trained.any():
        prompt = int(np.argmax(trained))
    # Tool output within the completion is not trained on: it is shown, and counts in
    # no number.
    in_prompt = np.arange(tokens) < prompt
    mask = np.where(in_prompt, 1, trained)
    captures = {
        TRAINER: _trainer(data, tokens, place),
        ENGINE: _engine(data, trained, place),
    }
    yield Record(
        place=place,
        token_ids=ids,
        prompt_length=prompt,
        captures=captures,
        mask=mask.astype(np.uint8),
        step=step_of(data, place),
    )


def _trainer(data: JsonObject, tokens: int, place: Place) -> Scores:
    entropy = None
    if "entropy" in data:
        entropies = _column(data, "entropy", tokens, place)
        entropy = entropy_of(entropies, place, "entropy")
    key = "trainer_logprobs"
    values = _column(data, key, tokens, place)
    return scores_of(values, place, key, entropy)


def _engine(data: JsonObject, trained: Flags, place: Place) -> Scores:
    tokens = len(trained)
    key = "inference_logprobs"
    values = _column(data, key, tokens, place)
    scored = []
    pairs = zip(values, trained, strict=True)
    for value, is_trained in pairs:
        if is_trained:
            scored.append(value)
        else:
            scored.append(None)
    return scores_of(scored, place, key)


def _column(data: JsonObject, key: str, tokens: int, place: Place) -> JsonList:
    values: Any = data.get(key)
    is_list = isinstance(values, list)
    if not is_list or len(values) != tokens:
        raise place.error(
            f"{key} is not a list of {tokens} entries, one for each of token_ids"
        )
    return list(values)


def _flags(values: Any, tokens: int, place: Place) -> Flags:
    if not _are_flags(values) or len(values) != tokens:
        raise place.error(f"loss_mask is not a list of {tokens} times true or false")
    return np.asarray(values, np.bool_)


def _are_flags(values: Any) -> bool:
    if not isinstance(values, list):
        return False
    return all(isinstance(value, bool) for value in values)
