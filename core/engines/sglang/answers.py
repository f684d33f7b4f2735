"""What `sgl.Engine` answers, read by position on the ids that were sent and checked
against them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from logdrift.core.worker.base import (
    FloatArray,
    Generation,
    IdArray,
    MismatchError,
    Scores,
    check_length,
    mark_nan,
    normalise,
)


def check_echo(ids: IdArray, echoed: Sequence[int], vocabulary: int, what: str) -> None:
    """Raises MismatchError unless equal, where the last id of the vocabulary may come
    back as 0.
    """
    returned = np.asarray(echoed, np.int64)
    last_id_as_zero = (ids == vocabulary - 1) & (returned == 0)
    same = (returned == ids) | last_id_as_zero
    if not bool(same.all()):
        position = int(np.flatnonzero(~same)[0])
        raise MismatchError(
            f"{what}: SGLang scored id {int(returned[position])} at {position}, not"
            f" {int(ids[position])}"
        )


def read_generation(
    prompt: IdArray, answer: Mapping[str, Any], top_k: int, most: int, what: str
) -> Generation:
    """Prompt and new ids with their scores. Raises MismatchError on other lengths, ids
    or more than ``most`` new ones.
    """
    meta = answer["meta_info"]
    new = np.asarray(answer["output_ids"], np.int32)
    rows = meta["output_token_logprobs"]
    check_length(len(rows), new.size, what)
    if new.size > most:
        raise MismatchError(
            f"{what}: SGLang generated {new.size} tokens where {most} were asked"
        )
    if [row[1] for row in rows] != new.tolist():
        raise MismatchError(f"{what}: SGLang scored other ids than it generated")
    scores = Scores.empty(prompt.size + new.size, top_k)
    fill(scores, prompt.size, rows, meta.get("output_top_logprobs") or [], what)
    finish = (meta.get("finish_reason") or {}).get("type")
    return Generation(
        token_ids=np.concatenate([prompt, new]).astype(np.int32),
        prompt_length=int(prompt.size),
        finish=finish if finish in ("stop", "length") else "unknown",
        scores=scores,
    )


def fill(
    scores: Scores, start: int, rows: Sequence[Any], tops: Sequence[Any], what: str
) -> None:
    """Write one (logprob, id, text) and one list of K such per position from ``start``
    on.

    SGLang gives no rank: it is 1 + the alternatives strictly above the target where the
    target is at least as likely as the last of them, else unknown.
    """
    count = len(rows)
    top_k = scores.top_ids.shape[1]
    stop = start + count
    check_length(stop, scores.logprob.size, what)
    scores.logprob[start:stop] = [normalise(row[0]) for row in rows]
    if top_k and count:
        _fill_alternatives(scores, start, tops, what)
    mark_nan(scores, start)


def _fill_alternatives(
    scores: Scores, start: int, tops: Sequence[Any], what: str
) -> None:
    count = scores.logprob.size - start
    top_k = scores.top_ids.shape[1]
    stop = start + count
    check_length(len(tops), count, f"{what}: alternatives")
    for row in tops:
        check_length(len(row), top_k, f"{what}: alternatives of a position")
    scores.top_ids[start:stop] = [[entry[1] for entry in row] for row in tops]
    values: FloatArray = np.array(
        [[normalise(entry[0]) for entry in row] for row in tops], np.float32
    )
    scores.top_logprobs[start:stop] = values
    target = scores.logprob[start:stop]
    above = (values > target[:, None]).sum(axis=1)
    scores.rank[start:stop] = np.where(target >= values[:, -1], 1 + above, 0)
