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

from logdrift.core.errors import InputError
from logdrift.core.session.importers.records import (
    Array,
    Reading,
    Record,
    Source,
    entropy_of,
    ids_of,
    read_lines,
    scores_of,
)

SCHEMA = 1
_SHOWN_STEPS = 5
TRAINER, ENGINE = "trainer/prefill", "inference/recorded"


def read(path: Path, reading: Reading) -> Iterator[Record]:
    """The sequences of one export. Raises InputError naming the line, and for a newer
    schema.
    """
    reading.sources.setdefault(TRAINER, Source(engine="prime-rl", role="trainer"))
    reading.sources.setdefault(ENGINE, Source(engine="vllm", role="rollout"))
    for where, data in read_lines(path):
        found = data.get("schema_version")
        if found != SCHEMA:
            raise InputError(
                f"{where}: schema_version is {found!r}: this logdrift reads {SCHEMA} of"
                " prime-rl's exports"
            )
        ids = ids_of(data.get("token_ids"), where)
        trained = _flags(data.get("loss_mask"), len(ids), where)
        behind = np.flatnonzero(trained)
        prompt = int(behind[0]) if len(behind) else len(ids)
        entropy = (
            entropy_of(_column(data, "entropy", len(ids), where), where, "entropy")
            if "entropy" in data
            else None
        )
        trainer = scores_of(
            _column(data, "trainer_logprobs", len(ids), where),
            where,
            "trainer_logprobs",
            entropy,
        )
        told = _column(data, "inference_logprobs", len(ids), where)
        filled_in = [
            value if flag else None for value, flag in zip(told, trained, strict=True)
        ]
        engine = scores_of(filled_in, where, "inference_logprobs")
        # Tool output within the completion is not trained on: it is shown, and counts
        # in no number.
        mask = np.where(np.arange(len(ids)) < prompt, 1, trained).astype(np.uint8)
        yield Record(where, ids, prompt, {TRAINER: trainer, ENGINE: engine}, mask=mask)


def steps_below(folder: Path) -> str:
    """`` (give one of ...)``, the steps whose exports lie below ``folder``; nothing
    where there are none.
    """
    for parent in (folder, folder / "token_exports"):
        steps = {path.parent.name for path in parent.glob("step_*/rank_*.jsonl")}
        if steps:
            named = sorted(steps, key=lambda name: (len(name), name))
            more = (
                f" and {len(named) - _SHOWN_STEPS} more"
                if len(named) > _SHOWN_STEPS
                else ""
            )
            return f": give one of {', '.join(named[:_SHOWN_STEPS])}{more} in {parent}"
    return ""


def _column(data: dict[str, Any], key: str, tokens: int, where: str) -> list[Any]:
    values = data.get(key)
    if not isinstance(values, list) or len(values) != tokens:
        raise InputError(
            f"{where}: {key} is no list of {tokens} entries, one for each of token_ids"
        )
    return values


def _flags(values: Any, tokens: int, where: str) -> Array:
    if (
        not isinstance(values, list)
        or len(values) != tokens
        or not all(isinstance(v, bool) for v in values)
    ):
        raise InputError(
            f"{where}: loss_mask is no list of {tokens} times true or false"
        )
    return np.asarray(values, np.bool_)
